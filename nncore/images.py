"""From the bytes of a picture file to its pixels: PNG, JPEG, WebP, BMP and GIF, by Pillow.

The bytes come from strangers. The kind of file is told from its first bytes and only its own reader is
called, and directly: Image.open tries several, and warns where a size is refused here anyway. The size is
checked before a pixel is decoded, and whatever a reader raises becomes one PictureError.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Literal

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from nncore.allocation import return_freed
from nncore.errors import PictureError
from nncore.image_headers import check_bmp, check_jpeg, check_png, gif_size, kind_of, orientation, webp_size
from nncore.types import ByteArray

# A figure shows no more in a longer picture; the rest would only take time and memory.
LONGEST = 1024
# A progressive JPEG takes as long as it has scans, which cost next to no bytes. Encoders write about 10.
MOST_SCANS = 40
# Grey levels from dark to light in what is not transparent: with fewer it is ink alone, of one colour.
INK_AND_PAGE = 64
# Pixels of a picture after which freed memory is handed back: it is tens of megabytes, the call takes 1 ms.
LARGE = 1_000_000


class _StillJpeg(JpegImageFile):
    """A JPEG that does not read its EXIF on opening, for a resolution, and warn where that is corrupt."""

    def getexif(self) -> Image.Exif:
        return Image.Exif()


_READERS: dict[str, Callable[[BytesIO], ImageFile]] = {
    "PNG": PngImageFile,
    "JPEG": _StillJpeg,
    "WebP": WebPImageFile,
    "BMP": BmpImageFile,
    "GIF": GifImageFile,
}
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(data: bytes, *, channels: Literal[1, 3], max_pixels: int) -> ByteArray:
    """The pixels of a picture file: (H, W) uint8 grey for one channel, (H, W, 3) uint8 RGB for three.

    Upright as its EXIF says, at most 1024 pixels long, laid on a page that its ink stands out from where it
    is transparent. Of an animation, the first frame. The array may be read-only. Raises PictureError with one
    line that says what is wrong; a picture of more than `max_pixels` is refused before it is decoded.
    """
    kind = kind_of(data)
    try:
        picture = _open(kind, data, max_pixels)
        size = picture.size
        mode = "L" if channels == 1 else "RGB"
        if kind == "JPEG":
            picture.draft(mode, _fit(size))
        picture.load()
        pixels = _pixels(picture, mode)
    except PictureError:
        raise
    except Exception as error:  # OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error ...
        raise _damaged(kind) from error
    if size[0] * size[1] > LARGE:
        del picture
        return_freed()
    return pixels


def is_grey(data: bytes, *, max_pixels: int) -> bool:
    """Say by its header whether a picture file is grey; raises PictureError as decoding does."""
    kind = kind_of(data)
    try:
        return _open(kind, data, max_pixels).mode in ("1", "L", "LA", "I", "I;16")
    except PictureError:
        raise
    except Exception as error:
        raise _damaged(kind) from error


def _damaged(kind: str) -> PictureError:
    return PictureError(f"the {kind} picture is damaged or incomplete; send a whole file")


def _open(kind: str, data: bytes, max_pixels: int) -> ImageFile:
    """The reader of a file, its header read and its size checked."""
    if kind == "GIF":
        _check_size(gif_size(data), max_pixels)
    elif kind == "WebP":
        _check_size(webp_size(data), max_pixels)
    elif kind == "PNG":
        data = check_png(data)
    elif kind == "JPEG":
        data = check_jpeg(data, MOST_SCANS)
    else:
        check_bmp(data)
    picture = _READERS[kind](BytesIO(data))
    _check_size(picture.size, max_pixels)
    return picture


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise PictureError(
            f"the picture is {width} x {height} = {width * height:,} pixels; at most {max_pixels:,} are taken"
        )


def _fit(size: tuple[int, int]) -> tuple[int, int]:
    shrink = max(1.0, max(size) / LONGEST)
    return max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))


def _pixels(picture: Image.Image, mode: str) -> ByteArray:
    """Every kind of pixel that the five formats know, as grey or RGB."""
    turn = _UPRIGHT.get(orientation(picture.info["exif"])) if "exif" in picture.info else None
    picture = _byte_channels(picture)
    shrink = -(-max(picture.size) // LONGEST)
    if shrink > 1:
        picture = picture.reduce(shrink)
    if turn is not None:
        picture = picture.transpose(turn)
    if picture.mode in ("LA", "RGBA"):
        return _on_a_page(picture, mode)
    return _array(picture if picture.mode == mode else picture.convert(mode))


def _byte_channels(picture: Image.Image) -> Image.Image:
    """One byte a channel and no palette, so that pixels can be averaged; alpha only where there is some."""
    if picture.mode.startswith("I"):  # 16-bit grey, of which Pillow's own conversion keeps the wrong byte
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.has_transparency_data and picture.mode not in ("LA", "RGBA"):
        return picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture.convert("RGB") if picture.mode == "P" else picture


def _on_a_page(picture: Image.Image, mode: str) -> ByteArray:
    """The picture laid on a page of the grey that its ink stands out from."""
    alpha = np.asarray(picture.getchannel("A"))
    colours = _array(picture.convert(mode))
    if alpha.min() == 255:
        return colours
    page = _page_under(np.asarray(picture.convert("L")), alpha)
    if mode == "RGB":
        alpha = alpha[..., None]
    mixed: ByteArray = ((colours.astype(np.uint16) * alpha + np.uint16(page) * (255 - alpha)) // 255).astype(
        np.uint8
    )
    return mixed


def _page_under(grey: ByteArray, alpha: ByteArray) -> int:
    """White under dark ink, black under light; under a page with ink on it, more of the same page."""
    if alpha.max() == 0:
        raise PictureError("the picture is transparent all over: there is nothing to read")
    shown = grey[alpha > alpha.max() // 2]
    dark, middle, light = np.percentile(shown, [5, 50, 95])
    if light - dark > INK_AND_PAGE and 2 * shown.size > grey.size:
        return int(middle)
    return 0 if shown.mean() > 127 else 255


def _array(picture: Image.Image) -> ByteArray:
    """The bytes as they are: quicker than asarray, and without a second copy."""
    width, height = picture.size
    shape = (height, width) if picture.mode == "L" else (height, width, 3)
    return np.frombuffer(picture.tobytes(), np.uint8).reshape(shape)
