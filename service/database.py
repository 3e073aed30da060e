"""One database for the job table and the queue: SQLite by default, PostgreSQL by its URL."""

import importlib.util
import sqlite3
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Double, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

SQLITE, POSTGRESQL = "sqlite", "postgresql"
MEANING = "must be like sqlite:///var/nnserve.db or postgresql://user:password@host/database"
# Longer than somebody else's backup or vacuum may hold a write lock; a request that waits longer is told.
LOCKED_SECONDS = 15


class clock(GenericFunction[float]):  # noqa: N801 (a function of SQL's)
    """The database's own time in seconds since 1970, one clock for all machines that share it."""

    type = Double()
    inherit_cache = True


@compiles(clock, SQLITE)
def _clock_of_sqlite(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock, POSTGRESQL)
def _clock_of_postgresql(*_: Any, **__: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


def parse_url(text: str) -> URL:
    """Return a database's URL; raises ValueError that says what would be right."""
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(MEANING) from None
    if url.get_backend_name() == SQLITE and url.database not in (None, "", ":memory:"):
        return url
    if url.get_backend_name() == POSTGRESQL and url.database:
        if importlib.util.find_spec("psycopg") is None:
            raise ValueError("needs psycopg to reach PostgreSQL: pip install 'nnserve[postgres]'")
        return url.set(drivername="postgresql+psycopg")
    raise ValueError(MEANING)


def reason(error: Exception) -> str:
    """Return on one line why a database does not answer, in its driver's words."""
    return " ".join(str(getattr(error, "orig", error)).split())


class Database:
    """Connections to the database. None is opened before the first use, so that none crosses a fork."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == SQLITE
        self._file, self._inode = Path(str(url.database)), 0
        if self.is_sqlite:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(url, connect_args={"timeout": LOCKED_SECONDS})
            event.listen(self.engine, "connect", self._configure_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        else:
            # Where a database was made without an encoding, SQL_ASCII, psycopg would read texts as bytes.
            how = {"connect_timeout": 5, "client_encoding": "utf8"}
            # A server that was restarted leaves dead connections behind.
            self.engine = create_engine(url, pool_pre_ping=True, connect_args=how)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        self._check_file()
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self, turn: str = "") -> Iterator[Connection]:
        """Open a transaction that writes: committed at the end of the block, rolled back by an error.

        Of those that name the same `turn` only one is open at a time, on all machines.
        """
        self._check_file()
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            if turn and not self.is_sqlite:
                key = zlib.crc32(turn.encode())
                connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": key})
            yield connection

    def _configure_sqlite(self, connection: sqlite3.Connection, _: Any) -> None:
        # The module would begin transactions by itself, and too late: see `_begin_sqlite`.
        connection.isolation_level = None
        # Readers and a writer at once; and a row that was answered for outlives a power cut.
        _switch_to_wal(connection)
        for pragma in ("synchronous=full", "foreign_keys=on"):
            connection.execute(f"pragma {pragma}").close()
        self._inode = self._inode or self._file.stat().st_ino

    def _check_file(self) -> None:
        """Raise OperationalError where the file has been moved away: what is written to it would be lost."""
        if self._inode and not (self._file.exists() and self._file.stat().st_ino == self._inode):
            what = f"{self._file} is not the file that was opened: put it back, or restart nnserve"
            raise OperationalError(None, None, sqlite3.OperationalError(what))

    def close(self) -> None:
        """Close all connections; the next use opens new ones."""
        self.engine.dispose()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to a write-ahead log; of several that do it first, SQLite tells all but one "locked" at once."""
    deadline = time.monotonic() + LOCKED_SECONDS
    while True:
        try:
            connection.execute("pragma journal_mode=wal").close()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that first reads and then writes fails where another wrote in between, and no waiting
    # helps: who is going to write says so at the start.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("begin immediate" if writes else "begin")
