import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.config import from_json, tagged, to_json
from nncore.optimizers import BLOCK, OPTIMIZERS, SGD, Adam, AdamW, Optimizer

rates = st.floats(1e-4, 1)
shares = st.floats(0, 0.99)
sizes = st.sampled_from([1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
dtypes = st.sampled_from([np.float32, np.float64])


def textbook_sgd(optimizer, weights, gradients, learning_rate):
    velocity = np.zeros_like(weights)
    for gradient in gradients:
        velocity = optimizer.momentum * velocity + gradient
        direction = gradient + optimizer.momentum * velocity if optimizer.nesterov else velocity
        weights = weights - learning_rate * direction
    return weights


def textbook_adam(optimizer, weights, gradients, learning_rate):
    mean, square = np.zeros_like(weights), np.zeros_like(weights)
    for t, gradient in enumerate(gradients, start=1):
        mean = optimizer.beta1 * mean + (1 - optimizer.beta1) * gradient
        square = optimizer.beta2 * square + (1 - optimizer.beta2) * gradient**2
        corrected = mean / (1 - optimizer.beta1**t), square / (1 - optimizer.beta2**t)
        weights = weights - learning_rate * corrected[0] / (np.sqrt(corrected[1]) + optimizer.epsilon)
    return weights


CASES = {
    "adam": (st.builds(Adam, rates, shares, st.floats(0.5, 0.9999), st.floats(1e-9, 0.1)), textbook_adam),
    "adamw": (st.builds(AdamW, rates, shares, st.floats(0.5, 0.9999), st.floats(1e-9, 0.1)), textbook_adam),
    "sgd": (st.builds(SGD, rates, st.just(0.0) | shares, st.booleans()), textbook_sgd),
}
every_optimizer = pytest.mark.parametrize("name", sorted(OPTIMIZERS))


def test_every_optimizer_has_its_textbook_loop_here():
    assert CASES.keys() == OPTIMIZERS.keys()


def steps(optimizer, weights, gradients, learning_rate):
    state = optimizer.start(weights)
    for count, gradient in enumerate(gradients, start=1):
        optimizer.step(weights, gradient, state, count=count, learning_rate=learning_rate)
    return state


@every_optimizer
@given(
    data=st.data(), size=sizes, count=st.integers(1, 5), dtype=dtypes, rate=rates, seed=st.integers(0, 999)
)
def test_an_optimizer_goes_where_the_textbook_loop_goes(name, data, size, count, dtype, rate, seed):
    optimizer, (strategy, textbook) = None, CASES[name]
    optimizer = data.draw(strategy)
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(size).astype(dtype)
    gradients = rng.standard_normal((count, size)).astype(dtype)
    expected = textbook(optimizer, weights.astype(float), gradients.astype(float), rate)
    gradients.flags.writeable = False
    state = steps(optimizer, weights, gradients, rate)
    assert weights.dtype == dtype
    assert {array.dtype for array in state.values()} <= {np.dtype(dtype)}
    assert_allclose(weights, expected, rtol=1e-4 if dtype == np.float32 else 1e-9, atol=1e-5)


def two_steps(optimizer):
    weights = np.array([1.0])
    steps(optimizer, weights, np.array([[0.5], [-1.0]]), 0.1)
    return weights[0]


# Worked out by hand, from w = 1 with η = 0.1 and the gradients 0.5, then -1.
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        # 1 - 0.05 + 0.1
        (SGD(), 1.05),
        # v = 0.5, then 0.45 - 1 = -0.55: 1 - 0.05 + 0.055
        (SGD(momentum=0.9), 1.005),
        # g + μv = 0.95, then -1 - 0.495 = -1.495: 1 - 0.095 + 0.1495
        (SGD(momentum=0.9, nesterov=True), 1.0545),
        # m̂ = 0.5, √v̂ = 0.5: a step of -η. Then m = 0.9 · 0.05 - 0.1 = -0.055, m̂ = -0.055 / 0.19,
        # v = 0.999 · 0.00025 + 0.001 = 0.00124975, v̂ = v / 0.001999
        (Adam(), 0.9 + 0.1 * (0.055 / 0.19) / math.sqrt(0.00124975 / 0.001999)),
    ],
)
def test_two_steps_by_hand(optimizer, expected):
    assert two_steps(optimizer) == pytest.approx(expected, abs=1e-7)


def test_nesterov_without_momentum_is_plain_descent():
    assert two_steps(SGD(nesterov=True)) == two_steps(SGD())


def test_plain_descent_needs_no_state():
    assert SGD().start(np.zeros(3)) == {}
    assert SGD(momentum=0.5).start(np.zeros(3)).keys() == {"velocity"}
    assert Adam().start(np.zeros(3)).keys() == {"mean", "square"}


@every_optimizer
@given(data=st.data(), size=sizes)
def test_the_state_starts_at_zero_in_memory_of_its_own(name, data, size):
    weights = np.ones(size, np.float32)
    for array in data.draw(CASES[name][0]).start(weights).values():
        assert (array.dtype, array.shape) == (weights.dtype, weights.shape)
        assert_array_equal(array, 0)
        assert not np.shares_memory(array, weights)


@dataclasses.dataclass(frozen=True)
class Holder:
    optimizer: Optimizer = tagged(OPTIMIZERS)


@every_optimizer
@given(data=st.data())
def test_an_optimizer_comes_back_from_its_config(name, data):
    holder = Holder(data.draw(CASES[name][0]))
    assert to_json(holder)["optimizer"]["type"] == name
    assert from_json(Holder, to_json(holder)) == holder
