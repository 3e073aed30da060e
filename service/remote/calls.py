"""What all calls have in common: an answer is asked for, looked at, and made a result."""

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from service.remote.errors import document_of, refusal, unexpected
from service.remote.transport import Transport

T = TypeVar("T")


class Calls:
    """Calls a service by a transport."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def call(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any]], T],
        *,
        repeatable: bool | None = None,
        **how: Any,
    ) -> T:
        """Return an answer as `read` makes it of its document; raises ProblemError and Unreachable."""
        response = self.ask(method, path, repeatable, **how)
        return understood(response, lambda: read(document_of(response)))

    def ask(self, method: str, path: str, repeatable: bool | None = None, **how: Any) -> requests.Response:
        """Return an answer that is no refusal."""
        response = self.transport.send(method, path, repeatable=repeatable, **how)
        if not response.ok:
            raise refusal(response, path)
        return response

    def pages(self, path: str, name: str, read: Callable[[dict[str, Any]], T], **query: Any) -> Iterator[T]:
        """Yield the entries of a list that is shown page by page."""

        def page(found: dict[str, Any]) -> tuple[list[T], str | None]:
            return [read(one) for one in found[name]], found["next"]

        while True:
            entries, query["cursor"] = self.call("GET", path, page, params=query)
            yield from entries
            if query["cursor"] is None:
                return


def understood(response: requests.Response, read: Callable[[], T]) -> T:
    """Return what is read from an answer; raises ProblemError where it is none of nnserve's."""
    try:
        return read()
    except (LookupError, TypeError, ValueError, AttributeError):
        raise unexpected(response) from None


def json_body(document: Any, default: Callable[[Any], Any] | None = None) -> dict[str, Any]:
    """Return how a document is sent; raises ValueError for NaN, TypeError for what is no JSON."""
    data = json.dumps(document, default=default, allow_nan=False)
    return {"data": data, "headers": {"Content-Type": "application/json"}}


def segment(text: str) -> str:
    """Return a name as one segment of a path."""
    return quote(text, safe="")
