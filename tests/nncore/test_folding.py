import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.convolution import Conv2D
from nncore.ensemble import Ensemble
from nncore.errors import RecipeError
from nncore.folding import fold_batch_norms
from nncore.layers import Dense, Dropout, Flatten, ReLU, Tanh
from nncore.network import Network, plan
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 4)
convolutions = st.builds(Conv2D, sizes, st.integers(1, 3), padding=st.just("same"), bias=st.booleans())
pools = st.sampled_from([MaxPool2D(2), MaxPool2D(2, 1)])
between = st.sampled_from([BatchNorm(), BatchNorm(epsilon=0.1), ReLU(), Tanh(), Dropout(0.3)])
on_pictures = st.lists(convolutions | pools | between, max_size=6)
on_rows = st.lists(st.builds(Dense, sizes, st.booleans()) | between, max_size=5)
ends = st.sampled_from([(Flatten(),), (GlobalAveragePooling(),), (GlobalAveragePooling(), Flatten())])


def build(layers, shape=(6, 6, 2), seed=0, dtype=np.float64, *, rising=False):
    """Return a network whose statistics are those of no data at all."""
    network = Network(layers, shape, dtype)
    rng = np.random.default_rng(seed)
    for name, array in network.arrays.items():
        array[...] = rng.standard_normal(array.shape)
        if name.endswith("variance") or (rising and name.endswith("scale")):
            array[...] = np.abs(array) + 0.1
    return network


def kinds(network):
    return [type(layer).__name__ for layer in network.layers]


def inputs_of(network, count=5):
    rng = np.random.default_rng(1)
    return rng.standard_normal((count, *network.input_shape)).astype(network.flat.dtype)


def assert_gives_the_same(folded, network, rtol=1e-9, atol=1e-9):
    x = inputs_of(network)
    y = folded.forward(x)[0]
    assert y.dtype == network.flat.dtype
    assert_allclose(y, network.forward(x)[0], rtol=rtol, atol=atol)


@given(on_pictures, ends, on_rows, seeds, st.booleans())
def test_a_folded_network_gives_what_it_gave_before(pictures, end, rows, seed, rising):
    layers = [*pictures, *end, *rows, Dense(2)]
    try:
        plan(layers, (6, 6, 2))
    except RecipeError:
        assume(False)
    network = build(layers, seed=seed, rising=rising)
    before = network.flat.copy()
    folded = fold_batch_norms(network)
    assert_gives_the_same(folded, network)
    assert_array_equal(network.flat, before)
    assert folded is network or not np.shares_memory(folded.flat, network.flat)


@given(on_pictures, seeds)
def test_in_float32_it_does_so_but_for_the_last_digits(pictures, seed):
    layers = [Conv2D(3, 3, bias=False), BatchNorm(), *pictures, Flatten(), Dense(2)]
    try:
        network = build(layers, seed=seed, dtype=np.float32)
    except RecipeError:
        assume(False)
    folded, outputs = fold_batch_norms(network), network.forward(inputs_of(network))[0]
    assert folded is not network
    assert_gives_the_same(folded, network, 1e-3, 1e-5 * max(1, float(np.abs(outputs).max())))


@given(on_pictures, on_rows, seeds)
def test_a_network_without_batch_norm_stays_itself(pictures, rows, seed):
    layers = [layer for layer in [*pictures, Flatten(), *rows] if not isinstance(layer, BatchNorm)]
    try:
        network = build(layers, seed=seed)
    except RecipeError:
        assume(False)
    assert fold_batch_norms(network) is network


LINEAR = [Conv2D(3, 3), Conv2D(3, 3, bias=False)]


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize(
    ("layers", "left"),
    [
        ([BatchNorm()], []),
        ([BatchNorm(), BatchNorm()], []),
        ([Dropout(0.5), BatchNorm(), ReLU()], ["Dropout", "ReLU"]),
        ([MaxPool2D(2), Dropout(0.5), BatchNorm()], ["MaxPool2D", "Dropout"]),
        ([BatchNorm(), MaxPool2D(2), BatchNorm()], ["MaxPool2D"]),
        ([GlobalAveragePooling(), BatchNorm()], ["GlobalAveragePooling"]),
        ([MaxPool2D(4), Flatten(), BatchNorm()], ["MaxPool2D", "Flatten"]),
        ([Flatten(), Dense(3), Flatten(), BatchNorm()], ["Flatten", "Dense", "Flatten"]),
    ],
)
def test_one_goes_into_the_linear_layer_before_it(linear, layers, left):
    network = build([linear, *layers], rising=True)
    folded = fold_batch_norms(network)
    assert kinds(folded) == ["Conv2D", *left]
    assert_gives_the_same(folded, network)


@pytest.mark.parametrize(
    "layers",
    [
        [BatchNorm(), Conv2D(2, 3)],
        [Conv2D(2, 3), ReLU(), BatchNorm()],
        [Conv2D(2, 3), ReLU(), MaxPool2D(2), BatchNorm()],
        [Conv2D(2, 3), Flatten(), BatchNorm()],
        [MaxPool2D(2), BatchNorm()],
        [Flatten(), BatchNorm(), Dense(2)],
    ],
)
def test_one_without_a_linear_layer_before_it_stays(layers):
    network = build(layers)
    assert fold_batch_norms(network) is network


def test_the_members_of_an_ensemble_are_folded_each_for_itself():
    first = (Conv2D(2, 3, bias=False), BatchNorm(), ReLU(), Flatten(), Dense(3), BatchNorm())
    second = (Flatten(), Dense(3), Tanh(), BatchNorm())
    network = build([BatchNorm(), Ensemble((first, second)), Dense(2), BatchNorm()])
    folded = fold_batch_norms(network)
    _, ensemble, _ = folded.layers
    assert ensemble.members == ((Conv2D(2, 3), ReLU(), Flatten(), Dense(3)), second)
    assert_gives_the_same(folded, network)


def test_a_negative_factor_does_not_go_through_a_maximum():
    network = build([Conv2D(3, 3), MaxPool2D(2), BatchNorm()], rising=True)
    network.arrays["2.scale"][1] = -1
    assert fold_batch_norms(network) is network
    network.arrays["2.scale"][1] = 0
    assert_gives_the_same(fold_batch_norms(network), network)


def test_a_negative_factor_goes_through_a_mean():
    network = build([Conv2D(3, 3), GlobalAveragePooling(), BatchNorm()])
    network.arrays["2.scale"][...] = -1
    folded = fold_batch_norms(network)
    assert kinds(folded) == ["Conv2D", "GlobalAveragePooling"]
    assert_gives_the_same(folded, network)


@pytest.mark.parametrize(
    ("name", "value"), [("0.weight", 1e30), ("1.shift", np.inf), ("1.variance", -1), ("1.scale", np.nan)]
)
def test_numbers_that_would_overflow_or_are_none_are_not_folded(name, value):
    network = build([Dense(3), BatchNorm()], (2,), dtype=np.float32)
    network.arrays["1.scale"][...] = 1e10
    network.arrays[name][...] = value
    assert fold_batch_norms(network) is network


def test_what_was_folded_is_the_textbooks_formula():
    network = build([Dense(2, bias=False), BatchNorm(epsilon=0.25)], (1,))
    for name, value in {
        "0.weight": [[3, 5]],
        "1.scale": [2, -4],
        "1.shift": [1, 1],
        "1.mean": [7, 1],
        "1.variance": [0.75, 3.75],
    }.items():
        network.arrays[name][...] = value
    folded = fold_batch_norms(network)
    assert_allclose(folded.arrays["0.weight"], [[3 * 2, 5 * -2]])
    assert_allclose(folded.arrays["0.bias"], [1 - 7 * 2, 1 + 1 * 2])
