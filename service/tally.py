"""The folder in which workers count, each in files of its own that the others can read.

Files are named after places, 0, 1, 2 …, and not after processes: a worker takes the first place that is free,
and holds it by a lock that the kernel takes back however the worker ends; its successor goes on with the same
files. So nothing that was counted is lost with a worker, and there are never more files than there were
workers at once. The folder is made anew at each start and removed at its end.
"""

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from prometheus_client import multiprocess, values

PREFIX = "nnserve-counts-"
# Held by the master, and by its workers after it: a folder where nobody holds it was left by a crash.
ALIVE = "alive"
# Room that is taken at once: where a disk filled up under a mapped file, a write would kill the worker.
ROOM = {"counter": 256 << 10, "histogram": 1 << 20, "gauge_liveall": 64 << 10}

logger = logging.getLogger(__name__)


class Tally:
    """The folder, once `prepare` was called in the master, and the worker's own place in it.

    Without either, in a process that serves alone, `path` is None and everything is counted in memory.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.place = ""
        self._held: list[int] = []

    def prepare(self) -> None:
        """Make the folder; to be called once, before the workers fork.

        Where it cannot be made, each worker tells of what it has counted itself.
        """
        _remove_abandoned()
        try:
            path = Path(tempfile.mkdtemp(prefix=PREFIX))
            self._held += _lock(path / "new")
            # Held before it has its name: it is never seen without an owner.
            (path / "new").rename(path / ALIVE)
        except OSError as error:
            logger.error("workers do not count together: %s", error)
            return
        self.path = path
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(path)

    def take_place(self) -> None:
        """Take the first place that is free; to be called in a worker that has just been forked.

        Where there is no room for its files, it counts for itself.
        """
        if self.path is None:
            return
        try:
            self._take_place(self.path)
            values.ValueClass = values.MultiProcessValue(lambda: self.place)  # type: ignore[no-untyped-call]
        except OSError as error:
            logger.error("what this worker counts is not told: %s", error)

    def _take_place(self, path: Path) -> None:
        for number in itertools.count():
            held = _lock(path / f"place-{number}")
            if held:
                break
        self._held += held
        self.place = str(number)
        self._forget_present(self.place)
        for kind, size in ROOM.items():
            _make_room(path / f"{kind}_{number}.db", size)

    def clear_free_places(self) -> None:
        """Take back what tells of the present in places that nobody holds any more: their gauges."""
        for file in self.path.glob("place-*") if self.path else ():
            held = _lock(file)
            if held:
                self._forget_present(file.name.removeprefix("place-"))
                os.close(held[0])

    def _forget_present(self, place: str) -> None:
        multiprocess.mark_process_dead(place, str(self.path))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Remove the folder; to be called in the master when it ends."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)


def _lock(file: Path) -> list[int]:
    """Return the descriptor that holds a file's lock; none where another process has it."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return []
    return [descriptor]


def _make_room(file: Path, size: int) -> None:
    with file.open("ab") as opened:
        os.posix_fallocate(opened.fileno(), 0, size)


def _remove_abandoned() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Somebody else's cannot be opened, and one that is just being made has no such file yet.
        with suppress(OSError):
            if (folder / ALIVE).is_file() and (held := _lock(folder / ALIVE)):
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held[0])
