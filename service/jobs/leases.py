"""The table of jobs as trainers see it: claim one, keep it while it is worked on, give it back or end it.

A claim sets a new token, and everything that its owner writes later is written only while that token
stands. Whoever looks on (`Observer`) takes a job away whose heartbeat has not moved for a while.
"""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, func, select

from service.database import Database, clock
from service.jobs.job import (
    EPOCH,
    FAILED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    Job,
    change,
    find,
    job_of,
    newest_first,
    state_event,
)
from service.schema import JOBS


class LeaseLost(Exception):
    """Somebody else decides about the job now: it was cancelled, or taken for abandoned."""


class Leases:
    """What a trainer does with jobs."""

    def __init__(self, database: Database, *, most_attempts: int) -> None:
        self.database = database
        self.most_attempts = most_attempts

    def claim(self, job_id: str, trainer: str) -> Job | None:
        """Take a queued job and return it, or None where it is not to be had.

        A job that was begun too often without coming any further ends as failed.
        """
        with self.database.writing() as connection:
            waiting = JOBS.c.id == job_id, JOBS.c.state == QUEUED
            given_up = change(
                connection,
                *waiting,
                JOBS.c.attempts >= self.most_attempts,
                events=[state_event(FAILED, error=_died(self.most_attempts))],
                state=FAILED,
                error=_died(self.most_attempts),
                ended=clock(),
            )
            taken = not given_up and change(
                connection,
                *waiting,
                events=[state_event(RUNNING, trainer=trainer)],
                state=RUNNING,
                trainer=trainer,
                token=JOBS.c.token + 1,
                heartbeat=JOBS.c.heartbeat + 1,
                attempts=JOBS.c.attempts + 1,
                started=func.coalesce(JOBS.c.started, clock()),
            )
            return find(connection, job_id) if taken else None

    def beat(self, job: Job) -> None:
        """Show that the job is being worked on; raises LeaseLost where it is not one's own any more."""
        with self.database.writing() as connection:
            self._change(connection, job, heartbeat=JOBS.c.heartbeat + 1)

    def progress(
        self, job: Job, epochs: Sequence[dict[str, Any]], *, seconds: float, seconds_left: float | None
    ) -> None:
        """Write down epochs, those that are not there yet, and the time that the job took and will take."""
        with self.database.writing() as connection:
            known = connection.scalar(select(JOBS.c.epoch).where(*_held(job)).with_for_update())
            new = [epoch for epoch in epochs if known is not None and epoch["epoch"] > known]
            last = new[-1]["epoch"] if new else JOBS.c.epoch
            events = [(EPOCH, epoch) for epoch in new]
            self._change(
                connection, job, events=events, epoch=last, seconds=seconds, seconds_left=seconds_left
            )

    def came_further(self, job: Job) -> None:
        """Take note of a new checkpoint: an attempt that dies after it was not in vain."""
        with self.database.writing() as connection:
            self._change(connection, job, attempts=1)

    def hand_back(self, job: Job, reason: str) -> None:
        """Put the job back into the queue, by no fault of its own."""
        with self.database.writing() as connection:
            fewer = case((JOBS.c.attempts > 0, JOBS.c.attempts - 1), else_=0)
            self._change(connection, job, **_queued_again(reason), attempts=fewer)

    def stumble(self, job: Job, error: str) -> bool:
        """End an attempt that went wrong: back into the queue (True), or after the last one as failed."""
        with self.database.writing() as connection:
            attempts = connection.scalar(select(JOBS.c.attempts).where(*_held(job))) or 0
            if attempts < self.most_attempts:
                self._change(connection, job, **_queued_again(error), error=error)
                return True
            self._fail(connection, job, error)
            return False

    def fail(self, job: Job, error: str) -> None:
        """End the job as failed: another attempt would end in the same way."""
        with self.database.writing() as connection:
            self._fail(connection, job, error)

    def succeed(self, connection: Connection, job: Job, result: dict[str, Any]) -> None:
        """End the job with its result, in a transaction that does more; raises LeaseLost."""
        self._change(
            connection,
            job,
            events=[state_event(SUCCEEDED, result=result)],
            state=SUCCEEDED,
            result=result,
            error=None,
            ended=clock(),
            seconds_left=0.0,
        )

    def reserve(self, connection: Connection, job: Job, version: int | None) -> None:
        """Write down the number that the job's version will have, None for no number; raises LeaseLost."""
        self._change(connection, job, version=version)

    def hold(self, connection: Connection, job: Job) -> Job:
        """Return the job as it is, nobody else changing it in this transaction; raises LeaseLost."""
        self._change(connection, job)
        return find(connection, job.id)

    def _fail(self, connection: Connection, job: Job, error: str) -> None:
        event = state_event(FAILED, error=error)
        self._change(
            connection,
            job,
            events=[event],
            state=FAILED,
            error=error,
            ended=clock(),
            seconds_left=None,
        )

    def _change(
        self, connection: Connection, job: Job, events: list[tuple[str, Any]] | None = None, **to: Any
    ) -> None:
        if not change(connection, *_held(job), events=events, **to):
            raise LeaseLost(f"job {job.id} is not ours any more")


class Observer:
    """Looks on as jobs are run, and takes those away whose trainer has gone.

    Time is this observer's own and monotonic, and what it watches is a counter: no clock's jump matters.
    """

    def __init__(self, database: Database, *, lease_seconds: float) -> None:
        self.database = database
        self.lease_seconds = lease_seconds
        self._seen: dict[str, tuple[tuple[int, int], float]] = {}

    def expire(self) -> list[str]:
        """Put jobs back into the queue whose heartbeat has stood still for too long; return their ids."""
        now = time.monotonic()
        with self.database.reading() as connection:
            running = [
                job_of(row) for row in connection.execute(newest_first().where(JOBS.c.state == RUNNING))
            ]
        before, self._seen = self._seen, {}
        expired = []
        for job in running:
            beat = job.token, job.heartbeat
            seen, since = before.get(job.id, (beat, now))
            self._seen[job.id] = beat, since if seen == beat else now
            if seen == beat and now - since > self.lease_seconds:
                expired.append(job)
        return [job.id for job in expired if self._take_away(job)]

    def queued(self) -> list[str]:
        """Return the ids of the jobs that wait, the oldest first."""
        with self.database.reading() as connection:
            query = select(JOBS.c.id).where(JOBS.c.state == QUEUED).order_by(JOBS.c.number)
            return list(connection.scalars(query))

    def _take_away(self, job: Job) -> bool:
        with self.database.writing() as connection:
            return change(
                connection,
                *_held(job),
                JOBS.c.heartbeat == job.heartbeat,
                **_queued_again(f"its trainer {job.trainer} has gone"),
                token=JOBS.c.token + 1,
            )


def _held(job: Job) -> tuple[Any, ...]:
    return JOBS.c.id == job.id, JOBS.c.state == RUNNING, JOBS.c.token == job.token


def _queued_again(reason: str) -> dict[str, Any]:
    return {"events": [state_event(QUEUED, reason=reason)], "state": QUEUED, "seconds_left": None}


def _died(attempts: int) -> str:
    return f"It was begun {attempts} times in a row and each time ended before it had come any further."
