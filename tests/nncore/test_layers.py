import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.config import from_json, tagged, to_json
from nncore.convolution import PADDINGS, Conv2D
from nncore.ensemble import Ensemble
from nncore.errors import RecipeError
from nncore.gradcheck import directional_error
from nncore.initializers import INITIALIZERS
from nncore.layers import Dense, Dropout, Flatten, Layer, ReLU, Sigmoid, Tanh
from nncore.network import LAYERS
from nncore.normalization import BatchNorm
from nncore.parameters import Parameters
from nncore.pooling import GlobalAveragePooling, MaxPool2D

sizes = st.integers(1, 6)
flat = st.tuples(sizes)
any_shape = st.lists(sizes, min_size=1, max_size=3).map(tuple)
pictures = st.tuples(st.integers(3, 7), st.integers(3, 7), sizes)
sides = st.one_of(st.integers(1, 3), st.tuples(st.integers(1, 3), st.integers(1, 3)))


@st.composite
def ensembles(draw):
    """Networks of a few layers, all with the same number of outputs."""
    output = draw(st.sampled_from(["classes", "binary", "regression"]))
    last = Dense(draw(st.integers(2 if output == "classes" else 1, 4)))
    begins = [
        # Nothing far from zero goes into the last layer: where probabilities are 0 or 1 slopes are too flat.
        (Flatten(), Tanh(), Dropout(0.3), Dense(3), Sigmoid()),
        (BatchNorm(), Flatten(), Dense(3), Tanh()),
        (Conv2D(2, 2), BatchNorm(), MaxPool2D(2, 1), Tanh(), GlobalAveragePooling()),
    ]
    members = draw(st.lists(st.sampled_from(begins), min_size=2, max_size=3))
    return Ensemble(tuple((*layers, last) for layers in members), output)


# Layers of every kind, each with the shapes of one example that it takes. A new kind belongs here.
CASES = {
    "batch_norm": (st.builds(BatchNorm, st.floats(0, 0.99)), st.one_of(flat, pictures)),
    "conv2d": (
        st.builds(Conv2D, sizes, sides, sides, st.sampled_from(PADDINGS), st.booleans()),
        st.one_of(pictures, pictures.map(lambda shape: shape[:2])),
    ),
    "dense": (st.builds(Dense, sizes, st.booleans(), st.sampled_from(sorted(INITIALIZERS))), flat),
    "dropout": (st.builds(Dropout, st.floats(0, 0.9)), any_shape),
    "ensemble": (ensembles(), pictures),
    "flatten": (st.just(Flatten()), any_shape),
    "global_average_pooling": (st.just(GlobalAveragePooling()), pictures),
    "max_pool2d": (st.builds(MaxPool2D, sides, st.one_of(st.none(), sides)), pictures),
    "relu": (st.just(ReLU()), any_shape),
    "sigmoid": (st.just(Sigmoid()), any_shape),
    "tanh": (st.just(Tanh()), any_shape),
}


@dataclasses.dataclass
class Case:
    """A layer with parameters, inputs and a gradient by its outputs, all of them read-only."""

    layer: Layer
    shape: tuple
    count: int
    seed: int
    dtype: type = np.float64

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.parameters = Parameters(self.layer.parameter_shapes(self.shape), self.dtype)
        self.parameters.flat[...] = rng.standard_normal(self.parameters.flat.shape)
        self.state = Parameters(self.layer.state_shapes(self.shape), self.dtype)
        # Above zero, as a variance is.
        self.state.flat[...] = rng.uniform(0.5, 2, self.state.flat.shape)
        # Away from zero, where ReLU has no derivative.
        x = rng.uniform(0.1, 2, (self.count, *self.shape)) * rng.choice([-1, 1], (self.count, *self.shape))
        self.x = x.astype(self.dtype)
        output = (self.count, *self.layer.output_shape(self.shape))
        self.dy = rng.standard_normal(output).astype(self.dtype)
        for array in (self.x, self.dy, *self.parameters.values(), *self.state.values()):
            array.flags.writeable = False

    def forward(self, x=None, parameters=None, training=True):
        rng = np.random.default_rng(self.seed) if training else None
        return self.layer.forward(self.views(parameters), self.x if x is None else x, rng)

    def views(self, parameters=None):
        return {**(parameters or self.parameters), **self.state}

    def infer(self, out):
        return self.layer.infer(self.views(), self.x, out)

    def backward(self, cache, **keywords):
        gradients = self.parameters.like()
        gradients.flat[...] = np.nan
        return self.layer.backward(self.views(), gradients, cache, self.dy, **keywords), gradients


def cases(kind, dtypes=(np.float64,)):
    layers, shapes = CASES[kind]
    return st.builds(Case, layers, shapes, sizes, st.integers(0, 2**32 - 1), st.sampled_from(dtypes))


every_kind = pytest.mark.parametrize("kind", sorted(LAYERS))
# Of each of a dozen kinds.
some = settings(max_examples=25)
BOTH = (np.float32, np.float64)


def test_every_kind_of_layer_is_tested_here():
    assert CASES.keys() == LAYERS.keys()


@every_kind
@some
@given(data=st.data())
def test_the_gradient_by_the_inputs_is_the_measured_slope(kind, data):
    case = data.draw(cases(kind))
    dx, _ = case.backward(case.forward()[1], wants_dx=True)
    assert dx.shape == case.x.shape

    def function(x):
        return float(np.sum(case.forward(x)[0] * case.dy))

    assert directional_error(function, case.x, dx, np.random.default_rng(case.seed)) < 1e-5


@every_kind
@some
@given(data=st.data())
def test_the_gradient_by_the_parameters_is_the_measured_slope(kind, data):
    case = data.draw(cases(kind))
    _, gradients = case.backward(case.forward()[1])

    def function(point):
        parameters = case.parameters.like()
        parameters.flat[...] = point
        return float(np.sum(case.forward(parameters=parameters)[0] * case.dy))

    error = directional_error(
        function, case.parameters.flat, gradients.flat, np.random.default_rng(case.seed)
    )
    assert error < 1e-5


@every_kind
@some
@given(data=st.data())
def test_what_comes_out_has_the_shape_that_was_promised_and_the_dtype_that_went_in(kind, data):
    case = data.draw(cases(kind, BOTH))
    for training in (True, False):
        y, cache = case.forward(training=training)
        assert (y.shape, y.dtype) == (case.dy.shape, case.dtype)
        dx, gradients = case.backward(cache, wants_dx=True)
        assert (dx.shape, dx.dtype) == (case.x.shape, case.dtype)
        assert np.isfinite(gradients.flat).all()
    inferred = case.infer(np.empty_like(case.dy))
    assert (inferred.shape, inferred.dtype) == (case.dy.shape, case.dtype)


@every_kind
@some
@given(data=st.data())
def test_neither_forward_nor_backward_nor_infer_writes_anything_but_gradients_and_out(kind, data):
    # The arrays are read-only: who writes to them raises.
    case = data.draw(cases(kind, BOTH))
    before = dict(vars(case.layer)), case.x.copy(), case.parameters.flat.copy(), case.dy.copy()
    y, cache = case.forward()
    kept = y.copy()
    case.backward(cache)
    case.infer(np.empty_like(case.dy))
    assert vars(case.layer) == before[0]
    for array, copy in zip((case.x, case.parameters.flat, case.dy), before[1:], strict=True):
        assert_array_equal(array, copy)
    assert_array_equal(y, kept)


@every_kind
@some
@given(data=st.data())
def test_infer_gives_what_forward_gives_outside_training(kind, data):
    case = data.draw(cases(kind, BOTH))
    out = np.full_like(case.dy, np.nan)
    y = case.infer(out)
    assert np.shares_memory(y, out) or np.shares_memory(y, case.x)
    assert_allclose(y, case.forward(training=False)[0], rtol=1e-6)


@every_kind
@some
@given(data=st.data())
def test_infer_gives_the_same_in_room_that_was_used_before(kind, data):
    case = data.draw(cases(kind, BOTH))
    # Of no more than was asked for, and of no number.
    scratch = np.full(case.layer.scratch_size(case.shape), np.nan, case.dtype)
    y = case.layer.infer(case.views(), case.x, np.full_like(case.dy, np.nan), scratch)
    assert_array_equal(y, case.infer(np.empty_like(case.dy)))


@pytest.mark.parametrize("kind", ["batch_norm", "relu", "sigmoid", "tanh"])
@given(data=st.data())
def test_infer_gives_the_same_where_its_input_was(kind, data):
    case = data.draw(cases(kind, BOTH))
    assert case.layer.works_in_place
    x = case.x.copy()
    assert case.layer.infer(case.views(), x, x) is x
    assert_array_equal(x, case.infer(np.empty_like(case.dy)))


@every_kind
@some
@given(data=st.data())
def test_it_does_not_matter_how_inputs_and_gradients_lie_in_memory(kind, data):
    case = data.draw(cases(kind))
    y, cache = case.forward()
    dx, gradients = case.backward(cache)
    case.x, case.dy = np.asfortranarray(case.x), np.asfortranarray(case.dy)
    again, cache = case.forward()
    assert_allclose(again, y, rtol=1e-9, atol=1e-12)
    dx_again, gradients_again = case.backward(cache)
    assert_allclose(dx_again, dx, rtol=1e-9, atol=1e-9)
    assert_allclose(gradients_again.flat, gradients.flat, rtol=1e-9, atol=1e-9)


@every_kind
@some
@given(data=st.data())
def test_a_row_does_not_depend_on_its_neighbours(kind, data):
    case = data.draw(cases(kind))
    alone = [case.forward(case.x[i : i + 1], training=False)[0] for i in range(case.count)]
    assert_allclose(case.forward(training=False)[0], np.concatenate(alone), rtol=1e-12, atol=1e-12)


@every_kind
@some
@given(data=st.data())
def test_no_rows_are_no_rows(kind, data):
    layers, shapes = CASES[kind]
    case = Case(data.draw(layers), data.draw(shapes), 0, 0)
    y, cache = case.forward()
    assert y.shape == case.infer(np.empty_like(case.dy)).shape == case.dy.shape
    dx, gradients = case.backward(cache)
    assert dx.shape == case.x.shape
    assert_array_equal(gradients.flat, 0)


@dataclasses.dataclass(frozen=True)
class Holder:
    layer: Layer = tagged(LAYERS)


@every_kind
@some
@given(data=st.data())
def test_a_layer_comes_back_from_its_config(kind, data):
    holder = Holder(data.draw(CASES[kind][0]))
    config = to_json(holder)
    assert config["layer"]["type"] == kind
    assert from_json(Holder, config) == holder
    with pytest.raises(RecipeError, match=r"layer\.surprise: is not known here"):
        from_json(Holder, {"layer": config["layer"] | {"surprise": 1}})


@every_kind
@some
@given(data=st.data())
def test_a_layer_is_frozen(kind, data):
    layer = data.draw(CASES[kind][0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.anything = 1


@given(st.data(), st.booleans())
def test_dense_skips_the_gradient_by_its_inputs_where_it_is_not_wanted(data, biased):
    case = data.draw(cases("dense"))
    _, cache = case.forward()
    dx, gradients = case.backward(cache, wants_dx=False)
    assert dx is None
    assert_array_equal(gradients.flat, case.backward(cache, wants_dx=True)[1].flat)


@given(sizes, sizes, st.booleans(), st.integers(0, 1000))
def test_dense_starts_with_a_zero_bias_and_drawn_weights(d, k, biased, seed):
    layer = Dense(k, biased)
    parameters = Parameters(layer.parameter_shapes((d,)))
    parameters.flat[...] = np.nan
    layer.initialize(parameters, np.random.default_rng(seed))
    assert parameters.keys() == ({"weight", "bias"} if biased else {"weight"})
    assert (parameters["weight"] != 0).all()
    assert not biased or (parameters["bias"] == 0).all()


@pytest.mark.parametrize("filled", [0, 1, 150, 151, 600])
def test_dense_answers_one_example_alike_however_much_of_it_is_zero(filled):
    case = Case(Dense(120), (600,), 1, filled)
    x = np.zeros_like(case.x)
    places = np.random.default_rng(filled).permutation(600)[:filled]
    x[:, places] = case.x[:, places]
    scratch = np.full(case.layer.scratch_size(case.shape), np.nan)
    assert scratch.size
    y = case.layer.infer(case.views(), x, np.full_like(case.dy, np.nan), scratch)
    assert_allclose(y, case.forward(x, training=False)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(), (2, 3), (28, 28)])
def test_dense_refuses_what_is_not_flat(shape):
    with pytest.raises(ValueError, match=r"put .*flatten.* before it"):
        Dense(1).output_shape(shape)


@given(any_shape, sizes, st.floats(0, 0.9), st.integers(0, 1000))
def test_dropout_zeroes_or_scales_up_and_the_gradient_goes_the_same_way(shape, count, rate, seed):
    case = Case(Dropout(rate), shape, count, seed)
    y, cache = case.forward()
    assert ((y == 0) | np.isclose(y, case.x / (1 - rate), rtol=1e-6)).all()
    dx, _ = case.backward(cache)
    assert_array_equal(dx == 0, y == 0)
    assert_allclose(dx * case.x, y * case.dy, rtol=1e-6)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_its_share_and_keeps_the_mean(rate):
    x = np.ones((1000, 100), np.float32)
    y, _ = Dropout(rate).forward({}, x, np.random.default_rng(0))
    assert np.mean(y == 0) == pytest.approx(rate, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.02)


def test_dropout_outside_training_is_nothing():
    x = np.ones((3, 4), np.float32)
    assert Dropout(0.9).forward({}, x, None)[0] is x


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
def test_flatten_goes_row_by_row(a, b, c):
    x = np.arange(2 * a * b * c).reshape(2, a, b, c)
    expected = [[x[n, i, j, k] for i in range(a) for j in range(b) for k in range(c)] for n in range(2)]
    assert_array_equal(Flatten().forward({}, x, None)[0], expected)


def test_relu_has_no_slope_at_zero():
    _, cache = ReLU().forward({}, np.zeros((1, 1)), None)
    assert ReLU().backward({}, {}, cache, np.ones((1, 1))) == 0
