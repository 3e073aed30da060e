"""By which names the service may be called, and from which pages.

Any web page may send requests to 127.0.0.1, and a name of an attacker's may be made to lead there (DNS
rebinding). Browsers say in `Host` and `Origin` what they do, and no page can make them lie.
"""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from werkzeug.sansio.utils import host_is_trusted

from service.settings import listed

if TYPE_CHECKING:
    from service.settings import Settings

ANY = "*"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
# Names that were found right, so that each is looked at once; there are few, and strangers' are not kept.
_MOST_KNOWN = 100


class Hosts:
    """Tells own names and allowed origins from foreign ones."""

    def __init__(self, settings: "Settings") -> None:
        self._loopback = is_loopback(settings.host)
        machine = socket.gethostname().lower()
        given = [] if _address(settings.host) else [settings.host.lower()]
        self._names = ["localhost", ".localhost", machine, f"{machine}.local", *given]
        self._names += listed(settings.trusted_hosts.lower())
        self._origins = frozenset(map(written, listed(settings.cors_origins)))
        self._known: set[str] = set()

    def is_ours(self, host: str) -> bool:
        """Tell whether a `Host` is a name or an address of this service, whatever the port."""
        if host in self._known:
            return True
        ours = self._is_ours(host.lower())
        if ours and len(self._known) < _MOST_KNOWN:
            self._known.add(host)
        return ours

    def may_call(self, origin: str, host: str) -> bool:
        """Tell whether pages of an `Origin` may call: our own, and those that are allowed by setting."""
        scheme, _, where = origin.partition("://")
        # A proxy may have taken the TLS off, so the scheme says nothing.
        own = scheme in ("http", "https") and where != "" and where.lower() == host.lower()
        return own or self.is_allowed(origin)

    def is_allowed(self, origin: str) -> bool:
        """Tell whether an origin is one of the setting; `null`, which any page can be, never is."""
        return origin in self._origins or (ANY in self._origins and origin != "null")

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        address = _address(name.removeprefix("[").removesuffix("]"))
        if address is not None:
            # A page can have an address for its host only if it came from there: no name leads astray.
            return not self._loopback or address.is_loopback or name in self._names
        return host_is_trusted(host, self._names)


def written(origin: str) -> str:
    """Return an origin as browsers write it: in lower case, and without its scheme's port (RFC 6454, 6.2)."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], ""))


def take_target(environ: dict[str, Any]) -> None:
    """Have the host of a target that is a whole URL stand for `Host`, which is ignored (RFC 9112, 3.2.2)."""
    host = urlsplit(environ["RAW_URI"]).netloc
    if host:
        environ["HTTP_HOST"] = host
        environ["PATH_INFO"] = environ["PATH_INFO"] or "/"


def is_loopback(host: str) -> bool:
    """Tell whether an address, or what a name stands for, can be reached from this machine alone."""
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except (OSError, ValueError):
        return False
    return all(ip_address(str(address).partition("%")[0]).is_loopback for address in found)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
