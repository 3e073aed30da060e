"""A multipart body (RFC 7578) as it comes in: files go to disk piece by piece, fields into memory."""

import errno
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from service.problems import BadBody, FieldError, Invalid, OutOfSpace, TooLarge
from service.schemas import pointer_to

PIECE = 64 << 10
# Who sends for longer keeps others from sending.
MOST_SECONDS = 1800
# Of all fields together; the decoder, which holds one piece and a header, has as much for itself.
MOST_FIELD_BYTES = 200_000
MOST_PARTS = 1_000
# Characters of a file's name; in UTF-8 they are four bytes at most, and a file system takes 255.
MOST_NAME = 60
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Parts:
    """What has come: texts by the name of their field, and files where they lie."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)


def pieces(environ: Mapping[str, Any], most_bytes: int, room: int) -> Iterator[bytes]:
    """Yield the body of a WSGI request.

    Raises TooLarge past its cap, OutOfSpace past the bytes that there is room for, BadBody where it is not
    whole.
    """
    length = int(environ.get("CONTENT_LENGTH") or -1)
    taken, deadline = 0, time.monotonic() + MOST_SECONDS
    while taken != length and max(taken, length) <= min(most_bytes, room):
        try:
            piece = environ["wsgi.input"].read(PIECE if length < 0 else min(PIECE, length - taken))
        except Exception:
            # Each WSGI server raises errors of its own.
            raise BadBody("The body is not whole: it ends too soon, or its chunks are malformed.") from None
        if time.monotonic() > deadline:
            raise BadBody(f"The body took more than {MOST_SECONDS} seconds to come.")
        if not piece:
            break
        taken += len(piece)
        yield piece
    if max(taken, length) > most_bytes:
        raise TooLarge(f"The body may have at most {most_bytes:,} bytes.")
    if max(taken, length) > room:
        raise OutOfSpace(f"There is room for {max(room, 0):,} bytes more; raise NNSERVE_MAX_DISK, or delete.")
    if taken < length:
        raise BadBody(f"The body is not whole: it ends after {taken} of {length} bytes.")


def receive(body: Iterable[bytes], boundary: str, folder: Path, files: Collection[str]) -> Parts:
    """Write the files of a multipart body below a folder, and return them with the fields.

    `files` are the fields that may hold one. Raises Invalid where the body is not what it says, or has more
    fields than anybody needs.
    """
    try:
        return _Receiver(boundary, folder, files).receive(body)
    except RequestEntityTooLarge:
        text = f"must have at most {MOST_PARTS} parts, and {MOST_FIELD_BYTES:,} bytes beside the files"
        raise Invalid([FieldError("#", text)]) from None
    except ValueError as error:
        raise Invalid([FieldError("#", f"is not a well-formed multipart body: {error}")]) from None


class _Receiver:
    def __init__(self, boundary: str, folder: Path, files: Collection[str]) -> None:
        if not boundary:
            raise ValueError("its Content-Type has no boundary")
        self.folder, self.expected = folder, files
        self.decoder = MultipartDecoder(
            boundary.encode("ascii"), max_form_memory_size=MOST_FIELD_BYTES, max_parts=MOST_PARTS
        )
        self.parts, self.bytes = Parts(), 0

    def receive(self, body: Iterable[bytes]) -> Parts:
        name, text, file = "", b"", None
        try:
            for event in self._events(body):
                if isinstance(event, Field):
                    name, text = event.name or "", b""
                elif isinstance(event, File):
                    file = self._open(event.name or "", event.filename)
                elif isinstance(event, Data) and file is not None:
                    with _full_disk_told():
                        file.write(event.data)
                        if not event.more_data:
                            file.close()
                            file = None
                elif isinstance(event, Data):
                    self._count(event.data)
                    text += event.data
                    if not event.more_data:
                        self.parts.fields.setdefault(name, []).append(text.decode())
        finally:
            if file is not None:
                file.close()
        return self.parts

    def _events(self, body: Iterable[bytes]) -> Iterator[Any]:
        for piece in _with_end(body):
            self.decoder.receive_data(piece)
            while not isinstance(event := self.decoder.next_event(), (Epilogue, NeedData)):
                yield event

    def _open(self, field_name: str, file_name: str) -> IO[bytes]:
        if field_name not in self.expected:
            text = f"is no field for a file; those are {', '.join(self.expected)}"
            raise Invalid([FieldError(pointer_to(field_name), text)])
        if field_name in self.parts.files:
            raise Invalid([FieldError(pointer_to(field_name), "must be given once")])
        path = self.folder / field_name / _safe(file_name, field_name)
        self.parts.files[field_name] = path
        with _full_disk_told():
            path.parent.mkdir()
            return path.open("xb")

    def _count(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.bytes > MOST_FIELD_BYTES:
            raise RequestEntityTooLarge


def _with_end(body: Iterable[bytes]) -> Iterator[bytes | None]:
    yield from body
    yield None


def _safe(file_name: str, otherwise: str) -> str:
    """Return a name that leads nowhere and that an error can show."""
    last = file_name.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w. -]", "_", last)[-MOST_NAME:].lstrip(".") or otherwise


@contextmanager
def _full_disk_told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise OutOfSpace("The disk is full.") from None
