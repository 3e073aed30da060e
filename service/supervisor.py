"""Starts processes, starts those again that die, and stops them all: what `nnserve up` and `trainer` do."""

import ctypes
import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
# Seconds that a process must have lived for its death to be no sign that it cannot start.
SETTLED_SECONDS = 10
LONGEST_PAUSE_SECONDS = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """A process to keep running. Where `vital`, and it ends by itself with an error, everything ends."""

    name: str
    command: Sequence[str]
    vital: bool = False


class _Child:
    """A part, its process while it runs, and when it is to be started again."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: subprocess.Popen[bytes] | None = None
        self.started, self.pause, self.start_at = 0.0, 0.0, 0.0

    def start(self) -> int:
        # A group of its own: a terminal's Ctrl-C is for the supervisor, which tells the others.
        self.process = subprocess.Popen(  # noqa: S603 (our own commands)
            self.part.command,
            process_group=0,
            preexec_fn=_die_with_parent(os.getpid()),
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        )
        self.started = time.monotonic()
        return self.process.pid

    def has_died(self) -> int | None:
        """Return the exit status of a process that has just ended, else None."""
        if self.process is None or self.process.poll() is None:
            return None
        status, self.process = self.process.returncode, None
        settled = time.monotonic() - self.started > SETTLED_SECONDS
        self.pause = 0.0 if settled else min(max(2 * self.pause, 0.5), LONGEST_PAUSE_SECONDS)
        self.start_at = time.monotonic() + self.pause
        return status


class Supervisor:
    """Runs parts until it is told to stop by SIGTERM or SIGINT."""

    def __init__(self, parts: Sequence[Part], grace_seconds: float) -> None:
        self.children = [_Child(part) for part in parts]
        self.grace_seconds = grace_seconds
        self.told_to_stop = False

    def run(self) -> int:
        """Return the exit status: that of a vital part that could not run, else 0."""
        awaken = _signals(self._stop)
        status = 0
        while not self.told_to_stop and not status:
            self._start_missing()
            awaken(self._seconds_to_next_start())
            for child in self.children:
                died = child.has_died()
                if died is not None and not self.told_to_stop:
                    logger.error("%s has ended (%s)", child.part.name, _told(died))
                    status = died if child.part.vital and died > 0 else status
        self._end_all(awaken)
        return status

    def _stop(self) -> None:
        self.told_to_stop = True

    def _start_missing(self) -> None:
        for child in self.children:
            if child.process is None and time.monotonic() >= child.start_at:
                logger.info("started %s, process %d", child.part.name, child.start())

    def _seconds_to_next_start(self) -> float | None:
        waits = [child.start_at - time.monotonic() for child in self.children if child.process is None]
        return max(0.0, min(waits)) if waits else None

    def _end_all(self, awaken: Callable[[float], None]) -> None:
        """Tell all to stop, wait as long as they may take, and kill who takes longer."""
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + self.grace_seconds
        while any(process.poll() is None for process in running):
            if time.monotonic() > deadline:
                for process in running:
                    process.kill()
            awaken(max(0.1, deadline - time.monotonic()))


def _signals(stop: Callable[[], None]) -> Callable[[float | None], None]:
    """Handle signals; return a function that waits for one, at most so many seconds."""
    read_end, write_end = os.pipe()
    for end in (read_end, write_end):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())

    def awaken(seconds: float | None) -> None:
        if select.select([read_end], [], [], seconds)[0]:
            os.read(read_end, 4096)

    return awaken


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a new process does first: ask to be told to stop when its parent is gone, prctl(2)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)

    def ask() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _told(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
