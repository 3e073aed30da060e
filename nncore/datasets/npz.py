"""Arrays from NumPy's zip format, and from a pair of IDX files."""

import math
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from nncore.config import shorten
from nncore.datasets.arrays import dataset_of
from nncore.datasets.dataset import Dataset
from nncore.datasets.identity import file_sha256, identity
from nncore.datasets.idx import gunzip, read_idx
from nncore.datasets.room import check_room, room
from nncore.datasets.sources import CLASSIFICATION, Idx, Npz
from nncore.datasets.zips import damage, open_zip
from nncore.errors import DatasetError
from nncore.files import read_file
from nncore.types import Array, Shape

DType = np.dtype[Any]

GZIP = b"\x1f\x8b"
# What an array takes while it becomes a dataset: as it is read, as float32, and divided.
COPIES = 3


def read_npz(source: Npz) -> Dataset:
    """Return the dataset in an NPZ file; raises DatasetError where it is none, or holds pickled objects."""
    path = Path(source.path)
    sha256 = identity(source, [file_sha256(path)])
    with open_zip(path) as file:
        inputs, targets = (_member(file, path.name, name) for name in (source.inputs, source.targets))
    return dataset_of(
        path.stem,
        sha256,
        inputs,
        targets,
        task=source.task,
        validation=source.validation,
        test=source.test,
    )


def read_idx_pair(source: Idx) -> Dataset:
    """Return the dataset in two IDX files, gzipped or not; raises DatasetError where they are none."""
    paths = Path(source.inputs), Path(source.targets)
    sha256 = identity(source, [file_sha256(path) for path in paths])
    inputs, targets = map(_idx, paths)
    if targets.ndim != 1:
        raise DatasetError(f"{paths[1].name}: holds {targets.shape}, and must hold a class number a row")
    return dataset_of(
        paths[0].name.partition(".")[0],
        sha256,
        inputs,
        targets,
        task=CLASSIFICATION,
        validation=source.validation,
        test=source.test,
    )


def _member(file: zipfile.ZipFile, path: str, name: str) -> Array:
    """Return one array; what it claims to be is checked before memory is taken for it."""
    place = f"{path}, array {shorten(name)}"
    try:
        info = file.getinfo(f"{name}.npy")
    except KeyError:
        known = ", ".join(shorten(other.removesuffix(".npy")) for other in file.namelist()[:20])
        raise DatasetError(f"{path}: has no array {shorten(name)}, only {known or 'nothing'}") from None
    check_room(info.file_size, place)
    with damage(place), file.open(info) as member:
        shape, fortran, dtype = _read_header(member, place)
        size, there = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if size != there:
            raise DatasetError(f"{place}: has {there:,} bytes where {shape} of {dtype.name} need {size:,}")
        is_kept = dtype == np.uint8 or dtype.kind == "U"
        check_room(COPIES * (size if is_kept else max(size, 4 * math.prod(shape))), place)
        array = np.frombuffer(member.read(), dtype).reshape(shape, order="F" if fortran else "C")
        return array.astype(dtype.newbyteorder("="), order="C")


def _read_header(member: IO[bytes], place: str) -> tuple[Shape, bool, DType]:
    version = npy.read_magic(member)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
    if read_header is None:
        raise DatasetError(f"{place}: is in version {version} of NumPy's format, which is not read")
    with warnings.catch_warnings(action="ignore"):
        # That a header was written by Python 2 takes nothing from it.
        shape, fortran, dtype = read_header(member)
    if dtype.kind not in "biufU":
        raise DatasetError(f"{place}: holds {dtype.name}; numbers and texts are read, no objects")
    return shape, fortran, dtype


def _idx(path: Path) -> Array:
    most = room() // COPIES
    try:
        data = read_file(path, most)
        return read_idx(gunzip(data, most) if data[:2] == GZIP else data)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    except DatasetError as error:
        raise DatasetError(f"{path.name}: {error}") from None
