"""The checkpoints of `python -m nncore train`: whose they are, and what becomes of those that are left."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nncore.checkpoints import Checkpoints
from nncore.errors import CheckpointError

# Inside a model's folder, where only numbers are versions.
FOLDER = ".checkpoints"


@contextmanager
def checkpoints_of(model: Path, *, resume: bool) -> Iterator[Checkpoints | None]:
    """Give the checkpoints of a run and say what becomes of those that an earlier one left.

    With `resume` they are gone on from, else thrown away. Of several runs that train one model at once the
    first has checkpoints, the others have none.
    """
    # A folder that cannot be made is better known before the training than after it.
    model.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(model) as mine:
            if mine:
                with _left(Checkpoints(model / FOLDER), resume) as checkpoints:
                    yield checkpoints
            elif resume:
                raise CheckpointError(f"--resume: another run is training {model}: wait for its end")
            else:
                _say(f"Another run is training {model}: this one keeps no checkpoints.")
                yield None
    finally:
        with suppress(OSError):
            # An empty folder was made above, for nothing.
            model.rmdir()


def _say(text: str) -> None:
    # At once: what is said of the epochs goes to standard error, which does not wait in a buffer.
    print(text, flush=True)


@contextmanager
def _left(checkpoints: Checkpoints, resume: bool) -> Iterator[Checkpoints]:
    if resume and checkpoints.is_empty():
        _say(f"Nothing to resume in {checkpoints.folder}: training begins at the beginning.")
    elif not resume and not checkpoints.is_empty():
        checkpoints.clear()
        _say("Threw away the checkpoints of a run that was killed; --resume would have gone on with it.")
    try:
        yield checkpoints
    except CheckpointError as error:
        what = "resume with the recipe and options of that run, or train without --resume to begin anew"
        raise CheckpointError(f"{error}; {what}") from None
    except KeyboardInterrupt:
        if checkpoints.is_empty():
            raise
        raise KeyboardInterrupt("--resume goes on from the last checkpoint") from None


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Hold a folder and say whether nobody else does; the kernel lets go of it when a process dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        mine = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mine = False
        except OSError:
            # A file system without locks; two runs at once may take each other's checkpoints away there.
            pass
        yield mine
    finally:
        os.close(descriptor)
