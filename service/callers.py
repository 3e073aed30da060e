"""Who calls: the name that jobs and moved labels are remembered under."""

from flask import request

from service.scopes import KEY


def caller() -> str:
    """Return the name of the key of the request at hand; without one the address that it came from."""
    return request.environ.get(KEY) or request.remote_addr or "unknown"
