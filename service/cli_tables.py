"""Tables that a model is asked about: CSV as rows by column name, or as arrays of numbers."""

import csv
import io
from collections.abc import Sequence
from typing import Any

_DELIMITERS = ",;\t|"


def read_table(name: str, data: bytes, columns: Sequence[Any]) -> list[Any]:
    """Return the examples of a CSV file for a model with such columns, `input.columns` of its version.

    For a model of a table they are rows by column name: the file names its columns in the first line, in any
    order and among others, or has just these in their order. For any other model they are arrays of numbers;
    a first line that is not all numbers is none of them. Raises ValueError with row and column.
    """
    lines = _lines(name, data)
    names = [column["name"] for column in columns]
    if not columns:
        titles = next((line for line in lines[:1] if not all(map(_is_number, line))), None)
        rows = lines[1:] if titles else lines
        return [_numbers(f"{name}, row {n}", line) for n, line in enumerate(rows, 1)]
    if set(names) <= set(lines[0]):
        places = [lines[0].index(one) for one in names]
        lines = lines[1:]
    elif len(lines[0]) == len(names) and not set(names) & set(lines[0]):
        places = list(range(len(names)))
    else:
        missing = ", ".join(one for one in names if one not in lines[0])
        raise ValueError(f"{name}: the first line must name the model's columns; missing are {missing[:500]}")
    texts = {column["name"] for column in columns if column.get("categories")}
    return [
        {
            one: line[place] if one in texts else _number(f"{name}, row {n}, column {one!r}", line[place])
            for one, place in zip(names, places, strict=True)
        }
        for n, line in enumerate(lines, 1)
    ]


def _lines(name: str, data: bytes) -> list[list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: is no text in UTF-8: byte {error.start} is wrong") from None
    first = text.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first.count)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if line]
    except csv.Error as error:
        raise ValueError(f"{name}: is no CSV: {error}") from None
    if not lines:
        raise ValueError(f"{name}: is empty")
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise ValueError(f"{name}: line {number} has {len(line)} cells, and the first {len(lines[0])}")
    return lines


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(where: str, line: Sequence[str]) -> list[float]:
    return [_number(f"{where}, column {place}", text) for place, text in enumerate(line, 1)]


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{where}: is {text!r}, and must be a number") from None
