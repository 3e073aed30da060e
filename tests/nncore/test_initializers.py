import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore.initializers import INITIALIZERS

DEVIATIONS = {"he": lambda d, k: math.sqrt(2 / d), "glorot": lambda d, k: math.sqrt(2 / (d + k))}


def test_every_initializer_has_its_deviation_here():
    assert INITIALIZERS.keys() == DEVIATIONS.keys()


@pytest.mark.parametrize("name", sorted(INITIALIZERS))
@given(st.integers(100, 400), st.integers(100, 400), st.sampled_from([np.float32, np.float64]))
def test_weights_are_normal_with_the_deviation_of_the_paper(name, d, k, dtype):
    weight = np.full((d, k), np.nan, dtype)
    INITIALIZERS[name](weight, np.random.default_rng(d * k))
    standard = weight / DEVIATIONS[name](d, k)
    assert standard.mean() == pytest.approx(0, abs=0.05)
    assert standard.std() == pytest.approx(1, abs=0.05)
    assert np.mean(np.abs(standard) < 1) == pytest.approx(0.6827, abs=0.03)
