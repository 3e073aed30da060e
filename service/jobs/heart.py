"""The heartbeat of a job that is being run, in a thread of its own; and what ends a run that does not end."""

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from sqlalchemy.exc import OperationalError, SQLAlchemyError

from service import tracing
from service.database import reason
from service.jobs.job import Job
from service.jobs.leases import LeaseLost, Leases

# A heartbeat is also how a trainer learns that its job was cancelled.
BEAT_SECONDS = 0.5
# A run looks up after every batch. One that does not for so long is in the middle of something that nothing
# interrupts, a huge batch say, and only the end of its process ends it.
STUBBORN_SECONDS = 0.8
# Enough for a checkpoint of a large network, and less than the supervisor waits.
STOPPING_SECONDS = 5.0

logger = logging.getLogger(__name__)


class Heart(threading.Thread):
    """Beats for a job as long as the block takes; `lost` is set once the job is somebody else's.

    Where the run does not end although the job is lost, has taken `most_seconds`, or `stop` was set, the
    process ends, and whoever watches it starts another.
    """

    def __init__(
        self, leases: Leases, job: Job, stop: threading.Event, *, lease_seconds: float, most_seconds: float
    ) -> None:
        super().__init__(name=f"heart of {job.id}", daemon=True)
        self.leases, self.job, self.stop = leases, job, stop
        self.every = min(BEAT_SECONDS, lease_seconds / 5)
        self.most_seconds = most_seconds
        self.lost = threading.Event()
        self._ended = threading.Event()
        self._deadline = time.monotonic() + most_seconds - job.seconds

    def __enter__(self) -> "Heart":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Beat until the block ends, or has to be ended."""
        tracing.adopt(self.job.plan.get("trace_id"))
        stopping = math.inf
        while not self._ended.wait(self.every):
            if not self._beat():
                if not self._ended.wait(STUBBORN_SECONDS):
                    self._end()
                return
            now = time.monotonic()
            if now > self._deadline + STUBBORN_SECONDS:
                self._end(lambda: self.leases.fail(self.job, too_long(self.most_seconds)))
            if self.stop.is_set():
                stopping = min(stopping, now + STOPPING_SECONDS)
            if now > stopping:
                self._end(lambda: self.leases.hand_back(self.job, "its trainer was stopped"))

    def _beat(self) -> bool:
        try:
            self.leases.beat(self.job)
        except LeaseLost:
            self.lost.set()
            return False
        except OperationalError as error:
            # Whoever took the job away meanwhile has changed its token, which the next beat will see.
            logger.warning("job %s: the database does not answer: %s", self.job.id, reason(error))
        return True

    def _end(self, write: Callable[[], Any] = lambda: None) -> None:
        """End the process, which had its time to end the run by itself."""
        logger.warning("job %s: does not stop, so this trainer does", self.job.id)
        with suppress(LeaseLost, SQLAlchemyError):
            write()
        os._exit(1)


def too_long(most_seconds: float) -> str:
    """Return what is said of a job that has taken more time than it may."""
    return f"It took more than the {most_seconds:g} seconds that a job may take."
