"""Where somebody's own data are and how they are read: the object that a recipe's `dataset` may be.

`PATHS` are the fields that say where; the others, with what is in the files, make a dataset what it is.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from nncore.columns import MOST_COLUMNS, is_unicode
from nncore.config import choice, entries, number, shorten

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)
DELIMITERS = (",", ";", "\t", "|")
SHARE = 0.15
# A network cannot take more: the largest side of a picture that is resized.
MOST_SIDE = 1024


def _text() -> Any:
    """Declare a path or a name."""

    def check(value: str) -> str | None:
        return None if value and is_unicode(value) else f"must be a text, not {shorten(value)}"

    return field(metadata={"check": check})


def _share() -> Any:
    return number(SHARE, above=0, maximum=0.5)


@dataclass(frozen=True)
class Csv:
    """A table in a text file, a row a line.

    `target` names the column that is to be told from the others. Without `task` a target of texts, or of at
    most 20 different whole numbers, is one of classes. `header` and `delimiter` are found out where they are
    not given; without a header columns are named `column_1` and so on. `ignore` are columns left out;
    `categorical` are read as texts, `numeric` as numbers, whatever they look like.
    """

    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str = _text()
    target: str = _text()
    task: str | None = choice(TASKS, None)
    header: bool | None = None
    delimiter: str | None = choice(DELIMITERS, None)
    ignore: tuple[str, ...] = entries(MOST_COLUMNS)
    categorical: tuple[str, ...] = entries(MOST_COLUMNS)
    numeric: tuple[str, ...] = entries(MOST_COLUMNS)
    validation: float = _share()
    test: float = _share()


@dataclass(frozen=True)
class Npz:
    """Arrays in NumPy's zip format: inputs (N, …) and targets (N,), classes or values, by their names."""

    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str = _text()
    inputs: str = "inputs"
    targets: str = "targets"
    task: str | None = choice(TASKS, None)
    validation: float = _share()
    test: float = _share()


@dataclass(frozen=True)
class Idx:
    """Two files in the format of MNIST's, gzipped or not: inputs (N, …) and class numbers (N,)."""

    PATHS: ClassVar[tuple[str, ...]] = ("inputs", "targets")

    inputs: str = _text()
    targets: str = _text()
    validation: float = _share()
    test: float = _share()


@dataclass(frozen=True)
class Pictures:
    """A folder, or a zip file with one, that holds a folder of pictures a class.

    All must have one size, or become it: `height` × `width`. Without `channels` they are grey (1) where all
    are, else colour (3).
    """

    PATHS: ClassVar[tuple[str, ...]] = ("path",)

    path: str = _text()
    height: int | None = number(None, minimum=1, maximum=MOST_SIDE)
    width: int | None = number(None, minimum=1, maximum=MOST_SIDE)
    channels: int | None = number(None, minimum=1, maximum=3)
    validation: float = _share()
    test: float = _share()


@dataclass(frozen=True)
class Stored:
    """A dataset that was sent to a service, which keeps it under its SHA-256."""

    PATHS: ClassVar[tuple[str, ...]] = ()

    name: str
    sha256: str


Source = Csv | Npz | Idx | Pictures | Stored
SOURCES: dict[str, type] = {"csv": Csv, "npz": Npz, "idx": Idx, "pictures": Pictures, "stored": Stored}
