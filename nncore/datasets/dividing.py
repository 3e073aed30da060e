"""Which rows of a dataset are trained on, which validate and which test: by its SHA-256 alone."""

import numpy as np

from nncore.errors import DatasetError
from nncore.types import Array, IntArray

TRAIN, VALIDATION, TEST = 0, 1, 2


def divide(sha256: str, classes: IntArray | None, rows: int, validation: float, test: float) -> Array:
    """Return for each of so many rows which part it belongs to, (N,) int8.

    With `classes`, the class number of each row, every class has its share in each part as nearly as whole
    rows allow, and at least one row to be trained on. Two runs on one dataset hold out the same rows, so
    their figures can be compared. Raises DatasetError where a part would be left with nothing.
    """
    if validation + test >= 1:
        shares = f"{validation:g} and {test:g}"
        raise DatasetError(f"validation and test: shares of {shares} of the rows leave none to train on")
    order = np.random.default_rng(int(sha256[:16], 16)).permutation(rows)
    groups = [order]
    if classes is not None:
        by_class = order[np.argsort(classes[order], kind="stable")]
        groups = np.split(by_class, np.cumsum(np.bincount(classes))[:-1])
    parts = np.zeros(rows, np.int8)
    # What whole rows have left over of one class counts for the next.
    owed_test = owed_validation = 0.0
    for group in groups:
        owed_test += test * len(group)
        owed_validation += validation * len(group)
        tested = min(round(owed_test), len(group) - 1)
        validated = min(round(owed_validation), len(group) - 1 - tested)
        parts[group[:tested]] = TEST
        parts[group[tested : tested + validated]] = VALIDATION
        owed_test -= tested
        owed_validation -= validated
    _check(parts, validation, test)
    return parts


def _check(parts: Array, validation: float, test: float) -> None:
    counts = np.bincount(parts, minlength=3).tolist()
    for part, name, share in ((VALIDATION, "validation", validation), (TEST, "test", test)):
        if not counts[part]:
            raise DatasetError(
                f"{name}: a share of {share:g} of {len(parts)} rows is none; one or more are needed to "
                f"measure on: give more rows, or a larger share"
            )
