"""gunicorn's threaded worker, with three of its ways of ending mended."""

import select
import signal
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

# Seconds that a client may take to close its end of a connection that is not kept.
LINGER_SECONDS = 1.0


class Worker(ThreadWorker):  # type: ignore[misc]
    """A worker that loses no connection when it stops, and that no single client can hold up."""

    def init_signals(self) -> None:
        """Leave Ctrl-C, which a terminal sends to all processes, to the master: it tells the workers."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or end to accept; at the end, take what the listener has queued, and close it.

        gunicorn leaves the queue to be reset, and open until the last worker has gone.
        """
        if not self.alive:
            self._take_queued()
        super().set_accept_enabled(enabled)
        if not self.alive:
            for listener in self.sockets:
                listener.close()

    def handle(self, conn: Any) -> Any:
        """Answer a request; where the connection is not kept, wait here for the client to close it too.

        gunicorn waits in the thread that accepts and dispatches, where all other clients wait with it.
        """
        kept = super().handle(conn)
        if kept is False:
            _part(conn.sock)
        return kept

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at Ctrl-C as at SIGTERM.

        gunicorn's takes a lock that the code it interrupts may hold: under load Ctrl-C would often hang.
        """
        self.handle_exit(sig, frame)

    def _take_queued(self) -> None:
        for listener in self.sockets:
            for _ in range(self.cfg.backlog):
                if not select.select([listener], [], [], 0)[0]:
                    break
                self.accept(listener)


def _part(connection: socket.socket) -> None:
    """Send the end, and read until the client's, so that closing resets nothing that is on its way."""
    deadline = time.monotonic() + LINGER_SECONDS
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(LINGER_SECONDS)
        while time.monotonic() < deadline and connection.recv(1 << 16):
            pass
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
