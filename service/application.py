"""Flask as this service uses it: whatever it looks for in every request and never finds here is left out.

A session, hooks of single blueprints, async views, a subdomain: looking for them would take as long as the
network of a digit does.
"""

from typing import Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.wsgi import get_host

_NO_SESSION = NullSession()
# Addresses of which it is remembered which view they lead to.
_MOST_REMEMBERED = 500
# How Flask asks where a request leads.
_WHERE_TO = {"return_rule": True}
Match = tuple[Rule, dict[str, Any]]


class _NoSessions(SessionInterface):
    def open_session(self, app: Flask, request: Request) -> NullSession:
        return _NO_SESSION

    def is_null_session(self, obj: object) -> bool:
        return True


class _Rules(Map):
    """The rules of the addresses, and where those that were asked for lead to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.matches: dict[tuple[str, str], Match] = {}


class _Adapter(MapAdapter):
    map: _Rules

    def match(self, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs != _WHERE_TO:
            # Another question: which methods the address takes, for example.
            return super().match(*args, **kwargs)
        asked = self.default_method, self.path_info
        found = self.map.matches.get(asked)
        if found is None:
            found = super().match(*args, **kwargs)
            if len(self.map.matches) >= _MOST_REMEMBERED:
                self.map.matches.clear()
            self.map.matches[asked] = found
        return found


class Application(Flask):
    """A Flask application without sessions, async views and subdomains.

    Of hooks it calls those before and after all requests: none of a single blueprint, of one request
    (`after_this_request`), or of a request's end (`teardown_request`).
    """

    session_interface = _NoSessions()
    url_map_class = _Rules

    def ensure_sync(self, func: Any) -> Any:
        """Return a view or hook as it is."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Return what matches the path of a request; no host matters for that."""
        if request is None:
            return None
        return _Adapter(
            self.url_map,
            server_name=request.environ.get("HTTP_HOST") or get_host(request.environ),
            script_name=f"{request.root_path}/",
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode("latin-1"),
        )

    def preprocess_request(self) -> Any:
        """Call the hooks before a request, until one answers it."""
        for hook in self.before_request_funcs.get(None, ()):
            answer = hook()
            if answer is not None:
                return answer
        return None

    def process_response(self, response: Response) -> Response:
        """Call the hooks after a request."""
        for hook in reversed(self.after_request_funcs.get(None, ())):
            response = hook(response)
        return response

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Call no hook: there is none."""


class Whole(Response):
    """An answer that is all there, its length known: nothing is left to be worked out when it is sent."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        """Start it, and return its body."""
        start_response(self.status, self.headers.to_wsgi_list())
        return () if environ["REQUEST_METHOD"] == "HEAD" else self.response
