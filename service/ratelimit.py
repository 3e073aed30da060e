"""How often one caller may ask, by Flask-Limiter. Imported only where it is set."""

import logging
import time
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from flask import Response, request
from flask_limiter import Limiter, RateLimitExceeded

from service import counters
from service.callers import caller
from service.errors import problem
from service.scopes import OPEN, needed

if TYPE_CHECKING:
    from flask import Flask


def counted_together() -> str:
    """Return whose requests are counted as one caller's: a key's or an address's.

    Of IPv6 it is the network of 64 bits, all of whose addresses one machine may use.
    """
    who = caller()
    try:
        address = ip_address(who)
    except ValueError:
        return who
    if isinstance(address, IPv4Address):
        return who
    return str(address.ipv4_mapped or IPv6Network((address.packed[:8] + bytes(8), 64)))


def init_app(app: "Flask", rates: str) -> None:
    """Have requests of one key or address counted, those for health aside; before the workers fork."""
    limiter = Limiter(
        counted_together,
        app=app,
        application_limits=[rates],
        application_limits_exempt_when=lambda: needed(request.endpoint or "") == OPEN,
        storage_uri=f"{counters.SCHEME}://",
    )
    # A refusal has its line already, like every request.
    limiter.logger.setLevel(logging.WARNING)

    def tell(response: Response) -> Response:
        limit = limiter.current_limit
        if limit is not None:
            seconds = str(max(1, round(limit.reset_at - time.time())))
            response.headers["RateLimit-Limit"] = str(limit.limit.amount)
            response.headers["RateLimit-Remaining"] = str(max(0, limit.remaining))
            response.headers["RateLimit-Reset"] = seconds
            if limit.breached:
                response.headers["Retry-After"] = seconds
        return response

    app.after_request(tell)
    app.register_error_handler(RateLimitExceeded, _refuse)


def _refuse(error: RateLimitExceeded) -> Response:
    return problem(429, f"{caller()} may ask {error.limit.limit}, and has asked more often than that.")
