import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nncore import ops

sizes = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)
dtypes = st.sampled_from([np.float32, np.float64])


def numbers(seed, shape, dtype):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def assert_close(result, expected, dtype):
    assert result.dtype == dtype
    assert_allclose(result, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)


def naive_affine(x, weight, bias):
    y = np.zeros((len(x), weight.shape[1]))
    for n in range(len(x)):
        for k in range(weight.shape[1]):
            y[n, k] = 0.0 if bias is None else bias[k]
            for d in range(x.shape[1]):
                y[n, k] += float(x[n, d]) * float(weight[d, k])
    return y


@given(sizes, sizes, sizes, seeds, dtypes, st.booleans(), st.booleans())
def test_affine_is_a_triple_loop(n, d, k, seed, dtype, biased, into):
    x, weight = numbers(seed, (n, d), dtype), numbers(seed + 1, (d, k), dtype)
    bias = numbers(seed + 2, k, dtype) if biased else None
    out = np.full((n, k), np.nan, dtype) if into else None
    y = ops.affine(x, weight, bias, out=out)
    assert out is None or y is out
    assert_close(y, naive_affine(x, weight, bias), dtype)


@given(sizes, sizes, seeds, dtypes, st.booleans())
def test_sum_rows_adds_up_each_column(n, k, seed, dtype, into):
    dy = numbers(seed, (n, k), dtype)
    out = np.full(k, np.nan, dtype) if into else None
    total = ops.sum_rows(dy, out=out)
    assert out is None or total is out
    assert_close(total, [sum(float(dy[i, j]) for i in range(n)) for j in range(k)], dtype)


@given(sizes, sizes, sizes, sizes, seeds, dtypes)
def test_wide_rows_are_a_view_as_long_as_the_last_two_axes(n, h, w, c, seed, dtype):
    x = numbers(seed, (n, h, w, c), dtype)
    wide = ops.wide_rows(x)
    assert np.shares_memory(wide, x)
    for place in np.ndindex(x.shape):
        assert wide[place[0] * h + place[1], place[2] * c + place[3]] == x[place]
    assert ops.wide_rows(x[0, 0]).shape == (w, c)


def test_wide_target_is_a_view_or_an_error():
    out = np.zeros((2, 3, 4, 5))
    ops.wide_target(out)[...] = 1
    assert out.all()
    with pytest.raises(ValueError, match="copy"):
        ops.wide_target(np.asfortranarray(out))


@given(sizes, sizes, sizes, sizes, seeds, dtypes)
def test_add_to_channels_adds_a_number_a_channel(n, h, w, c, seed, dtype):
    y, vector = numbers(seed, (n, h, w, c), dtype), numbers(seed + 1, c, dtype)
    expected = [float(y[place]) + float(vector[place[3]]) for place in np.ndindex(y.shape)]
    ops.add_to_channels(y, vector)
    assert_close(y.ravel(), expected, dtype)


@given(sizes, sizes, seeds, dtypes)
def test_across_repeats_a_number_a_channel_along_wide_rows(w, c, seed, dtype):
    vector = numbers(seed, c, dtype)
    wide = np.zeros((2, w * c), dtype)
    repeated = ops.across(vector, wide)
    assert [repeated[i] for i in range(w * c)] == [vector[i % c] for i in range(w * c)]


@given(sizes, sizes, sizes, seeds, dtypes)
def test_sum_channels_adds_up_each_channel(rows, w, c, seed, dtype):
    x = numbers(seed, (rows, w, c), dtype)
    expected = [sum(float(x[i, j, k]) for i in range(rows) for j in range(w)) for k in range(c)]
    assert_close(ops.sum_channels(x.reshape(rows, w * c), c), expected, dtype)


ELEMENTWISE = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "relu": lambda x: x if x > 0 else 0.0,
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(
    shape=st.lists(sizes, min_size=1, max_size=3).map(tuple),
    seed=seeds,
    dtype=dtypes,
    into=st.sampled_from(["new", "out", "x"]),
)
def test_an_elementwise_kernel_is_a_loop_over_elements_also_in_place(name, shape, seed, dtype, into):
    x = numbers(seed, shape, dtype) * dtype(5)
    expected = np.array([ELEMENTWISE[name](float(value)) for value in x.flat]).reshape(shape)
    before = x.copy()
    out = {"new": None, "out": np.full(shape, np.nan, dtype), "x": x}[into]
    y = getattr(ops, name)(x, out=out)
    assert y is out if out is not None else not np.shares_memory(y, x)
    assert_close(y, expected, dtype)
    if into != "x":
        np.testing.assert_array_equal(x, before)


def test_sigmoid_neither_overflows_nor_leaves_0_and_1():
    x = np.array([-1e30, -1000, -0.0, 1000, 1e30], np.float32)
    np.testing.assert_array_equal(ops.sigmoid(x), [0, 0, 0.5, 1, 1])


def test_relu_lets_nan_be_seen():
    assert np.isnan(ops.relu(np.array([np.nan], np.float32))[0])


def naive_softmax(row):
    # Exact enough in Python's own floats as long as the logits are small.
    powers = [math.exp(float(value)) for value in row]
    return [power / sum(powers) for power in powers]


@given(sizes, sizes, seeds, dtypes, st.sampled_from(["new", "out", "logits"]))
def test_softmax_is_a_share_of_exponentials(n, k, seed, dtype, into):
    logits = numbers(seed, (n, k), dtype) * dtype(3)
    expected = [naive_softmax(row) for row in logits]
    out = {"new": None, "out": np.full((n, k), np.nan, dtype), "logits": logits}[into]
    y = ops.softmax(logits, out=out)
    assert out is None or y is out
    assert_close(y, expected, dtype)


@given(sizes, st.integers(2, 7), seeds, st.floats(-1e30, 1e30))
def test_softmax_of_logits_of_any_size_sums_to_one(n, k, seed, shift):
    logits = numbers(seed, (n, k), np.float32) + np.float32(shift)
    y = ops.softmax(logits)
    assert_allclose(y.sum(axis=1), 1, rtol=1e-5)
    assert (y >= 0).all()


@given(sizes, sizes, seeds, dtypes)
def test_softmax_cross_entropy_is_the_mean_of_minus_log_probability(n, k, seed, dtype):
    logits = numbers(seed, (n, k), dtype) * dtype(3)
    labels = np.random.default_rng(seed).integers(k, size=n)
    before = logits.copy()
    loss, gradient = ops.softmax_cross_entropy(logits, labels)
    np.testing.assert_array_equal(logits, before)
    rows = [naive_softmax(row) for row in logits]
    expected = -sum(math.log(row[label]) for row, label in zip(rows, labels, strict=True)) / n
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-6)
    for row, label in zip(rows, labels, strict=True):
        row[label] -= 1
    assert_close(gradient, np.array(rows) / n, dtype)


def test_softmax_cross_entropy_of_huge_logits_is_finite_and_right():
    logits = np.array([[1e4, 0.0], [0.0, 1e4]], np.float32)
    loss, gradient = ops.softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == pytest.approx(5e3)
    np.testing.assert_array_equal(gradient, np.array([[0, 0], [-0.5, 0.5]], np.float32))


@given(sizes, sizes, seeds, dtypes)
def test_binary_cross_entropy_is_the_mean_of_minus_log_likelihood(n, k, seed, dtype):
    logits = numbers(seed, (n, k), dtype) * dtype(3)
    targets = np.random.default_rng(seed).integers(2, size=(n, k)).astype(dtype)
    before = logits.copy(), targets.copy()
    loss, gradient = ops.binary_cross_entropy(logits, targets)
    np.testing.assert_array_equal(logits, before[0])
    np.testing.assert_array_equal(targets, before[1])
    expected, slope = 0.0, np.zeros((n, k))
    for i in range(n):
        for j in range(k):
            p = 1 / (1 + math.exp(-float(logits[i, j])))
            expected -= math.log(p if targets[i, j] else 1 - p) / (n * k)
            slope[i, j] = (p - float(targets[i, j])) / (n * k)
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert_close(gradient, slope, dtype)


def test_binary_cross_entropy_of_huge_logits_is_finite_and_right():
    logits = np.array([[1e4], [-1e4]], np.float32)
    assert ops.binary_cross_entropy(logits, np.array([[0.0], [1.0]], np.float32))[0] == pytest.approx(1e4)
    assert ops.binary_cross_entropy(logits, np.array([[1.0], [0.0]], np.float32))[0] == 0


@given(sizes, sizes, seeds, dtypes)
def test_mean_squared_error_is_a_mean_over_all_elements(n, k, seed, dtype):
    outputs, targets = numbers(seed, (n, k), dtype), numbers(seed + 1, (n, k), dtype)
    before = outputs.copy(), targets.copy()
    loss, gradient = ops.mean_squared_error(outputs, targets)
    np.testing.assert_array_equal(outputs, before[0])
    np.testing.assert_array_equal(targets, before[1])
    pairs = [(float(y), float(t)) for y, t in zip(outputs.flat, targets.flat, strict=True)]
    assert isinstance(loss, float)
    assert loss == pytest.approx(sum((y - t) ** 2 for y, t in pairs) / (n * k), rel=1e-4, abs=1e-6)
    assert_close(gradient, np.array([2 * (y - t) / (n * k) for y, t in pairs]).reshape(n, k), dtype)


@given(st.integers(1, 9), st.integers(1, 9), st.lists(sizes, max_size=2).map(tuple), seeds, dtypes)
def test_take_rows_copies_each_row_asked_for(n, wanted, inner, seed, dtype):
    x = numbers(seed, (n, *inner), dtype)
    rows = np.random.default_rng(seed).integers(n, size=wanted)
    out = np.full((wanted, *inner), np.nan, dtype)
    assert ops.take_rows(x, rows, out) is out
    for place, row in enumerate(rows):
        np.testing.assert_array_equal(out[place], x[row])


def test_every_kernel_has_its_reference_here():
    kernels = {name for name, _ in inspect.getmembers(ops, inspect.isfunction) if not name.startswith("_")}
    named = {name for name in kernels if any(test.startswith(f"test_{name}_") for test in globals())}
    assert kernels == named | ELEMENTWISE.keys()
