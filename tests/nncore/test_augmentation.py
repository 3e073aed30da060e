import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore import augmentation as module
from nncore.augmentation import Augmentation, Augmenter
from nncore.config import from_json, to_json
from nncore.errors import InputError, RecipeError

EVERYTHING = Augmentation(rotation=15, scale=0.12, shear=0.2, shift=2.5, elastic=36)
ONE_KIND = [
    Augmentation(rotation=15),
    Augmentation(scale=0.12),
    Augmentation(shear=0.2),
    Augmentation(shift=2.5),
    Augmentation(elastic=36),
]
augmentations = st.builds(
    Augmentation,
    rotation=st.sampled_from([0, 15, 180]),
    scale=st.sampled_from([0, 0.12, 0.9]),
    shear=st.sampled_from([0, 0.2, 2]),
    shift=st.sampled_from([0, 1.5]),
    elastic=st.sampled_from([0, 4, 30]),
    elastic_sigma=st.sampled_from([0.1, 0.7, 6]),
)
shapes = st.tuples(st.integers(2, 6), st.integers(2, 6)) | st.tuples(
    st.integers(2, 6), st.integers(2, 6), st.integers(1, 3)
)


class AtTheBounds:
    """Draws the same number, 1 for the end of every range, over and over."""

    def __init__(self, number=1.0):
        self.number = number

    def uniform(self, low, high, size):
        return np.full(size, self.number)


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def pictures(count, shape, seed=0, dtype=np.float32):
    return generator(seed).random((count, *shape), dtype)


def distort(augmentation, x, rng=None):
    augmenter = Augmenter(augmentation, x.shape[1:], x.dtype.type)
    return augmenter.apply(x, rng or generator(), np.empty(x.shape, x.dtype))


def read_from(x, y, x_, channel):
    """Return a picture's value between pixels, by the four around, its edge going on outside."""
    height, width = x.shape[:2]
    y, x_ = min(max(y, 0), height - 1), min(max(x_, 0), width - 1)
    value = 0.0
    for row, column in product((math.floor(y), math.floor(y) + 1), (math.floor(x_), math.floor(x_) + 1)):
        share = max(0, 1 - abs(row - y)) * max(0, 1 - abs(column - x_))
        if share:
            value += share * float(x[row, column, channel])
    return value


def blurred(noise, sigma):
    """Return (H, W) noise blurred pixel by pixel, with zeros outside."""
    reach = math.ceil(20 * sigma)
    total = sum(math.exp(-0.5 * (d / sigma) ** 2) for d in range(-reach, reach + 1))
    weight = [math.exp(-0.5 * (d / sigma) ** 2) / total for d in range(max(noise.shape))]
    result = np.zeros(noise.shape)
    for (i, j), (k, m) in product(np.ndindex(noise.shape), repeat=2):
        result[i, j] += weight[abs(i - k)] * weight[abs(j - m)] * noise[k, m]
    return result


def by_hand(augmentation, x, rng):
    """Return what the augmenter should, in float64, one pixel after the other."""
    height, width = x.shape[1:3]
    drawn = rng.uniform(-1, 1, (len(x), 6))
    result = np.empty(x.shape)
    for n in range(len(x)):
        angle, high, wide, shear, down, right = drawn[n]
        angle = math.radians(angle * augmentation.rotation)
        scaling = np.diag([1 + high * augmentation.scale, 1 + wide * augmentation.scale])
        shearing = np.array([[1, 0], [shear * augmentation.shear, 1]])
        turning = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        back = np.linalg.inv(turning @ shearing @ scaling)
        shift = augmentation.shift * np.array([down, right])
        field = np.zeros((2, height, width))
        if augmentation.elastic:
            noise = 2 * rng.random(field.shape, x.dtype.type).astype(float) - 1
            field = [augmentation.elastic * blurred(axis, augmentation.elastic_sigma) for axis in noise]
        centre = np.array([(height - 1) / 2, (width - 1) / 2])
        for i, j in np.ndindex(height, width):
            y, x_ = back @ ([i, j] - centre - shift) + centre + [field[0][i, j], field[1][i, j]]
            for channel in range(x[n, 0, 0].size):
                result[n].reshape(height, width, -1)[i, j, channel] = read_from(
                    x[n].reshape(height, width, -1), y, x_, channel
                )
    return result


@settings(max_examples=40)
@given(
    augmentations, shapes, st.integers(0, 3), st.integers(0, 999), st.sampled_from([np.float32, np.float64])
)
def test_every_pixel_is_what_a_loop_over_pixels_gives(augmentation, shape, count, seed, dtype):
    x = pictures(count, shape, seed, dtype)
    found = distort(augmentation, x, generator(seed))
    assert found.dtype == dtype
    tolerance = 1e-7 if dtype is np.float64 else 2e-4
    assert_allclose(found, by_hand(augmentation, x, generator(seed)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("shape", [(9, 7), (5, 5, 3)])
def test_a_shift_by_whole_pixels_moves_a_picture_exactly_and_its_edge_goes_on(shape):
    x = pictures(3, shape)
    moved = distort(Augmentation(shift=2), x, AtTheBounds())
    assert_array_equal(moved[:, 2:, 2:], x[:, :-2, :-2])
    assert_array_equal(moved[:, :2, 2:], x[:, [0, 0], :-2])
    assert_array_equal(moved[:, 2:, :2], x[:, :-2, [0, 0]])
    back = distort(Augmentation(shift=2), x, AtTheBounds(-1))
    assert_array_equal(back[:, :-2, :-2], x[:, 2:, 2:])


def test_a_turn_by_a_positive_angle_is_to_the_left():
    x = pictures(2, (8, 8))
    assert_allclose(distort(Augmentation(rotation=90), x, AtTheBounds()), np.rot90(x, axes=(1, 2)), atol=1e-5)


def test_scaling_up_enlarges_and_a_positive_shear_moves_what_is_below_to_the_right():
    x = np.zeros((1, 29, 29), np.float32)
    x[:, 9:20, 9:20] = 1
    assert distort(Augmentation(scale=0.5), x, AtTheBounds()).sum() == pytest.approx(
        1.5**2 * x.sum(), rel=0.04
    )
    assert_array_equal(distort(Augmentation(scale=0.5), x, AtTheBounds(-1))[:, 7:22, 7:22], x[:, ::2, ::2])
    sheared = distort(Augmentation(shear=1), x, AtTheBounds())
    centres = (sheared[0] @ np.arange(29))[9:20] / sheared[0].sum(1)[9:20]
    assert_allclose(centres, np.arange(9, 20), atol=1e-4)


def test_without_any_kind_a_picture_stays_as_it_is_and_no_number_is_drawn():
    x, rng = pictures(3, (6, 5, 2)), generator()
    assert_array_equal(distort(Augmentation(elastic_sigma=2), x, rng), x)
    assert rng.bit_generator.state == generator().bit_generator.state


@pytest.mark.parametrize("augmentation", [EVERYTHING, *ONE_KIND])
def test_every_kind_changes_pictures_each_in_a_way_of_its_own(augmentation):
    x = np.repeat(pictures(1, (12, 12)), 5, axis=0)
    found = distort(augmentation, x)
    assert len(np.unique(np.concatenate([x[:1], found]), axis=0)) == 6


@pytest.mark.parametrize("shape", [(28, 28), (9, 13, 3)])
def test_the_same_stream_gives_the_same_bytes_whatever_is_worked_on_at_a_time(shape, monkeypatch):
    x, rng = pictures(23, shape), generator(5)
    first, following = distort(EVERYTHING, x, rng), rng.random()
    for pixels in (1, 28 * 28 * 4, 28 * 28 * 100):
        monkeypatch.setattr(module, "CHUNK_PIXELS", pixels)
        rng = generator(5)
        assert distort(EVERYTHING, x, rng).tobytes() == first.tobytes()
        assert rng.random() == following
    assert distort(EVERYTHING, x, generator(6)).tobytes() != first.tobytes()


def test_an_augmenter_goes_on_from_the_place_of_a_stream_alone():
    x, rng = pictures(50, (28, 28)), generator()
    used = Augmenter(EVERYTHING, (28, 28))
    used.apply(x, rng, np.empty_like(x))
    place = rng.bit_generator.state
    second = used.apply(x[:7], rng, np.empty_like(x[:7]))
    rng.bit_generator.state = place
    assert distort(EVERYTHING, x[:7], rng).tobytes() == second.tobytes()


def test_a_batch_is_left_as_it_is_and_lies_in_any_order():
    x = pictures(4, (9, 11, 3))
    before = x.copy()
    assert_array_equal(distort(EVERYTHING, np.asfortranarray(x)), distort(EVERYTHING, x))
    assert_array_equal(x, before)
    with pytest.raises(ValueError, match="copy"):
        Augmenter(EVERYTHING, (9, 11, 3)).apply(x, generator(), np.empty_like(x, order="F"))


def places(augmentation, count=400, size=41):
    """Return from where the pixels of distorted pictures come, (count, size, size, 2), from their middle.

    A picture whose values are its coordinates tells.
    """
    x = np.moveaxis(np.indices((size, size)), 0, -1).astype(np.float64)
    return distort(augmentation, np.repeat(x[None], count, axis=0)) - (size - 1) / 2


def assert_spread(values, low, high):
    assert low <= values.min()
    assert values.max() <= high
    assert_allclose([values.min(), values.max()], [low, high], atol=0.02 * (high - low))
    assert values.mean() == pytest.approx((low + high) / 2, abs=0.06 * (high - low))
    assert values.std() == pytest.approx((high - low) / math.sqrt(12), rel=0.1)


def test_what_is_drawn_is_evenly_spread_within_its_bounds():
    middle = 20
    turned = places(Augmentation(rotation=30))[:, middle, middle + 10]
    assert_spread(np.degrees(np.arctan2(turned[:, 0], turned[:, 1])), -30, 30)
    assert_allclose(np.hypot(turned[:, 0], turned[:, 1]), 10)

    scaled = places(Augmentation(scale=0.2))
    high, wide = 10 / scaled[:, middle + 10, middle, 0], 10 / scaled[:, middle, middle + 10, 1]
    assert_spread(high, 0.8, 1.2)
    assert_spread(wide, 0.8, 1.2)
    assert abs(np.corrcoef(high, wide)[0, 1]) < 0.2

    sheared = places(Augmentation(shear=0.5))[:, middle + 10, middle]
    assert_spread(sheared[:, 1] / 10, -0.5, 0.5)
    assert_allclose(sheared[:, 0], 10)

    for axis in (0, 1):
        assert_spread(places(Augmentation(shift=2.5))[:, middle, middle, axis], -2.5, 2.5)


@pytest.mark.parametrize("sigma", [2, 6])
def test_an_elastic_field_is_as_strong_and_as_smooth_as_blurred_noise_is(sigma):
    moved = places(Augmentation(elastic=10 * sigma, elastic_sigma=sigma))
    moved -= np.moveaxis(np.indices((41, 41)), 0, -1) - 20
    middle = moved[:, 18:23, 18:23]
    # A sum of many numbers of variance 1/3 with weights g(i) g(j), where the sum of g² is 1 / (2 σ √π).
    assert middle.std() == pytest.approx(10 / (2 * math.sqrt(3 * math.pi)), rel=0.06)
    correlation = (moved[:, 20, 20] * moved[:, 20, 20 + sigma]).mean() / (moved[:, 20, 20] ** 2).mean()
    assert correlation == pytest.approx(math.exp(-0.25), abs=0.06)
    assert abs(np.corrcoef(middle[..., 0].ravel(), middle[..., 1].ravel())[0, 1]) < 0.1


def test_the_ink_of_a_figure_stays_about_the_same():
    y, x = np.indices((28, 28)) - 13.5
    figure = (np.abs(np.hypot(y, x) - 6) < 2).astype(np.float32)
    found = distort(EVERYTHING, np.repeat(figure[None], 200, axis=0))
    ink = found.sum((1, 2)) / figure.sum()
    assert ink.mean() == pytest.approx(1, abs=0.05)
    assert 0.5 < ink.min() <= ink.max() < 1.6
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("shape", [(), (784,), (1, 28), (28, 1, 3), (2, 28, 28, 1), (5000, 5000)])
def test_inputs_that_are_no_pictures_are_refused(shape):
    with pytest.raises(RecipeError, match=r"^augmentation: works on pictures, .* not on inputs of shape \("):
        Augmenter(EVERYTHING, shape)


@pytest.mark.parametrize(("x", "out"), [((3, 8, 7), (3, 8, 7)), ((3, 56), (3, 56)), ((3, 7, 8), (2, 7, 8))])
def test_a_batch_of_another_shape_is_refused(x, out):
    with pytest.raises(InputError, match=r"x and out must be \(N, 7, 8\), not"):
        Augmenter(EVERYTHING, (7, 8)).apply(np.zeros(x, np.float32), generator(), np.zeros(out, np.float32))


def test_an_augmentation_is_read_from_json_and_its_bounds_are_kept():
    assert from_json(Augmentation, {}) == Augmentation()
    assert not Augmentation().is_on
    assert all(kind.is_on for kind in ONE_KIND)
    assert from_json(Augmentation, to_json(EVERYTHING)) == EVERYTHING
    outside = {"rotation": 181, "scale": 1, "shear": -1, "shift": 65, "elastic": 1001, "elastic_sigma": 0}
    with pytest.raises(RecipeError) as caught:
        from_json(Augmentation, outside)
    assert caught.value.problems.keys() == outside.keys()
