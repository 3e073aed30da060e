"""Who calls: the name that jobs and moved labels are remembered under."""

from flask import request


def caller() -> str:
    """Return the address that the request at hand came from."""
    return request.remote_addr or "unknown"
