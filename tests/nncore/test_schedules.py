import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.config import from_json, tagged, to_json
from nncore.schedules import SCHEDULES, Constant, Cosine, OneCycle, Schedule, Step

share = st.floats(0, 1)
CASES = {
    "constant": st.just(Constant()),
    "cosine": st.builds(Cosine, share),
    "one_cycle": st.builds(OneCycle, st.floats(0.05, 0.95), share, share),
    "step": st.builds(Step, st.integers(1, 20), st.floats(0.01, 1)),
}
every_schedule = pytest.mark.parametrize("name", sorted(SCHEDULES))
epochs = st.integers(1, 50)


def test_every_schedule_is_tested_here():
    assert CASES.keys() == SCHEDULES.keys()


@every_schedule
@given(data=st.data(), epochs=epochs, progress=share)
def test_a_factor_is_a_float_between_zero_and_one(name, data, epochs, progress):
    factor = data.draw(CASES[name]).factor(progress * epochs, epochs)
    assert type(factor) is float
    assert 0 <= factor <= 1 + 1e-12


@dataclasses.dataclass(frozen=True)
class Holder:
    schedule: Schedule = tagged(SCHEDULES)


@every_schedule
@given(data=st.data())
def test_a_schedule_comes_back_from_its_config(name, data):
    holder = Holder(data.draw(CASES[name]))
    assert to_json(holder)["schedule"]["type"] == name
    assert from_json(Holder, to_json(holder)) == holder


@given(epochs, share)
def test_constant_is_constant(epochs, progress):
    assert Constant().factor(progress * epochs, epochs) == 1


def test_step_multiplies_after_every_so_many_epochs():
    schedule = Step(every=2, gamma=0.5)
    factors = [schedule.factor(epoch, 10) for epoch in (0, 1, 1.99, 2, 3.5, 4, 9.9)]
    assert factors == [1, 1, 1, 0.5, 0.5, 0.25, 0.0625]


@given(share, epochs)
def test_cosine_falls_from_one_to_its_end_and_is_half_way_in_the_middle(final, epochs):
    schedule = Cosine(final)
    assert schedule.factor(0, epochs) == pytest.approx(1)
    assert schedule.factor(epochs / 2, epochs) == pytest.approx((1 + final) / 2)
    assert schedule.factor(epochs / 4, epochs) == pytest.approx(
        final + (1 - final) * (1 + math.sqrt(0.5)) / 2
    )
    assert schedule.factor(epochs, epochs) == pytest.approx(final)
    heights = [schedule.factor(epochs * i / 20, epochs) for i in range(21)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(heights))


@given(st.floats(0.05, 0.95), share, share, epochs)
def test_one_cycle_rises_to_one_and_falls_to_its_end(warmup, start, final, epochs):
    schedule = OneCycle(warmup, start, final)
    assert schedule.factor(0, epochs) == pytest.approx(start)
    assert schedule.factor(warmup * epochs / 2, epochs) == pytest.approx((1 + start) / 2)
    assert schedule.factor(warmup * epochs, epochs) == pytest.approx(1)
    assert schedule.factor((1 + warmup) / 2 * epochs, epochs) == pytest.approx((1 + final) / 2)
    assert schedule.factor(epochs, epochs) == pytest.approx(final)


@pytest.mark.parametrize("schedule", [Cosine(), OneCycle()])
def test_the_cosines_have_no_jumps(schedule):
    heights = [schedule.factor(i / 1000, 1) for i in range(1001)]
    assert max(abs(a - b) for a, b in itertools.pairwise(heights)) < 0.01
