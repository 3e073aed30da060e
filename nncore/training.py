"""`fit`: batches, validation, early stopping and callbacks around one network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nncore import ops
from nncore.config import choice, number
from nncore.datasets import Split, hold_out
from nncore.errors import TrainingError
from nncore.losses import Loss
from nncore.metrics import accuracy, decide, r2_score
from nncore.network import Network
from nncore.optimizers import Optimizer
from nncore.randomness import stream
from nncore.schedules import Constant, Schedule
from nncore.types import Array, FloatArray

Metrics = dict[str, float]

# Rows sent through the network at a time where only figures are wanted.
EVALUATION_ROWS = 1000


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
    """Told of a run's progress; override what is wanted."""

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """Take note of a batch's loss; `batch` runs from 1 to `batches` in every epoch."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch's figures."""


def fit(
    network: Network,
    train: Split,
    *,
    loss: Loss,
    optimizer: Optimizer,
    schedule: Schedule = Constant(),  # noqa: B008 (frozen)
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    validation: Split | float | None = None,
    early_stopping: EarlyStopping | None = None,
    l2: float = 0.0,
    clip_norm: float | None = None,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train the network in place and return how it went.

    `train` holds inputs (N, *input_shape) in the network's dtype. `validation` is data of its own or a
    share of the training rows to hold out. `l2` adds l2/2·‖W‖² to what is made small, not to the losses
    reported; `clip_norm` bounds the norm of a batch's gradient. Ctrl-C ends the run with the best
    weights so far. Raises TrainingError where a loss or the weights stop being finite.
    """
    if isinstance(validation, float):
        train, validation = hold_out(train, validation)
    if early_stopping and validation is None:
        raise TrainingError("early stopping looks at validation data: give some, or a share to hold out")
    run = _Run(network, train, loss, optimizer, schedule, epochs, batch_size, seed, l2, clip_norm)
    best = _Best(network, early_stopping)
    history: list[Epoch] = []
    ended = "completed"
    try:
        for number_ in range(1, epochs + 1):
            epoch = run.epoch(number_, validation, callbacks)
            history.append(epoch)
            best.see(epoch)
            for callback in callbacks:
                callback.on_epoch(epoch)
            if best.is_stale(number_):
                ended = "early"
                break
    except KeyboardInterrupt:
        if best.epoch == 0:
            raise
        ended = "interrupted"
    kept = best.restore() if early_stopping or ended == "interrupted" else len(history)
    return History(tuple(history), kept, ended)


def evaluate(network: Network, data: Split, loss: Loss) -> Metrics:
    """Return the loss on data, and `accuracy`, or for a regression `r2`. Dropout is off."""
    outputs = forward_all(network, data.inputs)
    targets = _loss_targets(data.targets, loss, outputs.dtype)
    figures = {"loss": loss.compute(outputs, targets)[0]}
    if loss.output == "regression":
        return figures | {"r2": r2_score(outputs, targets)}
    return figures | {"accuracy": accuracy(decide(outputs, loss.output), data.targets)}


def forward_all(network: Network, inputs: Array) -> FloatArray:
    """Return the network's raw outputs for all inputs, a bounded number of rows at a time."""
    starts = range(0, len(inputs), EVALUATION_ROWS)
    return np.concatenate([network.forward(inputs[i : i + EVALUATION_ROWS])[0] for i in starts])


def _loss_targets(targets: Array, loss: Loss, dtype: Any) -> Array:
    """Return targets as the loss takes them: class numbers, or columns of floats."""
    if loss.output == "classes":
        return targets
    return targets.reshape(len(targets), -1).astype(dtype)


class _Run:
    """What one run holds: data, gradients, optimizer state and its streams of random numbers."""

    def __init__(
        self,
        network: Network,
        train: Split,
        loss: Loss,
        optimizer: Optimizer,
        schedule: Schedule,
        epochs: int,
        batch_size: int,
        seed: int,
        l2: float,
        clip_norm: float | None,
    ) -> None:
        self.network, self.train, self.loss = network, train, loss
        self.optimizer, self.schedule, self.epochs = optimizer, schedule, epochs
        self.l2, self.clip_norm = l2, clip_norm
        dtype = network.parameters.flat.dtype
        self.targets = _loss_targets(train.targets, loss, dtype)
        self.batch_size = min(batch_size, len(train))
        self.batches = math.ceil(len(train) / self.batch_size)
        self.batch = np.empty((self.batch_size, *train.inputs.shape[1:]), dtype)
        self.gradients = network.parameters.like()
        self.gradient_views = network.views_of(self.gradients)
        self.state = optimizer.start(network.parameters.flat)
        self.shuffle, self.dropout = stream(seed, "shuffle"), stream(seed, "dropout")

    def epoch(self, number_: int, validation: Split | None, callbacks: Sequence[Callback]) -> Epoch:
        order = self.shuffle.permutation(len(self.train))
        total = 0.0
        # Overflow is looked for by hand, once a batch, and reported with its place.
        with np.errstate(all="ignore"):
            for i in range(self.batches):
                rows = order[i * self.batch_size : (i + 1) * self.batch_size]
                loss = self._step(rows, number_, i)
                total += loss * len(rows)
                for callback in callbacks:
                    callback.on_batch(i + 1, self.batches, loss)
            if not np.isfinite(self.network.parameters.flat).all():
                raise TrainingError(self._why("a weight", number_, self.batches, self.batch))
            train, validated = self._measure(validation)
        if validated and not math.isfinite(validated["loss"]):
            raise TrainingError(
                f"the validation loss ({validated['loss']}) is not finite after epoch {number_}: the "
                "validation data hold NaN, infinity or values far beyond the training data's"
            )
        return Epoch(number_, self._rate(number_ - 1), total / len(self.train), train, validated)

    def _step(self, rows: Array, number_: int, i: int) -> float:
        x = ops.take_rows(self.train.inputs, rows, self.batch[: len(rows)])
        outputs, caches = self.network.forward(x, self.dropout)
        loss, dy = self.loss.compute(outputs, self.targets[rows])
        if not math.isfinite(loss):
            raise TrainingError(self._why(f"the loss ({loss})", number_, i + 1, x))
        self.network.backward(caches, dy, self.gradient_views)
        self._update(number_ - 1 + i / self.batches, (number_ - 1) * self.batches + i + 1)
        return loss

    def _update(self, moment: float, count: int) -> None:
        weights, gradient = self.network.parameters.flat, self.gradients.flat
        decaying = self.network.parameters.decaying
        if self.l2:
            gradient[decaying] += self.l2 * weights[decaying]
        if self.clip_norm is not None:
            norm = math.sqrt(float(np.dot(gradient, gradient)))
            if norm > self.clip_norm:
                gradient *= self.clip_norm / norm
        rate = self._rate(moment)
        if self.optimizer.weight_decay:
            weights[decaying] *= 1 - rate * self.optimizer.weight_decay
        self.optimizer.step(weights, gradient, self.state, count=count, learning_rate=rate)

    def _rate(self, moment: float) -> float:
        return self.optimizer.learning_rate * self.schedule.factor(moment, self.epochs)

    def _measure(self, validation: Split | None) -> tuple[Metrics, Metrics]:
        if validation is None:
            return {}, {}
        rows = slice(0, len(validation))
        sample = Split(self.train.inputs[rows], self.train.targets[rows])
        return evaluate(self.network, sample, self.loss), evaluate(self.network, validation, self.loss)

    def _why(self, what: str, number_: int, batch: int, x: FloatArray) -> str:
        place = f"{what} is not finite in epoch {number_}, batch {batch}"
        if not np.isfinite(x).all():
            return f"{place}: the batch's inputs hold NaN or infinity"
        if not np.isfinite(self.train.inputs).all():
            return f"{place}: the training inputs hold NaN or infinity, in another batch than this"
        if not np.isfinite(self.targets.astype(float)).all():
            return f"{place}: the targets hold NaN or infinity"
        largest = float(np.abs(x).max())
        # Grey levels up to 255 are the usual case; standardized columns stay far below.
        if largest > 100:
            return f"{place}: the inputs reach {largest:g}, so scale or standardize them first"
        rate = self._rate(number_ - 1)
        return f"{place}: the learning rate {rate:g} is likely too large, try {rate / 10:g} or set clip_norm"


class _Best:
    """The best epoch so far and its weights."""

    def __init__(self, network: Network, early_stopping: EarlyStopping | None) -> None:
        self.weights = network.parameters.flat
        self.rule = early_stopping or EarlyStopping(patience=2**31)
        self.copy = self.weights.copy()
        self.epoch, self.score = 0, -math.inf

    def see(self, epoch: Epoch) -> None:
        figures = epoch.validation or {"loss": epoch.loss}
        value = figures[self.rule.monitor]
        score = -value if self.rule.monitor == "loss" else value
        if score > self.score + self.rule.minimum_improvement or self.epoch == 0:
            self.epoch, self.score = epoch.number, score
            np.copyto(self.copy, self.weights)

    def is_stale(self, number_: int) -> bool:
        return number_ - self.epoch >= self.rule.patience

    def restore(self) -> int:
        np.copyto(self.weights, self.copy)
        return self.epoch
