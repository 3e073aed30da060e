"""Files that are whole or not there: written beside, flushed to disk, renamed; read with a bound."""

import errno
import hashlib
import os
import stat
import threading
from io import BufferedReader
from pathlib import Path

from nncore.errors import ExportError

Part = bytes | memoryview

# What a file or folder that is being written beside its place is called; a kill may leave one behind.
DRAFT = ".draft-"


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading; raises OSError where there is no regular one.

    A pipe in its place would be waited for without end.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is not a regular file")
    return file


def read_file(path: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file; raises OSError where there is no regular one, or a larger one."""
    with open_regular(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes:,} bytes")
    return data


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file; raises OSError where there is no regular one."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_synced(path: Path, *parts: Part) -> None:
    """Write a file, part by part, and flush it to disk."""
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it outlives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, *parts: Part) -> None:
    """Write a file beside `path`, flush it to disk and rename it: readers see the old or the new."""
    draft = path.with_name(f"{DRAFT}{path.name}-{os.getpid()}-{threading.get_ident()}")
    try:
        write_synced(draft, *parts)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_named(path: Path, data: bytes) -> None:
    """Write the file that somebody has named, in a folder that is made where there is none.

    Raises ExportError, with the path, where that cannot be done.
    """
    try:
        if path.is_dir():
            raise ExportError(f"{path}: is a folder; name the file in it that is to be written")
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
        replace_file(path, data)
    except OSError as error:
        raise ExportError(f"{path}: {error.strerror}") from None
