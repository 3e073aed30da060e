"""What a run tells of itself on its way into the table, and what ends it before its time."""

import dataclasses
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.exc import OperationalError

from nncore.checkpoints import Checkpoints
from nncore.progress import Callback, Epoch
from service.jobs.heart import Heart, too_long
from service.jobs.leases import LeaseLost

# Seconds between two writes of progress: what a watcher sees as at once, and the database hardly notices.
WRITE_SECONDS = 0.5

logger = logging.getLogger(__name__)


class HandBack(Exception):
    """The trainer was told to stop; what is done so far is in a checkpoint."""


class TooLong(Exception):
    """The job has taken all the time that a job may take."""


class Progress(Callback):
    """Writes epochs into the table; ends the run where the job is lost, takes too long or is handed back."""

    def __init__(self, heart: Heart, checkpoints: Checkpoints) -> None:
        self.heart, self.checkpoints = heart, checkpoints
        self.job, self.leases = heart.job, heart.leases
        self.began = time.monotonic()
        self.written = self.began
        # Epochs that are behind the run, whole ones and with parts; where this attempt began.
        self.completed, self.done = 0, 0.0
        self.begin: float | None = None
        self.epochs: list[dict[str, Any]] = []
        self.asked = False

    @property
    def seconds(self) -> float:
        """Seconds that the job has taken, earlier attempts included."""
        return self.job.seconds + time.monotonic() - self.began

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Take note of the epochs before: some may not have come into the table."""
        self.epochs += map(_figures, epochs)
        self.completed = len(epochs)

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """End the run if need be; write what there is from time to time."""
        if self.heart.lost.is_set():
            raise LeaseLost(f"job {self.job.id} is not ours any more")
        if self.heart.stop.is_set() and not self.asked:
            self.asked = True
            self.checkpoints.ask()
        if self.seconds > self.heart.most_seconds:
            raise TooLong(too_long(self.heart.most_seconds))
        self.done = self.completed + batch / batches
        if self.begin is None:
            self.begin = self.completed + (batch - 1) / batches
        if time.monotonic() - self.written > WRITE_SECONDS:
            self.write()

    def on_epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch."""
        self.epochs.append(_figures(epoch))
        self.completed = epoch.number

    def on_checkpoint(self, epoch: int, batch: int, batches: int) -> None:
        """Take note that the job came further; the moment to hand it back, where that is wanted."""
        self._write(lambda: self.leases.came_further(self.job))
        if self.asked:
            self.write()
            raise HandBack

    def on_checkpoint_failed(self, error: OSError) -> None:
        """Hand the job back all the same: it will go on from the checkpoint before."""
        if self.asked:
            raise HandBack

    def write(self) -> None:
        """Write what has come up since the last time; what cannot be written now will be the next time."""

        def write() -> None:
            self.leases.progress(self.job, self.epochs, seconds=self.seconds, seconds_left=self._left())
            self.epochs = []

        self.written = time.monotonic()
        self._write(write)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OperationalError as error:
            logger.warning("job %s: progress is written later: %s", self.job.id, error.orig)

    def _left(self) -> float | None:
        if self.begin is None:
            return None
        mine = self.done - self.begin
        return (time.monotonic() - self.began) / mine * (self.job.epochs - self.done)


def _figures(epoch: Epoch) -> dict[str, Any]:
    figures = dataclasses.asdict(epoch)
    return {"epoch": figures.pop("number")} | figures
