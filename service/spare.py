"""Folders in the store that may go: versions, checkpoints and datasets that nobody needs any more."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Connection, select

from nncore.publishing import NAME, TRASH, VERSION_FILE, remove, versions
from service.contents import contents
from service.database import Database
from service.datasets import remove_unneeded
from service.history import is_shipped
from service.jobs.job import CHECKPOINTS, QUEUED, RUNNING, SUCCEEDED
from service.problems import Conflict
from service.references import named, referred
from service.schema import JOBS
from service.versions import needed

# What has just come may be about to be needed: labelled, started from, tried again.
FRESH_SECONDS = 60.0
# A checkpoint of a job that the database does not know may be another database's.
FOREIGN_SECONDS = 3600.0


@dataclass(frozen=True)
class Spare:
    """A folder that may go; `excess` tells that there are more of its kind than are kept.

    `remove` looks once more whether it may, and says whether it did.
    """

    path: Path
    since: float
    excess: bool
    remove: Callable[[], bool]


def spare_versions(database: Database, root: Path, keep: int) -> Iterator[Spare]:
    """Yield the versions that may go: without a label, not shipped; the newest `keep` are no excess."""
    for model in sorted(root.iterdir()):
        if not NAME.fullmatch(model.name):
            continue
        with database.reading() as connection:
            numbers = _unneeded(connection, model)
        for place, number in enumerate(numbers):
            since = _since(model / str(number) / VERSION_FILE)
            if time.time() - since > FRESH_SECONDS:
                excess = place < len(numbers) - keep
                yield Spare(model / str(number), since, excess, _version_remover(database, model, number))


def _unneeded(connection: Connection, model: Path) -> list[int]:
    try:
        wanted = needed(connection, model)
    except Conflict:
        # Its labels cannot be read: any version may have one.
        return []
    return [n for n in versions(model) if n not in wanted and not is_shipped(model, n)]


def _version_remover(database: Database, model: Path, number: int) -> Callable[[], bool]:
    def remove_version() -> bool:
        with database.writing(turn=f"labels:{model.name}") as connection:
            if number not in _unneeded(connection, model):
                return False
            remove(model, number)
            return True

    return remove_version


def spare_checkpoints(database: Database, root: Path, keep: int) -> Iterator[Spare]:
    """Yield the checkpoints of ended and unknown jobs; the last `keep` that can be retried are no excess."""
    folders = {folder.name: folder for folder in _folders(root / CHECKPOINTS)}
    with database.reading() as connection:
        rows = connection.execute(select(JOBS).where(JOBS.c.id.in_(folders))).all()
    jobs = {row.id: row for row in rows}
    retriable = sorted((row.ended, row.id) for row in rows if row.state not in (QUEUED, RUNNING, SUCCEEDED))
    kept = {job_id for _, job_id in retriable[len(retriable) - min(keep, len(retriable)) :]}
    for job_id, folder in folders.items():
        job = jobs.get(job_id)
        if job is None:
            since, least = _since(folder), FOREIGN_SECONDS
        elif job.ended is None:
            continue
        else:
            since, least = job.ended, FRESH_SECONDS
        if time.time() - since > least:
            yield Spare(folder, since, job_id not in kept, _checkpoint_remover(database, folder))


def _checkpoint_remover(database: Database, folder: Path) -> Callable[[], bool]:
    def remove_checkpoint() -> bool:
        # In the turn in which jobs are tried again.
        with database.writing(turn="queue") as connection:
            job = connection.execute(select(JOBS).where(JOBS.c.id == folder.name)).first()
            if (job is not None and job.ended is None) or not folder.is_dir():
                return False
            trash = Path(tempfile.mkdtemp(prefix=TRASH, dir=folder.parent))
            folder.rename(trash)
        shutil.rmtree(trash, ignore_errors=True)
        return True

    return remove_checkpoint


def spare_contents(database: Database, root: Path) -> Iterator[Spare]:
    """Yield what datasets held that have lost their names, where nothing needs it: all excess."""
    with database.reading() as connection:
        names = named(connection)
        nameless = [folder for folder in contents(root) if folder.name not in names]
        needed_ones = referred(connection, root) if nameless else {}
    for folder in nameless:
        since = _since(folder)
        if folder.name not in needed_ones and time.time() - since > FRESH_SECONDS:
            yield Spare(folder, since, True, partial(remove_unneeded, database, root, folder.name))


def _folders(root: Path) -> Iterator[Path]:
    if root.is_dir():
        yield from (f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))


def _since(path: Path) -> float:
    """Return when a file or folder was written; now where it has gone."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116
    except OSError:
        return time.time()
