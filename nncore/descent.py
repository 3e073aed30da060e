"""Gradient descent, batch by batch: what one step of a run does to the weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from nncore import ops
from nncore.augmentation import Augmentation, Augmenter
from nncore.datasets import Split
from nncore.errors import TrainingError
from nncore.evaluation import loss_targets
from nncore.losses import Loss
from nncore.network import Network
from nncore.optimizers import BLOCK, Optimizer
from nncore.randomness import stream
from nncore.schedules import Schedule
from nncore.types import Array, FloatArray


@dataclass(frozen=True)
class Options:
    """How a network is to be trained; `training.fit` says what each of them means."""

    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    epochs: int
    batch_size: int
    seed: int
    l2: float
    clip_norm: float | None
    label_smoothing: float
    weight_average: float | None
    augmentation: Augmentation | None


class Descent:
    """A network on its way: data, gradients, optimizer state and three streams of random numbers.

    `average` is the moving average of the network's arrays, the arrays themselves where none is asked for.
    """

    def __init__(self, network: Network, train: Split, options: Options) -> None:
        self.network, self.train, self.options = network, train, options
        dtype = network.parameters.flat.dtype
        self.targets = loss_targets(train.targets, options.loss, dtype)
        self.batch_size = min(options.batch_size, len(train))
        self.batches = math.ceil(len(train) / self.batch_size)
        shape = train.inputs.shape[1:]
        self.batch = np.empty((self.batch_size, *shape), dtype)
        self.augmenter = None
        if options.augmentation is not None:
            self.augmenter = Augmenter(options.augmentation, shape, dtype.type)
            self.distorted = np.empty_like(self.batch)
        smoothing = options.label_smoothing
        self.compute = (
            partial(options.loss.compute, smoothing=smoothing) if smoothing else options.loss.compute
        )
        self.gradients = network.parameters.like()
        self.gradient_views = network.views_of(self.gradients)
        self.state = options.optimizer.start(network.parameters.flat)
        self.average = network.flat if options.weight_average is None else network.flat.copy()
        self.shuffle, self.dropout = stream(options.seed, "shuffle"), stream(options.seed, "dropout")
        self.augment = stream(options.seed, "augment")

    def step(self, rows: Array, epoch: int, batch: int) -> float:
        """Move the weights by the batch of these rows, and return its loss.

        Epochs are counted from 1, their batches from 0.
        """
        x = ops.take_rows(self.train.inputs, rows, self.batch[: len(rows)])
        if self.augmenter is not None:
            x = self.augmenter.apply(x, self.augment, self.distorted[: len(rows)])
        outputs, caches = self.network.forward(x, self.dropout)
        loss, dy = self.compute(outputs, self.targets[rows])
        if not math.isfinite(loss):
            raise TrainingError(self._why(f"the loss ({loss})", epoch, batch + 1, x))
        self.network.backward(caches, dy, self.gradient_views)
        self.network.fold(caches)
        count = (epoch - 1) * self.batches + batch + 1
        self._update(epoch - 1 + batch / self.batches, count)
        self._move_average(count)
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the network be the average of what it was, for as long as it is measured."""
        flat = self.network.flat
        if self.average is flat:
            yield
            return
        own = flat.copy()
        flat[...] = self.average
        try:
            yield
        finally:
            flat[...] = own

    def check_weights(self, epoch: int) -> None:
        """Raise TrainingError where the weights are no longer finite at the end of an epoch."""
        if not np.isfinite(self.network.flat).all():
            raise TrainingError(self._why("a weight", epoch, self.batches, self.batch))

    def rate(self, moment: float) -> float:
        """Return the learning rate at a moment of the run, in epochs from 0."""
        options = self.options
        return options.optimizer.learning_rate * options.schedule.factor(moment, options.epochs)

    def _update(self, moment: float, count: int) -> None:
        parameters, gradient, options = self.network.parameters, self.gradients.flat, self.options
        weights, decaying, optimizer = parameters.flat, parameters.decaying, options.optimizer
        if options.l2:
            gradient[decaying] += options.l2 * weights[decaying]
        if options.clip_norm is not None:
            norm = math.sqrt(float(np.dot(gradient, gradient)))
            if norm > options.clip_norm:
                gradient *= options.clip_norm / norm
        rate = self.rate(moment)
        if optimizer.weight_decay:
            weights[decaying] *= 1 - rate * optimizer.weight_decay
        optimizer.step(weights, gradient, self.state, count=count, learning_rate=rate)

    def _move_average(self, count: int) -> None:
        """Move the average by what the step left; early on it is that of the steps so far, nearly."""
        decay = self.options.weight_average
        if decay is None:
            return
        # A warm-up much like that of TensorFlow's ExponentialMovingAverage.
        share = 1 - min(decay, count / (10 + count))
        room = np.empty(min(BLOCK, self.average.size), self.average.dtype)
        for start in range(0, self.average.size, BLOCK):
            mean, now = (flat[start : start + BLOCK] for flat in (self.average, self.network.flat))
            step = np.subtract(now, mean, out=room[: len(mean)])
            step *= share
            mean += step

    def _why(self, what: str, epoch: int, batch: int, x: FloatArray) -> str:
        place = f"{what} is not finite in epoch {epoch}, batch {batch}"
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
        rate = self.rate(epoch - 1)
        return f"{place}: the learning rate {rate:g} is likely too large, try {rate / 10:g} or set clip_norm"
