import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from nncore import normalization
from nncore.datasets import Split
from nncore.errors import RecipeError
from nncore.layers import Dense
from nncore.losses import LOSSES
from nncore.network import Network, plan
from nncore.normalization import BatchNorm
from nncore.optimizers import SGD
from nncore.training import fit

shapes = st.one_of(
    st.tuples(st.integers(2, 9), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.integers(1, 5)),
)
seeds = st.integers(0, 2**32 - 1)


def arrays(channels, rng):
    names = ("scale", "shift", "mean", "variance")
    return {name: rng.uniform(0.5, 2, channels) for name in names}


@given(shapes, seeds, st.sampled_from([1, 7, 32_768]))
def test_each_channel_is_normalized_over_the_whole_batch_however_it_is_cut_up(shape, seed, block):
    rng = np.random.default_rng(seed)
    x, views = rng.normal(3, 2, shape), arrays(shape[-1], rng)
    layer = BatchNorm(epsilon=1e-3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(normalization, "BLOCK", block)
        y, _ = layer.forward(views, x, rng)
    axes = tuple(range(len(shape) - 1))
    expected = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-3) * views["scale"] + views["shift"]
    assert_allclose(y, expected, atol=1e-12)


@given(shapes, seeds, st.floats(0, 0.99))
def test_running_statistics_move_towards_the_batchs_and_are_used_outside_training(shape, seed, momentum):
    rng = np.random.default_rng(seed)
    x, views = rng.normal(3, 2, shape), arrays(shape[-1], rng)
    before = {name: array.copy() for name, array in views.items()}
    layer = BatchNorm(momentum)
    _, cache = layer.forward(views, x, rng)
    # A forward pass alone moves nothing.
    assert all((views[name] == before[name]).all() for name in before)
    layer.fold(views, cache)
    axes = tuple(range(len(shape) - 1))
    batch = {"mean": x.mean(axes), "variance": x.var(axes, ddof=1)}
    for name, value in batch.items():
        assert_allclose(views[name], momentum * before[name] + (1 - momentum) * value)
    y, _ = layer.forward(views, x, None)
    inverse = 1 / np.sqrt(views["variance"] + layer.epsilon)
    assert_allclose(y, (x - views["mean"]) * inverse * views["scale"] + views["shift"])


def test_far_from_zero_no_digits_are_lost_in_float32():
    x = np.random.default_rng(0).normal(1000, 1, (512, 8, 8, 3)).astype(np.float32)
    views = {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32)}
    y, _ = BatchNorm().forward(views, x, np.random.default_rng(0))
    assert_allclose(y.std(axis=(0, 1, 2)), 1, rtol=1e-3)
    assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-3)


def test_a_batch_of_a_single_number_a_channel_comes_out_as_the_shift():
    views = arrays(3, np.random.default_rng(0))
    y, cache = BatchNorm().forward(views, np.array([[1.0, 2.0, 3.0]]), np.random.default_rng(0))
    assert_allclose(y, views["shift"][None])
    before = {name: array.copy() for name, array in views.items()}
    BatchNorm().fold(views, cache)
    # Such a batch has no variance to learn from, and its mean alone would not go with the variance kept.
    assert all((views[name] == before[name]).all() for name in before)


def test_running_statistics_are_state_that_no_optimizer_moves_and_training_learns():
    network = Network([BatchNorm(), Dense(1)], (2,))
    network.initialize(np.random.default_rng(0))
    assert network.parameters.keys() == {"0.scale", "0.shift", "1.weight", "1.bias"}
    assert network.state.keys() == {"0.mean", "0.variance"}
    x = np.random.default_rng(0).normal([3, -5], [2, 1], (4096, 2)).astype(np.float32)
    fit(
        network,
        Split(x, x[:, :1]),
        loss=LOSSES["mean_squared_error"],
        optimizer=SGD(0.01, weight_decay=0.5),
        epochs=3,
    )
    assert_allclose(network.state["0.mean"], [3, -5], atol=0.5)
    assert_allclose(network.state["0.variance"], [4, 1], rtol=0.3)


@pytest.mark.parametrize("shape", [(), (28, 28)])
def test_what_has_no_channels_is_refused(shape):
    with pytest.raises(RecipeError, match=r"network\[0\]: batch_norm takes \(features\) or "):
        plan([BatchNorm()], shape)
