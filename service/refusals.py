"""What a request gets that never comes to the application: an answer like any other, and a line of log."""

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from socket import socket
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors
from gunicorn.util import http_date

from service.errors import FAULT, refuse
from service.front import Front
from service.hosts import Hosts
from service.metrics import Metrics
from service.observe import Observed

if TYPE_CHECKING:
    from service.settings import Settings

Environ = dict[str, Any]

STATUS = {
    errors.LimitRequestLine: HTTPStatus.REQUEST_URI_TOO_LONG,
    errors.LimitRequestHeaders: HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    errors.ExpectationFailed: HTTPStatus.EXPECTATION_FAILED,
    errors.UnsupportedTransferCoding: HTTPStatus.NOT_IMPLEMENTED,
}
# Header fields of an answer's that only the application can have got wrong, though they are parse errors.
OUR_FAULTS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
ERROR = "nnserve.error"
# Stands for the method or the path of a request that was not read so far.
UNKNOWN = "-"

logger = logging.getLogger(__name__)


class Refusals:
    """Refuses requests that gunicorn cannot read, where it would send a page of HTML and no more."""

    def __init__(self, settings: "Settings", hosts: Hosts, counters: Metrics) -> None:
        self._app = Observed(Front(_answer, settings, hosts), settings, counters)

    def refuse(self, connection: socket, error: Exception, request: Any) -> None:
        """Answer a request, None where it was not read, on a connection that is closed then."""
        if request is None:
            request = getattr(error, "req", None)
        elif _is_unreadable(error):
            # It has been answered; it is the rest of its body, which nobody wanted, that is none.
            return
        environ = {
            "REQUEST_METHOD": getattr(request, "method", None) or UNKNOWN,
            "PATH_INFO": getattr(request, "path", None) or UNKNOWN,
            "RAW_URI": getattr(request, "uri", None) or UNKNOWN,
            ERROR: error,
        }
        head: list[str] = []

        def start(status: str, headers: list[tuple[str, str]], _: Any = None) -> None:
            own = [("Server", "nnserve"), ("Date", http_date()), ("Connection", "close")]
            head.append(f"HTTP/1.1 {status}\r\n")
            head.extend(f"{name}: {value}\r\n" for name, value in own + headers)

        body = b"".join(self._app(environ, start))
        with suppress(OSError):
            connection.sendall(f"{''.join(head)}\r\n".encode("latin-1") + body)


def _answer(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
    error = environ[ERROR]
    if _is_unreadable(error):
        status = STATUS.get(type(error), HTTPStatus.BAD_REQUEST)
        detail = f"The request was not read: {error}."
    else:
        logger.error("unhandled error", exc_info=error)
        status, detail = HTTPStatus.INTERNAL_SERVER_ERROR, FAULT
    return refuse(start_response, environ["PATH_INFO"], status, detail)


def _is_unreadable(error: Exception) -> bool:
    return isinstance(error, errors.ParseException) and not isinstance(error, OUR_FAULTS)
