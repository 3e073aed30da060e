"""When a call is made again, and how long is waited before."""

import random

import requests
from urllib3.exceptions import MaxRetryError, NewConnectionError, ReadTimeoutError

# Seconds before the first repetition; each next one waits twice as long.
FIRST_PAUSE = 0.1
# Who is told to wait longer is told so at once.
LONGEST_PAUSE = 30
_COME_AGAIN = (429, 503)
# Of a proxy, before which the service has gone for a moment.
_GATEWAY = (502, 504)


def pause_after_answer(response: requests.Response, attempt: int, *, repeatable: bool) -> float | None:
    """Return the seconds to wait before a refused call is made again, None where it is not to be.

    With Retry-After the service says that it has done nothing, and when it may: that goes for any call. A 503
    without is a version that must not be served, which waiting does not change.
    """
    after = response.headers.get("Retry-After", "")
    if response.status_code in _COME_AGAIN and after.isdecimal() and int(after) <= LONGEST_PAUSE:
        return max(int(after), back_off(attempt))
    return back_off(attempt) if response.status_code in _GATEWAY and repeatable else None


def pause_after_error(error: Exception, attempt: int, *, repeatable: bool) -> float | None:
    """Return the seconds to wait before a call without an answer is made again, None where it is not to be.

    What never reached the service can be sent again. What may have reached it, only where doing it twice is
    the same as doing it once. An answer that was waited for in vain has had its time.
    """
    again = False
    if isinstance(error, requests.ConnectTimeout):
        again = True
    elif isinstance(error, requests.exceptions.SSLError) or is_timeout(error):
        again = False
    elif isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        again = repeatable or _never_connected(error)
    return back_off(attempt) if again else None


def is_timeout(error: Exception) -> bool:
    """Tell whether an answer, or the rest of one, was waited for in vain."""
    cause = error.args[0] if error.args else None
    return isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError)


def back_off(attempt: int) -> float:
    """Return the seconds before attempt + 1: twice as many each time, and not the same for every caller."""
    return FIRST_PAUSE * float(2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311


def _never_connected(error: Exception) -> bool:
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
