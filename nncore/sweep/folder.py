"""Where a sweep keeps what it has found: whose it is, and what becomes of what is left."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nncore.crew import Place
from nncore.errors import CheckpointError, InputError
from nncore.files import DRAFT
from nncore.resuming import locked, made, say
from nncore.tasks import PLAN_FILE

# In the sweep's folder: what the members have learned so far, and what became of them.
MEMBERS = "members"
TABLE, PICTURE, BEST = "results.csv", "sweep.png", "best.json"


@contextmanager
def sweep_in(folder: Path, *, resume: bool) -> Iterator[Place]:
    """Give the place where the members of a sweep work, and hold it meanwhile.

    Raises CheckpointError or InputError where it must not be used: another sweep is running there, or has
    results there that would be lost, or what is there is none.
    """
    with made(folder), locked(folder) as lock:
        if lock is None:
            raise CheckpointError(f"--out: another sweep is running in {folder}: wait for its end")
        place = Place(folder / PLAN_FILE, folder / MEMBERS, lock)
        _see_to(folder, place, resume)
        place.folder.mkdir(exist_ok=True)
        try:
            yield place
        except KeyboardInterrupt:
            raise KeyboardInterrupt("--resume goes on with what the members have learned") from None


def _see_to(folder: Path, place: Place, resume: bool) -> None:
    if not place.plan.exists():
        # A kill may have left the draft of a plan behind.
        if any(not entry.name.startswith(DRAFT) for entry in folder.iterdir()):
            raise InputError(f"--out: {folder} is not empty and holds no sweep: name another folder")
        if resume:
            say(f"Nothing to resume in {folder}: the sweep begins at the beginning.")
    elif not resume:
        if done := len(list(place.folder.glob("*.json"))):
            raise CheckpointError(
                f"--out: {folder} holds a sweep with {done} finished members: --resume goes on with it; "
                "for a new one name another folder or remove this one"
            )
        place.plan.unlink()
        shutil.rmtree(place.folder, ignore_errors=True)
        say("Threw away the checkpoints of a sweep that was killed; --resume would have gone on with it.")
