"""Datasets by name: line, exam, xor and digits."""

from collections.abc import Callable

from nncore.datasets.dataset import Dataset, Split, hold_out
from nncore.datasets.digits import load_digits
from nncore.datasets.small import make_exam, make_line, make_xor

__all__ = ["DATASETS", "Dataset", "Split", "hold_out"]

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "exam": make_exam,
    "line": make_line,
    "xor": make_xor,
}
