"""What `python -m nncore train` keeps while it trains: whose it is, and what becomes of what is left."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nncore.checkpoints import Checkpoints
from nncore.errors import CheckpointError

# Inside a model's folder, where only numbers are versions.
FOLDER = ".checkpoints"
# Inside that one: what the members of an ensemble have learned so far.
MEMBERS = "members"


@dataclass(frozen=True)
class MembersFolder:
    """Where the members of an ensemble are kept until they are one, and what holds the model meanwhile.

    A process that inherits the descriptor `lock` holds the model for as long as it lives.
    """

    path: Path
    lock: int

    def clear(self) -> None:
        """Remove the members, and the folder of checkpoints where nothing else is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            self.path.parent.rmdir()


@contextmanager
def checkpoints_of(model: Path, *, resume: bool) -> Iterator[Checkpoints | None]:
    """Give the checkpoints of a run and say what becomes of those that an earlier one left.

    With `resume` they are gone on from, else thrown away. Of several runs that train one model at once the
    first has checkpoints, the others have none.
    """
    with made(model), locked(model) as lock:
        if lock is not None:
            checkpoints = Checkpoints(model / FOLDER)
            with _told():
                _see_to(model / FOLDER, resume, members=False)
                try:
                    yield checkpoints
                except KeyboardInterrupt:
                    if checkpoints.is_empty():
                        raise
                    raise KeyboardInterrupt("--resume goes on from the last checkpoint") from None
        elif resume:
            raise CheckpointError(f"--resume: another run is training {model}: wait for its end")
        else:
            say(f"Another run is training {model}: this one keeps no checkpoints.")
            yield None


@contextmanager
def members_of(model: Path, *, resume: bool) -> Iterator[MembersFolder]:
    """Give the folder of an ensemble's members and say what becomes of what an earlier run left.

    Raises CheckpointError where another run trains this model.
    """
    with made(model), locked(model) as lock:
        if lock is None:
            raise CheckpointError(f"--members: another run is training {model}: wait for its end")
        with _told():
            _see_to(model / FOLDER, resume, members=True)
            folder = MembersFolder(model / FOLDER / MEMBERS, lock)
            folder.path.mkdir(parents=True, exist_ok=True)
            try:
                yield folder
            except KeyboardInterrupt:
                raise KeyboardInterrupt("--resume goes on with what the members have learned") from None


def say(text: str) -> None:
    """Print a line at once: what is said of the epochs goes to standard error, which waits in no buffer."""
    print(text, flush=True)


@contextmanager
def made(folder: Path) -> Iterator[None]:
    """Have a folder; one that stays empty goes again."""
    # That it cannot be made is better known before the training than after it.
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _told() -> Iterator[None]:
    """Have an error say what can be done."""
    try:
        yield
    except CheckpointError as error:
        what = "resume with the recipe and options of that run, or train without --resume to begin anew"
        raise CheckpointError(f"{error}; {what}") from None


def _see_to(folder: Path, resume: bool, *, members: bool) -> None:
    """Throw away what is left in the folder, or with `resume` see that such a run can go on from it."""
    checkpoints, others = Checkpoints(folder), folder / MEMBERS
    left = {False: not checkpoints.is_empty(), True: others.exists()}
    if resume and left[not members]:
        raise CheckpointError(f"{folder} is of a run {'without' if members else 'with'} --members")
    if resume and not left[members]:
        say(f"Nothing to resume in {folder}: training begins at the beginning.")
    elif not resume and any(left.values()):
        shutil.rmtree(others, ignore_errors=True)
        checkpoints.clear()
        say("Threw away the checkpoints of a run that was killed; --resume would have gone on with it.")


@contextmanager
def locked(folder: Path) -> Iterator[int | None]:
    """Hold a folder by a descriptor, None where another does; the kernel lets go when the holder dies."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lock: int | None = descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock = None
        except OSError:
            # A file system without locks; two runs at once may take each other's checkpoints away there.
            pass
        yield lock
    finally:
        os.close(descriptor)
