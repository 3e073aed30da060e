"""What is ink and what is page in a grey picture of one figure: arrays in, arrays out.

Nothing is assumed about which of the two is darker, whether the light is even, or how much of the frame
the figure fills. In order: take away the slope of the light, split dark from light (Otsu 1979), decide
which of them is the page, refuse what is neither, and measure each pixel as a share of the way from page
to ink.
"""

import numpy as np

from nncore.errors import PictureError
from nncore.types import Array, ByteArray, FloatArray

# Grey levels between page and ink. Paper grain and camera noise stay below it; what a person makes out
# without effort, such as 20 levels of grey on grey, is above it.
LEAST_CONTRAST = 10.0
# Less slope than this, in grey levels over the whole picture, does no harm: a clean picture keeps its exact
# values. And a slope is taken away only where that makes dark and light this much more separable: a figure
# that fills its frame also looks a little like a slope.
GENTLE_SLOPE = 8.0
CLEARER = 0.05
# Ink and page have few pixels midway between them, noise and shadows many. Tightly cropped
# training digits with many midway pixels have a separability above 0.79 (reduced to 8 x 8, 1 in 70 has less).
# Noise has both: more midway than this, and less separability, 0.64 where it is Gaussian, 0.75 if uniform.
MOST_MIDWAY = 0.2
LEAST_SEPARABILITY = 0.77
# Specks without shape change sides between neighbours as often as chance has it, which is 1; strokes hang
# together.
MOST_RAGGED = 0.95
# Standard deviations of the paper's grain that are still paper.
GRAINS = 4.0


def ink_of(picture: ByteArray) -> FloatArray:
    """How inked each pixel is: (H, W) uint8 grey -> (H, W) float32 in 0..1, 0 the page and 1 full ink.

    Raises PictureError where there is nothing to read.
    """
    grey, threshold, separability = _evenly_lit(picture.astype(np.float32))
    light = grey > threshold
    if not light.any():
        raise PictureError(f"the picture is blank: every pixel is {picture.flat[0]}; a figure is expected")
    page_is_light = _page_is_light(light)
    page_side = light == page_is_light
    page, full = _levels(grey, page_side, page_is_light)
    if abs(full - page) < LEAST_CONTRAST:
        raise PictureError(
            f"the picture is blank: its greys differ by {abs(full - page):.0f} of 255 levels, "
            f"and at least {LEAST_CONTRAST:.0f} are needed between ink and page"
        )
    ink = (grey - page) * np.float32(1 / (full - page))
    _refuse_noise(ink, light, separability)
    return _without_grain(ink, int(np.count_nonzero(page_side)))


def otsu(grey: FloatArray) -> tuple[float, float]:
    """The grey that best parts dark from light, and how well: between-class over total variance, 0..1.

    N. Otsu, "A threshold selection method from gray-level histograms", 1979, on 256 bins between the
    darkest and the lightest pixel. A constant picture answers 0: nothing is above the threshold.
    """
    low, high = float(grey.min()), float(grey.max())
    if high <= low:
        return low, 0.0
    step = (high - low) / 255
    count = np.bincount(((grey - low) / step).astype(np.uint8).reshape(-1), minlength=256)
    below, moment = count.cumsum()[:-1], (count * _BINS).cumsum()
    mean = moment[-1] / grey.size
    between = (mean * below - moment[:-1]) ** 2 / np.maximum(below * (grey.size - below), 1)
    # Between two clean greys every threshold is as good: take the middle.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    threshold = low + step * float((best[0] + best[-1]) / 2 + 0.5)
    return threshold, float(between.max() / (count @ (_BINS - mean) ** 2) * grey.size)


_BINS = np.arange(256)


def _evenly_lit(grey: FloatArray) -> tuple[FloatArray, float, float]:
    """The picture less the slope of its light, if it is the clearer for it; its threshold, separability."""
    as_it_is = (grey, *otsu(grey))
    slope = _slope_of_light(grey)
    if np.ptp(slope) < GENTLE_SLOPE:
        return as_it_is
    grey = grey - slope
    evened = (grey, *otsu(grey))
    return evened if evened[2] > as_it_is[2] + CLEARER else as_it_is


def _slope_of_light(grey: FloatArray) -> FloatArray:
    """The quadric that most pixels lie on, by least absolute deviations: ink is an outlier to it.

    Found by reweighted least squares on at most about 40 x 40 samples.
    """
    rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in grey.shape)
    down, across = (max(1, n // 32) for n in grey.shape)
    values = grey[::down, ::across].reshape(-1)
    y, x = (a.reshape(-1) for a in np.meshgrid(rows[::down], columns[::across], indexing="ij"))
    basis = np.stack([np.ones_like(x), y, x, y * y, x * x, y * x]).astype(np.float64)
    fit = np.array([np.median(values), 0, 0, 0, 0, 0])
    for _ in range(8):
        weighted = basis / np.maximum(np.abs(values - fit @ basis), 0.5)
        fit = np.linalg.solve(weighted @ basis.T, weighted @ values)
    _, y1, x1, y2, x2, yx = fit.astype(np.float32)
    slope: FloatArray = ((y1 + y2 * rows) * rows)[:, None] + (x1 + x2 * columns) * columns
    slope += (yx * rows)[:, None] * columns
    return slope


def _page_is_light(light: Array) -> bool:
    """Whether light is the page: it has the corners, and a larger share of the border than of the whole.

    The weights are a logistic fit to tightly cropped MNIST training digits, as they are and emboldened.
    """
    border = np.concatenate([light[0], light[-1], light[1:-1, 0], light[1:-1, -1]]).mean()
    k = max(1, min(light.shape) // 8)
    corners = np.array([light[:k, :k], light[:k, -k:], light[-k:, :k], light[-k:, -k:]]).mean()
    return bool(19 * (border - 0.5) + 11 * (corners - 0.5) - 17 * (light.mean() - 0.5) > 0)


def _levels(grey: FloatArray, page_side: Array, page_is_light: bool) -> tuple[float, float]:
    """The grey of the page, a median, and that of full ink: the far decile, since strokes have soft edges.

    Of at most some 5,000 pixels each, evenly taken: sorting more is half of all the work.
    """
    page, ink = (side[:: 1 + len(side) // 5000] for side in (grey[page_side], grey[~page_side]))
    decile = len(ink) // 10 if page_is_light else len(ink) - 1 - len(ink) // 10
    return float(np.median(page)), float(np.partition(ink, decile)[decile])


def _refuse_noise(ink: FloatArray, light: Array, separability: float) -> None:
    """Raise PictureError unless dark and light part as ink and page do."""
    midway = np.count_nonzero((ink > 0.25) & (ink < 0.75)) / ink.size
    if (midway > MOST_MIDWAY and separability < LEAST_SEPARABILITY) or _raggedness(light) > MOST_RAGGED:
        raise PictureError("the picture holds noise or shadows only: no strokes stand out from the page")


def _raggedness(light: Array) -> float:
    """How often neighbours are on different sides, in units of pure chance."""
    share = float(light.mean())
    across, down = light[:, 1:] != light[:, :-1], light[1:] != light[:-1]
    changes = (np.count_nonzero(across) + np.count_nonzero(down)) / (across.size + down.size)
    return float(changes / (2 * share * (1 - share)))


def _without_grain(ink: FloatArray, page_pixels: int) -> FloatArray:
    """Clip to 0..1, and to 0 whatever is as near the page as its own grain, seen on the far side of it."""
    beyond = np.minimum(ink, 0).reshape(-1)
    grain = float(np.sqrt(2 * (beyond @ beyond) / page_pixels))
    ink = np.clip(ink, 0, 1)
    if grain > 0:
        ink[ink < min(GRAINS * grain, 0.5)] = 0
    return ink
