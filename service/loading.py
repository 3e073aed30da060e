"""Versions from disk into memory, each checked before it may answer anybody."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from nncore.artifact import MOST_FILE_BYTES, from_bytes
from nncore.errors import ArtifactError
from nncore.files import read_file
from nncore.predictor import Predictor
from nncore.publishing import MODEL_FILE, VERSION_FILE, read_facts

# Predictors of versions that no label names, kept in memory a model; the first loaded goes first.
MOST_UNLABELLED = 4

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """A version in memory, its known answers replayed."""

    model: str
    version: int
    sha256: str
    predictor: Predictor
    file_id: tuple[int, int]


class Loading:
    """Loads a model's versions, each at most once; `failures` says why one cannot be served."""

    def __init__(self, model: Path, numbers: Collection[int], loaded: Mapping[int, Served]) -> None:
        self.model, self.numbers = model, numbers
        # A version never changes; but a folder may have been removed by hand and made anew.
        self.loaded = {n: served for n, served in loaded.items() if served.file_id == _file_id(model, n)}
        self.failures: dict[int, str] = {}

    def get(self, number: int) -> Served | None:
        """Return a version, loaded if need be, None where it must not be served."""
        if number not in self.loaded and number not in self.failures:
            try:
                self.loaded[number] = self._load(number)
            except ArtifactError as error:
                self.failures[number] = str(error)
                logger.error("version %d of %s cannot be served: %s", number, self.model.name, error)
        return self.loaded.get(number)

    def kept(self, labels: Mapping[str, int], stable: Served | None) -> dict[int, Served]:
        """Return what is to stay in memory: what is labelled or served by default, and a few others."""
        needed = {*labels.values(), *([stable.version] if stable else [])}
        others = [number for number in self.loaded if number not in needed]
        dropped = others[:-MOST_UNLABELLED]
        return {number: served for number, served in self.loaded.items() if number not in dropped}

    def _load(self, number: int) -> Served:
        folder = self.model / str(number)
        file_id = _file_id(self.model, number)
        if number not in self.numbers:
            raise ArtifactError("a label names it, but it is not there")
        try:
            data = read_file(folder / MODEL_FILE, MOST_FILE_BYTES)
        except OSError as error:
            raise ArtifactError(f"{MODEL_FILE}: {error.strerror}") from None
        sha256 = hashlib.sha256(data).hexdigest()
        expected = read_facts(folder).get("sha256", sha256)
        if expected != sha256:
            raise ArtifactError(f"its SHA-256 is {sha256}, {VERSION_FILE} says {expected}")
        predictor = Predictor(from_bytes(data))
        predictor.verify()
        return Served(self.model.name, number, sha256, predictor, file_id)


def _file_id(model: Path, number: int) -> tuple[int, int]:
    """Return what tells one model file from another under the same name."""
    try:
        stat = (model / str(number) / MODEL_FILE).stat()
    except OSError:
        return 0, 0
    return stat.st_ino, stat.st_mtime_ns
