"""Pictures as the bytes of a file, wherever they come from."""

import io
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

# What a PNG file can hold of Pillow's modes.
_PNG_MODES = ("1", "L", "LA", "I;16", "P", "RGB", "RGBA")


@runtime_checkable
class Image(Protocol):
    """A picture of Pillow's."""

    mode: str

    def convert(self, mode: str) -> Any:
        """Return it in another mode."""

    def save(self, file: Any, format: str) -> None:  # noqa: A002
        """Write it."""


Picture = str | Path | bytes | Image


def is_picture(value: Any) -> TypeGuard[Picture]:
    """Tell whether a value is one picture, and no sequence of them."""
    return isinstance(value, (str, Path, bytes, Image))


def as_file(picture: Picture, number: int) -> tuple[str, bytes]:
    """Return a picture as the name and the content of a file."""
    if isinstance(picture, bytes):
        return f"picture-{number}", picture
    if isinstance(picture, (str, Path)):
        return Path(picture).name, Path(picture).read_bytes()
    file = io.BytesIO()
    (picture if picture.mode in _PNG_MODES else picture.convert("RGB")).save(file, "PNG")
    return f"picture-{number}.png", file.getvalue()
