import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.parameters import Parameters

shapes = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)
)
dtypes = st.sampled_from([np.float32, np.float64])


@given(shapes, dtypes)
def test_every_name_is_a_view_of_its_own_part_of_one_buffer(shapes, dtype):
    parameters = Parameters(shapes, dtype)
    assert list(parameters) == list(shapes)
    assert parameters.flat.dtype == dtype
    assert parameters.flat.size == sum(map(math.prod, shapes.values()))
    assert not parameters.flat.any()
    for number, (name, shape) in enumerate(shapes.items(), start=1):
        assert parameters[name].shape == shape
        parameters[name][...] = number
    # Each element of the buffer was written by one view.
    counts = np.bincount(parameters.flat.astype(int), minlength=len(shapes) + 1)
    assert counts[0] == 0
    assert counts[1:].tolist() == [math.prod(shape) for shape in shapes.values()]


@given(shapes, dtypes)
def test_what_decays_is_the_matrices_and_never_a_vector(shapes, dtype):
    parameters = Parameters(shapes, dtype)
    parameters.flat[parameters.decaying] = 1
    for view in parameters.values():
        assert_array_equal(view, view.ndim >= 2)


@given(shapes, dtypes)
def test_like_is_zeros_in_the_same_order_and_memory_of_its_own(shapes, dtype):
    parameters = Parameters(shapes, dtype)
    parameters.flat[...] = np.arange(parameters.flat.size)
    other = parameters.like()
    assert other.flat.dtype == dtype
    assert not other.flat.any()
    other.flat[...] = parameters.flat
    for name, view in parameters.items():
        assert_array_equal(other[name], view)
    assert not np.shares_memory(other.flat, parameters.flat)


def test_parameters_are_float32_unless_told_otherwise():
    assert Parameters({"weight": (2, 2)}).flat.dtype == np.float32
