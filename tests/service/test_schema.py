"""The tables are made where there are none, and brought up to date where they are older."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, inspect, text

from service import schema
from service.database import Database, parse_url
from service.schema import METADATA, Unusable, migrate


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(parse_url(database_url))
    yield database
    database.close()


def columns(database: Database, table: str) -> set[str]:
    with database.reading() as connection:
        return {column["name"] for column in inspect(connection).get_columns(table)}


def add_a_column(connection: Connection) -> None:
    connection.execute(text("alter table jobs add column mood text"))


def test_an_empty_database_gets_all_tables_and_a_second_start_changes_nothing(database: Database) -> None:
    migrate(database)
    migrate(database)

    with database.reading() as connection:
        assert set(inspect(connection).get_table_names()) >= set(METADATA.tables)


def test_a_database_of_an_older_version_is_brought_up_to_date_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate(database)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, add_a_column))

    migrate(database)
    migrate(database)

    assert "mood" in columns(database, "jobs")


def described(database: Database, table: str) -> tuple[object, ...]:
    with database.reading() as connection:
        inspected = inspect(connection)
        return (
            [(c["name"], c["nullable"]) for c in inspected.get_columns(table)],
            inspected.get_pk_constraint(table)["constrained_columns"],
            sorted(str(index["column_names"]) for index in inspected.get_indexes(table)),
        )


def test_a_database_of_the_first_version_gets_the_tables_that_a_new_one_has(database: Database) -> None:
    first = ("jobs", "job_events", "label_moves", "trainers", "schema_version")
    later = sorted(METADATA.tables.keys() - {*first})
    migrate(database)
    new = [described(database, table) for table in later]
    with database.writing() as connection:
        for table in later:
            connection.execute(text(f"drop table {table}"))
        connection.execute(text("update schema_version set number = 1"))

    migrate(database)

    assert "datasets" in later
    assert [described(database, table) for table in later] == new


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Connection) -> None:
        add_a_column(connection)
        raise RuntimeError("half-way")

    migrate(database)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, fail))

    with pytest.raises(RuntimeError, match="half-way"):
        migrate(database)

    assert "mood" not in columns(database, "jobs")


def test_a_database_of_a_newer_version_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = schema.MIGRATIONS
    monkeypatch.setattr(schema, "MIGRATIONS", (*known, add_a_column))
    migrate(database)
    monkeypatch.setattr(schema, "MIGRATIONS", known)

    newest = 1 + len(known)
    with pytest.raises(
        Unusable, match=f"has schema {newest + 1}, this nnserve knows up to {newest}: upgrade it"
    ):
        migrate(database)


def test_many_that_start_at_once_take_turns(database_url: str) -> None:
    failures = []
    begin = threading.Barrier(5)

    def start() -> None:
        database = Database(parse_url(database_url))
        begin.wait()
        try:
            migrate(database)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://a/b", "sqlite://", "sqlite:///:memory:", "postgresql://h"]
)
def test_another_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(ValueError, match=r"must be like sqlite:///var/nnserve.db or postgresql://"):
        parse_url(url)
