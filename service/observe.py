"""What an operator sees of requests: an id each, and one log line each, as text or JSON."""

import logging
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import orjson
from flask import Flask, Response, g, request

from service import requestid

if TYPE_CHECKING:
    from service.settings import Settings

logger = logging.getLogger("service.requests")


def init_app(app: Flask) -> None:
    """Give every request an id, echo it, and write a line when it is answered."""
    app.before_request(_begin)
    app.after_request(_end)


def configure_logging(settings: "Settings") -> None:
    """Send all log lines, gunicorn's too, to standard error in the form that is set."""
    handler = logging.StreamHandler()
    handler.setFormatter(JSONFormatter() if settings.log_format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    gunicorn = logging.getLogger("gunicorn.error")
    gunicorn.handlers, gunicorn.propagate = [], True


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO [request id] message`, on one line but for tracebacks."""

    def __init__(self) -> None:
        self.converter = time.gmtime
        super().__init__("%(asctime)s %(levelname)s [%(request_id)s] %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.request_id = requestid.request_id()
        return super().format(record)


class JSONFormatter(logging.Formatter):
    """One JSON object a line, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": record.created,
            "level": record.levelname,
            "logger": record.name,
            "request_id": requestid.request_id(),
            "message": record.getMessage(),
            **record.__dict__.get("request", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


def note_served(model: str, version: int) -> None:
    """Name the version that answers the request at hand in its log line."""
    g.served = (model, version)


def _begin() -> None:
    g.began = time.perf_counter()
    requestid.begin(request.headers.get(requestid.HEADER))


def _end(response: Response) -> Response:
    response.headers[requestid.HEADER] = requestid.request_id()
    if logger.isEnabledFor(logging.INFO):
        _write_line(response.status_code)
    return response


def _write_line(status: int) -> None:
    environ = request.environ
    # As it was sent: decoded, a path could hold a line break. The query is left out, it may be private.
    path = environ.get("RAW_URI") or quote(request.path)
    facts = {
        "method": environ["REQUEST_METHOD"],
        "path": path.partition("?")[0][:200],
        "status": status,
        "duration_ms": round((time.perf_counter() - g.began) * 1000, 2),
    }
    text = "{method} {path} {status} {duration_ms} ms".format_map(facts)
    if "served" in g:
        facts["model"], facts["version"] = g.served
        text += f" {g.served[0]}/{g.served[1]}"
    logger.info(text, extra={"request": facts})
