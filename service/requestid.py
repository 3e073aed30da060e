"""The id of the request at hand, for answers and log lines alike."""

import random
import re
from contextvars import ContextVar

HEADER = "X-Request-ID"
NONE = "-"
WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,128}")

_current: ContextVar[str] = ContextVar("request_id", default=NONE)


def begin(sent: str | None) -> str:
    """Take over the id that a client sent, if it is well-formed, or make one; return it."""
    # Not a secret, so not from the kernel, which would take as long as the schema. Python seeds the
    # generator anew in each worker.
    value = sent if sent is not None and WELL_FORMED.fullmatch(sent) else f"{random.getrandbits(64):016x}"
    _current.set(value)
    return value


def end() -> None:
    """Forget the id: what the thread logs next is about something else."""
    _current.set(NONE)


def request_id() -> str:
    """Return the id of the request at hand, `-` outside of one."""
    return _current.get()
