"""What `nnserve predict` is given, in batches of a request each: pictures, tables, JSON, standard input."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.cli_calling import STDIN, read_given
from service.cli_tables import read_table

# A request takes 64 pictures, which share its pixels, and 10,000 rows or 2 MiB: batches stay well below.
MOST_PICTURES, MOST_PICTURE_BYTES = 64, 1 << 20
MOST_ROWS, MOST_JSON = 1_000, 1 << 20
_TABLES, _DOCUMENTS = (".csv", ".tsv"), (".json", ".jsonl", ".ndjson")
_PNG, _JPEG, _GIF = b"\x89PNG", b"\xff\xd8\xff", b"GIF8"


@dataclass(frozen=True)
class Batch:
    """Examples for one request: pictures with their names, or rows of one file, counted from `first`."""

    names: tuple[str, ...]
    pictures: tuple[bytes, ...] = ()
    inputs: tuple[Any, ...] = ()
    first: int = 0

    def place(self, index: int) -> tuple[str, int | None]:
        """Return file and row, from 1, of an example; a picture has no row."""
        return (self.names[index], None) if self.pictures else (self.names[0], self.first + index)

    def singly(self) -> Iterator["Batch"]:
        """Yield each picture by itself."""
        for name, picture in zip(self.names, self.pictures, strict=True):
            yield Batch((name,), (picture,))


def batches(files: Sequence[str], columns: Callable[[], Sequence[Any]]) -> Iterator[Batch]:
    """Yield what files hold, in their order; `columns` gives those of the model, asked for a table alone.

    Raises ValueError and OSError.
    """
    waiting: list[tuple[str, bytes]] = []
    for file in files:
        data = read_given(file)
        kind = _kind(file, data)
        name = "stdin" if file == STDIN else file
        if kind != "picture" or _is_full(waiting, data):
            yield from _pictures(waiting)
            waiting = []
        if kind == "picture":
            waiting.append((name, data))
        else:
            examples = read_table(name, data, columns()) if kind == "table" else _read_json(name, data)
            yield from _rows(name, examples)
    yield from _pictures(waiting)


def _kind(file: str, data: bytes) -> str:
    suffix = Path(file).suffix.lower()
    if file != STDIN:
        return "table" if suffix in _TABLES else "json" if suffix in _DOCUMENTS else "picture"
    if _is_picture(data):
        return "picture"
    return "json" if data.lstrip()[:1] in (b"[", b"{") else "table"


def _is_picture(data: bytes) -> bool:
    """Tell by the first bytes; a table may begin with BMI, so that a BMP file's zeros count too."""
    bmp = data[:2] == b"BM" and data[6:10] == bytes(4)
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return bmp or webp or data.startswith((_PNG, _JPEG, _GIF))


def _is_full(waiting: Sequence[tuple[str, bytes]], data: bytes) -> bool:
    size = sum(len(picture) for _, picture in waiting) + len(data)
    return len(waiting) == MOST_PICTURES or size > MOST_PICTURE_BYTES


def _pictures(waiting: Sequence[tuple[str, bytes]]) -> Iterator[Batch]:
    if waiting:
        names, pictures = zip(*waiting, strict=True)
        yield Batch(names, pictures)


def _rows(file: str, examples: Sequence[Any]) -> Iterator[Batch]:
    if not examples:
        raise ValueError(f"{file}: has no examples")
    size = min(MOST_ROWS, max(1, MOST_JSON // len(json.dumps(examples[0]))))
    for start in range(0, len(examples), size):
        yield Batch((file,), inputs=tuple(examples[start : start + size]), first=start + 1)


def _read_json(file: str, data: bytes) -> list[Any]:
    """Return the examples of a document that is an array of them, or of lines that each are one."""
    try:
        document = json.loads(data)
    except ValueError:
        return [_line(file, n, line) for n, line in enumerate(data.splitlines(), 1) if line.strip()]
    several = isinstance(document, list) and all(isinstance(one, (list, dict)) for one in document)
    return document if several else [document]


def _line(file: str, number: int, line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise ValueError(f"{file}: line {number} is no JSON: {error}") from None
