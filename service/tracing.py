"""The trace that a request is part of, for answers, log lines and jobs (W3C Trace Context, `traceparent`)."""

import random
import re
from contextvars import ContextVar
from dataclasses import dataclass

HEADER = "traceresponse"
# Of a version that is not known yet, what its first four fields say holds.
_SENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")
# Sampled, and made at random: the flags that have a meaning.
_KNOWN_FLAGS = 3

_current: ContextVar[str] = ContextVar("trace_id", default="")


@dataclass(frozen=True)
class Trace:
    """A trace, the caller's span in it, and the one that this request is."""

    trace_id: str
    parent_id: str
    span_id: str
    flags: int

    def told(self) -> str:
        """Return what the caller is told of our span."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def begin(sent: str) -> Trace | None:
    """Take over the trace that a client sent, if it is well-formed."""
    found = _SENT.fullmatch(sent)
    if found is None or (found[1] == "00" and found[5]):
        return None
    _current.set(found[2])
    # No secret: as for request ids.
    return Trace(found[2], found[3], f"{random.getrandbits(64) or 1:016x}", int(found[4], 16) & _KNOWN_FLAGS)


def adopt(trace_id: object) -> None:
    """Go on in a trace that was begun elsewhere, by its id; in none for anything else."""
    _current.set(trace_id if isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id) else "")


def end() -> None:
    """Forget the trace: what the thread does next is about something else."""
    _current.set("")


def trace_id() -> str:
    """Return the id of the trace at hand, empty outside of one."""
    return _current.get()
