"""Pictures that tests send."""

import struct
import zlib
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Digit:
    """A real digit, and what the shipped model said of it when it was made."""

    pixels: np.ndarray[Any, Any]
    label: str
    probabilities: list[float]

    @property
    def png(self) -> bytes:
        return picture_file(self.pixels)


def picture_file(pixels: Any, kind: str = "PNG") -> bytes:
    """Return pixels, (H, W) or (H, W, 3), as a picture file."""
    file = BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, kind)
    return file.getvalue()


def claimed_png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a grey PNG that claims a size, whatever its compressed data hold."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", data),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def plain_png(width: int, height: int, grey: int = 0) -> bytes:
    """Return a true PNG of one grey, which packs a thousandfold."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes([grey]) * width
    return claimed_png(width, height, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())
