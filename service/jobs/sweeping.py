"""What every trainer does once a second beside training: see to it that no job is left lying."""

import logging
import time

from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError

from service.database import Database, clock, reason
from service.jobs.leases import Observer
from service.jobs.queue import Queue
from service.retention import Retention
from service.schema import TRAINERS
from service.settings import Settings

TIDY_SECONDS = 60
# After which a trainer that has gone is no longer listed.
FORGOTTEN_SECONDS = 86_400

logger = logging.getLogger(__name__)


class Sweeper:
    """Takes jobs from trainers that have gone, sends again what was never sent, and tidies up."""

    def __init__(self, settings: Settings, database: Database, queue: Queue, trainer: str) -> None:
        self.database, self.queue, self.trainer = database, queue, trainer
        self.observer = Observer(database, lease_seconds=settings.lease_seconds)
        self.retention = Retention(database, settings)
        self._waiting: set[str] = set()
        self._tidied = -float(TIDY_SECONDS)

    def sweep(self) -> None:
        """Look once; whatever goes wrong is tried again at the next look."""
        try:
            self._show_life()
            for job_id in self.observer.expire():
                logger.warning("job %s: its trainer has gone, so it is queued again", job_id)
                self.queue.send(job_id)
            self._send_again()
            if time.monotonic() - self._tidied >= TIDY_SECONDS:
                self._tidied = time.monotonic()
                self.retention.tidy()
        except SQLAlchemyError as error:
            logger.warning("the database does not answer: %s", reason(error))
        except Exception:
            logger.exception("sweeping went wrong")

    def _send_again(self) -> None:
        """Send jobs that wait although the queue is empty, and did so a second ago.

        Their message was never sent, or was taken by somebody who died before the claim.
        """
        waiting = set(self.observer.queued()) if self.queue.is_empty() else set()
        for job_id in sorted(waiting & self._waiting):
            logger.warning("job %s: waits without a message, so it is sent again", job_id)
            self.queue.send(job_id)
        self._waiting = waiting

    def _show_life(self) -> None:
        mine = {"heartbeat": TRAINERS.c.heartbeat + 1, "seen": clock()}
        with self.database.writing() as connection:
            found = connection.execute(update(TRAINERS).where(TRAINERS.c.name == self.trainer).values(mine))
            if not found.rowcount:
                connection.execute(delete(TRAINERS).where(TRAINERS.c.seen < clock() - FORGOTTEN_SECONDS))
                connection.execute(TRAINERS.insert().values(name=self.trainer, heartbeat=1, seen=clock()))
