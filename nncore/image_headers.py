"""What the bytes of a picture file say before any decoder is asked: its kind, its size, its turn.

Only what Pillow answers too late: by the time it knows the size of a GIF or a WebP it has taken the memory
for it, and it walks a header of a million empty parts to the end. Reading past the end of the bytes raises
IndexError or struct.error, which the caller takes for what it is, a damaged file.
"""

import re
from struct import error, unpack_from

from nncore.errors import PictureError

WANTED = "a PNG, JPEG, WebP, BMP or GIF picture is expected"
# Parts of a file that are walked one by one; cameras and editors write tens.
MOST_PARTS = 1000

_READABLE = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WebP": rb"RIFF....WEBPVP8",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0",
}
_OTHER = {
    "a TIFF picture": rb"II\*\0|MM\0\*",
    "a HEIC or AVIF picture": rb"....ftyp",
    "an SVG drawing or another XML or HTML text": rb"\s*<",
    "a PDF document": rb"%PDF",
    "a zip archive": rb"PK\x03\x04",
    "text": rb"[\t\n\r\x20-\x7e]{1,64}\Z",
}
_KINDS = [(kind, re.compile(pattern, re.DOTALL)) for kind, pattern in (_READABLE | _OTHER).items()]


def kind_of(data: bytes) -> str:
    """PNG, JPEG, WebP, GIF or BMP, from the first bytes and not from any name; PictureError otherwise."""
    start = data[:64]
    kind = next((kind for kind, pattern in _KINDS if pattern.match(start)), "")
    if kind in _READABLE:
        return kind
    seen = f"it looks like {kind}" if kind else "its first bytes are of no picture known here"
    raise PictureError(f"the file is empty; {WANTED}" if not data else f"{seen}; {WANTED}")


def gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of a GIF's canvas, grown to hold its first frame, as Pillow grows it."""
    width, height, flags = unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    for _ in range(MOST_PARTS):
        if data[at] == 0x21:  # an extension: its label, then blocks up to an empty one
            at += 2
        elif data[at] == 0x2C:
            left, top, across, down = unpack_from("<4H", data, at + 1)
            return max(width, left + across), max(height, top + down)
        at += data[at] + 1
    raise PictureError(_TOO_MANY_PARTS.format("GIF"))


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP, from whichever of its three headers it has."""
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def check_png(data: bytes) -> bytes:
    """The bytes of a still PNG, without what says nothing of its pixels.

    An animation's mark is cut out, and what Pillow warns of with it. So are texts and colour profiles: Pillow
    would inflate each to a megabyte.
    """
    at, most = 8, MOST_PARTS + len(data) // 4096  # image data comes in parts of 8 KiB and more
    kept: list[bytes] = []
    start = 0
    for _ in range(most):
        length, name = unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"IEND")
        if name == b"IEND":
            return b"".join([*kept, data[start:]]) if kept else data
        if name in _CUT_OUT:
            kept.append(data[start:at])
            start = at + length + 12
        at += length + 12
    raise PictureError(_TOO_MANY_PARTS.format("PNG"))


_CUT_OUT = {b"acTL", b"iCCP", b"iTXt", b"tEXt", b"zTXt"}


def check_bmp(data: bytes) -> None:
    """Refuse a run-length encoded BMP: Pillow decodes it byte by byte in Python, 3 s for 16 MiB."""
    if data[14] != _OLD_BMP_HEADER and unpack_from("<I", data, 30)[0] in (1, 2):
        raise PictureError("the BMP picture is run-length encoded, which is not read here; save it as PNG")


_OLD_BMP_HEADER = 12  # bytes, and no field that names an encoding


def check_jpeg(data: bytes, most_scans: int) -> bytes:
    """The bytes of a JPEG without the segments of applications, but for JFIF's, EXIF's and Adobe's colours.

    Refuses one whose header or whose scans would take long to walk. Pillow goes through bytes that belong to
    no segment, and through what Photoshop leaves behind, one by one in Python.
    """
    if data.count(b"\xff\xda") > most_scans:
        raise PictureError(_TOO_MANY_PARTS.format("JPEG"))
    kept: list[bytes] = []
    at = start = 2
    for _ in range(MOST_PARTS):
        marker = unpack_from(">H", data, at)[0]
        if marker == 0xFFDA:
            return b"".join([data[:2], *kept, data[start:]]) if kept else data
        if marker == 0xFFFF:
            at += 1
            continue
        if marker not in _SEGMENTS:
            raise IndexError(f"{marker:#x} begins no segment")
        end = at + 2 + unpack_from(">H", data, at + 2)[0]
        if marker in _CUT_OUT_SEGMENTS:
            kept.append(data[start:at])
            start = end
        at = end
    raise PictureError(_TOO_MANY_PARTS.format("JPEG"))


# Those with a length: frames, tables, restart intervals, applications' and comments.
_SEGMENTS = {*range(0xFFC0, 0xFFD0), *range(0xFFDB, 0xFFF0), 0xFFFE} - {0xFFC8}
_CUT_OUT_SEGMENTS = {*range(0xFFE0, 0xFFF0), 0xFFFE} - {0xFFE0, 0xFFE1, 0xFFEE}


_TOO_MANY_PARTS = "the {} file has more parts than any picture needs; save it anew as PNG or JPEG"


def orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8, or 1 where there is none: Exif 2.3, tag 0x0112 of the first directory."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = ">" if tiff.startswith(b"MM") else "<"
    try:
        first = unpack_from(order + "I", tiff, 4)[0]
        for entry in range(unpack_from(order + "H", tiff, first)[0]):
            tag, _, _, value = unpack_from(order + "HHIH", tiff, first + 2 + 12 * entry)
            if tag == 0x0112:
                return int(value)
    except error:
        pass
    return 1
