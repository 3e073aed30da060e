"""Affine and elastic distortions of training pictures, a batch at a time.

P. Simard, D. Steinkraus and J. Platt, "Best practices for convolutional neural networks applied to visual
document analysis", 2003. Both kinds move the places that pixels are read from, so the moves are added up and
a picture is resampled once, however many kinds are on.
"""

import math
from dataclasses import dataclass

import numpy as np

from nncore.config import number
from nncore.errors import InputError, RecipeError
from nncore.types import Array, FloatArray, Shape

# So many pixels are worked on at a time: what is kept of them, 44 bytes each in float32, stays in a core's
# cache of 1 MB.
CHUNK_PIXELS = 2**14
# Up to here float32 holds the index of every pixel.
MOST_PIXELS = 2**24


@dataclass(frozen=True)
class Augmentation:
    """How much pictures are distorted, each kind evenly spread up to its bound; 0 is off.

    A picture is scaled, sheared and rotated about its centre, then shifted, all by numbers of its own:
    `rotation` in degrees either way; `scale` s for factors of 1 - s to 1 + s, one for the height and one for
    the width; `shear` in pixels to the side for each pixel down; `shift` in pixels, down and to the side.
    `elastic` is Simard's alpha: each pixel moves by a smooth random field, which is numbers from -1 to 1
    blurred by a Gaussian of `elastic_sigma` pixels, times alpha. Outside a picture its edge goes on.
    """

    rotation: float = number(0.0, minimum=0, maximum=180)
    scale: float = number(0.0, minimum=0, below=1)
    shear: float = number(0.0, minimum=0, maximum=2)
    shift: float = number(0.0, minimum=0, maximum=64)
    elastic: float = number(0.0, minimum=0, maximum=1000)
    elastic_sigma: float = number(6.0, minimum=0.1, maximum=64)

    @property
    def is_on(self) -> bool:
        """Whether it changes anything."""
        return any((self.rotation, self.scale, self.shear, self.shift, self.elastic))

    def check(self, shape: Shape) -> str | None:
        """Return what is wrong with inputs of this shape, None if they are pictures."""
        if len(shape) in (2, 3) and min(shape[:2]) >= 2 and math.prod(shape[:2]) <= MOST_PIXELS:
            return None
        right = "(H, W) or (H, W, C), of 2×2 to 4096×4096 pixels"
        return f"works on pictures, {right}, not on inputs of shape {shape}"


class Augmenter:
    """Distorts pictures of one shape, (H, W) or (H, W, C), with buffers that are made once.

    The numbers it draws are all that its results depend on, so the stream's position is its whole state.
    """

    def __init__(self, augmentation: Augmentation, shape: Shape, dtype: type = np.float32) -> None:
        """Raise RecipeError unless shape is that of a picture."""
        if problem := augmentation.check(shape):
            raise RecipeError({"augmentation": problem})
        self.augmentation, self.shape = augmentation, shape
        self.height, self.width = height, width = shape[:2]
        self.channels = math.prod(shape[2:])
        self.centre = (height - 1) / 2, (width - 1) / 2
        y, x = np.indices((height, width))
        grid = np.stack([y - self.centre[0], x - self.centre[1], np.ones_like(y)])
        self.grid: FloatArray = grid.reshape(3, -1).astype(dtype)
        # Noise goes from 0 to 1, less a half, hence twice alpha.
        sigma, strength = augmentation.elastic_sigma, 2 * augmentation.elastic
        self.blur_down: FloatArray = (strength * gaussian(height, sigma)).astype(dtype)
        self.blur_across: FloatArray = gaussian(width, sigma).astype(dtype)
        self.chunk = max(1, CHUNK_PIXELS // (height * width))
        self.fields: FloatArray = np.empty((2, self.chunk, 2, height, width), dtype)
        self.places: FloatArray = np.empty((2, self.chunk, height * width), dtype)
        self.index = np.empty((self.chunk, height * width), np.intp)
        self.room: FloatArray = np.empty((3, self.chunk, height * width), dtype)

    def apply(self, x: FloatArray, rng: np.random.Generator, out: FloatArray) -> FloatArray:
        """Write distorted pictures into `out` and return it; x: (N, H, W) or (N, H, W, C), and not `out`."""
        if x.shape[1:] != self.shape or out.shape != x.shape:
            raise InputError(f"x and out must be (N, {str(self.shape)[1:-1]}), not {x.shape} and {out.shape}")
        if not self.augmentation.is_on:
            np.copyto(out, x)
            return out
        maps = draw_maps(self.augmentation, rng, len(x))
        maps[:, :, 2] += self.centre
        maps = maps.astype(x.dtype)
        source = x.reshape(-1)
        target = out.reshape(len(x), self.height * self.width, self.channels, copy=False)
        for start in range(0, len(x), self.chunk):
            some = slice(start, start + self.chunk)
            places = self._places(maps[some], rng)
            index = self._split(places, start)
            for channel in range(self.channels):
                self._blend(source[channel:], index, places, target[some, :, channel])
        return out

    def _places(self, maps: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return where the pixels of n pictures are read, (2, n, H·W), from maps (n, 2, 3)."""
        places = self.places[:, : len(maps)]
        # A product for each picture: in one of them all BLAS may give a row other last bits than alone, and
        # it is no faster.
        np.matmul(maps, self.grid, out=places.swapaxes(0, 1))
        if self.augmentation.elastic:
            noise, blurred = self.fields[:, : len(maps)]
            rng.random(out=noise, dtype=noise.dtype.type)
            noise -= 0.5
            np.matmul(self.blur_down, noise, out=blurred)
            np.matmul(blurred, self.blur_across, out=noise)
            places += noise.reshape(len(maps), 2, -1).swapaxes(0, 1)
        return places

    def _split(self, places: FloatArray, start: int) -> Array:
        """Return the index of each place's upper left pixel; leave in places how far it is from that."""
        index = self.index[: len(places[0])]
        rows, columns, _ = self.room[:, : len(index)]
        for place, corner, size in zip(places, (rows, columns), (self.height, self.width), strict=True):
            # A bound for each axis in one call would take six times as long.
            place.clip(0, size - 1, out=place)
            np.floor(place, out=corner)
            place -= corner
        rows *= self.width
        rows += columns
        np.copyto(index, rows, casting="unsafe")
        index += np.arange(start, start + len(index))[:, None] * index.shape[1]
        if self.channels > 1:
            index *= self.channels
        return index

    def _blend(self, source: FloatArray, index: Array, shares: FloatArray, out: FloatArray) -> None:
        """Write into `out` the four pixels at and after each index, mixed by shares (2, n, H·W)."""
        # Beyond an edge the share is 0, so it does not matter which finite number is read there: a pixel of
        # the next row or picture. Beyond the last picture mode="clip" reads its last pixel; it also spares a
        # buffered copy.
        upper, lower, right = self.room[:, : len(index)]
        down, across = shares
        for left, begin in ((upper, 0), (lower, self.width * self.channels)):
            source[begin:].take(index, out=left, mode="clip")
            source[begin + self.channels :].take(index, out=right, mode="clip")
            right -= left
            right *= across
            left += right
        lower -= upper
        lower *= down
        np.add(upper, lower, out=out)


def draw_maps(augmentation: Augmentation, rng: np.random.Generator, count: int) -> FloatArray:
    """Draw affine maps, (count, 2, 3): from (y, x, 1) in a distorted picture to (y, x) in the original.

    Both are counted from the centre.
    """
    most = augmentation
    bounds = [math.radians(most.rotation), most.scale, most.scale, most.shear, most.shift, most.shift]
    angle, high, wide, shear, down, right = (rng.uniform(-1, 1, (count, 6)) * bounds).T
    cos, sin = np.cos(angle), np.sin(angle)
    # The inverse of rotation · shear · scale; a positive angle turns left.
    inverse = np.array([[cos, sin], [-sin - shear * cos, cos - shear * sin]])
    inverse /= np.array([1 + high, 1 + wide])[:, None]
    offset = -inverse[:, 0] * down - inverse[:, 1] * right
    return np.concatenate([inverse, offset[:, None]], axis=1).transpose(2, 0, 1)


def gaussian(size: int, sigma: float) -> FloatArray:
    """Return the matrix, (size, size), that blurs by a Gaussian, with zeros outside."""
    reach = math.ceil(6 * sigma)
    weights = np.exp(-0.5 * (np.arange(max(size, reach + 1)) / sigma) ** 2)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    matrix: FloatArray = (weights / (2 * weights[: reach + 1].sum() - 1))[distance]
    return matrix
