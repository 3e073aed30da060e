"""Zip files from strangers: whatever is wrong with one becomes one error, and nothing is ever unpacked."""

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.errors import DatasetError, NNCoreError
from nncore.files import open_regular


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file; raises DatasetError where there is none."""
    try:
        file = open_regular(path)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
    with file:
        with damage(path.name):
            opened = zipfile.ZipFile(file)
        yield opened


@contextmanager
def damage(name: str) -> Iterator[None]:
    """Have whatever reading a damaged file raises told as DatasetError, as what is wrong with `name`."""
    try:
        yield
    except (NNCoreError, MemoryError):
        raise
    # zipfile: BadZipFile, EOFError, NotImplementedError, RuntimeError, struct.error, zlib.error and more;
    # NumPy: ValueError, SyntaxError, TokenError, RecursionError ...
    except Exception as error:
        problem = getattr(error, "strerror", None) or str(error)[:200] or type(error).__name__
        raise DatasetError(f"{name}: cannot be read: {problem}") from None
