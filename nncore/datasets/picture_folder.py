"""Pictures in a folder a class, on disk or in a zip file, which is read where it is and never unpacked."""

import hashlib
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from nncore.columns import text_problem
from nncore.config import shorten
from nncore.datasets.arrays import dataset_of
from nncore.datasets.dataset import Dataset
from nncore.datasets.identity import identity
from nncore.datasets.room import check_room
from nncore.datasets.sources import CLASSIFICATION, Pictures
from nncore.datasets.zips import damage, open_zip
from nncore.errors import DatasetError, PictureError
from nncore.files import read_file
from nncore.pictures import resize_picture
from nncore.types import ByteArray

MOST_PICTURES = 200_000
MOST_BYTES = 16 << 20
MOST_PIXELS = 16_000_000
# What systems leave in folders without being asked.
LITTER = {"__MACOSX", "Thumbs.db", "desktop.ini"}
# The pictures themselves, and once more, divided.
COPIES = 2


@dataclass(frozen=True)
class Entry:
    """A picture: the class that its folder is, its file's name, and how its bytes are read."""

    label: str
    name: str
    read: Callable[[], bytes]

    @property
    def place(self) -> str:
        """Return where it is, as a person says it."""
        return f"{self.label}/{self.name}"


def read_pictures(source: Pictures) -> Dataset:
    """Return the pictures in a folder or zip file as a dataset whose classes are its folders' names.

    Raises DatasetError, with the picture's place, where one cannot be read or has another size than the
    first and none is asked for, and where there are fewer than two classes.
    """
    if (source.height is None) != (source.width is None):
        raise DatasetError(f"{source.path}: give both height and width, or neither")
    if source.channels == 2:
        raise DatasetError(f"{source.path}: channels must be 1 (grey) or 3 (colour), not 2")
    name = Path(source.path).name.removesuffix(".zip")
    with _entries(Path(source.path)) as entries:
        _check_entries(name, entries)
        files, grey = _look_at(entries)
        sha256 = identity(source, files)
        channels: Literal[1, 3] = 1 if source.channels == 1 or (source.channels is None and grey) else 3
        pictures = _read_all(name, entries, source, channels)
    labels = np.array([entry.label for entry in entries])
    return dataset_of(
        name,
        sha256,
        pictures,
        labels,
        task=CLASSIFICATION,
        validation=source.validation,
        test=source.test,
    )


def _look_at(entries: Sequence[Entry]) -> tuple[list[tuple[str, str, str]], bool]:
    """Return each picture's place and SHA-256, and whether all of them are grey."""
    # Only here: a run on other data needs no Pillow.
    from nncore.images import is_grey

    files, grey = [], True
    for entry in entries:
        data = entry.read()
        files.append((entry.label, entry.name, hashlib.sha256(data).hexdigest()))
        with _placed(entry):
            grey = grey and is_grey(data, max_pixels=MOST_PIXELS)
    return files, grey


def _read_all(name: str, entries: Sequence[Entry], source: Pictures, channels: Literal[1, 3]) -> ByteArray:
    from nncore.images import decode_picture

    pictures: ByteArray | None = None
    for place, entry in enumerate(entries):
        with _placed(entry):
            picture = decode_picture(entry.read(), channels=channels, max_pixels=MOST_PIXELS)
        if source.height is not None and source.width is not None:
            resized = resize_picture(picture, source.height, source.width)
            picture = resized.round().clip(0, 255).astype(np.uint8)
        if pictures is None:
            check_room(COPIES * len(entries) * picture.nbytes, f"{name}, with {len(entries):,} pictures,")
            pictures = np.empty((len(entries), *picture.shape), np.uint8)
        if picture.shape != pictures.shape[1:]:
            raise DatasetError(
                f"{name}: the pictures have several sizes: {entries[0].place} {_size(pictures[0])}, "
                f"{entry.place} {_size(picture)}; give a height and a width, and all are resized to it"
            )
        pictures[place] = picture
    assert pictures is not None
    return pictures


@contextmanager
def _placed(entry: Entry) -> Iterator[None]:
    """Have what is wrong with a picture told with its place."""
    try:
        yield
    except PictureError as error:
        raise DatasetError(f"{entry.place}: {error}") from None


@contextmanager
def _entries(path: Path) -> Iterator[list[Entry]]:
    """Give all pictures, in order of their classes and names."""
    if path.is_dir():
        yield _in_folder(path)
        return
    with open_zip(path) as file:
        yield _in_zip(file, path.name)


def _in_folder(folder: Path) -> list[Entry]:
    labels = _listed(folder)
    return [Entry(label.name, path.name, _reader(path)) for label in labels for path in _listed(label)]


def _listed(folder: Path) -> list[Path]:
    """Return what is in a folder, litter left out, in order; raises DatasetError where it is none."""
    try:
        return sorted(path for path in folder.iterdir() if not _is_litter([path.name]))
    except NotADirectoryError:
        raise DatasetError(f"{folder}: does not lie in a folder that is its class") from None
    except OSError as error:
        raise DatasetError(f"{folder}: {error.strerror}") from None


def _reader(path: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return read_file(path, MOST_BYTES)
        except OSError as error:
            raise DatasetError(f"{path}: {error.strerror}") from None

    return read


def _in_zip(file: zipfile.ZipFile, name: str) -> list[Entry]:
    found = []
    for info in file.infolist():
        parts = PurePosixPath(info.filename).parts
        # Not is_dir(), which fails for a member without a name.
        if info.filename.endswith("/") or _is_litter(parts):
            continue
        if info.filename.startswith("/") or ".." in parts or stat.S_ISLNK(info.external_attr >> 16):
            raise DatasetError(f"{name}: {info.filename[:200]!r} leads out of the zip file")
        if info.file_size > MOST_BYTES:
            raise DatasetError(
                f"{name}: {info.filename[:200]!r} has {info.file_size:,} bytes; a picture may have "
                f"{MOST_BYTES:,}"
            )
        found.append((parts, info))
    # Often all of it lies in one folder more.
    top = {parts[:1] for parts, _ in found}
    inside = 1 if len(top) == 1 and all(len(parts) == 3 for parts, _ in found) else 0
    entries = []
    for parts, info in found:
        if len(parts) != 2 + inside:
            raise DatasetError(f"{name}: {info.filename[:200]!r} does not lie in a folder that is its class")
        entries.append(Entry(parts[-2], parts[-1], _member_reader(file, info)))
    return sorted(entries, key=lambda entry: (entry.label, entry.name))


def _member_reader(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        with damage(info.filename[:200]):
            return file.read(info)

    return read


def _check_entries(name: str, entries: Sequence[Entry]) -> None:
    if not entries:
        raise DatasetError(f"{name}: holds no pictures in folders: a folder a class is expected")
    if len(entries) > MOST_PICTURES:
        raise DatasetError(f"{name}: holds {len(entries):,} pictures; at most {MOST_PICTURES:,} are taken")
    places = Counter((entry.label, entry.name) for entry in entries)
    (label, file), times = places.most_common(1)[0]
    if times > 1:
        raise DatasetError(f"{name}: has {label[:200]}/{file[:200]} more than once")
    for entry in entries:
        if problem := text_problem(entry.label):
            raise DatasetError(f"{name}: the folder {shorten(entry.label)} {problem}")


def _is_litter(parts: Sequence[str]) -> bool:
    return any(part in LITTER or part.startswith(".") for part in parts if part != "..")


def _size(picture: ByteArray) -> str:
    height, width = picture.shape[:2]
    return f"{width} × {height}"
