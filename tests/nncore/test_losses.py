import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.gradcheck import directional_error
from nncore.losses import LOSSES

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
every_loss = pytest.mark.parametrize("name", sorted(LOSSES))

# How targets are made for n examples and k outputs. A new kind of output belongs here.
TARGETS = {
    "regression": lambda rng, n, k, dtype: rng.standard_normal((n, k)).astype(dtype),
    "binary": lambda rng, n, k, dtype: rng.integers(2, size=(n, k)).astype(dtype),
    "classes": lambda rng, n, k, dtype: rng.integers(k, size=n),
}


def example(name, n, k, seed, dtype=np.float64):
    rng = np.random.default_rng(seed)
    outputs = (3 * rng.standard_normal((n, k))).astype(dtype)
    return outputs, TARGETS[LOSSES[name].output](rng, n, k, dtype), rng


@every_loss
@given(sizes, sizes, seeds)
def test_the_gradient_is_the_measured_slope(name, n, k, seed):
    outputs, targets, rng = example(name, n, k, seed)

    def function(point):
        return LOSSES[name].compute(point, targets)[0]

    assert directional_error(function, outputs, LOSSES[name].compute(outputs, targets)[1], rng) < 1e-5


@every_loss
@given(sizes, sizes, seeds, st.sampled_from([np.float32, np.float64]))
def test_a_loss_is_a_float_and_its_gradient_has_the_dtype_and_shape_of_the_outputs(name, n, k, seed, dtype):
    outputs, targets, _ = example(name, n, k, seed, dtype)
    outputs.flags.writeable = targets.flags.writeable = False
    loss, gradient = LOSSES[name].compute(outputs, targets)
    assert type(loss) is float
    assert loss >= 0
    assert (gradient.dtype, gradient.shape) == (dtype, outputs.shape)
    assert not np.shares_memory(gradient, outputs)


@every_loss
@given(sizes, sizes, seeds, st.integers(2, 4))
def test_a_loss_is_a_mean_so_that_repeating_a_batch_does_not_change_it(name, n, k, seed, times):
    outputs, targets, _ = example(name, n, k, seed)
    once = LOSSES[name].compute(outputs, targets)[0]
    often = LOSSES[name].compute(np.concatenate([outputs] * times), np.concatenate([targets] * times))[0]
    assert often == pytest.approx(once, rel=1e-9, abs=1e-12)


@every_loss
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_nan_in_the_outputs_is_nan_in_the_loss(name):
    outputs, targets, _ = example(name, 3, 2, 0)
    outputs[1, 1] = np.nan
    assert np.isnan(LOSSES[name].compute(outputs, targets)[0])


def test_a_perfect_answer_costs_nothing():
    y = np.array([[1.0, 2.0]])
    loss, gradient = LOSSES["mean_squared_error"].compute(y, y)
    assert loss == 0
    assert_array_equal(gradient, 0)
    certain = np.array([[200.0], [-200.0]])
    assert LOSSES["binary_cross_entropy"].compute(certain, np.array([[1.0], [0.0]]))[0] < 1e-80
    assert LOSSES["softmax_cross_entropy"].compute(np.eye(3) * 200, np.arange(3))[0] < 1e-80


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_knowing_nothing_costs_the_logarithm_of_the_number_of_classes(classes):
    loss, _ = LOSSES["softmax_cross_entropy"].compute(np.zeros((3, classes)), np.zeros(3, int))
    assert loss == pytest.approx(np.log(classes))


@given(st.integers(2, 6), st.integers(1, 5), st.floats(0.01, 0.9), st.integers(0, 999))
def test_smoothed_labels_are_a_mixture_of_the_label_and_all_classes(classes, count, smoothing, seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.standard_normal((count, classes)), rng.integers(classes, size=count)
    loss, gradient = LOSSES["softmax_cross_entropy"].compute(logits, labels, smoothing=smoothing)
    targets = (1 - smoothing) * np.eye(classes)[labels] + smoothing / classes
    logarithms = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert loss == pytest.approx(-(targets * logarithms).sum() / count)
    assert_allclose(gradient, (np.exp(logarithms) - targets) / count, atol=1e-12)


@given(st.integers(1, 5), st.floats(0.01, 0.9), st.integers(0, 999))
def test_smoothed_targets_of_two_classes_move_towards_a_half(count, smoothing, seed):
    rng = np.random.default_rng(seed)
    logits, targets = rng.standard_normal((count, 1)), rng.integers(2, size=(count, 1)).astype(float)
    smoothed = LOSSES["binary_cross_entropy"].compute(logits, targets, smoothing=smoothing)
    plain = LOSSES["binary_cross_entropy"].compute(logits, targets * (1 - smoothing) + smoothing / 2)
    assert smoothed[0] == pytest.approx(plain[0])
    assert_allclose(smoothed[1], plain[1])
