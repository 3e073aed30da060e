"""The trainer: takes jobs, one at a time, runs their recipes and publishes what comes out.

`python -m service.jobs.trainer`, started and watched by `nnserve trainer` or `nnserve up`.
"""

import logging
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huey.consumer import Consumer, Scheduler
from sqlalchemy.exc import OperationalError

from nncore.allocation import MOST_KEPT, keep_freed_memory
from nncore.errors import NNCoreError
from service import tracing
from service.database import Database, parse_url, reason
from service.jobs.heart import Heart
from service.jobs.job import Job
from service.jobs.leases import LeaseLost, Leases
from service.jobs.progress import HandBack, TooLong
from service.jobs.publishing import withdraw
from service.jobs.queue import Queue
from service.jobs.run import Run
from service.jobs.sweeping import Sweeper
from service.problems import Problem
from service.schema import Unusable, migrate
from service.settings import Settings, SettingsError, read_settings

# The most seconds between two looks into an SQLite queue; PostgreSQL wakes us.
LOOK_SECONDS = 0.2
# Seconds to wait before what went wrong is tried again.
PAUSE_SECONDS = 1

logger = logging.getLogger(__name__)


class Trainer:
    """Runs jobs; `stop` is set when the process is to end."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.settings, self.database = settings, database
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self.leases = Leases(database, most_attempts=settings.max_attempts)
        self.queue = Queue(database, self.run)
        self.stop = threading.Event()

    def run(self, job_id: str) -> None:
        """Take a job, if it is still to be had, and run it until it has ended or is somebody else's."""
        job = self.leases.claim(job_id, self.name)
        if job is None:
            return
        tracing.adopt(job.plan.get("trace_id"))
        logger.info("job %s: training %s, attempt %d", job.id, job.model, job.attempts)
        settings = self.settings
        lease, most = settings.lease_seconds, settings.max_job_seconds
        with Heart(self.leases, job, self.stop, lease_seconds=lease, most_seconds=most) as heart:
            try:
                Run(heart, settings, self.database).carry_out()
            except LeaseLost:
                logger.info("job %s: left, it was cancelled or taken over", job.id)
                withdraw(self.database, job, settings.model_store / job.model)
            except HandBack:
                self._end(job, lambda: self.leases.hand_back(job, f"{self.name} was stopped"), again=True)
            except (NNCoreError, TooLong, Problem) as error:
                self._fail(job, str(error))
            except MemoryError:
                most = settings.max_job_memory
                self._fail(job, f"It needs more than the {most:,} bytes of memory that a job may take.")
            except Exception as error:
                self._stumble(job, error)

    def _fail(self, job: Job, error: str) -> None:
        logger.warning("job %s failed: %s", job.id, error)
        self._end(job, lambda: self.leases.fail(job, error))

    def _stumble(self, job: Job, error: Exception) -> None:
        # All of it for the operator; the last line of the traceback for the caller.
        logger.error("job %s: attempt %d went wrong", job.id, job.attempts, exc_info=error)
        self.stop.wait(PAUSE_SECONDS)
        told = f"{type(error).__name__}: {error}"
        self._end(job, lambda: self.leases.stumble(job, told), again=True)

    def _end(self, job: Job, write: Callable[[], Any], *, again: bool = False) -> None:
        """Write the end of an attempt, however long the database is away; else the lease ends it."""
        while True:
            try:
                write()
                if again:
                    self.queue.send(job.id)
                return
            except LeaseLost:
                return
            except OperationalError as error:
                logger.warning("job %s: the database does not answer: %s", job.id, reason(error))
                if self.stop.wait(1):
                    return


class _Consumer(Consumer):  # type: ignore[misc]
    """Huey's consumer with one thread for jobs and one that sweeps."""

    def __init__(self, trainer: Trainer) -> None:
        self._sweeper = Sweeper(trainer.settings, trainer.database, trainer.queue, trainer.name)
        super().__init__(
            trainer.queue.huey,
            periodic=False,
            initial_delay=LOOK_SECONDS,
            backoff=1.0,
            max_delay=LOOK_SECONDS,
            health_check_interval=1,
            graceful_signal="TERM",
        )
        trainer.stop = self.stop_flag

    def _create_scheduler(self) -> Scheduler:
        return _Sweeping(self._sweeper, self.huey, self.stop_flag)


class _Sweeping(Scheduler):  # type: ignore[misc]
    """In the place of Huey's scheduler, which nothing here is scheduled with."""

    def __init__(self, sweeper: Sweeper, huey: Any, stop_flag: Any) -> None:
        super().__init__(huey, stop_flag, interval=1, periodic=False)
        self._sweeper = sweeper

    def loop(self, now: Any = None) -> None:
        """Sweep once a second."""
        began = time.monotonic()
        self._sweeper.sweep()
        self.sleep_for_interval(began, 1)


def main() -> None:
    """Run until told to stop by SIGTERM."""
    from service.observe import configure_logging

    try:
        settings = read_settings()
        configure_logging(settings)
        database = Database(parse_url(settings.database_url))
        migrate(database)
    except (SettingsError, Unusable) as error:
        sys.exit(f"nnserve: {error}")
    logging.getLogger("huey").setLevel(logging.WARNING)
    os.nice(settings.trainer_nice)
    trainer = Trainer(settings, database)
    consumer = _Consumer(trainer)
    keep_freed_memory()
    _limit_memory(settings.max_job_memory + MOST_KEPT)
    logger.info("trainer %s is ready", trainer.name)
    consumer.run()
    logger.info("trainer %s has stopped", trainer.name)


def _limit_memory(most: int) -> None:
    """Have an allocation past what a job may take fail, before the system has to choose whom to kill."""
    now = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (now + most, resource.getrlimit(resource.RLIMIT_DATA)[1]))


if __name__ == "__main__":
    main()
