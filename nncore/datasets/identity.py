"""The SHA-256 of somebody's own data: of the files, and of how they are read."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from nncore.config import canonical, to_json
from nncore.datasets.sources import SOURCES, Source
from nncore.errors import DatasetError
from nncore.files import sha256_of


def identity(source: Source, files: Sequence[object]) -> str:
    """Return the SHA-256 that a dataset has wherever its files lie; `files` say what is in them."""
    reading = to_json(source, SOURCES)
    for path in source.PATHS:
        del reading[path]
    text = canonical({"reading": reading, "files": list(files)})
    # Names may be what no file can hold; that they are not found is said later.
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file; raises DatasetError where there is none."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None
