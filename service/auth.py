"""Who may do what: names and origins first, then the key, before any view."""

from typing import TYPE_CHECKING, Any

from flask import request

from service.hosts import Hosts, is_loopback
from service.keyring import Keyring
from service.keys import Key
from service.problems import Forbidden, Unauthorized
from service.scopes import ADMIN, KEY, OPEN, needed
from service.settings import Settings, listed

if TYPE_CHECKING:
    from flask import Flask

_BEARER = "bearer "


class Unguarded(Exception):
    """The service would be open to others than this machine, and nobody has said that it may."""


class Guard:
    """Lets requests pass, or raises Unauthorized or Forbidden."""

    def __init__(self, settings: Settings, keyring: Keyring, hosts: Hosts) -> None:
        """Raise Unguarded where strangers could call, and there is neither a key nor leave to do without."""
        self._keyring, self._hosts = keyring, hosts
        self._anonymous = frozenset(listed(settings.allow_anonymous))
        # Behind a proxy everybody comes from this machine.
        self._private = is_loopback(settings.host) and not settings.trusted_proxies
        if not (self._private or keyring.configured or self._anonymous):
            raise Unguarded(
                f"anybody who reaches {settings.host} could call it: make a key (nnserve keys create NAME "
                "--admin), or say what may be done without one (NNSERVE_ALLOW_ANONYMOUS=predict,train)"
            )

    def admit(self) -> None:
        """Check the request at hand."""
        environ, endpoint = request.environ, request.endpoint
        scope = ADMIN if endpoint is None else needed(endpoint)
        if endpoint != "health.healthz":
            self._check_source(environ)
        # An unknown address is told so.
        if scope == OPEN or endpoint is None:
            return
        keyring = self._keyring
        keyring.watch()
        key = self._key(environ.get("HTTP_AUTHORIZATION")) if keyring.configured else None
        if key is not None:
            environ[KEY] = key.name
            if not key.may(scope):
                has = ", ".join(key.scopes)
                raise Forbidden(f"This needs the scope {scope}; the key {key.name!r} has {has}.")
        elif not self._is_open(scope):
            raise Unauthorized(f"This needs a key with the scope {scope}: Authorization: Bearer <key>.")

    def _key(self, sent: str | None) -> Key | None:
        # What is no Bearer is somebody else's: a proxy's own password, say.
        if sent is None or sent[: len(_BEARER)].lower() != _BEARER:
            return None
        key = self._keyring.find(sent[len(_BEARER) :].strip())
        if key is None:
            raise Unauthorized("This key is unknown here, has expired or was revoked.")
        return key

    def _is_open(self, scope: str) -> bool:
        if self._anonymous:
            return scope in self._anonymous or ADMIN in self._anonymous
        return self._private and not self._keyring.configured

    def _check_source(self, environ: dict[str, Any]) -> None:
        # Who sends none is no browser.
        host = environ.get("HTTP_HOST")
        if host is not None and not self._hosts.is_ours(host):
            raise Forbidden(
                f"This service is not called {host[:100]!r}: if it is, NNSERVE_TRUSTED_HOSTS has to say so."
            )
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and not self._hosts.may_call(origin, host or ""):
            raise Forbidden(
                f"Pages of {origin[:100]!r} may not call: NNSERVE_CORS_ORIGINS has to name those that may."
            )


def init_app(app: "Flask", guard: Guard) -> None:
    """Have each request of the application checked before its view."""
    app.before_request(guard.admit)
