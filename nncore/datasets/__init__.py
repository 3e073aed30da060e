"""Datasets: line, exam, xor and digits by name, and everybody's own from files."""

from nncore.datasets.dataset import Dataset, Split, hold_out
from nncore.datasets.loading import DATASETS, load_dataset
from nncore.datasets.small import make_xor
from nncore.datasets.sources import SOURCES, Source, Stored

__all__ = [
    "DATASETS",
    "SOURCES",
    "Dataset",
    "Source",
    "Split",
    "Stored",
    "hold_out",
    "load_dataset",
    "make_xor",
]
