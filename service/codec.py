"""JSON in and out, by orjson, and bodies read up to a cap."""

import time
from contextlib import suppress
from typing import Any

import orjson

from service.application import Whole

MOST_DISCARDED = 64 << 20
DISCARDING_SECONDS = 2


def loads(body: bytes) -> Any:
    """Return what JSON says; raises ValueError for anything else, NaN, Infinity and 1e400 included.

    Of two equal keys in an object the last one wins.
    """
    return orjson.loads(body)


def dumps(data: Any) -> bytes:
    """Return data as compact JSON."""
    return orjson.dumps(data)


def respond(data: Any, status: int = 200) -> Whole:
    """Return data as a JSON response."""
    return Whole(dumps(data), status, content_type="application/json")


def read_body(environ: dict[str, Any], most_bytes: int) -> bytes | None:
    """Return the whole body of a WSGI request, or None where it is longer than that, chunked or not.

    Werkzeug's own limit would cut a chunked body short without an error. Raises ValueError where the
    client went away before the body was whole, or sent chunks that are none.
    """
    length = int(environ.get("CONTENT_LENGTH") or -1)
    if length > most_bytes:
        return None
    try:
        body: bytes = environ["wsgi.input"].read(most_bytes + 1 if length < 0 else length)
    except Exception:
        # Each WSGI server raises errors of its own.
        raise ValueError("it ends too soon, or its chunks are malformed") from None
    if len(body) < length:
        raise ValueError(f"it ends after {len(body)} of {length} bytes")
    return body if len(body) <= most_bytes else None


def hurry(environ: dict[str, Any]) -> None:
    """Have what is sent of a body that nobody reads hold the thread no longer than a moment."""
    if environ.get("CONTENT_LENGTH") or environ.get("HTTP_TRANSFER_ENCODING"):
        hurry_up = getattr(environ.get("gunicorn.socket"), "hurry", None)
        if hurry_up is not None:
            hurry_up()


def discard_rest(environ: dict[str, Any]) -> None:
    """Read what a client may still be sending of a body that nobody wanted.

    Otherwise the server closes the connection, and a client that only sends before it reads finds that
    instead of its answer. Past a bound it does.
    """
    if int(environ.get("CONTENT_LENGTH") or 0) > MOST_DISCARDED:
        return
    deadline, left = time.monotonic() + DISCARDING_SECONDS, MOST_DISCARDED
    with suppress(Exception):
        while left > 0 and time.monotonic() < deadline:
            piece = environ["wsgi.input"].read(1 << 20)
            if not piece:
                return
            left -= len(piece)
