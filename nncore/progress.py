"""How a run goes: its epochs, who is told of them, and which of them was the best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from nncore.config import choice, number
from nncore.evaluation import Metrics
from nncore.types import FloatArray


@dataclass(frozen=True)
class EarlyStopping:
    """End a run when `monitor`, on the validation data, has not improved for `patience` epochs.

    Whether it ended early or not, the weights of the best epoch are restored.
    """

    patience: int = number(minimum=1)
    monitor: str = choice(("accuracy", "loss", "r2"), default="loss")
    minimum_improvement: float = number(0.0, minimum=0)


@dataclass(frozen=True)
class Epoch:
    """What is known after an epoch.

    `loss` is the mean over the epoch's batches, as training saw them; `train` and `validation` are
    measured after it, with Dropout off, `train` on as many rows as `validation` has.
    """

    number: int
    learning_rate: float
    loss: float
    train: Metrics = field(default_factory=dict)
    validation: Metrics = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """The epochs of a run, which of them the weights are from, and how the run ended."""

    epochs: tuple[Epoch, ...]
    kept_epoch: int
    ended: str  # "completed", "early" or "interrupted"


class Callback:
    """Told of a run's progress; override what is wanted. An exception ends the run, whatever it is."""

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Take note, before the first batch, of all epochs that a resumed run has behind it."""

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """Take note of a batch's loss; `batch` runs from 1 to `batches` in every epoch."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch's figures."""

    def on_checkpoint(self, epoch: int, batch: int, batches: int) -> None:
        """Take note that all up to this batch of this epoch is safely on disk."""

    def on_checkpoint_failed(self, error: OSError) -> None:
        """Take note that a checkpoint could not be written; the ones before it stand."""


class Best:
    """The best epoch so far and its weights."""

    def __init__(self, weights: FloatArray, early_stopping: EarlyStopping | None) -> None:
        self.weights = weights
        self.rule = early_stopping or EarlyStopping(patience=2**31)
        self.copy = weights.copy()
        self.epoch, self.score = 0, -math.inf

    def see(self, epoch: Epoch) -> None:
        """Compare an epoch that is just over with the best one."""
        figures = epoch.validation or {"loss": epoch.loss}
        value = figures[self.rule.monitor]
        score = -value if self.rule.monitor == "loss" else value
        if score > self.score + self.rule.minimum_improvement or self.epoch == 0:
            self.epoch, self.score = epoch.number, score
            np.copyto(self.copy, self.weights)

    def is_stale(self, number_: int) -> bool:
        """Say whether there was no progress for as long as the rule allows."""
        return number_ - self.epoch >= self.rule.patience

    def restore(self) -> None:
        """Put the best weights back."""
        np.copyto(self.weights, self.copy)


def to_rows(epochs: Sequence[Epoch]) -> FloatArray:
    """Return what epochs know as float64 (epochs, figures), which holds every bit of it."""
    rows = [(e.learning_rate, e.loss, *e.train.values(), *e.validation.values()) for e in epochs]
    return np.array(rows, np.float64)


def from_rows(rows: FloatArray, names: Sequence[str]) -> list[Epoch]:
    """Return the epochs again; `names` are those of the figures measured on train and validation rows."""
    epochs = []
    for place, (rate, loss, *figures) in enumerate(rows.tolist(), start=1):
        train, validation = figures[: len(names)], figures[len(names) :]
        measured = [dict(zip(names, part, strict=True)) for part in (train, validation)]
        epochs.append(Epoch(place, rate, loss, *measured))
    return epochs
