"""What goes wrong, and how a caller is told: problem+json (RFC 9457) for every error.

Problem
├── BadBody           400  the body is not JSON, or not whole
├── NotFound          404  an unknown model, version or address
├── TooLarge          413  a body over its cap
├── WrongMediaType    415
├── Invalid           422  content that says one thing and means another; lists pointers
└── NotServable       503  a version that is there but must not be served
"""

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from service import codec
from service.requestid import request_id

if TYPE_CHECKING:
    from flask import Flask

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 20
MOST_DETAIL = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with the input: where, as a JSON pointer (RFC 6901), and what."""

    pointer: str
    detail: str


class Problem(Exception):
    """Base of the errors that a caller is told about."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(self, detail: str, errors: list[FieldError] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []


class BadBody(Problem):
    """The body is not JSON, or not whole."""

    status = HTTPStatus.BAD_REQUEST


class NotFound(Problem):
    """There is no such model, version or label."""

    status = HTTPStatus.NOT_FOUND


class TooLarge(Problem):
    """The body is larger than its cap."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class WrongMediaType(Problem):
    """The body has a media type that is not taken here."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Invalid(Problem):
    """The input is well-formed but wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(_summary(errors), errors)


def _summary(errors: list[FieldError]) -> str:
    if len(errors) > MOST_ERRORS:
        return f"more than {MOST_ERRORS} things are wrong with the input; the first {MOST_ERRORS} are listed"
    return errors[0].detail if len(errors) == 1 else f"{len(errors)} things are wrong with the input"


class NotServable(Problem):
    """The version is there, but did not load or failed its known answers."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


def problem(
    status: int, detail: str, errors: list[FieldError] | None = None, headers: Any = None
) -> Response:
    """Return the problem document as the response to the request at hand, of which no more is read."""
    codec.discard_rest(request.environ)
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail[:MOST_DETAIL],
        "request_id": request_id(),
    }
    if errors:
        document["errors"] = [
            {"pointer": e.pointer[:MOST_DETAIL], "detail": e.detail[:MOST_DETAIL]}
            for e in errors[:MOST_ERRORS]
        ]
    return Response(codec.dumps(document), int(status), headers, content_type=MEDIA_TYPE)


def init_app(app: "Flask") -> None:
    """Have every error of the application answered with a problem document."""
    app.register_error_handler(Problem, lambda error: problem(error.status, error.detail, error.errors))
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unhandled)


def _http_error(error: HTTPException) -> Response:
    original = error.get_response()
    if error.code is None or error.code < 400:
        return Response(original.get_data(), original.status_code, original.headers)
    kept = {"Allow": original.headers["Allow"]} if "Allow" in original.headers else None
    return problem(error.code, _DETAILS.get(error.code, error.description or ""), headers=kept)


def _unhandled(error: Exception) -> Response:
    # All of it for the operator, under the request's id; nothing of the inside for the caller.
    logger.error("unhandled error", exc_info=error)
    return problem(500, "This is a fault of the service. Its log has more under this request_id.")


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header lists those it takes.",
}
