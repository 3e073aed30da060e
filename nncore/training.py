"""`fit`: epochs, validation, early stopping, callbacks and checkpoints around gradient descent."""

import math
from collections.abc import Sequence

import numpy as np

from nncore.augmentation import Augmentation
from nncore.checkpoints import Checkpoints, Place
from nncore.datasets import Split, hold_out
from nncore.descent import Descent, Options
from nncore.errors import TrainingError
from nncore.evaluation import Metrics, evaluate, figures_of
from nncore.losses import Loss
from nncore.network import Network
from nncore.optimizers import Optimizer
from nncore.progress import Best, Callback, EarlyStopping, Epoch, History, from_rows, to_rows
from nncore.randomness import move_to, position
from nncore.schedules import Constant, Schedule
from nncore.types import Array, FloatArray

# What a caller of `fit` needs to name is to be had here.
__all__ = ["Callback", "EarlyStopping", "Epoch", "History", "fit"]


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
    label_smoothing: float = 0.0,
    weight_average: float | None = None,
    augmentation: Augmentation | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | None = None,
) -> History:
    """Train the network in place and return how it went.

    `train` holds inputs (N, *input_shape) in the network's dtype. `validation` is data of its own or a
    share of the training rows to hold out. `l2` adds l2/2·‖W‖² to what is made small, not to the losses
    reported; `clip_norm` bounds the norm of a batch's gradient. `label_smoothing` is the share of a target
    that goes to all classes alike, in training only. With `weight_average` what is measured and kept is a
    moving average of the weights, which each step moves by a share of one minus it. `augmentation` distorts
    the batches, which then hold pictures. Ctrl-C ends the run with the best weights so far. With
    `checkpoints` a run that was killed goes on from the newest that is whole, to the same bytes. Raises
    TrainingError where a loss or the weights stop being finite.
    """
    if isinstance(validation, float):
        train, validation = hold_out(train, validation)
    if early_stopping and validation is None:
        raise TrainingError("early stopping looks at validation data: give some, or a share to hold out")
    if label_smoothing and loss.output == "regression":
        raise TrainingError("label smoothing is for classes, and the loss is one of values")
    options = Options(
        loss,
        optimizer,
        schedule,
        epochs,
        batch_size,
        seed,
        l2,
        clip_norm,
        label_smoothing,
        weight_average,
        augmentation,
    )
    descent = Descent(network, train, options)
    return _Run(descent, validation, early_stopping, callbacks, checkpoints).go()


class _Run:
    """One run: where it is and what it has behind it, who is told, and what is kept."""

    def __init__(
        self,
        descent: Descent,
        validation: Split | None,
        early_stopping: EarlyStopping | None,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
    ) -> None:
        self.descent, self.validation, self.early_stopping = descent, validation, early_stopping
        self.callbacks, self.checkpoints = callbacks, checkpoints
        self.best = Best(descent.average, early_stopping)
        self.names = figures_of(descent.options.loss) if validation is not None else ()
        self.epochs: list[Epoch] = []
        self.batch, self.total, self.ended = 0, 0.0, ""
        self.before = position(descent.shuffle)

    def go(self) -> History:
        self._resume()
        if not self.ended:
            self._train()
        keeps_best = self.early_stopping or self.ended == "interrupted"
        return History(tuple(self.epochs), self.best.epoch if keeps_best else len(self.epochs), self.ended)

    def _train(self) -> None:
        descent = self.descent
        try:
            while not self.ended:
                self._epoch()
        except KeyboardInterrupt:
            if self.best.epoch == 0:
                raise
            self.ended = "interrupted"
        if self.early_stopping or self.ended == "interrupted":
            self.best.restore()
        descent.network.flat[...] = descent.average
        # Of an interrupted run the last checkpoint is left: it may be gone on with after all.
        if self.ended != "interrupted":
            self._save()

    def _epoch(self) -> None:
        descent, number_, checkpoints = self.descent, len(self.epochs) + 1, self.checkpoints
        if checkpoints is not None:
            self.before = position(descent.shuffle)
        order = descent.shuffle.permutation(len(descent.train))
        # Overflow is looked for by hand, once a batch, and reported with its place.
        with np.errstate(all="ignore"):
            for i in range(self.batch, descent.batches):
                rows = order[i * descent.batch_size : (i + 1) * descent.batch_size]
                loss = descent.step(rows, number_, i)
                self.total += loss * len(rows)
                self.batch = i + 1
                for callback in self.callbacks:
                    callback.on_batch(self.batch, descent.batches, loss)
                if checkpoints is not None and checkpoints.is_due():
                    self._save()
            descent.check_weights(number_)
            with descent.averaged():
                train, validated = self._measure()
        if validated and not math.isfinite(validated["loss"]):
            raise TrainingError(
                f"the validation loss ({validated['loss']}) is not finite after epoch {number_}: the "
                "validation data hold NaN, infinity or values far beyond the training data's"
            )
        mean = self.total / len(descent.train)
        self._end_epoch(Epoch(number_, descent.rate(number_ - 1), mean, train, validated))

    def _end_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)
        self.batch, self.total = 0, 0.0
        self.best.see(epoch)
        for callback in self.callbacks:
            callback.on_epoch(epoch)
        if self.best.is_stale(epoch.number):
            self.ended = "early"
        elif epoch.number == self.descent.options.epochs:
            self.ended = "completed"
        elif self.checkpoints is not None and self.checkpoints.is_due():
            self._save()

    def _measure(self) -> tuple[Metrics, Metrics]:
        if self.validation is None:
            return {}, {}
        network, train, loss = self.descent.network, self.descent.train, self.descent.options.loss
        rows = slice(0, len(self.validation))
        sample = Split(train.inputs[rows], train.targets[rows])
        return evaluate(network, sample, loss), evaluate(network, self.validation, loss)

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        place = self._place()
        try:
            self.checkpoints.save(place, self._arrays(place, to_rows(self.epochs)))
        except OSError as error:
            for callback in self.callbacks:
                callback.on_checkpoint_failed(error)
            return
        batches = self.descent.batches
        epoch, batch = (place.epoch, place.batch) if place.batch else (place.epoch - 1, batches)
        for callback in self.callbacks:
            callback.on_checkpoint(epoch, batch, batches)

    def _resume(self) -> None:
        if self.checkpoints is None or (found := self.checkpoints.load(self._room)) is None:
            return
        place, (rows, *_) = found
        self.epochs = from_rows(rows, self.names)
        self.batch, self.total, self.ended = place.batch, place.total, place.ended
        move_to(self.descent.shuffle, place.shuffle)
        move_to(self.descent.dropout, place.dropout)
        if place.augment is not None:
            move_to(self.descent.augment, place.augment)
        self.best.epoch = place.best_epoch
        if place.best_score is not None:
            self.best.score = place.best_score
        if not _best_is_apart(place):
            np.copyto(self.best.copy, self.descent.average)
        for callback in self.callbacks:
            callback.on_resume(tuple(self.epochs))

    def _place(self) -> Place:
        shuffle = self.before if self.batch else position(self.descent.shuffle)
        best = self.best
        return Place(
            epoch=len(self.epochs) + 1,
            batch=self.batch,
            total=self.total,
            shuffle=shuffle,
            dropout=position(self.descent.dropout),
            augment=position(self.descent.augment),
            best_epoch=best.epoch,
            best_score=best.score if best.epoch else None,
            ended=self.ended,
        )

    def _room(self, place: Place) -> list[Array]:
        """Return the arrays that a checkpoint of this place fills."""
        done, epochs = place.epoch - 1, self.descent.options.epochs
        possible = done <= epochs if place.ended else done < epochs
        if not possible or place.batch > self.descent.batches or place.best_epoch > done:
            raise ValueError(f"epoch {place.epoch}, batch {place.batch}, best epoch {place.best_epoch}")
        return self._arrays(place, np.empty((done, 2 + 2 * len(self.names))))

    def _arrays(self, place: Place, rows: FloatArray) -> list[Array]:
        descent = self.descent
        average = [descent.average] if descent.options.weight_average is not None else []
        best = [self.best.copy] if _best_is_apart(place) else []
        return [rows, descent.network.flat, *descent.state.values(), *average, *best]


def _best_is_apart(place: Place) -> bool:
    """Say whether the best weights are wanted later on and are not the weights themselves."""
    is_best = place.batch == 0 and place.best_epoch == place.epoch - 1
    return not place.ended and place.best_epoch > 0 and not is_best
