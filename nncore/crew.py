"""Trainings side by side, each in a process of its own, and what is seen of them while they go."""

import json
import os
import signal
import sys
from asyncio import Semaphore, TaskGroup, create_subprocess_exec
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tqdm import tqdm

from nncore.config import to_json
from nncore.errors import InputError
from nncore.progress import Epoch
from nncore.tasks import Task

T = TypeVar("T")

# Bytes of a line that a member may say.
MOST_LINE = 1 << 20


class Follower(Protocol):
    """Is told how one member goes, from the start of its process to that one's end."""

    def resumed(self, done: int) -> None:
        """Take note of how many epochs a member that goes on has behind it."""

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """Take note of a batch, now and then."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Take note of an epoch's figures."""


@dataclass(frozen=True)
class Place:
    """Where a crew works: the plan's file, the members' folder, and the descriptor of what holds it.

    A process that inherits the descriptor holds it for as long as it lives.
    """

    plan: Path
    folder: Path
    lock: int


def check_processes(processes: int | None) -> None:
    """Raise InputError where so many at a time are none."""
    if processes is not None and processes < 1:
        raise InputError(f"--processes: must be ≥ 1, not {processes}")


async def side_by_side(work: Callable[[int], Coroutine[Any, Any, T]], numbers: Iterable[int]) -> list[T]:
    """Do the work for all numbers at once; return what each gave.

    Where it is left before, by Ctrl-C or an error, all have come to their end and put away what they had.
    """
    try:
        async with TaskGroup() as group:
            tasks = [group.create_task(work(number)) for number in numbers]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


class Crew:
    """The processes that train a plan's members, so many at a time, by default one a core."""

    def __init__(
        self,
        place: Place,
        processes: int | None,
        follow: Callable[[int], AbstractContextManager[Follower]],
        start: Path | None = None,
    ) -> None:
        self.place, self.follow, self.start = place, follow, start
        self.room = Semaphore(processes or _usable_cores())

    async def train(self, number: int) -> str:
        """Train a member once there is room for it; return why it was lost, nothing where it was not."""
        async with self.room:
            try:
                process = await self._begin(number)
            except OSError as error:
                return f"no process can be started: {error.strerror}"
            try:
                why = await self._follow(number, process)
                return _tell_end(await process.wait(), why)
            finally:
                # Where this is left before its end, by Ctrl-C say: its checkpoints are always whole.
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _begin(self, number: int) -> Process:
        start = str(self.start.resolve()) if self.start else None
        place = self.place
        task = Task(str(place.plan.resolve()), str(place.folder.resolve()), os.getpid(), start, number)
        return await create_subprocess_exec(
            *(sys.executable, "-m", "nncore.member", json.dumps(to_json(task))),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=MOST_LINE,
            # More than one BLAS thread would take the cores from the others.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            # Until the last process has gone nobody else may work here.
            pass_fds=(place.lock,),
        )

    async def _follow(self, number: int, process: Process) -> str:
        """Pass on what a member tells until it ends; return what it says last of why."""
        assert process.stdout is not None
        why = ""
        with self.follow(number) as follower:
            async for line in process.stdout:
                text = line.decode(errors="replace").rstrip()
                match _event(text):
                    case {"resumed": done}:
                        follower.resumed(done)
                    case {"batch": [batch, batches, loss]}:
                        follower.on_batch(batch, batches, loss)
                    case {"epoch": epoch}:
                        follower.on_epoch(Epoch(**epoch))
                    case {"error": why}:
                        pass
                    case _:
                        # A warning, or what Python says of an error that nobody thought of.
                        why = text
                        tqdm.write(f"member {number}: {text}", file=sys.stderr)
        return why


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _event(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _tell_end(status: int, why: str) -> str:
    """Return why a member was lost, nothing where it was not."""
    if status < 0:
        return f"ended by signal {-status}, {signal.strsignal(-status)}"
    return (" ".join(why.split()) or f"exit status {status}") if status else ""
