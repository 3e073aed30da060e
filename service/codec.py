"""JSON in and out, by orjson, and bodies read up to a cap."""

from typing import Any

import orjson
from flask import Request, Response


def loads(body: bytes) -> Any:
    """Return what JSON says; raises ValueError for anything else, NaN, Infinity and 1e400 included.

    Of two equal keys in an object the last one wins.
    """
    return orjson.loads(body)


def dumps(data: Any) -> bytes:
    """Return data as compact JSON."""
    return orjson.dumps(data)


def respond(data: Any, status: int = 200) -> Response:
    """Return data as a JSON response."""
    return Response(dumps(data), status, content_type="application/json")


def read_body(request: Request, most_bytes: int) -> bytes | None:
    """Return the whole body, or None where it has more bytes than that, chunked or not.

    Werkzeug's own limit would cut a chunked body short without an error.
    """
    if (request.content_length or 0) > most_bytes:
        return None
    body = request.stream.read(most_bytes + 1)
    return body if len(body) <= most_bytes else None
