"""Versions that come over HTTP, and versions that go. Those of training jobs: service.jobs.publishing."""

import hashlib
import os
from pathlib import Path

from sqlalchemy import Connection, select

from nncore.artifact import MOST_FILE_BYTES, from_bytes
from nncore.errors import ArtifactError
from nncore.files import read_file
from nncore.predictor import Predictor
from nncore.publishing import (
    MODEL_FILE,
    NAME,
    NAME_MEANING,
    drafted,
    next_number,
    place,
    read_facts,
    remove,
    versions,
)
from service.database import Database
from service.jobs.job import QUEUED, RUNNING
from service.labels import labels_of, pin, read_labels
from service.problems import Conflict, FieldError, Invalid, NotFound
from service.provenance import as_fact
from service.schema import JOBS

UPLOADED = "uploaded"


class Versions:
    """The versions in a store, for callers; safe from many threads, processes and machines."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database, self.root = database, root

    def add(self, model: str, data: bytes) -> tuple[int, bool]:
        """Publish a model file and return its number, with True; or where the same one is, with False.

        Raises Invalid that says which check the file failed, Conflict where the model can have no version.
        """
        if not NAME.fullmatch(model):
            raise Invalid([FieldError("#", f"the model's name must be {NAME_MEANING}")])
        _check(data)
        folder = self.root / model
        _check_folder(folder)
        turn = f"versions:{model}"
        while True:
            with self.database.writing(turn):
                if there := _find(folder, data):
                    return there, False
                number = next_number(folder)
            # Written outside of the turn: nobody waits for the disk.
            about = {"origin": UPLOADED} | as_fact(data)
            with drafted(folder, number, data, **about) as draft, self.database.writing(turn):
                if there := _find(folder, data):
                    return there, False
                # Without labels the newest version would be served, earned or not.
                pin(folder)
                if place(draft, folder, number):
                    return number, True

    def delete(self, model: str, number: int) -> None:
        """Delete a version; raises NotFound, and Conflict where something needs it, which it says."""
        folder = self.root / model
        with self.database.writing(turn=f"labels:{model}") as connection:
            if number not in versions(folder):
                raise NotFound(f"The model {model!r} has no version {number}.")
            if reason := needed(connection, folder).get(number):
                raise Conflict(f"Version {number} of {model!r} is not deleted: {reason}.")
            remove(folder, number)


def needed(connection: Connection, model: Path) -> dict[int, str]:
    """Return the versions of a model that something needs, each with what that is."""
    query = select(JOBS).where(JOBS.c.model == model.name, JOBS.c.state.in_((QUEUED, RUNNING)))
    found: dict[int, str] = {}
    for job in connection.execute(query):
        if job.version is not None:
            found[job.version] = f"job {job.id} is publishing it"
        if start := job.plan.get("start_from"):
            found[start["version"]] = f"job {job.id} starts from it"
    labels = labels_of(model, versions(model))
    return found | {number: f"the label {label} points to it" for label, number in labels.items()}


def _check_folder(model: Path) -> None:
    """Raise Conflict where a version could not be published, or not without becoming stable by itself."""
    if os.path.lexists(model) and not model.is_dir():
        raise Conflict(
            f"{model.name!r} can have no versions: a file stands in its folder's place in the store."
        )
    read_labels(model)


def _check(data: bytes) -> None:
    try:
        Predictor(from_bytes(data)).verify()
    except ArtifactError as error:
        raise Invalid([FieldError("#", f"is no model file that could be served: {error}")]) from None


def _find(model: Path, data: bytes) -> int | None:
    """Return the version that has this very file, whole."""
    sha256 = hashlib.sha256(data).hexdigest()
    for number in versions(model):
        folder = model / str(number)
        if read_facts(folder).get("sha256") == sha256 and _holds(folder / MODEL_FILE, data):
            return number
    return None


def _holds(path: Path, data: bytes) -> bool:
    try:
        return read_file(path, MOST_FILE_BYTES) == data
    except OSError:
        return False
