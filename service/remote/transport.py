"""Requests and their answers: connections that many threads share, time limits and repetitions."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from service.remote.errors import Unreachable
from service.remote.retries import is_timeout, pause_after_answer, pause_after_error

# Calls that change nothing, or the same when they are made twice.
_REPEATABLE = ("GET", "PUT")
Timeout = float | tuple[float, float]


class Transport:
    """Sends requests to one address; safe from many threads, of which each call has a session to itself."""

    def __init__(self, url: str, api_key: str | None, timeout: Timeout, retries: int) -> None:
        self.url, self.timeout, self.retries = url, timeout, retries
        self._auth = None if api_key is None else _Bearer(api_key)
        self._idle: list[requests.Session] = []
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Close the connections; those in use when their call has ended."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def send(
        self, method: str, path: str, *, repeatable: bool | None = None, **how: Any
    ) -> requests.Response:
        """Return an answer, whatever its status; raises Unreachable."""
        with self._session() as session:
            return self._answer(session, method, path, repeatable, how)

    @contextmanager
    def stream(self, path: str, **how: Any) -> Iterator[requests.Response]:
        """Give an answer whose body has yet to be read."""
        with (
            self._session() as session,
            self._answer(session, "GET", path, True, how | {"stream": True}) as response,
        ):
            yield response

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        with self._lock:
            session = self._idle.pop() if self._idle else self._opened()
        try:
            yield session
        finally:
            with self._lock:
                keep = not self._closed
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()

    def _opened(self) -> requests.Session:
        session = requests.Session()
        session.auth = self._auth
        return session

    def _answer(
        self,
        session: requests.Session,
        method: str,
        path: str,
        repeatable: bool | None,
        how: dict[str, Any],
    ) -> requests.Response:
        again = method in _REPEATABLE if repeatable is None else repeatable
        attempt = 0
        while True:
            try:
                response = session.request(method, self.url + path, **{"timeout": self.timeout, **how})
            except requests.RequestException as error:
                pause = pause_after_error(error, attempt, repeatable=again)
                if pause is None or attempt >= self.retries:
                    raise self._unreachable(error) from error
            else:
                pause = pause_after_answer(response, attempt, repeatable=again)
                if pause is None or attempt >= self.retries:
                    return response
                response.close()
            time.sleep(pause)
            attempt += 1

    def _unreachable(self, error: requests.RequestException) -> Unreachable:
        if is_timeout(error):
            return Unreachable(f"no answer from {self.url} in time ({self.timeout} s)")
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(f"no answer from {self.url}: {error}")
        if isinstance(error, requests.ConnectionError):
            return Unreachable(f"no answer from {self.url}: is the service running there?")
        return Unreachable(f"no answer from {self.url}: {error}")


class _Bearer(requests.auth.AuthBase):
    """Sends a key. A plain header of the session would give way to what a .netrc says of the host."""

    def __init__(self, key: str) -> None:
        if not (key.isascii() and key.isprintable() and key and " " not in key):
            # Without the key: this ends up in logs.
            raise ValueError("api_key must be visible ASCII characters")
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.key}"
        return request
