"""Datasets that were sent to the service: names, each of which stands for a content that never changes."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, select

from nncore.datasets import Dataset, Stored
from nncore.datasets.stored import Description, read_description
from nncore.errors import DatasetError
from service.contents import content, is_whole, load, place, vanish
from service.database import Database, clock
from service.problems import Conflict, NotFound
from service.references import named, referred
from service.schema import DATASETS

# Names that an error lists.
MOST_NAMES = 20
# What changes names or contents, and what accepts jobs, waits for one another: no job loses its data between.
TURN = "queue"


@dataclass(frozen=True)
class Named:
    """A name for a content, since `created`; `parts` are its rows for training, validation and test."""

    name: str
    sha256: str
    bytes: int
    task: str
    parts: dict[str, int]
    created: float


class Datasets:
    """The datasets of a store; safe from many threads, processes and machines."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database, self.root = database, root

    def add(self, name: str, folder: Path) -> tuple[Named, bool]:
        """Take a folder in under a name; False where the name stood for this content already.

        Where it stood for another it no longer does. A content that is there and damaged is replaced. Raises
        DatasetError where the folder is no dataset.
        """
        found = read_description(folder)
        facts = {
            "sha256": found.sha256,
            "bytes": sum(file.stat().st_size for file in folder.iterdir()),
            "task": found.about["task"],
            "parts": found.about["rows"],
        }
        there = content(self.root, found.sha256)
        damaged = there is not None and not is_whole(there)
        with self.database.writing(TURN) as connection:
            if damaged and (there := content(self.root, found.sha256)):
                # What is left behind goes with what a kill leaves behind; who reads it has it open.
                vanish(there)
            place(folder, self.root, found.sha256)
            before = _find(connection, name)
            if before is not None and before.sha256 == found.sha256:
                return before, False
            connection.execute(delete(DATASETS).where(DATASETS.c.name == name))
            connection.execute(DATASETS.insert().values(name=name, created=clock(), **facts))
            after = _find(connection, name)
        assert after is not None
        return after, True

    def find(self, name: str) -> Named | None:
        """Return what a name stands for; None where it is no dataset's."""
        with self.database.reading() as connection:
            return _find(connection, name)

    def get(self, name: str) -> Named:
        """Return what a name stands for; raises NotFound."""
        found = self.find(name)
        if found is None:
            raise _unknown(name)
        return found

    def page(self, after: str, limit: int) -> list[Named]:
        """Return datasets in the order of their names, of those that come after one."""
        query = select(DATASETS).where(DATASETS.c.name > after).order_by(DATASETS.c.name).limit(limit)
        with self.database.reading() as connection:
            return [_named(row) for row in connection.execute(query)]

    def names(self) -> list[str]:
        """Return some names, for an error to list."""
        return [one.name for one in self.page("", MOST_NAMES)]

    def describe(self, one: Named) -> Description:
        """Return what a dataset says of itself; raises Conflict where its content is not there as it was."""
        try:
            return read_description(self._content(one))
        except DatasetError as error:
            raise _broken(one, error) from None

    def load(self, one: Named) -> Dataset:
        """Return a dataset's rows, mapped; raises Conflict where they are not there as they were."""
        self._content(one)
        try:
            return load(self.root, Stored(one.name, one.sha256))
        except DatasetError as error:
            raise _broken(one, error) from None

    def delete(self, name: str) -> None:
        """Take a name away, and its content where that has no other.

        Raises NotFound, and Conflict where a job or a version needs the content, which it says.
        """
        with self.database.writing(TURN) as connection:
            found = _find(connection, name)
            if found is None:
                raise _unknown(name)
            connection.execute(delete(DATASETS).where(DATASETS.c.name == name))
            if found.sha256 not in named(connection) and (
                reason := referred(connection, self.root).get(found.sha256)
            ):
                raise Conflict(f"The dataset {name!r} is not deleted: {reason}.")
        # Only now, since a name must not be left without its content where the database did not take it.
        remove_unneeded(self.database, self.root, found.sha256)

    def _content(self, one: Named) -> Path:
        folder = content(self.root, one.sha256)
        if folder is None:
            raise _broken(one, "its folder is not there")
        return folder


def remove_unneeded(database: Database, root: Path, sha256: str) -> bool:
    """Remove a content that has no name and that nothing refers to; say whether it was one."""
    with database.writing(TURN) as connection:
        folder = content(root, sha256)
        if folder is None or sha256 in named(connection) or sha256 in referred(connection, root):
            return False
        trash = vanish(folder)
    shutil.rmtree(trash, ignore_errors=True)
    return True


def _find(connection: Connection, name: str) -> Named | None:
    # Not every text can be asked for: PostgreSQL knows no NUL.
    known = "\0" not in name
    row = connection.execute(select(DATASETS).where(DATASETS.c.name == name)).first() if known else None
    return _named(row) if row is not None else None


def _named(row: Row[Any]) -> Named:
    return Named(**row._mapping)


def _unknown(name: str) -> NotFound:
    return NotFound(f"There is no dataset {name[:100]!r}; GET /datasets lists those there are.")


def _broken(one: Named, why: object) -> Conflict:
    return Conflict(f"The dataset {one.name!r} cannot be read: {why}. Send it again, to mend it.")
