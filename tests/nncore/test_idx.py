import contextlib
import gzip
import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.datasets.idx import gunzip, read_idx
from nncore.errors import DatasetError

# Code in the file, format for struct, the dtype to be read.
TYPES = {
    0x08: ("B", np.uint8),
    0x09: ("b", np.int8),
    0x0B: ("h", np.int16),
    0x0C: ("i", np.int32),
    0x0D: ("f", np.float32),
    0x0E: ("d", np.float64),
}
VALUES = {
    "B": st.integers(0, 255),
    "b": st.integers(-128, 127),
    "h": st.integers(-(2**15), 2**15 - 1),
    "i": st.integers(-(2**31), 2**31 - 1),
    "f": st.floats(width=32, allow_nan=False),
    "d": st.floats(allow_nan=False),
}


def write(code, shape, values):
    letter = TYPES[code][0]
    head = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return head + struct.pack(f">{len(values)}{letter}", *values)


@st.composite
def files(draw):
    code = draw(st.sampled_from(sorted(TYPES)))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    count = int(np.prod(shape))
    values = draw(st.lists(VALUES[TYPES[code][0]], min_size=count, max_size=count))
    return code, shape, values


@given(files())
def test_every_type_and_shape_is_read_into_native_order(file):
    code, shape, values = file
    array = read_idx(write(*file))
    assert array.dtype == TYPES[code][1]
    assert array.dtype.isnative
    assert array.shape == shape
    assert_array_equal(array.reshape(-1), np.array(values, TYPES[code][1]))
    array[...] = 0  # a copy, not a window on the file


@given(files())
def test_a_file_cut_at_any_byte_is_refused(file):
    data = write(*file)
    for length in range(len(data)):
        with pytest.raises(DatasetError, match="truncated" if length >= 4 else "not an IDX file"):
            read_idx(data[:length])


@given(files(), st.binary(min_size=1, max_size=20))
def test_a_file_with_more_behind_it_is_refused(file, more):
    with pytest.raises(DatasetError, match="oversized"):
        read_idx(write(*file) + more)


@pytest.mark.parametrize(
    "head",
    [
        b"\x01\x00\x08\x01",
        b"\x00\x01\x08\x01",
        b"\x00\x00\x07\x01",
        b"\x00\x00\x0a\x01",
        b"\x00\x00\x0f\x01",
        b"\x00\x00\x08\x00",
        b"\x00\x00\x08\x05",
        b"\x1f\x8b\x08\x00",
        b"\x89PNG",
        b"",
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_it_begins_with(head):
    with pytest.raises(DatasetError, match=f"not an IDX file: it begins with {head.hex() or 'nothing'}"):
        read_idx(head + b"\x00\x00\x00\x01\x07" if head else head)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_a_file_without_numbers_is_refused(shape):
    with pytest.raises(DatasetError, match="empty IDX file"):
        read_idx(write(0x08, shape, []))


def test_sizes_beyond_all_memory_are_refused_before_anything_is_allocated():
    with pytest.raises(DatasetError, match="truncated"):
        read_idx(write(0x0E, (2**32 - 1,) * 4, [1.0]))


@given(st.binary(max_size=60), st.booleans())
def test_any_bytes_are_an_array_or_an_error(data, headed):
    try:
        array = read_idx(b"\x00\x00" + data if headed else data)
    except DatasetError:
        return
    assert array.size > 0


@given(st.binary(max_size=200))
def test_gunzip_undoes_gzip_up_to_its_bound(plain):
    packed = gzip.compress(plain)
    assert gunzip(packed, len(plain)) == plain
    if plain:
        with pytest.raises(DatasetError, match="more than"):
            gunzip(packed, len(plain) - 1)


@given(st.binary(min_size=1, max_size=50))
def test_a_gzip_file_cut_at_any_byte_is_refused(plain):
    packed = gzip.compress(plain)
    for length in range(1, len(packed)):
        with pytest.raises(DatasetError, match="not a whole gzip file"):
            gunzip(packed[:length], 1000)


@given(st.binary(min_size=1, max_size=50), st.data())
def test_a_flipped_bit_is_an_error_or_does_no_harm(plain, data):
    packed = bytearray(gzip.compress(plain))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(DatasetError):
        assert gunzip(bytes(packed), 1000) == plain


def test_a_bomb_is_refused_in_little_memory():
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb") as file:
        for _ in range(50):
            file.write(bytes(1 << 20))
    assert len(packed.getvalue()) < 100_000
    tracemalloc.start()
    with pytest.raises(DatasetError, match="more than 1,000 bytes when decompressed"):
        gunzip(packed.getvalue(), 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20
