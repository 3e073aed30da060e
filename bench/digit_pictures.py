"""Whether a digit sent as a picture gets the answer that its MNIST array gets.

    python bench/digit_pictures.py [models/digits/1/model.safetensors] [--split test|train]

Every digit is (a) saved as a 28 x 28 PNG, (b) drawn dark on a white page of 280 x 280, enlarged tenfold or to
200 x 200 at a random place, and (c) shifted by 4 pixels in each direction in which no ink is lost; decoded
and normalised as the service does it, and read by the model. The design was tuned on 10,000 of the training
images (--split train); the test images only report.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # read by NumPy when it is imported

import argparse
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from nncore.datasets import DATASETS
from nncore.errors import PictureError
from nncore.images import decode_picture
from nncore.pictures import normalize_digit
from nncore.predictor import load

Picture = NDArray[np.uint8]
LabelsOf = Callable[[NDArray[np.float32]], NDArray[Any]]  # (N, 784) in 0..255 -> (N,) class numbers

PAGE = 280
SHIFT = 4
FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}
LEAST_AGREEMENT = 99.9  # % of PNGs that get the array's label
MOST_LOSS = 0.5  # points of accuracy on pages and shifted pictures
SAMPLE = 10_000


def measure(images: Picture, labels: NDArray[Any], labels_of: LabelsOf) -> bool:
    """Print the figures for images (N, 28, 28) with labels (N,); whether all of them are good enough."""
    of_arrays = labels_of(images.reshape(-1, 784).astype(np.float32))
    accuracy = 100 * float((of_arrays == labels).mean())
    print(f"{len(images)} arrays: accuracy {accuracy:.2f} %")
    of_png = _read((_png(image) for image in images), labels_of)
    agreement = 100 * float((of_png == of_arrays).mean())
    print(f"28 x 28 PNG: the array's label in {agreement:.2f} % (at least {LEAST_AGREEMENT} %)")
    good = bool(agreement >= LEAST_AGREEMENT)
    for name, rows, files in _variants(images):
        answers = _read(files, labels_of)
        loss = 100 * float((of_arrays[rows] == labels[rows]).mean() - (answers == labels[rows]).mean())
        unread = f", {(answers < 0).sum()} refused" if (answers < 0).any() else ""
        print(f"{name}: {-loss:+.2f} points on {len(rows)}{unread} (at least -{MOST_LOSS})")
        good = good and loss <= MOST_LOSS
    return good


def _variants(images: Picture) -> Iterator[tuple[str, NDArray[Any], Iterator[bytes]]]:
    """Name, rows and picture files of every way in which the digits are drawn."""
    everything = np.arange(len(images))
    for name, filter_ in FILTERS.items():
        rng = np.random.default_rng(0)
        yield f"page, tenfold, {name}", everything, (_page(image, PAGE, filter_, rng) for image in images)
        yield f"page, 200 placed, {name}", everything, (_page(image, 200, filter_, rng) for image in images)
    for name, (down, right) in _directions().items():
        rows = np.flatnonzero([_fits(image, down, right) for image in images])
        shifted = np.roll(images[rows], (down, right), (1, 2))
        yield f"shifted {name}", rows, (_png(image) for image in shifted)


def _directions() -> dict[str, tuple[int, int]]:
    names = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
    names |= {"north-west": (-1, -1), "south-east": (1, 1), "south-west": (1, -1), "north-east": (-1, 1)}
    return {name: (SHIFT * down, SHIFT * right) for name, (down, right) in names.items()}


def _fits(image: Picture, down: int, right: int) -> bool:
    kept = image[max(0, -down) : 28 - max(0, down), max(0, -right) : 28 - max(0, right)]
    return bool(np.count_nonzero(kept) == np.count_nonzero(image))


def _page(image: Picture, size: int, resampling: Image.Resampling, rng: np.random.Generator) -> bytes:
    page = np.full((PAGE, PAGE), 255, np.uint8)
    top, left = rng.integers(0, PAGE - size + 1, 2)
    page[top : top + size, left : left + size] -= np.asarray(
        Image.fromarray(image).resize((size, size), resampling)
    )
    return _png(page)


def _png(picture: Picture) -> bytes:
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _read(files: Iterator[bytes], labels_of: LabelsOf) -> NDArray[Any]:
    """The class of each picture file, -1 where it was refused."""
    digits = [_digit(file) for file in files]
    inputs = np.stack([np.zeros((28, 28), np.float32) if digit is None else digit for digit in digits])
    return np.where([digit is None for digit in digits], -1, labels_of(inputs.reshape(-1, 784)))


def _digit(file: bytes) -> NDArray[Any] | None:
    try:
        return normalize_digit(decode_picture(file, channels=1, max_pixels=16_000_000))
    except PictureError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, default=Path("models/digits/1/model.safetensors"))
    parser.add_argument("--split", choices=["test", "train"], default="test")
    arguments = parser.parse_args()
    predictor = load(arguments.model)
    shape = predictor.card.architecture.input_shape
    split = getattr(DATASETS["digits"](), arguments.split)
    rows = np.random.default_rng(0).permutation(len(split))[:SAMPLE]
    good = measure(
        split.inputs[rows], split.targets[rows], lambda x: predictor.predict(x.reshape(-1, *shape)).argmax(1)
    )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
