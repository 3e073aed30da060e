"""A client's connection, on which nothing is waited for without end."""

import errno
import re
import socket
import struct
import time
from enum import Enum, auto
from typing import Any

# Seconds of silence after which a client that has begun a request, or does not take its answer, has gone.
SILENCE_SECONDS = 10
# Bytes of a request that are worth a second more.
BYTES_A_SECOND = 1 << 16
# Seconds that are spent on the rest of a body which nobody wants, where somebody else waits for the thread.
HURRIED_SECONDS = 0.02
# Bytes of a request that are looked at before it is read; a longer one is left to those who may wait for it.
MOST_AHEAD = 1 << 16
# Where a head says that there is a body.
BODY = re.compile(rb"\r\n(?:content-length:[ \t]*([0-9]{1,15})|transfer-encoding:)", re.IGNORECASE)
# Bytes of an answer's body that are copied behind its head, so that both are sent at once.
MOST_JOINED = 1 << 16


class Connection(socket.socket):
    """A connection on which nothing is waited for without end.

    gunicorn has no limit of its own: as many clients as there are threads, gone to sleep in the middle of a
    request, and the worker would answer nobody. The kernel keeps the time of a silence, which costs a request
    nothing; that of a whole request is looked at whenever something comes.
    """

    def __init__(self, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._deadline, self._hurried, self._ended = 0.0, False, False
        self._head = b""
        self._allow_silence(SILENCE_SECONDS, socket.SO_RCVTIMEO, socket.SO_SNDTIMEO)

    def begin(self, seconds: float) -> None:
        """Have a request begin, which may take so long to arrive, and longer if it is large."""
        self._deadline = time.monotonic() + seconds
        if self._hurried:
            self._hurried = False
            self._allow_silence(SILENCE_SECONDS, socket.SO_RCVTIMEO)

    def hurry(self) -> None:
        """Wait but a moment for what is still to come of the request."""
        self._deadline, self._hurried = time.monotonic() + HURRIED_SECONDS, True
        self._allow_silence(HURRIED_SECONDS, socket.SO_RCVTIMEO)

    def recv(self, *how: int) -> bytes:
        """Return what has come; after a silence, or too long a time, nothing, as from one who has gone."""
        try:
            come = super().recv(*how) if time.monotonic() <= self._deadline else b""
        except BlockingIOError:
            come = b""
        if not come:
            # What comes later, of the same body, is no next request.
            self._ended = True
        elif not self._hurried:
            self._deadline += len(come) / BYTES_A_SECOND
        return come

    def settimeout(self, seconds: float | None) -> None:
        """Set the time to wait for anything, which is no longer than the request may still take."""
        if seconds:
            seconds = min(seconds, max(self._deadline - time.monotonic(), 0.001))
        super().settimeout(seconds)

    def sendall(self, data: Any, *flags: int) -> None:
        """Send all of it; after a silence fail, as with a client that has gone.

        The head of an answer waits for what follows it: sent alone it would cost the kernel, and the client,
        as much again. `flush` sends one that nothing follows.
        """
        if self._head:
            if len(data) < MOST_JOINED:
                data = self._head + data
            else:
                self._send_all(self._head, *flags)
            self._head = b""
        elif data[:7] == b"HTTP/1.":
            self._head = data
            return
        self._send_all(data, *flags)

    def flush(self) -> bool:
        """Send a head that nothing has followed; tell whether the client may still be there, and ask more."""
        head, self._head = self._head, b""
        try:
            if head:
                self._send_all(head)
        except OSError:
            return False
        return not self._ended

    def _send_all(self, data: bytes, *flags: int) -> None:
        try:
            super().sendall(data, *flags)
        except BlockingIOError:
            raise BrokenPipeError(errno.EPIPE, "the client takes nothing any more") from None

    def _allow_silence(self, seconds: float, *options: int) -> None:
        whole, part = divmod(seconds, 1)
        for option in options:
            self.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(whole), int(part * 1e6)))


class Arrived(Enum):
    """How much of a request is there."""

    LITTLE = auto()
    HEAD = auto()
    ALL = auto()


def arrived(connection: socket.socket, read: bytes = b"") -> Arrived:
    """Tell how much of a request has come; an end, and whatever else needs no waiting, is all of it.

    `read` is what has been read of it already, behind the request before. Of a head that goes on and on
    gunicorn reads some 800 KB before it refuses it, however slowly they come.
    """
    try:
        come = read + socket.socket.recv(connection, MOST_AHEAD, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        if not read:
            return Arrived.LITTLE
        come = read
    except OSError:
        return Arrived.ALL
    end = come.find(b"\r\n\r\n")
    if end < 0:
        return Arrived.LITTLE if come else Arrived.ALL
    body = BODY.search(come, 0, end)
    if body is None:
        return Arrived.ALL
    # One in chunks says nothing of its length.
    return Arrived.ALL if body[1] and len(come) - end - 4 >= int(body[1]) else Arrived.HEAD
