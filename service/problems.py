"""What a caller is told of what went wrong; nothing here knows of HTTP but the status.

Problem
├── BadBody           400  the body is not JSON, or not whole
├── Unauthorized      401  no key, or one that does not work
├── Forbidden         403  a key without the scope, or a caller from a foreign page
├── NotFound          404  an unknown model, version, job or address
├── Conflict          409  what is asked for and what is there do not go together
├── TooLarge          413  a body over its cap
├── WrongMediaType    415
├── Invalid           422  content that says one thing and means another; lists pointers
├── TooMany           429  more at once than is allowed
├── NotServable       503  a version that is there but must not be served
├── Busy              503  no room for this just now
└── OutOfSpace        507  no room on the disk
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

MOST_ERRORS = 20


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with the input: where, as a JSON pointer (RFC 6901), and what."""

    pointer: str
    detail: str


class Problem(Exception):
    """Base of the errors that a caller is told about."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR
    # Seconds after which trying again may help; None where it would not.
    retry_after: int | None = None
    headers: Mapping[str, str] = {}

    def __init__(self, detail: str, errors: list[FieldError] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []


class BadBody(Problem):
    """The body is not JSON, or not whole."""

    status = HTTPStatus.BAD_REQUEST


class Unauthorized(Problem):
    """There is no key, or it does not work."""

    status = HTTPStatus.UNAUTHORIZED
    headers: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="nnserve"'}


class Forbidden(Problem):
    """The caller is known, and may not do this; or comes from where nobody may."""

    status = HTTPStatus.FORBIDDEN


class NotFound(Problem):
    """There is no such model, version, label or job."""

    status = HTTPStatus.NOT_FOUND


class Conflict(Problem):
    """What is asked for does not go together with what is there."""

    status = HTTPStatus.CONFLICT


class TooLarge(Problem):
    """The body is larger than its cap."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class WrongMediaType(Problem):
    """The body has a media type that is not taken here."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


class Invalid(Problem):
    """The input is well-formed but wrong."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(_summary(errors), errors)


def _summary(errors: list[FieldError]) -> str:
    if len(errors) > MOST_ERRORS:
        return f"more than {MOST_ERRORS} things are wrong with the input; the first {MOST_ERRORS} are listed"
    return errors[0].detail if len(errors) == 1 else f"{len(errors)} things are wrong with the input"


class TooMany(Problem):
    """More at once than is allowed; worth trying again later."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    retry_after = 5


class NotServable(Problem):
    """The version is there, but did not load or failed its known answers."""

    status = HTTPStatus.SERVICE_UNAVAILABLE


class Busy(Problem):
    """There is no room for this just now; worth trying again later."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after = 1


class OutOfSpace(Problem):
    """Models, datasets, checkpoints and the database take all the room on the disk that they may have."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
