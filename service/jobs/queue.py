"""The queue: it wakes a trainer and decides nothing. Messages are jobs' ids; one may come twice, or never."""

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from huey import Huey, PostgresHuey, SqliteHuey
from huey.api import TaskWrapper
from huey.registry import Message
from huey.serializer import Serializer

from service.database import LOCKED_SECONDS, Database

NAME = "nnserve"


class _PlainSerializer(Serializer):  # type: ignore[misc]
    """Messages as JSON: Huey's own are pickled, and whoever could write to the queue could run anything."""

    def _serialize(self, data: Any) -> bytes:
        return json.dumps(data).encode()

    def _deserialize(self, data: bytes) -> Message:
        return Message(*json.loads(bytes(data)))


class Queue:
    """Sends jobs' ids; a trainer's queue also has a function that runs what has come.

    The connection is opened at the first use, so that none crosses a fork.
    """

    def __init__(self, database: Database, run: Callable[[str], None] | None = None) -> None:
        self._database = database
        self._run = run

    @property
    def huey(self) -> Huey:
        """Huey, for its consumer."""
        return self._opened[0]

    def send(self, job_id: str) -> None:
        """Wake a trainer for a job."""
        self._opened[1](job_id)

    def is_empty(self) -> bool:
        """Tell whether no message waits."""
        return bool(self.huey.pending_count() == 0)

    @cached_property
    def _opened(self) -> tuple[Huey, TaskWrapper]:
        def train(job_id: str) -> None:
            if self._run is not None:
                self._run(job_id)

        huey = _open(self._database)
        return huey, huey.task()(train)


def _open(database: Database) -> Huey:
    how = {"results": False, "serializer": _PlainSerializer()}
    if database.is_sqlite:
        return SqliteHuey(NAME, filename=database.url.database, timeout=LOCKED_SECONDS, **how)
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    return PostgresHuey(NAME, dsn=url, **how)
