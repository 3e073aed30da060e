"""The headers of answers: what each is, and which answers have it."""

from collections.abc import Iterable
from typing import Any

from service.openapi_words import HEADERS

# Where a rate is set, of answers to requests that count (docs/security.md).
RATES = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
# Refused before it is known what was asked for, so below /v2 in no other form.
UNREAD = (414, 431)
_UNCOUNTED = (401, 403)
_NUMBERS = (*RATES, "Retry-After")
# An answer may have them, and may not.
_OPTIONAL = (*_NUMBERS, "traceresponse")
_ANSWERS = {202: ("Location",)}
_PROBLEMS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def described(name: str) -> dict[str, Any]:
    """Return the description of a header."""
    schema = {"type": "integer", "minimum": 0} if name in _NUMBERS else {"type": "string"}
    return {"description": HEADERS[name], "required": name not in _OPTIONAL, "schema": schema}


def of_answer(status: int, own: Iterable[str], rates: Iterable[str]) -> dict[str, str]:
    """Return the headers of a good answer, by reference: its own, and those of the rate where it counts."""
    names = "X-Request-ID", "traceresponse", *_ANSWERS.get(status, ()), *own, *rates
    return {name: name for name in names}


def of_problem(status: int, rates: Iterable[str]) -> dict[str, str]:
    """Return the headers of a problem, by reference."""
    if status in UNREAD:
        return {"X-Request-ID": "X-Request-ID"}
    return of_answer(status, _PROBLEMS.get(status, ()), () if status in _UNCOUNTED else rates)
