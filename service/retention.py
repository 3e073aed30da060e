"""What is kept, for how long, and on how much disk. Every trainer sees to it once a minute."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import ColumnElement, delete, select

from nncore.files import DRAFT
from nncore.publishing import NAME, TRASH
from service.contents import CONTENTS
from service.database import Database
from service.jobs.job import CHECKPOINTS, ENDED
from service.problems import OutOfSpace
from service.schema import EVENTS, JOBS
from service.settings import Settings
from service.spare import Spare, spare_checkpoints, spare_contents, spare_versions

# After which a draft is one that a kill left behind.
LEFT_BEHIND_SECONDS = 3600

logger = logging.getLogger(__name__)


class Retention:
    """Applies the settings `keep_…` and `max_disk`. Several may, at the same time."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database, self.settings, self.root = database, settings, settings.model_store

    def tidy(self) -> None:
        """Remove what is more than is kept, and then, oldest first, until the rest fits on the disk."""
        self._forget_jobs()
        if not self.root.is_dir():
            return
        self._sweep()
        spare = [
            *spare_versions(self.database, self.root, self.settings.keep_versions),
            *spare_checkpoints(self.database, self.root, self.settings.keep_checkpoints),
            *spare_contents(self.database, self.root),
        ]
        over = self.used() - self.settings.max_disk
        for item in sorted(spare, key=lambda item: (not item.excess, item.since)):
            if item.excess or over > 0:
                over -= self._remove(item)

    def check_room(self, more: int = 0) -> None:
        """Raise OutOfSpace where so many bytes more would be over the cap."""
        most = self.settings.max_disk
        would_have = most - self.room() + more
        if would_have > most:
            raise OutOfSpace(
                f"Models, datasets, checkpoints and the database would have {would_have:,} bytes on the "
                f"disk, and may have {most:,}. Delete versions and datasets that nobody needs, or raise "
                f"NNSERVE_MAX_DISK."
            )

    def room(self) -> int:
        """Return how many bytes more there may be; fewer than 0 where there are too many."""
        return self.settings.max_disk - self.used()

    def used(self) -> int:
        """Return the bytes of the store, its datasets and checkpoints, and SQLite's files together."""
        used = _size(self.root)
        if self.database.is_sqlite:
            file = str(self.database.url.database)
            used += sum(_size(Path(file + ending)) for ending in ("", "-wal", "-shm"))
        return used

    def _remove(self, item: Spare) -> int:
        size = _size(item.path)
        if not item.remove():
            return 0
        why = "there are more than are kept" if item.excess else "the disk may hold no more"
        logger.info("removed %s, %d bytes: %s", item.path.relative_to(self.root), size, why)
        return size

    def _forget_jobs(self) -> None:
        with self.database.writing(turn="queue") as connection:
            surplus = select(JOBS.c.number).where(self._beyond(self.settings.keep_events))
            connection.execute(delete(EVENTS).where(EVENTS.c.job.in_(surplus)))
            gone = connection.execute(delete(JOBS).where(self._beyond(self.settings.keep_jobs)))
        if gone.rowcount:
            logger.info("removed %d jobs: there are more than are kept", gone.rowcount)

    def _beyond(self, keep: int) -> ColumnElement[bool]:
        ended = JOBS.c.state.in_(ENDED)
        newest = JOBS.c.ended.desc(), JOBS.c.number.desc()
        return ended & JOBS.c.number.not_in(
            select(JOBS.c.number).where(ended).order_by(*newest).limit(keep).scalar_subquery()
        )

    def _sweep(self) -> None:
        """Remove what a kill left behind in the middle of writing or removing."""
        models = [folder for folder in self.root.iterdir() if NAME.fullmatch(folder.name)]
        for folder in (self.root, self.root / CHECKPOINTS, self.root / CONTENTS, *models):
            for entry in _entries(folder):
                if entry.name.startswith((DRAFT, TRASH)) and _is_old(entry):
                    logger.info("removed %s: it was left behind", entry.path)
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink(missing_ok=True)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError:
        return


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFT_BEHIND_SECONDS
    except OSError:
        return False


def _size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; 0 where there is none."""
    try:
        if not path.is_dir():
            return path.stat().st_size
        return sum(_size(Path(entry.path)) for entry in _entries(path) if not entry.is_symlink())
    except OSError:
        return 0
