"""Compressed bodies: unpacked up to a cap, and packed where a client asks for it."""

import gzip
import zlib

from service.problems import BadBody, TooLarge, WrongMediaType

# zlib's window bits: a gzip file, or the zlib structure that HTTP calls deflate.
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
# Numbers hardly get smaller by more effort.
_LEVEL = 1


def unpack(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Return a body as it was before its Content-Encoding; never more than the cap is unpacked."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOWS:
        raise WrongMediaType(f"Content-Encoding must be gzip or deflate, not {encoding[:100]}.")
    inflater = zlib.decompressobj(_WINDOWS[encoding])
    try:
        plain = inflater.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise BadBody(f"The body is not {encoding}: {error}.") from None
    if len(plain) > most_bytes:
        raise TooLarge(f"The body may have at most {most_bytes:,} bytes when it is unpacked.")
    if not inflater.eof or inflater.unused_data:
        raise BadBody(f"The body is not one whole {encoding} stream.")
    return plain


def pack(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Return an answer packed as asked for, and its Content-Encoding; as it is where nothing is asked for.

    Only `gzip` or `deflate` alone is a wish. Most libraries send a list with every request, whether or not
    their user wants to pay for it.
    """
    if accepted == "gzip":
        return gzip.compress(body, _LEVEL, mtime=0), accepted
    if accepted == "deflate":
        return zlib.compress(body, _LEVEL), accepted
    return body, None
