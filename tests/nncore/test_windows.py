import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nncore import windows
from nncore.convolution import Conv2D, pair
from nncore.errors import RecipeError
from nncore.layers import Dense, Flatten
from nncore.network import Network, plan
from nncore.pooling import GlobalAveragePooling, MaxPool2D

small = st.integers(1, 4)
sides = st.one_of(small, st.tuples(small, small))
strides = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))
pictures = st.tuples(st.integers(0, 3), st.integers(4, 8), st.integers(4, 8), st.integers(1, 5))
seeds = st.integers(0, 2**32 - 1)
# Blocks of a row, of a picture and of all pictures.
blocks = st.sampled_from([1, 100, 1 << 19])


def naive_padded(x, kernel, stride, padding):
    """Return x with the zeros that TensorFlow's documentation of SAME asks for, and the output's sides."""
    outputs, pads = [], []
    for side, size, step in zip(x.shape[1:3], kernel, stride, strict=True):
        if padding == "valid":
            outputs.append((side - size) // step + 1)
            pads.append((0, 0))
            continue
        outputs.append((side + step - 1) // step)
        missing = max(size - step, 0) if side % step == 0 else max(size - side % step, 0)
        pads.append((missing // 2, missing - missing // 2))
    return np.pad(x, [(0, 0), *pads, (0, 0)]), outputs, pads


def naive_convolution(x, weight, stride, padding):
    kh, kw = weight.shape[:2]
    padded, (rows, columns), _ = naive_padded(x, (kh, kw), stride, padding)
    y = np.zeros((len(x), rows, columns, weight.shape[3]))
    for n, i, j in np.ndindex(y.shape[:3]):
        for a, b in np.ndindex(kh, kw):
            y[n, i, j] += padded[n, i * stride[0] + a, j * stride[1] + b] @ weight[a, b]
    return y


def naive_gradients(x, weight, dy, stride, padding):
    kh, kw = weight.shape[:2]
    padded, _, pads = naive_padded(x, (kh, kw), stride, padding)
    dx, dw = np.zeros_like(padded), np.zeros_like(weight)
    for n, i, j in np.ndindex(dy.shape[:3]):
        for a, b in np.ndindex(kh, kw):
            at = n, i * stride[0] + a, j * stride[1] + b
            dx[at] += weight[a, b] @ dy[n, i, j]
            dw[a, b] += np.outer(padded[at], dy[n, i, j])
    (top, _), (left, _) = pads
    return dx[:, top : top + x.shape[1], left : left + x.shape[2]], dw


@given(pictures, sides, strides, st.sampled_from(["same", "valid"]), small, seeds, blocks)
def test_a_convolution_and_its_gradients_are_those_of_naive_loops(
    shape, kernel, stride, padding, filters, seed, block
):
    rng = np.random.default_rng(seed)
    layer = Conv2D(filters, kernel, stride, padding, bias=False)
    x, weight = rng.standard_normal(shape), rng.standard_normal((*pair(kernel), shape[3], filters))
    dw = np.full_like(weight, np.nan)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "BLOCK", block)
        y, cache = layer.forward({"weight": weight}, x, None)
        dy = rng.standard_normal(y.shape)
        dx = layer.backward({"weight": weight}, {"weight": dw}, cache, dy)
    assert_allclose(y, naive_convolution(x, weight, pair(stride), padding), atol=1e-12)
    naive_dx, naive_dw = naive_gradients(x, weight, dy, pair(stride), padding)
    assert_allclose(dx, naive_dx, atol=1e-12)
    assert_allclose(dw, naive_dw, atol=1e-12)


@given(pictures, sides, strides, seeds)
def test_both_ways_to_the_pictures_gradient_agree(shape, kernel, stride, seed):
    rng = np.random.default_rng(seed)
    grid = windows.lay(shape[1:], pair(kernel), (1, 1), "same")
    weight = rng.standard_normal((*pair(kernel), shape[3], 3))
    dy = rng.standard_normal((shape[0], *grid.output, 3))
    correlated, scattered = (
        way(dy, weight, grid) for way in (windows._correlate_back, windows._scatter_back)
    )
    assert_allclose(correlated, scattered, atol=1e-12)


def test_a_kernel_is_not_turned_around():
    x = np.zeros((1, 3, 3, 1))
    x[0, 0, 1] = 1
    weight = np.arange(9.0).reshape(3, 3, 1, 1)
    assert Conv2D(1, 3, bias=False).forward({"weight": weight}, x, None)[0].item() == 1


@given(pictures, sides, st.none() | strides, seeds)
def test_max_pooling_and_its_gradient_are_those_of_naive_loops(shape, size, stride, seed):
    rng = np.random.default_rng(seed)
    # So few different numbers that many are equal.
    x = rng.integers(-2, 3, shape).astype(float)
    (kh, kw), (sh, sw) = pair(size), pair(size if stride is None else stride)
    y, cache = MaxPool2D(size, stride).forward({}, x, None)
    dy = rng.standard_normal(y.shape)
    expected, expected_dx = np.zeros_like(y), np.zeros_like(x)
    for n, i, j, c in np.ndindex(y.shape):
        window = x[n, i * sh : i * sh + kh, j * sw : j * sw + kw, c]
        expected[n, i, j, c] = window.max()
        # Column by column: the furthest left, and in its column the uppermost.
        column, row = divmod(int(window.T.argmax()), kh)
        expected_dx[n, i * sh + row, j * sw + column, c] += dy[n, i, j, c]
    assert y.shape[1:3] == ((shape[1] - kh) // sh + 1, (shape[2] - kw) // sw + 1)
    assert_allclose(y, expected)
    assert_allclose(MaxPool2D(size, stride).backward({}, {}, cache, dy), expected_dx, atol=1e-12)


def test_global_average_pooling_is_the_mean_of_each_channel():
    x = np.arange(24.0).reshape(1, 3, 4, 2)
    y, cache = GlobalAveragePooling().forward({}, x, None)
    assert_allclose(y, [[11, 12]])
    dx = GlobalAveragePooling().backward({}, {}, cache, np.array([[12.0, 24.0]]))
    assert_allclose(dx, np.broadcast_to([1.0, 2.0], x.shape))


def test_a_large_pictures_windows_are_never_all_in_memory(monkeypatch):
    monkeypatch.setattr(windows, "BLOCK", 5_000)
    grid = windows.lay((64, 64, 3), (5, 5), (1, 1), "same")
    padded = 68 * 68 * 3
    assert grid.scratch_size(3) <= 5_000 + padded < 64 * 64 * 75


@pytest.mark.parametrize(
    ("layer", "shape", "what"),
    [
        (Conv2D(8, 9), (8, 8, 1), "a kernel of 9 does not fit into a height of 8: make it smaller, or pad"),
        (Conv2D(8, (3, 9)), (8, 8), "a kernel of 9 does not fit into a width of 8"),
        (MaxPool2D(5), (8, 4, 1), "a kernel of 5 does not fit into a width of 4"),
        (Conv2D(8, 3, 9), (8, 8, 1), "a stride of 9 skips all of a height of 8 but its first window"),
        (MaxPool2D(2, (1, 20)), (8, 8, 1), "a stride of 20 skips all of a width of 8 but its first window"),
        (Conv2D(8, 40, padding="same"), (8, 8, 1), "most of a kernel of 40 never meets a height of 8"),
        (Conv2D(8, 3), (64,), r"conv2d takes pictures, \(height, width, channels\), not \(64,\)"),
        (MaxPool2D(2), (28, 28), r"max_pool2d takes pictures, .* not \(28, 28\)"),
        (GlobalAveragePooling(), (28,), r"global_average_pooling takes pictures, .* not \(28,\)"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place_and_what_would_be_right(layer, shape, what):
    with pytest.raises(RecipeError, match=rf"^network\[0\]: {what}"):
        plan([layer, Flatten(), Dense(2)], shape)


def test_a_picture_needs_no_axis_for_its_one_channel():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 8, 9))
    outputs = []
    for shape in ((8, 9), (8, 9, 1)):
        network = Network([Conv2D(3, 3), Flatten(), Dense(2)], shape, np.float64)
        network.initialize(np.random.default_rng(1))
        outputs.append(network.forward(x.reshape(-1, *shape))[0])
    assert_allclose(*outputs)


def test_the_first_weights_keep_the_scale_of_what_goes_in():
    rng = np.random.default_rng(0)
    network = Network([Conv2D(256, 5)], (9, 9, 8))
    network.initialize(rng)
    assert network.parameters["0.weight"].std() == pytest.approx((2 / (5 * 5 * 8)) ** 0.5, rel=0.02)
    assert not network.parameters["0.bias"].any()
