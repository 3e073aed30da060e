"""The front of the service: the path it stands under, what browsers are told, and who may read answers."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from service.hosts import ANY, Hosts, take_target
from service.settings import listed

if TYPE_CHECKING:
    from service.settings import Settings

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
WSGI = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

# What an answer says where its view says nothing else: it is data, for whoever asked, and nothing to show.
DEFAULTS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
)
_BY_NAME = tuple((name.lower(), (name, value)) for name, value in DEFAULTS)

METHODS = "GET, HEAD, POST, PUT, DELETE"
MAY_SEND = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Inference-Header-Content-Length, "
    "Last-Event-ID, traceparent, X-Request-ID"
)
MAY_READ = (
    "ETag, Inference-Header-Content-Length, Location, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, "
    "Retry-After, traceresponse, X-Request-ID"
)
# Seconds for which a browser need not ask again.
PREFLIGHT_SECONDS = "600"


class Front:
    """A WSGI application before another one."""

    def __init__(self, app: WSGI, settings: "Settings", hosts: Hosts) -> None:
        self.app, self.hosts = app, hosts
        self.prefix = settings.path_prefix
        self.origins = listed(settings.cors_origins)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        if environ.get("RAW_URI", "/")[:1] != "/":
            take_target(environ)
        if self.prefix:
            _strip(environ, self.prefix)
        shared = self._shared(environ) if self.origins else []
        if len(shared) > 1 and _is_preflight(environ):
            start_response("204 No Content", [*shared, *_preflight()])
            return []

        def start(status: str, headers: Headers, exc_info: Any = None) -> Any:
            present = {name.lower() for name, _ in headers}
            headers += [header for name, header in _BY_NAME if name not in present]
            headers += shared
            return start_response(status, headers, exc_info)

        return self.app(environ, start)

    def _shared(self, environ: Environ) -> Headers:
        """Return what tells a browser whether the page that asks may read the answer."""
        origin = environ.get("HTTP_ORIGIN")
        vary = ("Vary", "Origin")
        if origin is None or not self.hosts.is_allowed(origin):
            return [vary]
        allowed = ANY if ANY in self.origins else origin
        return [
            vary,
            ("Access-Control-Allow-Origin", allowed),
            ("Access-Control-Expose-Headers", MAY_READ),
        ]


def _is_preflight(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _preflight() -> Headers:
    return [
        ("Access-Control-Allow-Methods", METHODS),
        ("Access-Control-Allow-Headers", MAY_SEND),
        ("Access-Control-Max-Age", PREFLIGHT_SECONDS),
    ]


def _strip(environ: Environ, prefix: str) -> None:
    """Take the prefix off the path, unless a proxy has done so; links carry it in both cases."""
    path = environ["PATH_INFO"]
    if path == prefix or path.startswith(f"{prefix}/"):
        environ["PATH_INFO"] = path[len(prefix) :] or "/"
    environ["SCRIPT_NAME"] = prefix
