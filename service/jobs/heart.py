"""The heartbeat of a job that is being run, in a thread of its own."""

import logging
import threading
from types import TracebackType

from sqlalchemy.exc import OperationalError

from service.jobs.job import Job
from service.jobs.leases import LeaseLost, Leases

logger = logging.getLogger(__name__)


class Heart(threading.Thread):
    """Beats for a job as long as the block takes; `lost` is set once the job is somebody else's."""

    def __init__(self, leases: Leases, job: Job, every: float) -> None:
        super().__init__(name=f"heart of {job.id}", daemon=True)
        self.leases, self.job, self.every = leases, job, every
        self.lost = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> "Heart":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        """Beat until the block ends or the job is lost."""
        while not self._ended.wait(self.every):
            try:
                self.leases.beat(self.job)
            except LeaseLost:
                self.lost.set()
                return
            except OperationalError as error:
                # Whoever took the job away meanwhile has changed its token, which the next beat will see.
                logger.warning("job %s: the database does not answer: %s", self.job.id, error.orig)
