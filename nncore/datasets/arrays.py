"""A dataset from arrays of inputs and targets, however they came."""

import numpy as np

from nncore.datasets.dataset import Dataset, Split
from nncore.datasets.dividing import TEST, TRAIN, VALIDATION, divide
from nncore.datasets.sources import MOST_SIDE
from nncore.datasets.targets import targets_of
from nncore.errors import DatasetError
from nncore.preprocessing import ResizedPicture
from nncore.types import Array, Shape

# Of one example; as many as a network may take.
MOST_AXES = 3
LARGEST_AXIS = 65_536


def dataset_of(
    name: str, sha256: str, inputs: Array, targets: Array, *, task: str | None, validation: float, test: float
) -> Dataset:
    """Return inputs (N, …) and targets (N,) or (N, K) as a dataset, divided by its SHA-256.

    Bytes of shape (N, H, W) or (N, H, W, 3) are pictures, and stay bytes; other numbers become float32.
    Raises DatasetError where they cannot be learned from.
    """
    inputs, targets = _checked(name, inputs), np.atleast_1d(targets)
    if len(targets) != len(inputs):
        raise DatasetError(f"{name}: has {len(inputs):,} inputs and {len(targets):,} targets")
    aims = targets_of(targets, task, f"{name}: the target")
    parts = divide(sha256, aims.classes, len(inputs), validation, test)
    train, validated, tested = (
        Split(inputs[parts == part], aims.array[parts == part]) for part in (TRAIN, VALIDATION, TEST)
    )
    picture = _picture(inputs.shape[1:]) if inputs.dtype == np.uint8 else None
    return Dataset(
        name=name,
        sha256=sha256,
        train=train,
        validation=validated,
        test=tested,
        labels=aims.labels,
        input_range=(0, 255) if picture else None,
        picture=picture,
        is_private=True,
    )


def _checked(name: str, inputs: Array) -> Array:
    if inputs.dtype.kind not in "biuf" or not 1 <= inputs.ndim <= 1 + MOST_AXES or 0 in inputs.shape:
        raise DatasetError(
            f"{name}: the inputs must be numbers of shape (N, …) with 1 to {MOST_AXES} axes an example, not "
            f"{inputs.dtype.name} of shape {inputs.shape}"
        )
    if inputs.ndim == 1:
        inputs = inputs[:, None]
    if max(inputs.shape[1:]) > LARGEST_AXIS:
        raise DatasetError(f"{name}: an example has the shape {inputs.shape[1:]}, with an axis over 65,536")
    if inputs.dtype != np.uint8:
        with np.errstate(over="ignore"):
            inputs = inputs.astype(np.float32)
        finite = np.isfinite(inputs).reshape(len(inputs), -1).all(axis=1)
        if not finite.all():
            raise DatasetError(f"{name}: example {int(finite.argmin()) + 1:,} has numbers not finite")
    if (inputs == inputs[0]).all():
        raise DatasetError(f"{name}: all inputs are the same: there is nothing to learn")
    return inputs


def _picture(shape: Shape) -> ResizedPicture | None:
    """Return how a picture becomes an example of this shape, None where it is no picture's."""
    if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or max(shape[:2]) > MOST_SIDE:
        return None
    return ResizedPicture(shape[0], shape[1], 3 if len(shape) == 3 else 1)
