"""Checkpoints: all that a run is at a moment, on disk, so that a killed run goes on to the same bytes.

A file is 32 bytes of SHA-256 over all the rest, a header of JSON padded with spaces, then arrays as they
lie in memory. Which arrays, and of what shape and dtype, the run knows: a file can ask for nothing.
"""

import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from nncore.config import choice, from_json, number, to_json
from nncore.errors import CheckpointError, RecipeError
from nncore.files import DRAFT, Part, open_regular, replace_file
from nncore.randomness import Position
from nncore.types import Array

FORMAT = 1
DIGEST_BYTES = 32
HEADER_BYTES = 2048
# Fifty million parameters with Adam's two moments and the best weights, and a million epochs, fit.
MOST_BYTES = 1 << 30
KEPT = 2
# Times as long as it took to save, a run trains before it saves again.
PAUSE = 10
NAME = re.compile(r"checkpoint-(\d{8,15})")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a run is, all but its arrays: `batch` batches of epoch number `epoch` are done.

    `total` is the sum of their rows' losses; `shuffle` where that stream was before the epoch's order was
    drawn, `dropout` and `augment` where they are. The `best_score` is None as long as no epoch is over;
    `ended` says how the run ended, nothing while it goes on.
    """

    total: float
    shuffle: Position
    dropout: Position
    best_score: float | None
    epoch: int = number(minimum=1)
    batch: int = number(minimum=0)
    best_epoch: int = number(minimum=0)
    ended: str = choice(("", "completed", "early"))
    # Files written before there was any augmentation say nothing of it.
    augment: Position | None = None


@dataclass(frozen=True)
class _Header:
    fingerprint: str
    place: Place
    format: int = number(minimum=FORMAT, maximum=FORMAT)


class _Damaged(Exception):
    """A file that is no checkpoint, or no longer."""


class Checkpoints:
    """The checkpoints of one run: the newest two, in a folder of their own.

    `every` is the time between two of them in seconds; where saving takes long it becomes more, so that at
    most a tenth of the time goes into it. `bind` says which run they belong to.
    """

    def __init__(self, folder: Path, *, every: float = 2.0) -> None:
        self.folder, self.every = folder, every
        self._fingerprint = ""
        self._asked = threading.Event()
        self._due = 0.0
        self._kept: list[int] = []

    def bind(self, fingerprint: str) -> None:
        """Say by what the run is known: a checkpoint under another fingerprint is refused."""
        self._fingerprint = fingerprint

    def ask(self) -> None:
        """Have the next batch end with a checkpoint, however recent the last one; any thread may ask."""
        self._asked.set()

    def is_due(self) -> bool:
        """Say whether it is time for a checkpoint."""
        return time.monotonic() >= self._due or self._asked.is_set()

    def save(self, place: Place, arrays: Sequence[Array]) -> None:
        """Write a checkpoint; raises OSError where it cannot be, and the ones before stand."""
        self._asked.clear()
        began = time.monotonic()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            number_ = max(self._numbers(), default=0) + 1
            replace_file(self._path(number_), *self._parts(place, arrays))
            self._kept = [*self._kept, number_][-KEPT:]
            for older in self._numbers():
                if older < number_ and older not in self._kept:
                    self._path(older).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("no checkpoint could be written to %s: %s", self.folder, error)
            raise
        finally:
            now = time.monotonic()
            self._due = now + max(self.every, PAUSE * (now - began))

    def load(self, room: Callable[[Place], Sequence[Array]]) -> tuple[Place, Sequence[Array]] | None:
        """Return the newest checkpoint that is whole, None where there is none.

        `room(place)` gives the arrays to be filled; it raises ValueError for a place where the run cannot
        be. They are written to only after every check. Raises CheckpointError where it is another run's.
        """
        if not self._fingerprint:
            raise CheckpointError("the checkpoints belong to no run yet: bind them to a fingerprint first")
        self._due = time.monotonic() + self.every
        self._remove_drafts()
        numbers = self._numbers()
        for number_ in reversed(numbers):
            path = self._path(number_)
            try:
                with open_regular(path) as file:
                    place, arrays = self._check(file, room)
                    _fill(file, arrays)
            except (OSError, _Damaged) as error:
                logger.warning("the checkpoint %s is not used: %s", path, error)
                continue
            self._kept = [number_]
            return place, arrays
        if numbers:
            logger.warning("%s holds no checkpoint to go on from: the run begins anew", self.folder)
        return None

    def is_empty(self) -> bool:
        """Say whether there is no checkpoint, whole or not."""
        return not self._numbers()

    def clear(self) -> None:
        """Remove the checkpoints, and the folder where nothing else is in it."""
        self._remove_drafts()
        for number_ in self._numbers():
            self._path(number_).unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _path(self, number_: int) -> Path:
        return self.folder / f"checkpoint-{number_:08}"

    def _numbers(self) -> list[int]:
        return sorted(int(found[1]) for name in self._names() if (found := NAME.fullmatch(name)))

    def _names(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self.folder)]
        except FileNotFoundError:
            return []
        except OSError as error:
            # Whether it can be written to, the next checkpoint will tell.
            logger.warning("the checkpoints in %s cannot be listed: %s", self.folder, error)
            return []

    def _remove_drafts(self) -> None:
        for name in self._names():
            if name.startswith(DRAFT):
                with suppress(OSError):
                    (self.folder / name).unlink()

    def _parts(self, place: Place, arrays: Sequence[Array]) -> list[Part]:
        header = json.dumps(to_json(_Header(self._fingerprint, place, FORMAT))).encode().ljust(HEADER_BYTES)
        parts: list[Part] = [header, *map(_bytes, arrays)]
        sha = hashlib.sha256()
        for part in parts:
            sha.update(part)
        return [sha.digest(), *parts]

    def _check(
        self, file: BufferedReader, room: Callable[[Place], Sequence[Array]]
    ) -> tuple[Place, Sequence[Array]]:
        size = os.fstat(file.fileno()).st_size
        if not DIGEST_BYTES + HEADER_BYTES <= size <= MOST_BYTES:
            raise _Damaged(f"it has {size:,} bytes")
        if file.read(DIGEST_BYTES) != hashlib.file_digest(file, "sha256").digest():
            raise _Damaged("its content is not what was written: the SHA-256 differs")
        file.seek(DIGEST_BYTES)
        try:
            header = from_json(_Header, json.loads(file.read(HEADER_BYTES)))
        except (ValueError, RecursionError, RecipeError) as error:
            raise _Damaged(f"its header is wrong: {error}") from None
        if header.fingerprint != self._fingerprint:
            raise CheckpointError(f"{file.name} is of another run: of another recipe, dataset or start")
        try:
            arrays = room(header.place)
        except ValueError as error:
            raise _Damaged(f"its header is wrong: {error}") from None
        needed = DIGEST_BYTES + HEADER_BYTES + sum(array.nbytes for array in arrays)
        if size != needed:
            raise _Damaged(f"it has {size:,} bytes, where the run needs {needed:,}")
        return header.place, arrays


def _fill(file: BufferedReader, arrays: Sequence[Array]) -> None:
    """Read the arrays, once all is known to be right; what was there before is lost."""
    try:
        whole = all(file.readinto(_bytes(array)) == array.nbytes for array in arrays)
    except OSError as error:
        raise CheckpointError(f"{file.name} could be read once, but not again: {error}") from None
    if not whole:
        raise CheckpointError(f"{file.name} became shorter while it was read")


def _bytes(array: Array) -> memoryview:
    """Return a contiguous array's memory."""
    return array.reshape(-1).view(np.uint8).data
