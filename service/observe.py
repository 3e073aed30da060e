"""What an operator sees of requests: an id each, and one log line each, as text or JSON.

This is the outermost layer, below Flask's: it sees every answer, and costs a few microseconds.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import orjson

from service import metrics, requestid, tracing
from service.scopes import KEY

if TYPE_CHECKING:
    from service.settings import Settings

Environ = dict[str, Any]
WSGI = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# Where a view leaves the version that answers, for the log line.
SERVED = metrics.SERVED
TRACE = "nnserve.trace"
STDERR = 2
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


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
        super().__init__("%(asctime)s %(levelname)s [%(request_id)s] %(message)s", TIME_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.request_id = _ids(requestid.request_id(), tracing.trace_id())
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
        }
        if trace_id := tracing.trace_id():
            line["trace_id"] = trace_id
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line).decode()


class Observed:
    """A WSGI application, with an id and a log line for each of another one's requests."""

    def __init__(self, app: WSGI, settings: "Settings", counters: metrics.Metrics) -> None:
        self.app, self.metrics = app, counters
        self.line = {"text": text_line, "json": json_line}[settings.log_format]
        self.logs = settings.log_level in ("DEBUG", "INFO")

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        began = environ[metrics.BEGAN] = time.perf_counter()
        request_id = requestid.begin(environ.get("HTTP_X_REQUEST_ID"))
        sent = environ.get("HTTP_TRACEPARENT")
        trace = environ[TRACE] = tracing.begin(sent) if sent is not None else None

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append((requestid.HEADER, request_id))
            if trace is not None:
                headers.append((tracing.HEADER, trace.told()))
            seconds = time.perf_counter() - began
            self.metrics.answered(environ, status, seconds)
            if self.logs:
                # Written past the logging module, which would take as long as the prediction. A log that
                # nobody takes any more must not keep the answer back.
                with suppress(OSError):
                    os.write(STDERR, self.line(environ, status, seconds, request_id))
            return start_response(status, headers, exc_info)

        try:
            return self.app(environ, start)
        finally:
            requestid.end()
            if trace is not None:
                tracing.end()


def text_line(environ: Environ, status: str, seconds: float, request_id: str) -> bytes:
    """Return a request's log line as text."""
    now = time.strftime(TIME_FORMAT, time.gmtime())
    model, version = environ.get(SERVED, ("", ""))
    served = f" {model}/{version}" if model else ""
    by = f" by {environ[KEY]}" if KEY in environ else ""
    ids = _ids(request_id, environ[TRACE].trace_id if environ[TRACE] else "")
    parts = ""
    if metrics.INFERENCE in environ:
        parsing, inference = environ[metrics.PARSING] * 1000, environ[metrics.INFERENCE] * 1000
        parts = f" (parsing {parsing:.2f}, inference {inference:.2f})"
    took = f"{seconds * 1000:.2f} ms{parts}"
    what = f"{environ['REQUEST_METHOD']} {_path(environ)} {status[:3]} {took}{served}{by}"
    return f"{now} INFO [{ids}] {what}\n".encode()


def json_line(environ: Environ, status: str, seconds: float, request_id: str) -> bytes:
    """Return a request's log line as a JSON object."""
    line = {
        "time": time.time(),
        "level": "INFO",
        "logger": __name__,
        "request_id": request_id,
        "message": "request",
        "method": environ["REQUEST_METHOD"],
        "path": _path(environ),
        "status": int(status[:3]),
        "duration_ms": round(seconds * 1000, 2),
    }
    if SERVED in environ:
        line["model"], line["version"] = environ[SERVED]
    if KEY in environ:
        line["key"] = environ[KEY]
    if metrics.INFERENCE in environ:
        line["parsing_ms"] = round(environ[metrics.PARSING] * 1000, 3)
        line["inference_ms"] = round(environ[metrics.INFERENCE] * 1000, 3)
    if trace := environ[TRACE]:
        line |= {"trace_id": trace.trace_id, "span_id": trace.span_id, "parent_id": trace.parent_id}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


def _ids(request_id: str, trace_id: str) -> str:
    return f"{request_id} {trace_id}" if trace_id else request_id


def _path(environ: Environ) -> str:
    # As it was sent: decoded, a path could hold a line break. The query is left out, it may be private.
    path: str = environ.get("RAW_URI") or quote(environ["PATH_INFO"])
    return path.partition("?")[0][:200]
