import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.config import from_json, tagged, to_json
from nncore.errors import InputError
from nncore.preprocessing import (
    PICTURES,
    STEPS,
    DigitPicture,
    Picture,
    ResizedPicture,
    Scale,
    Standardize,
    Step,
    apply_steps,
)

sizes = st.integers(1, 6)
numbers = st.floats(-100, 100, allow_subnormal=False)
CASES = {
    "scale": st.builds(Scale, st.floats(0.1, 1000)),
    "standardize": st.lists(numbers, min_size=1, max_size=4).flatmap(
        lambda mean: st.builds(
            Standardize,
            st.just(tuple(mean)),
            st.tuples(*[st.floats(0.1, 100)] * len(mean)),
        )
    ),
}
every_step = pytest.mark.parametrize("name", sorted(STEPS))
kinds = st.sampled_from([np.uint8, np.int64, np.float32, np.float64])


def rows(count, columns, seed, dtype):
    return np.random.default_rng(seed).uniform(0, 255, (count, columns)).astype(dtype)


def by_hand(step, x):
    result = np.empty(x.shape)
    for place in np.ndindex(x.shape):
        value = float(x[place])
        if isinstance(step, Scale):
            result[place] = value / step.divide_by
        else:
            result[place] = (value - step.mean[place[-1]]) / step.deviation[place[-1]]
    return result


def test_every_step_is_tested_here():
    assert CASES.keys() == STEPS.keys()


@every_step
@given(data=st.data(), count=st.integers(0, 6), seed=st.integers(0, 999), kind=kinds)
def test_a_step_writes_float32_into_out_whatever_comes_in(name, data, count, seed, kind):
    step = data.draw(CASES[name])
    x = rows(count, len(step.mean) if name == "standardize" else 3, seed, kind)
    before = x.copy()
    out = np.full(x.shape, np.nan, np.float32)
    assert step.apply(x, out) is out
    assert_allclose(out, by_hand(step, before), rtol=1e-4, atol=1e-3)
    assert_array_equal(x, before)


@every_step
@given(data=st.data(), seed=st.integers(0, 999))
def test_a_step_may_work_in_place(name, data, seed):
    step = data.draw(CASES[name])
    x = rows(4, len(step.mean) if name == "standardize" else 3, seed, np.float32)
    expected = step.apply(x, np.empty_like(x))
    assert_array_equal(step.apply(x, x), expected)


@dataclasses.dataclass(frozen=True)
class Holder:
    step: Step = tagged(STEPS)


@every_step
@given(data=st.data())
def test_a_step_comes_back_from_its_config(name, data):
    holder = Holder(data.draw(CASES[name]))
    assert to_json(holder)["step"]["type"] == name
    assert from_json(Holder, to_json(holder)) == holder


@given(st.integers(2, 30), sizes, st.integers(0, 999), kinds)
def test_standardize_leaves_its_own_training_columns_with_mean_zero_and_deviation_one(n, d, seed, kind):
    x = rows(n, d, seed, kind)
    x[0] = x[1] + 1  # no column is constant
    step = Standardize().fit(x)
    assert_allclose(step.mean, [np.mean([float(v) for v in column]) for column in x.T])
    assert_allclose(step.deviation, [np.std([float(v) for v in column]) for column in x.T])
    y = step.apply(x, np.empty(x.shape, np.float32))
    assert_allclose(y.mean(axis=0), 0, atol=1e-4)
    assert_allclose(y.std(axis=0), 1, rtol=1e-3)


@given(st.integers(1, 300), st.floats(0, 255), kinds)
def test_standardize_divides_a_constant_column_by_one(n, value, kind):
    x = np.full((n, 1), value).astype(kind)
    assert Standardize().fit(x).deviation == (1.0,)


def test_standardize_refuses_what_has_no_columns():
    with pytest.raises(InputError, match=r"standardize works on columns, not on inputs of shape \(28, 28\)"):
        Standardize().fit(np.zeros((3, 28, 28)))


def test_scale_has_nothing_to_learn():
    step = Scale(255.0)
    assert step.fit(np.ones((2, 2))) is step


@given(st.integers(1, 5), st.integers(0, 999), kinds)
def test_steps_are_applied_in_their_order(count, seed, kind):
    x = rows(count, 2, seed, kind)
    steps = [Scale(2.0), Standardize((1.0, 2.0), (3.0, 4.0)), Scale(0.5)]
    expected = x.astype(float)
    for step in steps:
        expected = by_hand(step, expected)
    y = apply_steps(steps, x, np.empty(x.shape, np.float32))
    assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 5), st.integers(0, 999), kinds)
def test_no_steps_are_a_copy(count, seed, kind):
    x = rows(count, 2, seed, kind)
    out = np.full(x.shape, np.nan, np.float32)
    assert apply_steps([], x, out) is out
    assert_array_equal(out, x.astype(np.float32))


def test_every_kind_of_picture_is_known_here():
    assert PICTURES.keys() == {"digit", "resize"}


@pytest.mark.parametrize(
    ("picture", "shape", "problem"),
    [
        (DigitPicture(), (28, 28), None),
        (DigitPicture(), (784,), None),
        (DigitPicture(), (10,), "a digit picture gives 28×28 numbers"),
        (ResizedPicture(8, 6), (8, 6), None),
        (ResizedPicture(8, 6), (6, 8), "the picture gives"),
        (ResizedPicture(8, 6, 3), (8, 6, 3), None),
        (ResizedPicture(8, 6, 3), (8, 6), "the picture gives"),
        (ResizedPicture(8, 6, 2), (8, 6), "1 channel or 3, not 2"),
    ],
)
def test_a_picture_says_whether_it_fits_a_network(picture, shape, problem):
    said = picture.check(shape)
    assert said is None if problem is None else problem in said


@dataclasses.dataclass(frozen=True)
class PictureHolder:
    picture: Picture | None = tagged(PICTURES)


@pytest.mark.parametrize("picture", [None, DigitPicture(), ResizedPicture(8, 6, 3)])
def test_a_picture_comes_back_from_its_config(picture):
    assert from_json(PictureHolder, to_json(PictureHolder(picture))) == PictureHolder(picture)
