"""A job: one training run asked for over HTTP, as the table has it."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update
from sqlalchemy.sql.expression import ColumnElement

from service.database import clock
from service.problems import NotFound
from service.schema import EVENTS, JOBS

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = "queued", "running", "succeeded", "failed", "cancelled"
STATES = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)
ENDED = (SUCCEEDED, FAILED, CANCELLED)

# What an id is: 64 random bits.
ID = re.compile(r"[0-9a-f]{16}")

# Kinds of events: an epoch was measured, or the state changed.
EPOCH, STATE = "epoch", "state"

# Beside the models, so that any trainer that shares them can go on with a job.
CHECKPOINTS = ".checkpoints"


@dataclass(frozen=True)
class Job:
    """One row of the table; see `service.schema.JOBS`."""

    number: int
    id: str
    model: str
    state: str
    plan: dict[str, Any]
    client: str
    idempotency_key: str | None
    request_sha256: str
    created: float
    started: float | None
    ended: float | None
    token: int
    heartbeat: int
    trainer: str | None
    attempts: int
    epoch: int
    epochs: int
    seconds: float
    seconds_left: float | None
    version: int | None
    events: int
    result: dict[str, Any] | None
    error: str | None


@dataclass(frozen=True)
class Event:
    """Something that became of a job; `number` counts from 1, without gaps."""

    number: int
    kind: str
    data: dict[str, Any]
    time: float


def job_of(row: Row[Any]) -> Job:
    """Return a row as a job."""
    return Job(**row._mapping)


def find(connection: Connection, job_id: str) -> Job:
    """Return a job; raises NotFound."""
    # Not every text can be asked for: PostgreSQL knows no NUL.
    known = ID.fullmatch(job_id)
    row = connection.execute(select(JOBS).where(JOBS.c.id == job_id)).first() if known else None
    if row is None:
        raise NotFound(f"There is no job {job_id[:100]!r}; GET /train lists those there are.")
    return job_of(row)


def change(
    connection: Connection,
    *where: ColumnElement[bool],
    events: list[tuple[str, Any]] | None = None,
    **to: Any,
) -> bool:
    """Change the one job that the conditions name, and write down its events; False where they hold no more.

    Events are pairs of a kind and what is to be known.
    """
    happened = events or []
    row = connection.execute(
        update(JOBS)
        .where(*where)
        .values(events=JOBS.c.events + len(happened), **to)
        .returning(JOBS.c.number, JOBS.c.events)
    ).first()
    if row is None:
        return False
    first = row.events - len(happened) + 1
    rows = [
        {"job": row.number, "number": first + place, "kind": kind, "data": data}
        for place, (kind, data) in enumerate(happened)
    ]
    if rows:
        connection.execute(EVENTS.insert().values(time=clock()), rows)
    return True


def state_event(state: str, **more: Any) -> tuple[str, Any]:
    """Return the event of a change of state."""
    return STATE, {"state": state} | more


def newest_first() -> Select[Any]:
    """Return the query of all jobs."""
    return select(JOBS).order_by(JOBS.c.number.desc())
