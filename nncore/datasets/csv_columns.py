"""One column of a CSV file: numbers, or texts with a number for each different one."""

from collections.abc import Sequence

import numpy as np

from nncore.columns import LARGEST, MOST_CATEGORIES, MOST_NAME
from nncore.config import shorten
from nncore.datasets.cells import is_number
from nncore.types import Array, FloatArray

# A column is of numbers where so large a share of its first cells is.
MOSTLY = 0.5
# With more different texts than this, and than half of the rows, a column tells rows apart, not kinds.
FEW = 20
_LEAVE_OUT = '; if it names rows instead of kinds of rows, leave it out ("ignore")'


class CellError(Exception):
    """A cell that is not what its column holds; `place` is its row's in the chunk."""

    def __init__(self, place: int, problem: str) -> None:
        super().__init__(problem)
        self.place = place


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
            raise _first_bad(cells) from None
        if "_" in "".join(cells):
            raise _first_bad(cells)
        low, high = float(numbers.min()), float(numbers.max())
        if not -LARGEST <= low <= high <= LARGEST:
            place = int((np.abs(numbers) <= LARGEST).argmin())
            raise CellError(place, f"is {shorten(cells[place])}, and must be finite, in 32 bits")
        self.low, self.high = min(self.low, float(np.float32(low))), max(self.high, float(np.float32(high)))
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
        """Return the codes of the texts in cells, (N,) int32; raises CellError."""
        codes = self.codes
        found = [codes.setdefault(cell.strip(), len(codes)) for cell in cells]
        if len(codes) > MOST_CATEGORIES:
            new = list(codes)[MOST_CATEGORIES]
            place = next(place for place, cell in enumerate(cells) if cell.strip() == new)
            more = f"is one different text more than the {MOST_CATEGORIES:,} that a column may have"
            raise CellError(place, more + _LEAVE_OUT)
        if len(bad := [text for text in codes if not text or len(text) > MOST_NAME]):
            place = next(place for place, cell in enumerate(cells) if cell.strip() == bad[0])
            raise CellError(place, _not_a_category(bad[0]))
        return np.array(found, np.int32)

    def problem(self, rows: int) -> str | None:
        """Return why nothing can be learned from the column, None where something can."""
        if len(self.codes) == 1:
            return _constant(self.name, repr(next(iter(self.codes))))
        if len(self.codes) > max(FEW, rows // 2):
            count = f"{len(self.codes):,} different texts in {rows:,} rows"
            return f"the column {self.name!r} has {count}{_LEAVE_OUT}"
        return None


def kind_of(cells: Sequence[str]) -> type[NumberColumn] | type[TextColumn]:
    """Return what a column is, by its first cells: of numbers where half or more of those with something are.

    A number with a comma for the decimals is meant as one, and refused when it is read.
    """
    filled = [cell for cell in cells if cell.strip()]
    numbers = sum(is_number(cell.replace(",", ".")) for cell in filled)
    return NumberColumn if numbers and numbers >= MOSTLY * len(filled) else TextColumn


def _first_bad(cells: Sequence[str]) -> CellError:
    place = next(place for place, cell in enumerate(cells) if not is_number(cell))
    return CellError(place, _not_a_number(cells[place]))


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
