"""The columns of a table: what a row by column name becomes as numbers, and the other way round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncore.config import canonical, entries, shorten
from nncore.errors import RowError
from nncore.types import Array, FloatArray

# Of a table.
MOST_COLUMNS = 5_000
# The categories of a column; more are names or numbers that tell one row from another.
MOST_CATEGORIES = 1000
# The numbers that a row may become.
MOST_WIDTH = 10_000
# Characters of a column's name, and of a category.
MOST_NAME = 200
# Bytes that all names and categories take in a model file, whose header has room for four times as many.
MOST_TEXT = 1 << 20
# Mistakes in rows that are told of at once.
MOST_MISTAKES = 20
# A column, where its numbers begin in a row, and where in the row each of its categories stands.
Field = tuple["Column", int, Mapping[str, int]]
# A row, the name of a column, and what is wrong there.
Mistake = tuple[int, str, str]
# Of a number in a row.
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Column:
    """A column by its name: of numbers, or where it has `categories` of one of these texts."""

    name: str
    categories: tuple[str, ...] = entries(MOST_CATEGORIES)

    @property
    def width(self) -> int:
        """Return how many numbers it becomes: one, or a 0 or 1 for each category."""
        return len(self.categories) or 1


def width_of(columns: Sequence[Column]) -> int:
    """Return how many numbers a row becomes."""
    return sum(column.width for column in columns)


def text_bytes(columns: Sequence[Column]) -> int:
    """Return how many bytes the names and categories take in a model file, where JSON lies within JSON."""
    texts = [text for column in columns for text in (column.name, *column.categories)]
    return len(canonical(canonical(texts)).encode())


def is_unicode(text: str) -> bool:
    """Say whether a text can be written into any file or table: no NUL in it, and no half of a character."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)


def text_problem(text: str) -> str | None:
    """Return why a text cannot be the name of a class, None where it can."""
    if not text:
        return "is empty, and must be a text"
    if len(text) > MOST_NAME:
        return f"has {len(text):,} characters, and may have {MOST_NAME}"
    return None if is_unicode(text) else "is no Unicode text"


def columns_problem(columns: Sequence[Column]) -> str | None:
    """Return what is wrong with columns that somebody else has written down, None where nothing is."""
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        return "two columns have the same name"
    for column in columns:
        if len(set(column.categories)) != len(column.categories):
            return f"the column {shorten(column.name)} has a category twice"
        longest = max(map(len, (column.name, *column.categories)))
        if longest > MOST_NAME:
            return f"a name or category has {longest:,} characters, more than {MOST_NAME}"
    return None


def encode_rows(columns: Sequence[Column], rows: Sequence[Any]) -> FloatArray:
    """Return rows, each an object by column name, as numbers (N, width), float32.

    Raises RowError with all that is wrong, up to 20: a column that is missing or unknown, a number that is
    none, a category that the model has not learned.
    """
    fields, start = {}, 0
    for column in columns:
        codes = {text: start + place for place, text in enumerate(column.categories)}
        fields[column.name] = (column, start, codes)
        start += column.width
    encoded = np.zeros((len(rows), start), np.float32)
    mistakes: list[Mistake] = []
    for index, (row, numbers) in enumerate(zip(rows, encoded, strict=True)):
        mistakes += [(index, name, text) for name, text in _encode(fields, row, numbers)]
        if len(mistakes) >= MOST_MISTAKES:
            break
    if mistakes:
        raise RowError(mistakes[:MOST_MISTAKES])
    return encoded


def _encode(fields: Mapping[str, Field], row: Any, numbers: FloatArray) -> Iterator[tuple[str, str]]:
    """Write one row's numbers; yield each column where that cannot be done, and why."""
    if not isinstance(row, dict):
        yield "", f"must be an object by column name, not {shorten(row)}"
        return
    for name, (column, start, codes) in fields.items():
        if name not in row:
            yield name, "is missing"
        elif problem := _problem(column, row[name], codes):
            yield name, problem
        elif codes:
            numbers[codes[row[name]]] = 1
        else:
            numbers[start] = row[name]
    if len(row) > len(fields) or not row.keys() <= fields.keys():
        for name in [name for name in row if name not in fields][:MOST_MISTAKES]:
            yield name, f"is no column of this model; its columns are {', '.join(fields)[:500]}"


def decode_rows(columns: Sequence[Column], encoded: Array) -> list[dict[str, Any]]:
    """Return rows by column name from numbers (N, width); None for a category that has no place."""
    rows: list[dict[str, Any]] = [{} for _ in encoded]
    start = 0
    for column in columns:
        part = encoded[:, start : start + column.width]
        start += column.width
        for row, numbers in zip(rows, part.tolist(), strict=True):
            if column.categories:
                row[column.name] = column.categories[numbers.index(1)] if 1 in numbers else None
            else:
                row[column.name] = float(f"{numbers[0]:.7g}")
    return rows


def _problem(column: Column, value: Any, codes: Mapping[str, int]) -> str | None:
    if codes:
        if isinstance(value, str) and value in codes:
            return None
        known = ", ".join(map(repr, column.categories))
        known = known if len(known) <= 500 else known[:500] + " …"
        return f"must be one of the categories that the model has learned, {known}, not {shorten(value)}"
    if type(value) not in (int, float):
        return f"must be a number, not {shorten(value)}"
    return None if abs(value) <= LARGEST else f"must be a finite number of 32 bits, not {shorten(value)}"
