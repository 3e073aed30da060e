"""MNIST: 60,000 + 10,000 pictures of handwritten digits, 28×28, 0-255, white ink on black.

By Yann LeCun, Corinna Cortes and Christopher Burges; the four original files ship with this package.
"""

import hashlib
from pathlib import Path

from nncore.datasets.dataset import Dataset, Split
from nncore.datasets.idx import gunzip, read_idx
from nncore.errors import DatasetError
from nncore.preprocessing import DigitPicture
from nncore.types import Array

FOLDER = Path(__file__).parent / "mnist"

# Name, SHA-256 of the decompressed file.
TRAIN_IMAGES = "train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
TRAIN_LABELS = "train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
TEST_IMAGES = "t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
TEST_LABELS = "t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
VALIDATION_ROWS = 5_000


def load_digits(folder: Path = FOLDER) -> Dataset:
    """Return MNIST; the last 5,000 training images are the validation set.

    Raises DatasetError where a file is missing or is not the original.
    """
    images, labels = _read(folder, *TRAIN_IMAGES), _read(folder, *TRAIN_LABELS)
    whole = hashlib.sha256(
        "".join(f[1] for f in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)).encode()
    )
    return Dataset(
        name="digits",
        sha256=whole.hexdigest(),
        train=Split(images[:-VALIDATION_ROWS], labels[:-VALIDATION_ROWS]),
        validation=Split(images[-VALIDATION_ROWS:], labels[-VALIDATION_ROWS:]),
        test=Split(_read(folder, *TEST_IMAGES), _read(folder, *TEST_LABELS)),
        labels=tuple("0123456789"),
        input_range=(0, 255),
        picture=DigitPicture(),
        note="MNIST: trained on the first 55,000 training images, validated on the last 5,000.",
    )


def _read(folder: Path, name: str, sha256: str) -> Array:
    path = folder / f"{name}.gz"
    try:
        plain = gunzip(path.read_bytes(), most_bytes=50_000_000)
    except OSError as error:
        raise DatasetError(f"{path.name}: {error.strerror}") from None
    except DatasetError as error:
        raise DatasetError(f"{path.name}: {error}") from None
    found = hashlib.sha256(plain).hexdigest()
    if found != sha256:
        raise DatasetError(f"{path.name}: not the original file, its SHA-256 is {found}, not {sha256}")
    array = read_idx(plain)
    return array.astype("int64") if array.ndim == 1 else array
