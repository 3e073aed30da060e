import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.gradcheck import directional_error

points = st.lists(st.floats(-2, 2), min_size=1, max_size=6).map(np.array)
seeds = st.integers(0, 1000)


def bowl(x):
    return float(np.sum(x**3 + 5 * x))


@given(points, seeds)
def test_the_right_gradient_has_no_error(point, seed):
    assert directional_error(bowl, point, 3 * point**2 + 5, np.random.default_rng(seed)) < 1e-7


@given(points, seeds, st.floats(0.01, 3) | st.floats(-3, -0.01))
def test_a_gradient_that_is_off_by_a_share_has_that_share_as_its_error(point, seed, off):
    error = directional_error(bowl, point, (1 + off) * (3 * point**2 + 5), np.random.default_rng(seed))
    assert error == pytest.approx(abs(off) / max(1, abs(1 + off)), rel=1e-4)


@given(points.filter(lambda point: len(point) > 1), seeds)
def test_one_wrong_entry_is_seen(point, seed):
    gradient = 3 * point**2 + 5
    gradient[-1] += 10
    assert directional_error(bowl, point, gradient, np.random.default_rng(seed)) > 1e-4


def test_a_flat_function_is_compared_absolutely():
    rng = np.random.default_rng(0)
    assert directional_error(lambda _: 1.0, np.ones(3), np.zeros(3), rng) == 0
    assert directional_error(lambda _: 1.0, np.ones(3), np.ones(3), rng) > 0.1
    assert directional_error(lambda _: 1.0, np.ones(0), np.ones(0), rng) == 0


def test_the_function_is_asked_twice_whatever_the_number_of_parameters():
    asked = []
    directional_error(
        lambda x: float(len(asked.append(x) or asked)), np.ones(50), np.ones(50), np.random.default_rng(0)
    )
    assert len(asked) == 2
