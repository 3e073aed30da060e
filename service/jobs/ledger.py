"""The table of jobs as those see it who ask for jobs: add, look up, cancel, retry."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from service.database import Database, clock
from service.jobs.job import (
    CANCELLED,
    ENDED,
    EPOCH,
    FAILED,
    QUEUED,
    RUNNING,
    Event,
    Job,
    change,
    find,
    job_of,
    newest_first,
    state_event,
)
from service.problems import Conflict, TooMany
from service.schema import EVENTS, JOBS

EVENTS_AT_ONCE = 1000


@dataclass(frozen=True)
class Request:
    """Who asks for a job, and what makes another request the same one."""

    client: str
    sha256: str
    idempotency_key: str | None = None


class Ledger:
    """Jobs by id, for callers. What a trainer writes goes through `service.jobs.leases`."""

    def __init__(self, database: Database, *, most_queued: int, most_queued_by_one: int) -> None:
        self.database = database
        self.most_queued, self.most_queued_by_one = most_queued, most_queued_by_one

    def add(
        self,
        model: str,
        plan: dict[str, Any],
        epochs: int,
        request: Request,
        check: Callable[[], None] = lambda: None,
    ) -> tuple[Job, bool]:
        """Queue a job and return it, with True; or the one that the same request made before, with False.

        `check` raises where what the job needs has gone meanwhile; once it has not, nobody removes it. Raises
        Conflict where the key was used for something else, TooMany where the queue is full.
        """
        with self.database.writing(turn="queue") as connection:
            if before := self._same(connection, request):
                return before, False
            self._check_room(connection, request.client)
            check()
            job_id = secrets.token_hex(8)
            connection.execute(
                JOBS.insert().values(
                    id=job_id,
                    model=model,
                    state=QUEUED,
                    plan=plan,
                    epochs=epochs,
                    client=request.client,
                    idempotency_key=request.idempotency_key,
                    request_sha256=request.sha256,
                    created=clock(),
                )
            )
            change(connection, JOBS.c.id == job_id, events=[state_event(QUEUED)])
            return find(connection, job_id), True

    def again(self, request: Request) -> Job | None:
        """Return the job that the same request made before; raises Conflict as `add` does."""
        with self.database.reading() as connection:
            return self._same(connection, request)

    def get(self, job_id: str) -> Job:
        """Return a job; raises NotFound."""
        with self.database.reading() as connection:
            return find(connection, job_id)

    def page(self, state: str | None, model: str | None, before: int | None, limit: int) -> list[Job]:
        """Return jobs, newest first, of those with a lower number than `before`."""
        query = newest_first().limit(limit)
        if state is not None:
            query = query.where(JOBS.c.state == state)
        if model is not None:
            query = query.where(JOBS.c.model == model)
        if before is not None:
            query = query.where(JOBS.c.number < before)
        with self.database.reading() as connection:
            return [job_of(row) for row in connection.execute(query)]

    def events(self, job: Job, after: int) -> tuple[Job, list[Event]]:
        """Return the job as it is now and its events after a number, as many as are read at once."""
        query = _events(job).where(EVENTS.c.number > after).order_by(EVENTS.c.number)
        with self.database.reading() as connection:
            rows = connection.execute(query.limit(EVENTS_AT_ONCE)).all()
            return find(connection, job.id), [_event(row) for row in rows]

    def history(self, job: Job, epochs: int) -> list[dict[str, Any]]:
        """Return the figures of the last epochs, oldest first."""
        query = _events(job).where(EVENTS.c.kind == EPOCH).order_by(EVENTS.c.number.desc()).limit(epochs)
        with self.database.reading() as connection:
            return [row.data for row in reversed(connection.execute(query).all())]

    def cancel(self, job_id: str) -> Job:
        """End a job that is queued or running, at once: the table decides, not whoever runs it.

        Raises Conflict where it has ended otherwise. A job that is cancelled already stays so.
        """
        with self.database.writing() as connection:
            live = JOBS.c.state.in_((QUEUED, RUNNING))
            # With another token, whoever runs it writes nothing more, and stops at its next heartbeat.
            change(
                connection,
                JOBS.c.id == job_id,
                live,
                events=[state_event(CANCELLED)],
                state=CANCELLED,
                token=JOBS.c.token + 1,
                ended=clock(),
                seconds_left=None,
            )
            job = find(connection, job_id)
        if job.state != CANCELLED:
            raise Conflict(f"Job {job_id} has {job.state} already; there is nothing to cancel.")
        return job

    def retry(self, job_id: str, check: Callable[[], None] = lambda: None) -> Job:
        """Queue a job again that failed or was cancelled; it goes on from its last checkpoint.

        `check` is as for `add`. Raises Conflict where it did not fail, TooMany where the queue is full.
        """
        with self.database.writing(turn="queue") as connection:
            job = find(connection, job_id)
            if job.state not in (FAILED, CANCELLED):
                raise Conflict(f"Job {job_id} is {job.state}; only failed and cancelled jobs can be retried.")
            self._check_room(connection, job.client)
            check()
            change(
                connection,
                JOBS.c.id == job_id,
                events=[state_event(QUEUED, reason="retried")],
                state=QUEUED,
                token=JOBS.c.token + 1,
                attempts=0,
                seconds=0.0,
                ended=None,
                error=None,
            )
            return find(connection, job_id)

    def _same(self, connection: Connection, request: Request) -> Job | None:
        if request.idempotency_key is None:
            return None
        mine = JOBS.c.client == request.client, JOBS.c.idempotency_key == request.idempotency_key
        row = connection.execute(select(JOBS).where(*mine)).first()
        if row is None:
            return None
        if row.request_sha256 != request.sha256:
            raise Conflict(
                f"This Idempotency-Key was used for job {row.id}, with another body: use a new key."
            )
        return job_of(row)

    def _check_room(self, connection: Connection, client: str) -> None:
        queued = select(func.count()).select_from(JOBS).where(JOBS.c.state == QUEUED)
        total = connection.scalar(queued) or 0
        if total >= self.most_queued:
            raise TooMany(f"{total} jobs are queued, and no more than {self.most_queued} may be.")
        own = connection.scalar(queued.where(JOBS.c.client == client)) or 0
        if own >= self.most_queued_by_one:
            most = self.most_queued_by_one
            raise TooMany(f"{own} jobs of yours are queued, and no more than {most} of one client may be.")


def is_over(job: Job) -> bool:
    """Tell whether nothing more will become of a job by itself."""
    return job.state in ENDED


def _events(job: Job) -> Any:
    return select(EVENTS).where(EVENTS.c.job == job.number)


def _event(row: Any) -> Event:
    return Event(row.number, row.kind, row.data, row.time)
