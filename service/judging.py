"""Which of two versions is better: both measured on the rows that the candidate's dataset holds out.

Which rows those are depends on the dataset's SHA-256 alone, and the test set is never among them.
"""

from dataclasses import dataclass
from pathlib import Path

from nncore.artifact import Card
from nncore.datasets import DATASETS, Dataset, Split, Stored
from nncore.errors import DatasetError, InputError
from nncore.metrics import accuracy, r2_score
from nncore.origin import dataset_sha256
from nncore.predictor import Predictor
from service.contents import content, load
from service.provenance import dataset_name

REGRESSION = "regression"
ACCURACY, R2 = "accuracy", "r2"


class Incomparable(Exception):
    """Two versions that no figure could compare; says why."""


@dataclass(frozen=True)
class Trial:
    """A candidate, measured, and the rows on which others can be."""

    card: Card
    metric: str
    rows: Split
    figure: float


def on_trial(candidate: Predictor, root: Path) -> Trial:
    """Measure a candidate; raises Incomparable where its dataset is none that this nnserve has."""
    card = candidate.card
    name, dataset = dataset_name(card), _dataset(card, root)
    if dataset is None or dataset.sha256 != dataset_sha256(card):
        raise Incomparable(f"it was not trained on the dataset {name!r} that this nnserve has")
    metric = R2 if card.output.kind == REGRESSION else ACCURACY
    if metric == ACCURACY and card.output.labels != dataset.labels:
        raise Incomparable(f"it tells {_told(card)}, and the dataset {name!r} has other labels")
    return Trial(card, metric, dataset.validation, _figure(candidate, metric, dataset.validation))


def against(trial: Trial, stable: Predictor) -> float:
    """Return the stable version's figure on the same rows; raises Incomparable."""
    mine, other = trial.card, stable.card
    if (mine.output.kind == REGRESSION, mine.output.labels) != (
        other.output.kind == REGRESSION,
        other.output.labels,
    ):
        raise Incomparable(f"it tells {_told(mine)}, the stable version {_told(other)}")
    shapes = mine.architecture.input_shape, other.architecture.input_shape
    if shapes[0] != shapes[1]:
        raise Incomparable(f"it takes inputs of shape {shapes[0]}, the stable version {shapes[1]}")
    if mine.input.columns and other.input.columns and mine.input.columns != other.input.columns:
        raise Incomparable("it takes other columns, or others of their categories, than the stable version")
    names = dataset_name(mine), dataset_name(other)
    if trial.metric == R2 and names[0] != names[1]:
        raise Incomparable(f"its values are those of {names[0]!r}, the stable version's of {names[1]!r}")
    return _figure(stable, trial.metric, trial.rows)


def _told(card: Card) -> str:
    if card.output.kind == REGRESSION:
        return "values"
    return f"the labels {', '.join(card.output.labels)}"[:200]


def _dataset(card: Card, root: Path) -> Dataset | None:
    """Return the dataset that a card says its model was trained on, where it is here: by its SHA-256 alone.

    One that lay in files elsewhere has the same SHA-256 here, where it was sent with the same options.
    """
    asked = card.recipe["dataset"]
    if isinstance(asked, str):
        return DATASETS[asked]()
    sha256 = dataset_sha256(card)
    if content(root, sha256) is None:
        return None
    try:
        return load(root, Stored(dataset_name(card), sha256))
    except DatasetError as error:
        raise Incomparable(str(error)) from None


def _figure(predictor: Predictor, metric: str, rows: Split) -> float:
    try:
        outputs = predictor.predict(rows.inputs)
    except InputError as error:
        raise Incomparable(f"one of the two cannot answer for the held-out rows: {error}") from None
    if metric == ACCURACY:
        return accuracy(outputs.argmax(axis=1), rows.targets)
    targets = rows.targets.reshape(len(rows), -1)
    if targets.shape != outputs.shape:
        widths = outputs.shape[1], targets.shape[1]
        raise Incomparable(f"one of the two gives {widths[0]} values, the dataset has {widths[1]}")
    # In float64, where no square of a float32 overflows.
    return r2_score(outputs.astype(float), targets.astype(float))
