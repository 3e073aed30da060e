"""One thread that answers whoever's request is there, one after the other.

Python runs one thread at a time, and hands over whenever NumPy or the kernel is called: a dozen times a
request. Eight threads with a request each are in each other's way a hundred times a request, which is a fifth
of all their work, and the unluckiest waits for the others several times. So requests that have come whole are
answered in line. Where one of them takes long, another thread goes on with the line beside it.
"""

import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# Seconds for which the line waits for a next request, before its connections go back to where they came from.
QUIET_SECONDS = 0.005
# Seconds of one request after which the others are answered beside it.
PATIENCE_SECONDS = 0.01
# Seconds after which connections go back that were quiet where others were not.
SWEEP_SECONDS = 1.0

# gunicorn's, which has no types.
Conn = Any


class Line:
    """Connections whose requests are answered by one thread at a time.

    `answer(conn)` answers the request that is there, and returns True where the connection can be used again.
    `give_back(conn, result)` takes a connection that leaves the line, and what came of it. `start(function,
    argument)` has a thread call a function.
    """

    def __init__(
        self,
        answer: Callable[[Conn], Any],
        give_back: Callable[[Conn, Any], None],
        start: Callable[[Callable[[object], None], object], Any],
    ) -> None:
        self._answer, self._give_back, self._start = answer, give_back, start
        self._poll = select.epoll()
        self._lock = threading.Lock()
        # By file descriptor, and when each was last heard of.
        self._conns: dict[int, Conn] = {}
        self._heard: dict[int, float] = {}
        # Who has the line, a new object for each thread; the descriptor that it is at.
        self._leader: object | None = None
        self._at: int | None = None
        self._swept = 0.0

    @property
    def moves(self) -> bool:
        """Whether a thread has the line, so that `watch` has to be called every so often."""
        return self._leader is not None

    def add(self, conn: Conn) -> None:
        """Have the request that is there answered, and those that follow closely on the connection."""
        descriptor = conn.sock.fileno()
        with self._lock:
            self._conns[descriptor], self._heard[descriptor] = conn, time.monotonic()
            self._poll.register(descriptor, select.EPOLLIN)
            if self._leader is None:
                self._lead_on()

    def watch(self) -> None:
        """Have another thread go on, where the one that has the line is at one request for too long."""
        with self._lock:
            if self._at is not None and time.monotonic() - self._heard[self._at] > PATIENCE_SECONDS:
                self._forget(self._at)
                self._lead_on()

    def _lead_on(self) -> None:
        self._leader, self._at = object(), None
        self._start(self._lead, self._leader)

    def _lead(self, me: object) -> None:
        """Answer what comes, until nothing does or another thread has the line."""
        try:
            while self._leader is me:
                came = self._poll.poll(QUIET_SECONDS)
                for descriptor, _ in came:
                    if not self._serve(descriptor, me):
                        return
                self._sweep(me, all_of_them=not came)
        finally:
            with self._lock:
                if self._leader is me:
                    self._lead_on()

    def _serve(self, descriptor: int, me: object) -> bool:
        """Answer the request on a connection; tell whether the line is still ours."""
        with self._lock:
            if self._leader is not me:
                return False
            conn = self._conns[descriptor]
            self._at, self._heard[descriptor] = descriptor, time.monotonic()
        result = False
        try:
            result = self._answer(conn)
        finally:
            with self._lock:
                ours = self._leader is me
                if ours:
                    self._at = None
                    # Closed while it was answered, its descriptor may be a new connection's already.
                    if result is not True and self._conns.get(descriptor) is conn:
                        self._forget(descriptor)
            if result is not True or not ours:
                self._give_back(conn, result)
        return ours

    def _sweep(self, me: object, *, all_of_them: bool) -> None:
        """Give back connections that are quiet; where all are, the line too."""
        now = time.monotonic()
        if not all_of_them and now - self._swept < SWEEP_SECONDS:
            return
        with self._lock:
            asking = {descriptor for descriptor, _ in self._poll.poll(0)}
            if self._leader is not me or (all_of_them and asking):
                # Somebody has asked just now, who may have been added just now.
                return
            self._swept = now
            # Where many ask at once, one who has asked may not have been answered for as long.
            quiet = [
                (descriptor, conn)
                for descriptor, conn in self._conns.items()
                if all_of_them or (now - self._heard[descriptor] > SWEEP_SECONDS and descriptor not in asking)
            ]
            for descriptor, _ in quiet:
                self._forget(descriptor)
            if all_of_them:
                self._leader = None
        for _, conn in quiet:
            self._give_back(conn, True)

    def _forget(self, descriptor: int) -> None:
        del self._conns[descriptor], self._heard[descriptor]
        # Of one that was closed while it was answered the kernel has forgotten it already.
        with suppress(OSError):
            self._poll.unregister(descriptor)
