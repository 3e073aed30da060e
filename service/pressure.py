"""How much a worker takes on at once: one request more is told so at once, and health is always answered.

A worker has a thread for each request in flight, one for each event stream, and two to spare, which answer
for health and refuse. A request is in flight from its head to the last byte of its answer; so one whose body
drips in, or whose answer nobody takes, counts as long as it holds its thread.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from service import codec
from service.errors import PRESSED, refuse
from service.problems import Busy

SPARE_THREADS = 2
# A seat is given back just after the last byte is sent: who asks one thing after the other, each on a new
# connection, would sometimes find the seat of the answer before still taken.
MOMENT_SECONDS, MOMENTS = 0.002, 10
# Where a view says that its answer is a stream, which has a seat of its own.
STREAM = "nnserve.stream"
ALWAYS_ANSWERED = frozenset(("/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"))

Environ = dict[str, Any]
WSGI = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


class Pressure:
    """A WSGI application that lets so many requests at once through to another one."""

    def __init__(self, app: WSGI, most: int) -> None:
        self.app = app
        self.most = most
        # Taking from a list and putting back are atomic, and cost less than any lock.
        self._seats = [None] * most
        self._patience = threading.Lock()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request, or refuse it."""
        if environ["PATH_INFO"] in ALWAYS_ANSWERED:
            codec.hurry(environ)
            return self.app(environ, start_response)
        if not self._take_seat():
            return self._refuse(environ, start_response)
        if 2 * len(self._seats) < self.most:
            environ[PRESSED] = True
        try:
            answer = self.app(environ, start_response)
        except BaseException:
            self._seats.append(None)
            raise
        if STREAM in environ:
            self._seats.append(None)
            return answer
        return _Held(answer, self._seats)

    def _take_seat(self) -> bool:
        """Take a seat, or tell that there is none, nor will be in a moment."""
        with suppress(IndexError):
            self._seats.pop()
            return True
        # One at a time: many who are refused must not hold up one another, and health behind them.
        if not self._patience.acquire(blocking=False):
            return False
        try:
            for _ in range(MOMENTS):
                time.sleep(MOMENT_SECONDS)
                with suppress(IndexError):
                    self._seats.pop()
                    return True
            return False
        finally:
            self._patience.release()

    def _refuse(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        codec.hurry(environ)
        text = f"This worker is answering {self.most} requests already, as many as it may: try again."
        wait = "Retry-After", str(Busy.retry_after)
        return refuse(start_response, environ["PATH_INFO"], Busy.status, text, wait)


class _Held:
    """An answer that has its seat until it is sent."""

    __slots__ = ("_answer", "_seats")

    def __init__(self, answer: Iterable[bytes], seats: list[None]) -> None:
        self._answer, self._seats = answer, seats

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        try:
            if hasattr(self._answer, "close"):
                self._answer.close()
        finally:
            self._seats.append(None)
