"""The cells of a CSV file (RFC 4180), a bounded number of rows at a time, each row as long as the first."""

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from itertools import islice
from pathlib import Path

from nncore.columns import MOST_COLUMNS, MOST_NAME
from nncore.datasets.sources import DELIMITERS, Csv
from nncore.errors import DatasetError
from nncore.files import open_regular

Row = list[str]

# Cells read at once: some 10 MB of Python's strings.
CHUNK_CELLS = 100_000
# Characters read for them at most, and of one line.
MOST_CHUNK = 64 << 20
MOST_LINE = 4 << 20
# Rows from which is told what kind a column is.
PREVIEW_ROWS = 1000
_QUOTED = re.compile('"[^"]*"')
_SAVE = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"


class Cells:
    """A file's header and then its rows, in chunks; rows are counted from 1, below the header.

    Raises DatasetError, with row and line, where a row is longer or shorter than the first, the text is not
    UTF-8, or there is nothing.
    """

    def __init__(self, file: BufferedReader, source: Csv) -> None:
        self._bytes, self._size = file, os.fstat(file.fileno()).st_size
        self._file = TextIOWrapper(file, encoding="utf-8-sig", newline="")
        self._taken = self._lines_read = 0
        self.name = Path(source.path).name
        first = self._line()
        while first.isspace():
            first = self._line()
        self.delimiter = source.delimiter or max(DELIMITERS, key=_QUOTED.sub("", first).count)
        self._reader = csv.reader(self._lines(first), delimiter=self.delimiter, strict=True)
        rows = self._rows(2)
        if not rows:
            raise DatasetError(f"{self.name}: is empty; a table with a header and rows is expected")
        self.header = source.header if source.header is not None else _is_header(rows[0], source.target)
        self.names = self._names(rows[0])
        self._waiting = rows[1:] if self.header else rows

    @property
    def share_read(self) -> float:
        """Return how much of the file has been read."""
        return self._bytes.tell() / self._size

    def chunks(self) -> Iterator[list[Row]]:
        """Yield the rows, the first so many before all others."""
        count = max(1, CHUNK_CELLS // len(self.names))
        done = 0
        while True:
            most = min(count, PREVIEW_ROWS) if not done else count
            rows = self._waiting + self._rows(most - len(self._waiting))
            self._waiting = []
            if not rows:
                return
            self._check_lengths(rows, done)
            yield rows
            done += len(rows)

    def _names(self, first: Row) -> Row:
        if len(first) > MOST_COLUMNS:
            raise DatasetError(f"{self.name}: has {len(first):,} columns; at most {MOST_COLUMNS:,} are taken")
        if not self.header:
            return [f"column_{number}" for number in range(1, len(first) + 1)]
        names = [name.strip() for name in first]
        for number, name in enumerate(names, 1):
            problem = ""
            if not name or len(name) > MOST_NAME or not name.isprintable():
                problem = f"has no name of 1 to {MOST_NAME} printable characters"
            elif names.index(name) != number - 1:
                problem = f"has the same name as column {names.index(name) + 1}, {name!r}"
            if problem:
                raise DatasetError(
                    f"{self.name}: column {number} {problem} in the first line; if that is no header, say "
                    f'"header": false'
                )
        return names

    def _rows(self, most: int) -> list[Row]:
        self._taken = 0
        try:
            # An empty line is a row without cells.
            return list(islice(filter(None, self._reader), max(0, most)))
        except csv.Error as error:
            raise DatasetError(
                f"{self.name}, line {self._reader.line_num:,}: {error}; is every quote closed, and written "
                f"twice inside of quotes?"
            ) from None

    def _lines(self, first: str) -> Iterator[str]:
        line = first
        while line:
            yield line
            line = self._line()

    def _line(self) -> str:
        try:
            line = self._file.readline(MOST_LINE + 1)
        except UnicodeDecodeError as error:
            number = self._lines_read + len((error.object[: error.start] + b".").splitlines())
            found = f"{error.reason} 0x{error.object[error.start]:02x}"
            raise DatasetError(f"{self.name}, line {number:,}: is not UTF-8, {found}; {_SAVE}") from None
        self._taken += len(line)
        self._lines_read += 1
        if "\0" in line:
            raise DatasetError(f"{self.name}, line {self._lines_read:,}: is no text, it has a NUL; {_SAVE}")
        if len(line) > MOST_LINE or self._taken > MOST_CHUNK:
            raise DatasetError(
                f"{self.name}: has a line of more than {MOST_LINE:,} characters, or rows of more than "
                f"{MOST_CHUNK:,} together: is it a CSV file, and is every quote closed?"
            )
        return line

    def _check_lengths(self, rows: Sequence[Row], done: int) -> None:
        width = len(self.names)
        for place, row in enumerate(rows):
            if len(row) != width:
                raise DatasetError(
                    f"{self.name}, row {done + place + 1}: has {len(row)} cells, and the first line {width} "
                    f"(split at {self.delimiter!r})"
                )


@contextmanager
def open_cells(source: Csv) -> Iterator[Cells]:
    """Open a CSV file; raises DatasetError where that cannot be done."""
    try:
        file = open_regular(Path(source.path))
    except OSError as error:
        raise DatasetError(f"{source.path}: {error.strerror}") from None
    with file:
        yield Cells(file, source)


def is_number(cell: str) -> bool:
    """Say whether a cell holds a number, finite or not."""
    try:
        float(cell)
    except ValueError:
        return False
    # 1_000 is one to Python alone.
    return "_" not in cell


def _is_header(first: Row, target: str) -> bool:
    """Say whether the first row names the columns: where it has the target's name, or all of it is text."""
    return target in [cell.strip() for cell in first] or not any(map(is_number, first))
