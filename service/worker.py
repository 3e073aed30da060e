"""gunicorn's threaded worker, with its ways of ending and of waiting mended."""

import errno
import select
import signal
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from service.stopping import stopping

# Seconds of silence after which a client that has begun a request, or does not take its answer, has gone.
SILENCE_SECONDS = 10
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
        if not isinstance(conn.sock, _Client):
            conn.sock = _Client(conn.sock)
        kept = super().handle(conn)
        if kept is False:
            _part(conn.sock)
        return kept

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop, streams too, which would last for minutes."""
        stopping.set()
        super().handle_exit(sig, frame)

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


class _Client(socket.socket):
    """A client's connection on which nothing is waited for without end.

    gunicorn has no limit of its own: as many clients as there are threads, gone to sleep in the middle of a
    request, and the worker would answer nobody. The kernel keeps the time, which costs a request nothing.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", SILENCE_SECONDS, 0))

    def recv(self, *how: int) -> bytes:
        """Return what has come; after a silence nothing, as from a client that has gone."""
        try:
            return super().recv(*how)
        except BlockingIOError:
            return b""

    def sendall(self, *what: Any) -> None:
        """Send all of it; after a silence fail, as with a client that has gone."""
        try:
            super().sendall(*what)
        except BlockingIOError:
            raise BrokenPipeError(errno.EPIPE, "the client takes nothing any more") from None


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
