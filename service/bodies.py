"""The body of the request at hand, whole and within its cap."""

from typing import Any

from flask import current_app, request

from service import codec
from service.problems import BadBody, FieldError, Invalid, TooLarge, WrongMediaType


def read(most_bytes: int) -> bytes:
    """Return the body; raises TooLarge, WrongMediaType where it is packed, BadBody where it is not whole."""
    refuse_packed()
    return read_as_sent(most_bytes)


def refuse_packed() -> None:
    """Raise WrongMediaType where the body of the request has a Content-Encoding (RFC 9110, 8.4)."""
    encoding: str | None = request.environ.get("HTTP_CONTENT_ENCODING")
    if encoding and encoding.strip().lower() != "identity":
        raise WrongMediaType(
            f"{request.path} takes no Content-Encoding, and this body has {encoding[:100]}: send it plain. "
            "POST /v2/models/<model>/infer takes gzip and deflate."
        )


def read_as_sent(most_bytes: int) -> bytes:
    """Return the body, which may be packed; raises TooLarge, or BadBody where it is not whole."""
    try:
        body = codec.read_body(request.environ, most_bytes)
    except ValueError as error:
        raise BadBody(f"The body is not whole: {error}.") from None
    if body is None:
        raise TooLarge(f"The body may have at most {most_bytes:,} bytes.")
    return body


def read_object(example: str) -> dict[str, Any]:
    """Return the JSON object that the body is; `example` shows what one looks like."""
    if request.mimetype != "application/json":
        raise WrongMediaType(f"{request.path} takes application/json, not {media_type()}.")
    try:
        data = codec.loads(read(current_app.extensions["settings"].max_body))
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise Invalid([FieldError("#", f"must be an object like {example}")])
    return data


def media_type() -> str:
    """Return the media type of the body, in words."""
    return request.mimetype[:100] or "a body without a Content-Type"
