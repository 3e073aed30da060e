"""The tables, and how a database of an older nnserve is brought up to date."""

from collections.abc import Callable

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from service.database import Database, reason

METADATA = MetaData()
# SQLite counts up by itself only in a column of exactly this type.
_COUNTED = BigInteger().with_variant(Integer, "sqlite")

# One row a training run that was asked for; the truth about it.
JOBS = Table(
    "jobs",
    METADATA,
    Column("number", _COUNTED, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("model", Text, nullable=False),
    Column("state", Text, nullable=False),
    # Recipe, dataset's SHA-256, version to start from and promotion, as they were when it was accepted.
    Column("plan", JSON, nullable=False),
    Column("client", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("request_sha256", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    # The fencing token: who holds an older one than this writes nothing more.
    Column("token", Integer, nullable=False, default=0),
    # Counts up while somebody runs the job.
    Column("heartbeat", Integer, nullable=False, default=0),
    Column("trainer", Text),
    # Times in a row that it was begun and came no further.
    Column("attempts", Integer, nullable=False, default=0),
    Column("epoch", Integer, nullable=False, default=0),
    Column("epochs", Integer, nullable=False),
    Column("seconds", Double, nullable=False, default=0.0),
    Column("seconds_left", Double),
    # Reserved before it is published.
    Column("version", Integer),
    Column("events", Integer, nullable=False, default=0),
    Column("result", JSON(none_as_null=True)),
    Column("error", Text),
    UniqueConstraint("client", "idempotency_key"),
    Index("jobs_by_state", "state", "number"),
    Index("jobs_by_model", "model", "number"),
)

# What became of a job, in order, without gaps: its numbers run from 1.
EVENTS = Table(
    "job_events",
    METADATA,
    Column("job", _COUNTED, ForeignKey("jobs.number", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("data", JSON, nullable=False),
    Column("time", Double, nullable=False),
)

# The history of every label.
LABEL_MOVES = Table(
    "label_moves",
    METADATA,
    Column("number", _COUNTED, primary_key=True),
    Column("model", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("from_version", Integer),
    Column("to_version", Integer),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("time", Double, nullable=False),
    Index("label_moves_by_model", "model", "label", "number"),
)

# The trainers that have been seen; `heartbeat` counts up while one lives.
TRAINERS = Table(
    "trainers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("heartbeat", Integer, nullable=False, default=0),
    Column("seen", Double, nullable=False),
)

# What each dataset that was sent is called; what it holds lies beside the models, under its SHA-256.
DATASETS = Table(
    "datasets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("task", Text, nullable=False),
    # Rows for training, validation and test.
    Column("parts", JSON, nullable=False),
    Column("created", Double, nullable=False),
    Index("datasets_by_sha256", "sha256"),
)

# Keys of callers; of each only the hash.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    # With commas between them.
    Column("scopes", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("used", Double),
)

_SCHEMA = Table("schema_version", METADATA, Column("number", Integer, nullable=False))


def _add_datasets(connection: Connection) -> None:
    columns = (
        "name text not null primary key, sha256 text not null, bytes bigint not null, task text not null, "
        "parts json not null, created double precision not null"
    )
    connection.execute(text(f"create table datasets ({columns})"))
    connection.execute(text("create index datasets_by_sha256 on datasets (sha256)"))


def _add_api_keys(connection: Connection) -> None:
    columns = (
        "id text not null primary key, name text not null, sha256 text not null unique, "
        "scopes text not null, created double precision not null, expires double precision, "
        "revoked double precision, used double precision"
    )
    connection.exec_driver_sql(f"create table api_keys ({columns})")


# What makes of a database of version 1 one of version 2, and so on. A new one gets the tables above.
MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_add_datasets, _add_api_keys)


class Unusable(Exception):
    """The database does not answer, or was written by a newer nnserve."""


def migrate(database: Database) -> None:
    """Create the tables, or bring those of an older nnserve up to date; several may try at once.

    Raises Unusable.
    """
    try:
        _migrate(database)
    except DBAPIError as error:
        raise Unusable(f"the database does not answer: {reason(error)}") from None
    finally:
        database.close()


def schema_number(database: Database) -> tuple[int | None, int]:
    """Return the number of a database's schema, None where it has none yet, and that of the newest one."""
    try:
        with database.reading() as connection:
            there = inspect(connection).has_table(_SCHEMA.name)
            number = connection.scalars(select(_SCHEMA.c.number)).one() if there else None
    finally:
        database.close()
    return number, 1 + len(MIGRATIONS)


def _migrate(database: Database) -> None:
    newest = 1 + len(MIGRATIONS)
    with database.writing(turn="migration") as connection:
        if not inspect(connection).has_table(_SCHEMA.name):
            METADATA.create_all(connection)
            connection.execute(_SCHEMA.insert().values(number=newest))
            return
        number = connection.scalars(select(_SCHEMA.c.number)).one()
        if number > newest:
            raise Unusable(f"the database has schema {number}, this nnserve knows up to {newest}: upgrade it")
        for migration in MIGRATIONS[number - 1 :]:
            migration(connection)
        connection.execute(update(_SCHEMA).values(number=newest))
