"""The processes of a service on this machine and the memory that each has, as Linux tells of them."""

import os
import resource
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A process: `master`, `worker` or `trainer`, and the bytes that it has in memory.

    What processes share, as workers share the models, is counted for each.
    """

    role: str
    pid: int
    resident: int


def web_processes() -> Iterator[Process]:
    """Yield the master of this worker, and all its workers."""
    master = os.getppid()
    yield from _those_that_live("master", [master])
    try:
        children = (PROC / f"{master}/task/{master}/children").read_text().split()
    except OSError:
        children = [str(os.getpid())]
    yield from _those_that_live("worker", map(int, children))


def trainers(names: Iterable[str]) -> Iterator[Process]:
    """Yield those of trainers, by name as `Trainer.name` has it, that run on this machine."""
    here = f"{socket.gethostname()}/"
    mine = [name.removeprefix(here) for name in names if name.startswith(here)]
    yield from _those_that_live("trainer", [int(pid) for pid in mine if pid.isdecimal()])


def _those_that_live(role: str, pids: Iterable[int]) -> Iterator[Process]:
    for pid in pids:
        try:
            resident = int((PROC / f"{pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except OSError:
            continue
        yield Process(role, pid, resident)
