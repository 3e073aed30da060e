"""The small datasets of the tutorial: a line, an exam and XOR. Made, not measured.

Values are rounded to four digits, so that the last bits of a machine's arithmetic do not show and the
SHA-256 is the same everywhere.
"""

import numpy as np

from nncore.datasets.dataset import Dataset, Split, digest, hold_out

SLOPE, INTERCEPT, NOISE = 2.0, 1.0, 0.1
# An exam is passed with even odds after five hours of study; each hour more multiplies the odds by e^1.5.
EVEN_HOURS, STEEPNESS = 5.0, 1.5


def make_line() -> Dataset:
    """Return y = 2x + 1 with normal noise of deviation 0.1; 400 rows, x in [-3, 3]."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-3, 3, (400, 1))
    y = SLOPE * x + INTERCEPT + rng.normal(0, NOISE, x.shape)
    return _divide("line", Split(x.round(4).astype("f4"), y.round(4).astype("f4")))


def make_exam() -> Dataset:
    """Return hours of study (one feature, 0 to 10) and whether the exam was passed; 1,000 rows."""
    rng = np.random.default_rng(2)
    hours = rng.uniform(0, 10, (1000, 1)).round(4)
    odds = 1 / (1 + np.exp(-STEEPNESS * (hours[:, 0] - EVEN_HOURS)))
    passed = rng.random(1000) < odds
    return _divide("exam", Split(hours.astype("f4"), passed.astype("i8")), labels=("fail", "pass"))


def make_xor() -> Dataset:
    """Return the four rows of XOR, which are training, validation and test set at once."""
    rows = Split(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "f4"), np.array([0, 1, 1, 0], "i8"))
    return Dataset(
        name="xor",
        sha256=digest(rows.inputs, rows.targets),
        train=rows,
        validation=rows,
        test=rows,
        labels=("0", "1"),
        note="XOR has four rows in all: the network is validated and tested on the rows it was trained on.",
    )


def _divide(name: str, rows: Split, labels: tuple[str, ...] = ()) -> Dataset:
    rest, test = hold_out(rows, 0.2)
    train, validation = hold_out(rest, 0.2)
    return Dataset(name, digest(rows.inputs, rows.targets), train, validation, test, labels)
