"""A program on a terminal of its own: what it shows is read, and keys are pressed."""

import contextlib
import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from serving import DEADLINE

CTRL_C = "\x03"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> None:
        self.shown = ""
        self.end, inner = pty.openpty()
        # Of no size, as it is made, it would be told nothing.
        termios.tcsetwinsize(inner, (24, 80))
        self.process = subprocess.Popen(
            command,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            cwd=folder,
            env={**environment, "COLUMNS": "80", "TERM": "xterm"},
            # Its own session with this as its terminal, so that Ctrl-C reaches it as a key.
            preexec_fn=lambda: _take_terminal(inner),
        )
        os.close(inner)

    def press(self, keys: str) -> None:
        os.write(self.end, keys.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while text not in self.shown:
            assert select.select([self.end], [], [], deadline - time.monotonic())[0], self.shown
            self.shown += os.read(self.end, 4096).decode(errors="replace")

    def close(self) -> None:
        """End it, if it has not ended by itself."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self.end)

    def status(self) -> int:
        """Return the exit status, once it has ended and all that it showed is read."""
        # Linux says so of a terminal that nobody has open any more.
        with contextlib.suppress(OSError):
            while select.select([self.end], [], [], DEADLINE)[0]:
                self.shown += os.read(self.end, 4096).decode(errors="replace")
        return self.process.wait(DEADLINE)


def _take_terminal(terminal: int) -> None:
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
