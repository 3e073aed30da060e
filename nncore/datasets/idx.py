"""The IDX format of the MNIST files: a magic number, the sizes, then the numbers, big-endian.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

import gzip
import math
import struct
import zlib
from io import BytesIO

import numpy as np

from nncore.errors import DatasetError
from nncore.types import Array, Shape

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_AXES = 4


def read_idx(data: bytes) -> Array:
    """Return the array that `data` holds, in native byte order.

    Raises DatasetError where the magic number is not IDX's, or the numbers are fewer or more than the
    sizes say.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in DTYPES or not 1 <= data[3] <= MOST_AXES:
        raise DatasetError(
            f"not an IDX file: it begins with {data[:4].hex() or 'nothing'}, not 0000, type, axes"
        )
    dtype = np.dtype(DTYPES[data[2]])
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise DatasetError(f"truncated IDX file: {len(data)} bytes, the header alone has {start}")
    shape: Shape = struct.unpack(f">{data[3]}I", data[4:start])
    if 0 in shape:
        raise DatasetError(f"empty IDX file: its header says {shape}")
    expected = start + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        what = "truncated" if len(data) < expected else "oversized"
        raise DatasetError(f"{what} IDX file: {len(data)} bytes, its header {shape} asks for {expected}")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def gunzip(data: bytes, most_bytes: int) -> bytes:
    """Return the decompressed bytes; raises DatasetError past `most_bytes` or where data is damaged."""
    try:
        with gzip.GzipFile(fileobj=BytesIO(data)) as file:
            plain = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"not a whole gzip file: {error}") from None
    if len(plain) > most_bytes:
        raise DatasetError(f"more than {most_bytes:,} bytes when decompressed")
    return plain
