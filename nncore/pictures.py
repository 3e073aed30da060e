"""Pictures as networks read them: resized, and digits the way MNIST was made.

Y. LeCun, L. Bottou, Y. Bengio and P. Haffner, "Gradient-based learning applied to document recognition",
1998: the ink of a digit was scaled to fit 20 x 20 pixels, its aspect kept, and placed in 28 x 28 with its
centre of mass in the middle. In all of MNIST's pictures that is to say: nothing but ink above 0, a longer
side of 20, and a centre of mass within half a pixel of the fifteenth row and column.
"""

import numpy as np

from nncore.errors import PictureError
from nncore.ink import ink_of
from nncore.types import Array, ByteArray, FloatArray

SIDE = 28
BOX = 20
CENTRE = 14.0
SMALLEST = 8  # below this many pixels a 3 and an 8 are the same
LARGEST = 512  # for finding the ink: more takes time and shows nothing more of a figure

# What a 28 x 28 picture must show to pass for one of MNIST's, which reach 20, 0.52 and 254. Looser only where
# a network would not notice: what does not pass is made to, and comes out the same but for its place.
LEAST_BOX = 18
OFF_CENTRE = 0.75
LEAST_PEAK = 200
# The ink's box is that of pixels at least this much ink. Of the training digits all but 1 in 5,000 keep their
# box at this level; at 0.1 the soft edge of an enlarged picture counts as ink, and the digit comes out small.
EDGE = 0.25
# Rows or columns apart from the figure and with less than this share of its ink are a speck, not a stroke.
SPECK = 0.03
# This quantile of the scaled ink becomes full ink, as in the training digits: a thin pen is not a faint one.
FULL_INK = 0.75

_ONES = np.ones(SIDE, np.float32)
_PLACES = np.arange(SIDE, dtype=np.float32)


def normalize_digit(picture: ByteArray) -> FloatArray:
    """A digit as MNIST has it: (H, W) uint8 grey, any polarity -> (28, 28) float32 in 0..255, white on black.

    A picture that already looks like one of MNIST's is taken as it is. Raises PictureError where the picture
    is smaller than 8 x 8 or holds nothing to read.
    """
    _check(picture)
    if picture.shape == (SIDE, SIDE):
        ink = picture.astype(np.float32)
        if _is_like_mnist(ink):
            return ink
    ink = _crop(ink_of(_shrink(picture)))
    height, width = (max(1, round(n * BOX / max(ink.shape))) for n in ink.shape)
    digit = _resize(ink, height, width)
    digit *= 255 / np.quantile(digit[digit >= 0.1 * digit.max()], FULL_INK)
    return _centre(np.minimum(digit, 255))


def resize_picture(picture: ByteArray, height: int, width: int) -> FloatArray:
    """Resize (H, W) or (H, W, 3) uint8 to (height, width) or (height, width, 3) float32, in 0..255.

    Each pixel is the mean of the area that it covers; where the picture grows, it is interpolated linearly.
    """
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3) or 0 in picture.shape:
        raise PictureError(f"a picture is (H, W) or (H, W, 3) uint8, not {picture.shape} {picture.dtype}")
    return _resize(picture, height, width)


def _check(picture: ByteArray) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 2:
        raise PictureError(f"a grey picture is (H, W) uint8, not {picture.shape} {picture.dtype}")
    if min(picture.shape) < SMALLEST:
        height, width = picture.shape
        raise PictureError(
            f"the picture is {width} x {height} pixels; a digit needs at least {SMALLEST} x {SMALLEST}"
        )


def _is_like_mnist(ink: FloatArray) -> bool:
    rows, columns = ink @ _ONES, _ONES @ ink
    total = float(rows @ _ONES)
    if total == 0 or ink.max() < LEAST_PEAK:
        return False
    high, wide = rows.nonzero()[0], columns.nonzero()[0]
    longer = max(high[-1] - high[0], wide[-1] - wide[0]) + 1
    off = max(abs(rows @ _PLACES / total - CENTRE), abs(columns @ _PLACES / total - CENTRE))
    return bool(LEAST_BOX <= longer <= BOX and off <= OFF_CENTRE)


def _shrink(picture: ByteArray) -> ByteArray:
    """Means of k x k pixels, where the picture is larger than it need be; k at most 256."""
    height, width = picture.shape
    k = min(-(-max(height, width) // LARGEST), min(height, width) // SMALLEST, 256)
    if k <= 1:
        return picture
    height, width = height // k, width // k
    total = np.zeros((height, width), np.uint32)
    for i in range(k * k):
        total += picture[i // k :: k, i % k :: k][:height, :width]
    means: ByteArray = (total // (k * k)).astype(np.uint8)
    return means


def _crop(ink: FloatArray) -> FloatArray:
    """The box of the figure's ink, specks outside it left out."""
    ink = ink[_extent(ink, axis=1)]
    return ink[:, _extent(ink, axis=0)]


def _extent(ink: FloatArray, axis: int) -> slice:
    """From the first to the last run of inked rows (axis 1) or columns (axis 0) that is no speck."""
    inked = (ink >= EDGE).any(axis)
    runs = np.flatnonzero(np.diff(inked, prepend=False, append=False)).reshape(-1, 2)
    up_to = np.concatenate([[0], ink.sum(axis).cumsum()])
    mass = up_to[runs[:, 1]] - up_to[runs[:, 0]]
    kept = runs[mass >= min(SPECK * up_to[-1], mass.max())]
    return slice(int(kept[0, 0]), int(kept[-1, 1]))


def _centre(digit: FloatArray) -> FloatArray:
    """(h, w) of at most 20 x 20 -> (28, 28), the centre of mass as near the middle as whole pixels allow."""
    picture = np.zeros((SIDE, SIDE), np.float32)
    height, width = digit.shape
    rows, columns = digit.sum(1), digit.sum(0)
    total = rows.sum()
    top = round(CENTRE - float(rows @ _PLACES[:height] / total))
    left = round(CENTRE - float(columns @ _PLACES[:width] / total))
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    picture[top : top + height, left : left + width] = digit
    return picture


def _resize(picture: Array, height: int, width: int) -> FloatArray:
    """Rows by one small matrix product, then columns by another; 64 rows at a time for bounded memory."""
    down, across = _weights(picture.shape[0], height), _weights(picture.shape[1], width)
    flat = picture.reshape(len(picture), -1)
    rows = np.zeros((height, flat.shape[1]), np.float32)
    for top in range(0, len(flat), 64):
        rows += down[:, top : top + 64] @ flat[top : top + 64].astype(np.float32, copy=False)
    resized: FloatArray = np.matmul(
        across, rows.reshape(height, *picture.shape[1:], *(1,) * (3 - picture.ndim))
    )
    return resized[..., 0] if picture.ndim == 2 else resized


def _weights(size: int, target: int) -> FloatArray:
    """(target, size) shares: of the area that a target pixel covers, or linear where the picture grows."""
    step = size / target
    first = np.arange(target)[:, None] * step
    if step >= 1:
        source = np.arange(size)
        shares = np.minimum(first + step, source + 1) - np.maximum(first, source)
    else:
        nearest = np.clip(first + step / 2 - 0.5, 0, size - 1)
        shares = 1 - np.abs(np.arange(size) - nearest)
    shares = np.maximum(shares, 0)
    weights: FloatArray = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    return weights
