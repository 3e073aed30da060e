"""How a caller is told what went wrong: problem+json (RFC 9457) for every error."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import Response, request
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from service import codec
from service.database import reason
from service.problems import MOST_ERRORS, Busy, FieldError, Problem
from service.requestid import request_id

if TYPE_CHECKING:
    from flask import Flask

MEDIA_TYPE = "application/problem+json"
MOST_DETAIL = 1000
# In the WSGI environment of a request with which a worker has more than half of what it takes on.
PRESSED = "nnserve.pressed"
TURNED_AWAY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
# The Open Inference Protocol stands below it.
V2 = "/v2"
FAULT = "This is a fault of the service. Its log has more under this request_id."

logger = logging.getLogger(__name__)


def problem(
    status: int, detail: str, errors: list[FieldError] | None = None, headers: Any = None
) -> Response:
    """Return the problem document as the response to the request at hand, of which no more is read."""
    if PRESSED in request.environ and (status in TURNED_AWAY or request.url_rule is None):
        # Who may ask nothing, or asks for what is not here, keeps nobody out with a body that never comes.
        codec.hurry(request.environ)
    codec.discard_rest(request.environ)
    status, media_type, body = document(request.path, status, detail, errors)
    return Response(body, status, headers, content_type=media_type)


def document(
    path: str, status: int, detail: str, errors: list[FieldError] | None = None
) -> tuple[int, str, bytes]:
    """Return how a caller of a path is told of an error: status, media type and body.

    Below /v2 it has the form of the protocol that is spoken there.
    """
    if path == V2 or path.startswith(f"{V2}/"):
        # Its clients know what is wrong with a request as 400 alone.
        status = HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNPROCESSABLE_ENTITY else status
        return int(status), "application/json", codec.dumps({"error": detail[:MOST_DETAIL]})
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail[:MOST_DETAIL],
        "request_id": request_id(),
    }
    if errors:
        told["errors"] = [
            {"pointer": e.pointer[:MOST_DETAIL], "detail": e.detail[:MOST_DETAIL]}
            for e in errors[:MOST_ERRORS]
        ]
    return int(status), MEDIA_TYPE, codec.dumps(told)


def refuse(
    start_response: Callable[..., Any], path: str, status: int, detail: str, *headers: tuple[str, str]
) -> list[bytes]:
    """Tell a caller of an error where no application is asked, and return the body, as WSGI has it."""
    status, media_type, body = document(path, status, detail)
    told = [("Content-Type", media_type), ("Content-Length", str(len(body))), *headers]
    start_response(f"{status} {HTTPStatus(status).phrase}", told)
    return [body]


def init_app(app: "Flask") -> None:
    """Have every error of the application answered with a problem document."""
    app.register_error_handler(Problem, _problem)
    app.register_error_handler(OperationalError, _database_away)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unhandled)


def _problem(error: Problem) -> Response:
    wait = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return problem(error.status, error.detail, error.errors, {**error.headers, **wait})


def _database_away(error: OperationalError) -> Response:
    logger.error("the database does not answer: %s", reason(error))
    return _problem(Busy("The database of jobs does not answer just now, so nothing was changed."))


def _http_error(error: HTTPException) -> Response:
    original = error.get_response()
    if error.code is None or error.code < 400:
        return Response(original.get_data(), original.status_code, original.headers)
    kept = {"Allow": original.headers["Allow"]} if "Allow" in original.headers else None
    return problem(error.code, _DETAILS.get(error.code, error.description or ""), headers=kept)


def _unhandled(error: Exception) -> Response:
    # All of it for the operator, under the request's id; nothing of the inside for the caller.
    logger.error("unhandled error", exc_info=error)
    return problem(500, FAULT)


_DETAILS = {
    404: "There is nothing at this address.",
    405: "This address does not take this method; the Allow header lists those it takes.",
}
