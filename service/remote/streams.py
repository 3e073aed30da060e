"""A job's events, followed over as many connections as it takes."""

import json
import time
from collections.abc import Iterable, Iterator

import requests

from service.remote.errors import refusal, unexpected
from service.remote.results import Event
from service.remote.retries import back_off
from service.remote.transport import Transport

# A stream ends after five minutes, so within that a seat becomes free where all were taken.
PATIENCE = 300.0
_BUSY = 503
_OVER = 204


def follow(transport: Transport, path: str, after: int) -> Iterator[Event]:
    """Yield the events of a stream after a number until there are no more.

    Where a connection breaks another one goes on, without a gap or a repeat. Raises Unreachable, and
    ProblemError where the service refuses, or has had no seat for a stream for five minutes.
    """
    refused = None
    failures = 0
    while True:
        before = after
        with transport.stream(path, headers={"Last-Event-ID": str(after)}) as response:
            if response.status_code == _OVER:
                return
            if response.status_code == _BUSY and "Retry-After" in response.headers:
                refused = refused or time.monotonic()
                if time.monotonic() - refused > PATIENCE:
                    raise refusal(response, path)
            elif not response.ok:
                raise refusal(response, path)
            elif not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise unexpected(response)
            else:
                refused = None
                try:
                    for event in _events(response.iter_lines(decode_unicode=True)):
                        after = event.number
                        yield event
                except requests.RequestException:
                    pass
        # One that breaks off again and again without a word is not asked a thousand times a second.
        failures = 0 if after > before else failures + 1
        time.sleep(back_off(min(failures, 5)) if failures else 0)


def _events(lines: Iterable[str]) -> Iterator[Event]:
    """Yield the events of a stream (the HTML standard's server-sent events, as nnserve writes them)."""
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line and "id" in fields:
            yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
            fields = {}
