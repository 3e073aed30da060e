import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.convolution import Conv2D
from nncore.errors import RecipeError
from nncore.gradcheck import directional_error
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.network import MOST_PARAMETERS, Network, plan

sizes = st.integers(1, 6)
seeds = st.integers(0, 2**32 - 1)
hidden = st.lists(
    st.one_of(
        st.builds(Dense, sizes, st.booleans(), st.sampled_from(["he", "glorot"])),
        st.sampled_from([Sigmoid(), Tanh(), Dropout(0.3)]),
    ),
    max_size=5,
)


def build(layers, shape=(3,), dtype=np.float64, seed=0):
    network = Network(layers, shape, dtype)
    network.initialize(np.random.default_rng(seed))
    return network


def gradient_of(network, x, dy, **keywords):
    _, caches = network.forward(x, np.random.default_rng(1))
    gradients = network.parameters.like()
    gradients.flat[...] = np.nan
    dx = network.backward(caches, dy, network.views_of(gradients), **keywords)
    return dx, gradients.flat


@given(hidden, sizes, sizes, sizes, seeds)
def test_the_gradients_of_a_whole_network_are_the_measured_slopes(layers, a, b, count, seed):
    network = build([Flatten(), *layers, Dense(2)], (a, b), seed=seed)
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((count, a, b)), rng.standard_normal((count, 2))
    dx, flat = gradient_of(network, x, dy, wants_dx=True)

    def by_inputs(point):
        return float(np.sum(network.forward(point, np.random.default_rng(1))[0] * dy))

    def by_parameters(point):
        network.parameters.flat[...] = point
        return by_inputs(x)

    assert directional_error(by_inputs, x, dx, rng) < 1e-5
    assert directional_error(by_parameters, network.parameters.flat.copy(), flat, rng) < 1e-5


@given(hidden, seeds)
def test_gradients_are_the_same_when_nobody_wants_the_one_by_the_inputs(layers, seed):
    network = build([Flatten(), *layers, Dense(2), Tanh()], (2, 2), seed=seed)
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((4, 2, 2)), rng.standard_normal((4, 2))
    nothing, flat = gradient_of(network, x, dy)
    assert nothing is None
    assert_array_equal(flat, gradient_of(network, x, dy, wants_dx=True)[1])


def test_a_network_without_parameters_still_has_a_gradient_by_its_inputs():
    network = build([Flatten(), Tanh()], (2, 2))
    x = np.random.default_rng(0).standard_normal((3, 2, 2))
    dx, _ = gradient_of(network, x, np.ones((3, 4)), wants_dx=True)
    assert_allclose(dx, 1 - np.tanh(x) ** 2)
    assert gradient_of(network, x, np.ones((3, 4)))[0] is None


@given(hidden, st.sampled_from([np.float32, np.float64]))
def test_forward_keeps_the_dtype_and_writes_nothing(layers, dtype):
    network = build([*layers, Dense(2)], dtype=dtype)
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(dtype)
    x.flags.writeable = False
    before = vars(network).copy(), network.parameters.flat.copy()
    network.parameters.flat.flags.writeable = False
    for rng in (None, np.random.default_rng(0)):
        y, _ = network.forward(x, rng)
        assert (y.dtype, y.shape) == (dtype, (5, 2))
    assert vars(network) == before[0]
    assert_array_equal(network.parameters.flat, before[1])


def test_dropout_is_off_without_a_generator():
    network = build([Dense(50), Dropout(0.5)])
    x = np.ones((4, 3))
    assert (network.forward(x)[0] != 0).all()
    assert (network.forward(x, np.random.default_rng(0))[0] == 0).any()


def test_parameters_are_named_by_the_place_of_their_layer():
    network = Network([Flatten(), Dense(4), ReLU(), Dense(2, bias=False)], (2, 3))
    assert network.parameters.shapes == {"1.weight": (6, 4), "1.bias": (4,), "3.weight": (4, 2)}
    assert network.layer_shapes == [(6,), (4,), (4,), (2,)]
    assert network.output_shape == (2,)
    assert network.parameters.flat.dtype == np.float32
    assert not network.parameters.flat.any()


def test_the_tenth_layer_is_not_mistaken_for_the_first():
    network = Network([Dense(k) for k in range(1, 13)], (1,))
    views = network.views_of(network.parameters)
    assert [layer["bias"].shape for layer in views] == [(k,) for k in range(1, 13)]


def test_views_are_windows_on_the_flat_buffer():
    network = build([Dense(4), Dense(2)])
    for views in network.views_of(network.parameters):
        for view in views.values():
            assert np.shares_memory(view, network.parameters.flat)


@given(hidden)
def test_first_weights_come_from_the_generator_alone_and_round_from_float64(layers):
    layers = [*layers, Dense(2)]
    double, again = build(layers, seed=1), build(layers, seed=1)
    assert_array_equal(double.parameters.flat, again.parameters.flat)
    single = build(layers, dtype=np.float32, seed=1)
    assert_array_equal(single.parameters.flat, double.parameters.flat.astype(np.float32))
    assert not np.array_equal(double.parameters.flat, build(layers, seed=2).parameters.flat)


def test_config_names_each_layer_with_its_settings():
    network = Network([Flatten(), Dense(3), Dropout(0.5)], (2,))
    assert network.config() == [
        {"type": "flatten"},
        {"type": "dense", "units": 3, "bias": True, "initializer": "he"},
        {"type": "dropout", "rate": 0.5},
    ]


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([], (2,), r"^network: must have at least one layer$"),
        ([Dense(2)], (28, 28), r"^network\[0\]: dense takes flat inputs, not \(28, 28\)"),
        ([ReLU(), Dropout(0.1), Dense(2)], (2, 2), r"^network\[2\]: dense takes flat inputs"),
        ([Dense(10_000), Dense(10_000)], (10,), r"^network\[1\]: more than 50,000,000 parameters in all$"),
        # 2^48 inputs times 2^16 units wrap to zero in 64 bits.
        ([Flatten(), Dense(2**16, bias=False)], (2**16,) * 3, r"^network\[1\]: more than"),
    ],
)
def test_a_network_that_cannot_work_is_refused_with_the_place(layers, shape, message):
    with pytest.raises(RecipeError, match=message):
        plan(layers, shape)


def test_the_bound_on_parameters_is_inclusive():
    assert plan([Dense(MOST_PARAMETERS // 1000, bias=False)], (1000,))
    with pytest.raises(RecipeError):
        plan([Dense(MOST_PARAMETERS // 1000), Dense(1)], (1000,))


@pytest.mark.parametrize(
    ("layers", "shape", "what"),
    [
        # A few megabytes of weights, and thousands of millions of products.
        (
            [Conv2D(300, 1), Conv2D(14, 27, padding="same")],
            (28, 28),
            r"^network: takes 2,400,\d{3},\d{3} multiply-adds an example, more than 1,073,741,824$",
        ),
        (
            [Conv2D(1, 63, (32, 1), "same")],
            (32, 64_536),
            r"^network\[0\]: works in \d+,\d{3},\d{3} numbers at once, more than 16,777,216$",
        ),
    ],
)
def test_what_a_small_file_can_ask_for_is_bounded(layers, shape, what):
    with pytest.raises(RecipeError, match=what):
        plan(layers, shape)
