"""The job table in figures: what is scraped of it. A database that is away holds up nobody."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from service.database import Database, clock
from service.jobs.job import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED
from service.schema import JOBS, TRAINERS

STATES = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)
# A scrape has ten seconds by default, and everything else to tell.
PATIENCE_SECONDS = 2.0
# Trainers told of: those that have shown life within the hour, the last hundred.
LISTED_SECONDS, MOST_LISTED = 3600.0, 100


@dataclass(frozen=True)
class Beat:
    """A trainer by name: how often it has shown life, and how many seconds ago it last did."""

    trainer: str
    heartbeats: int
    seconds_ago: float


@dataclass(frozen=True)
class Figures:
    """Jobs by state, the seconds since the oldest queued one was asked for, and the trainers."""

    jobs: dict[str, int]
    oldest_queued: float
    trainers: tuple[Beat, ...]


class Reader:
    """Reads the figures in a thread of its own, one at a time, which may be left waiting."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lock = threading.Lock()
        self._asked: Future[Figures] | None = None

    def read(self) -> Figures | None:
        """Return the figures, None where the database does not give them in time."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), daemon=True).start()
            asked = self._asked
        try:
            return asked.result(PATIENCE_SECONDS)
        except (TimeoutError, SQLAlchemyError):
            return None

    def _answer(self, asked: "Future[Figures]") -> None:
        try:
            asked.set_result(_figures(self.database))
        except Exception as error:
            asked.set_exception(error)


def _figures(database: Database) -> Figures:
    by_state = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
    oldest = select(clock() - func.min(JOBS.c.created)).where(JOBS.c.state == QUEUED)
    ago = (clock() - TRAINERS.c.seen).label("ago")
    trainers = select(TRAINERS.c.name, TRAINERS.c.heartbeat, ago).where(ago < LISTED_SECONDS)
    with database.reading() as connection:
        found: dict[str, int] = dict(map(tuple, connection.execute(by_state)))
        return Figures(
            {state: found.get(state, 0) for state in STATES},
            max(0.0, connection.scalar(oldest) or 0.0),
            tuple(Beat(*row) for row in connection.execute(trainers.order_by(ago).limit(MOST_LISTED))),
        )
