"""`load_dataset`: from what a recipe says of its dataset to the rows."""

from collections.abc import Callable

from nncore.datasets.csv_file import read_csv
from nncore.datasets.dataset import Dataset
from nncore.datasets.digits import load_digits
from nncore.datasets.npz import read_idx_pair, read_npz
from nncore.datasets.picture_folder import read_pictures
from nncore.datasets.small import make_exam, make_line, make_xor
from nncore.datasets.sources import Csv, Idx, Npz, Pictures, Source, Stored
from nncore.errors import DatasetError

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": load_digits,
    "exam": make_exam,
    "line": make_line,
    "xor": make_xor,
}
# How each kind of source is read.
READERS: dict[type, Callable[..., Dataset]] = {
    Csv: read_csv,
    Npz: read_npz,
    Idx: read_idx_pair,
    Pictures: read_pictures,
}


def load_dataset(source: str | Source) -> Dataset:
    """Return a dataset that is built in, by its name, or one that is read from files.

    Raises DatasetError, with the file and the place in it, where those cannot be learned from.
    """
    if isinstance(source, str):
        return DATASETS[source]()
    if isinstance(source, Stored):
        raise DatasetError(
            f"the dataset {source.name!r} is kept by a service, which alone trains on it: name a file instead"
        )
    return READERS[type(source)](source)
