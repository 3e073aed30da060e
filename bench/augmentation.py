"""Microseconds to distort a picture of 28 × 28, each kind alone and all together, on one thread.

    python bench/augmentation.py [--batch 128] [--seconds 1]

Where SciPy is installed, the same is done with its ndimage, picture by picture: gaussian_filter on both axes
of the noise, map_coordinates for the picture. Both take turns in one process: what counts is the ratio. SciPy
is no dependency.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read by NumPy when it is imported

import argparse
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from nncore.augmentation import Augmentation, Augmenter, draw_maps
from nncore.datasets import DATASETS

AUGMENTATIONS = {
    "rotation": Augmentation(rotation=15),
    "scale": Augmentation(scale=0.12),
    "shear": Augmentation(shear=0.2),
    "shift": Augmentation(shift=2.5),
    "elastic": Augmentation(elastic=36),
    "everything": Augmentation(rotation=15, scale=0.12, shear=0.2, shift=2.5, elastic=36),
}
# Enough for SciPy, which is slow; scaled up to the batch.
SCIPY_PICTURES = 16


def scipy_distort(augmentation: Augmentation, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return pictures (N, H, W) distorted as `Augmenter` does it, from the same numbers."""
    from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates

    centre = (np.array(x.shape[1:]) - 1) / 2
    grid = np.indices(x.shape[1:]) - centre[:, None, None]
    out = np.empty_like(x)
    for picture, affine, result in zip(x, draw_maps(augmentation, rng, len(x)), out, strict=True):
        turn, offset = affine[:, :2], affine[:, 2] + centre
        if not augmentation.elastic:
            affine_transform(picture, turn, offset - turn @ centre, output=result, order=1, mode="nearest")
            continue
        noise = 2 * rng.random((2, *picture.shape), np.float32) - 1
        places = np.tensordot(turn, grid, 1) + offset[:, None, None]
        for axis in (0, 1):
            field = gaussian_filter(noise[axis], augmentation.elastic_sigma, mode="constant")
            places[axis] += augmentation.elastic * field
        map_coordinates(picture, places, output=result, order=1, mode="nearest")
    return out


def microseconds(work: Callable[[], object], pictures: int) -> float:
    began = time.perf_counter()
    work()
    return 1e6 * (time.perf_counter() - began) / pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=1, help="for each line")
    options = parser.parse_args()
    beside = importlib.util.find_spec("scipy") is not None
    x = DATASETS["digits"]().train.inputs[: options.batch].astype(np.float32)
    few, out, rng = x[:SCIPY_PICTURES], np.empty_like(x), np.random.default_rng(0)
    print(f"µs a picture of 28 × 28, batch {len(x)}, one thread; median, and the best")
    for name, augmentation in AUGMENTATIONS.items():
        augmenter = Augmenter(augmentation, x.shape[1:])
        ours, theirs = [], []
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            ours.append(microseconds(lambda a=augmenter: a.apply(x, rng, out), len(x)))
            if beside:
                theirs.append(microseconds(lambda a=augmentation: scipy_distort(a, few, rng), len(few)))
        line = f"{name:12}{statistics.median(ours):8.1f}{min(ours):8.1f}"
        if beside:
            ratio = statistics.median(other / mine for mine, other in zip(ours, theirs, strict=True))
            line += f"   SciPy {statistics.median(theirs):8.1f}, {ratio:5.1f} times as long"
        print(line, flush=True)


if __name__ == "__main__":
    main()
