"""One column of a CSV file: numbers, or texts with a number for each different one."""

from collections.abc import Sequence

import numpy as np

from nncore.columns import MOST_CATEGORIES, MOST_NAME
from nncore.config import shorten
from nncore.datasets.cells import is_number
from nncore.errors import DatasetError
from nncore.types import Array, FloatArray

# A column is of numbers where so large a share of its first cells is.
MOSTLY = 0.5
# With more different texts than this, and than half of the rows, a column tells rows apart, not kinds.
FEW = 20
LARGEST = float(np.finfo(np.float32).max)


class CellError(Exception):
    """A cell that is not what its column holds; `place` is its row's in the chunk."""

    def __init__(self, place: int, column: str, problem: str) -> None:
        super().__init__(problem)
        self.place, self.column = place, column


class NumberColumn:
    """A column of finite numbers."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.low, self.high = np.inf, -np.inf

    def read(self, cells: Sequence[str]) -> FloatArray:
        """Return the numbers in cells, (N,) float64; raises CellError."""
        try:
            numbers = np.array(cells, np.float64)
        except ValueError:
            place = next(place for place, cell in enumerate(cells) if not is_number(cell))
            raise CellError(place, self.name, _not_a_number(cells[place])) from None
        low, high = float(numbers.min()), float(numbers.max())
        if not -LARGEST <= low <= high <= LARGEST:
            place = int((np.abs(numbers) <= LARGEST).argmin())
            raise CellError(place, self.name, f"is {shorten(cells[place])}, and must be finite, in 32 bits")
        self.low, self.high = min(self.low, low), max(self.high, high)
        return numbers

    def problem(self, rows: int) -> str | None:
        """Return why nothing can be learned from the column, None where something can."""
        return _constant(self.name, f"{self.low:g}") if self.low == self.high else None


class TextColumn:
    """A column of texts, of at most 1,000 different ones; `codes` are their numbers as they came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.codes: dict[str, int] = {}

    def read(self, cells: Sequence[str]) -> Array:
        """Return the codes of the texts in cells, (N,) int32; raises CellError or DatasetError."""
        codes = self.codes
        found = [codes.setdefault(cell.strip(), len(codes)) for cell in cells]
        if len(codes) > MOST_CATEGORIES:
            raise DatasetError(self._tells_rows_apart(f"more than {MOST_CATEGORIES:,}"))
        if len(bad := [text for text in codes if not text or len(text) > MOST_NAME]):
            place = next(place for place, cell in enumerate(cells) if cell.strip() == bad[0])
            raise CellError(place, self.name, _not_a_category(bad[0]))
        return np.array(found, np.int32)

    def problem(self, rows: int) -> str | None:
        """Return why nothing can be learned from the column, None where something can."""
        if len(self.codes) == 1:
            return _constant(self.name, repr(next(iter(self.codes))))
        if len(self.codes) > max(FEW, rows // 2):
            return self._tells_rows_apart(f"{len(self.codes):,}")
        return None

    def _tells_rows_apart(self, count: str) -> str:
        return (
            f"the column {self.name!r} has {count} different texts; if it names rows instead of kinds "
            f'of rows, leave it out ("ignore")'
        )


def kind_of(cells: Sequence[str]) -> type[NumberColumn] | type[TextColumn]:
    """Return what a column is, by its first cells: of numbers where half of them or more are."""
    numbers = sum(map(is_number, cells))
    return NumberColumn if numbers and numbers >= MOSTLY * len(cells) else TextColumn


def _constant(name: str, value: str) -> str:
    return f'the column {name!r} is {value} in every row and tells nothing: leave it out ("ignore")'


def _not_a_number(cell: str) -> str:
    if not cell.strip():
        return "is empty, and must be a number: fill it, or leave the row out"
    hint = ", with a point for the decimals" if is_number(cell.replace(",", ".")) else ""
    text = f"is {shorten(cell)}, and must be a number{hint}"
    return text if hint else f'{text}; if the column holds texts, say so ("categorical")'


def _not_a_category(text: str) -> str:
    if not text:
        return "is empty, and must be a text: fill it, or leave the row out"
    return f"has {len(text):,} characters; a category has at most {MOST_NAME}"
