"""A table from a CSV file: columns of numbers and of categories, read in bounded memory."""

import difflib
from collections import deque
from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np

from nncore.columns import MOST_NAME, MOST_TEXT, MOST_WIDTH, Column, text_bytes, width_of
from nncore.config import shorten
from nncore.datasets.cells import Cells, Row, open_cells
from nncore.datasets.csv_columns import CellError, NumberColumn, TextColumn, kind_of
from nncore.datasets.dataset import Dataset, Split
from nncore.datasets.dividing import TEST, TRAIN, VALIDATION, divide
from nncore.datasets.identity import file_sha256, identity
from nncore.datasets.room import check_room
from nncore.datasets.sources import REGRESSION, Csv
from nncore.datasets.targets import Targets, targets_of, texts_of
from nncore.errors import DatasetError
from nncore.types import Array, FloatArray

# What is kept of a chunk of rows: (N, columns of numbers) float32, and codes (N, columns of texts) int32.
Kept = tuple[FloatArray, Array]


def read_csv(source: Csv) -> Dataset:
    """Return the table in a CSV file, a column of it as the target of all others.

    Category tables are those of the training rows alone. Raises DatasetError, with row and column, where it
    cannot be learned from, and where it would take more memory than there is.
    """
    sha256 = identity(source, [file_sha256(Path(source.path))])
    with open_cells(source) as cells:
        table = Table(source, cells)
        table.read(cells)
    targets = table.targets()
    parts = divide(sha256, targets.classes, len(targets.array), source.validation, source.test)
    return table.dataset(sha256, targets, parts)


class Table:
    """What has been read of a file."""

    def __init__(self, source: Csv, cells: Cells) -> None:
        self.source, self.name, self.names = source, cells.name, cells.names
        self._check_names()
        self.inputs: list[NumberColumn | TextColumn] = []
        self.target: NumberColumn | TextColumn | None = None
        self.chunks: deque[Kept] = deque()
        self.answers: list[Array] = []
        self.rows = 0

    def read(self, cells: Cells) -> None:
        """Read all rows."""
        for rows in cells.chunks():
            if self.target is None:
                self._choose_kinds(rows)
            self._take(rows)
            self._check_room(round(self.rows / cells.share_read))
        if self.target is None:
            raise DatasetError(f"{self.name}: has a header and no rows below it")
        for column in self.inputs:
            if problem := column.problem(self.rows):
                raise DatasetError(f"{self.name}: {problem}")

    def targets(self) -> Targets:
        """Return the target column of all rows."""
        assert self.target is not None
        values, what = np.concatenate(self.answers), f"{self.name}: the target {self.source.target!r}"
        if isinstance(self.target, TextColumn):
            return texts_of(values, list(self.target.codes), what)
        return targets_of(values, self.source.task, what)

    def dataset(self, sha256: str, targets: Targets, parts: Array) -> Dataset:
        """Return the rows, encoded and divided; what was read is let go of meanwhile."""
        columns = self._columns(parts == TRAIN)
        inputs, unknown_rows = self._encode(columns, parts)
        train, validation, test = (
            Split(inputs[part], targets.array[parts == part]) for part in (TRAIN, VALIDATION, TEST)
        )
        note = ""
        if unknown_rows:
            note = (
                f"{unknown_rows:,} of the rows held out have a category that no training row has: "
                f"it counts as none of them."
            )
        name = Path(self.source.path).stem
        return Dataset(
            name, sha256, train, validation, test, targets.labels, columns=columns, note=note, is_private=True
        )

    def _check_names(self) -> None:
        source = self.source
        fields = {"target": (source.target,), "ignore": source.ignore}
        for field, names in (fields | {"categorical": source.categorical, "numeric": source.numeric}).items():
            for name in names:
                if name not in self.names:
                    raise DatasetError(f"{self.name}: {field}: {_no_column(name, self.names)}")
        both = sorted({*source.categorical} & {*source.numeric})
        if both:
            raise DatasetError(f"{self.name}: the column {both[0]!r} is both categorical and numeric: choose")
        if source.task == REGRESSION and source.target in source.categorical:
            raise DatasetError(f"{self.name}: the target {source.target!r} is categorical: no regression")
        if source.target in source.ignore:
            raise DatasetError(f"{self.name}: the target {source.target!r} is among the columns to ignore")
        if len(self.names) - len({*source.ignore}) < 2:
            raise DatasetError(f"{self.name}: has no column beside the target to tell it from")

    def _choose_kinds(self, rows: Sequence[Row]) -> None:
        source = self.source
        told = dict.fromkeys(source.categorical, TextColumn) | dict.fromkeys(source.numeric, NumberColumn)
        if source.task == REGRESSION:
            told[source.target] = NumberColumn
        for name, cells in zip(self.names, zip(*rows, strict=True), strict=True):
            if name in source.ignore:
                continue
            column = (told.get(name) or kind_of(cells))(name)
            if name == source.target:
                self.target = column
            else:
                self.inputs.append(column)

    def _take(self, rows: Sequence[Row]) -> None:
        by_name = dict(zip(self.names, zip(*rows, strict=True), strict=True))
        numbers = np.empty((len(rows), self._count(NumberColumn)), np.float32)
        codes = np.empty((len(rows), self._count(TextColumn)), np.int32)
        places = {NumberColumn: iter(numbers.T), TextColumn: iter(codes.T)}
        assert self.target is not None
        for column in self.inputs:
            next(places[type(column)])[...] = self._column(column, by_name[column.name])
        self.answers.append(self._column(self.target, by_name[self.target.name]))
        self.chunks.append((numbers, codes))
        self.rows += len(rows)

    def _column(self, column: NumberColumn | TextColumn, cells: Sequence[str]) -> Array:
        try:
            return column.read(cells)
        except CellError as error:
            row = self.rows + error.place + 1
            raise DatasetError(f"{self.name}, row {row:,}, column {column.name!r}: {error}") from None

    def _count(self, kind: type) -> int:
        return sum(isinstance(column, kind) for column in self.inputs)

    def _check_room(self, rows: int) -> None:
        """Raise DatasetError where so many rows, as read and as encoded, with their targets, have no room."""
        width = sum(len(column.codes) if isinstance(column, TextColumn) else 1 for column in self.inputs)
        check_room(4 * rows * (len(self.inputs) + width + 8), f"{self.name}, with about {rows:,} rows,")

    def _columns(self, training: Array) -> tuple[Column, ...]:
        """Return the columns with the categories that training rows have, in alphabetical order."""
        used = iter(self._used(training))
        columns = []
        for column in self.inputs:
            categories: tuple[str, ...] = ()
            if isinstance(column, TextColumn):
                categories = tuple(sorted(compress(column.codes, next(used))))
            columns.append(Column(column.name, categories))
        if width_of(columns) > MOST_WIDTH:
            raise DatasetError(
                f"{self.name}: a row becomes {width_of(columns):,} numbers, a 0 or 1 for each category, and "
                f'may become {MOST_WIDTH:,}: leave out columns of many categories ("ignore")'
            )
        if (size := text_bytes(columns)) > MOST_TEXT:
            raise DatasetError(
                f"{self.name}: the names of columns and categories take {size:,} bytes, and may take "
                f'{MOST_TEXT:,}: leave out columns of many or long categories ("ignore")'
            )
        return tuple(columns)

    def _used(self, training: Array) -> list[Array]:
        """Return for each column of texts which of its codes training rows have."""
        used = [np.zeros(len(column.codes), bool) for column in self.inputs if isinstance(column, TextColumn)]
        start = 0
        for _, codes in self.chunks:
            trained = codes[training[start : start + len(codes)]]
            start += len(codes)
            for found, column in zip(used, trained.T, strict=True):
                found[column] = True
        return used

    def _encode(self, columns: Sequence[Column], parts: Array) -> tuple[list[FloatArray], int]:
        """Return the rows of each part as numbers, and how many of them have a category without a place."""
        inputs = [np.zeros((int((parts == part).sum()), width_of(columns)), np.float32) for part in range(3)]
        filled, start, unknown_rows = [0, 0, 0], 0, 0
        tables = self._tables(columns)
        while self.chunks:
            numbers, codes = self.chunks.popleft()
            here = parts[start : start + len(numbers)]
            start += len(numbers)
            for part in range(3):
                rows = np.flatnonzero(here == part)
                encoded = inputs[part][filled[part] : filled[part] + len(rows)]
                filled[part] += len(rows)
                unknown_rows += _encode_rows(columns, tables, numbers[rows], codes[rows], encoded)
        return inputs, unknown_rows

    def _tables(self, columns: Sequence[Column]) -> list[Array]:
        """Return for each column of texts which category each code is, -1 where it is none."""
        tables = []
        for read, column in zip(self.inputs, columns, strict=True):
            if isinstance(read, TextColumn):
                places = {text: place for place, text in enumerate(column.categories)}
                tables.append(np.array([places.get(text, -1) for text in read.codes]))
        return tables


def _no_column(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:MOST_NAME], names, 1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    known = ", ".join(names)
    known = known if len(known) <= 500 else known[:500] + " …"
    return f"there is no column {shorten(name)}, only {known}{hint}"


def _encode_rows(
    columns: Sequence[Column],
    tables: Sequence[Array],
    numbers: FloatArray,
    codes: Array,
    encoded: FloatArray,
) -> int:
    """Write what rows become into zeros (N, width); return how many have a category without a place."""
    lacking = np.zeros(len(encoded), bool)
    number, text, start = iter(numbers.T), iter(zip(tables, codes.T, strict=True)), 0
    for column in columns:
        if not column.categories:
            encoded[:, start] = next(number)
        else:
            table, code = next(text)
            place = table[code]
            rows = np.flatnonzero(place >= 0)
            encoded[rows, start + place[rows]] = 1
            lacking |= place < 0
        start += column.width
    return int(lacking.sum())
