"""Pictures become what MNIST's are: the real digits, drawn in the ways that people send them."""

import time
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageFilter

from nncore.datasets.digits import load_digits
from nncore.errors import PictureError
from nncore.ink import ink_of, otsu
from nncore.pictures import normalize_digit, resize_picture


@pytest.fixture(scope="module")
def digits():
    """Six of each class, of the validation images."""
    split = load_digits().validation
    rows = np.concatenate([np.flatnonzero(split.targets == label)[:6] for label in range(10)])
    return split.inputs[rows]


def crop(image, level=0):
    rows, columns = np.flatnonzero((image > level).any(1)), np.flatnonzero((image > level).any(0))
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def enlarge(image, factor, resampling=Image.Resampling.BICUBIC):
    height, width = image.shape
    return np.asarray(Image.fromarray(image).resize((width * factor, height * factor), resampling))


def as_bytes(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def likeness(a, b):
    return np.corrcoef(np.asarray(a, float).ravel(), np.asarray(b, float).ravel())[0, 1]


def likeness_of_digits(a, b):
    """Up to a pixel of place: where the centre of mass lies between two, a breath decides for one of them."""
    moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return max(likeness(np.roll(a, move, (0, 1)), b) for move in moves)


def worst_likeness(digits, draw):
    return min(likeness_of_digits(normalize_digit(draw(digit)), digit) for digit in digits)


def bold(image, size=3):
    return np.asarray(Image.fromarray(image).filter(ImageFilter.MaxFilter(size)))


def jpeg(image, quality=50):
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def noisy(image, sigma):
    return as_bytes(image + np.random.default_rng(0).standard_normal(image.shape) * sigma)


def page(ink, light):
    """Dark ink on a page of 170 grey levels, plus a light that varies over -1..1 down and across."""
    rows, columns = (np.linspace(-1, 1, n) for n in ink.shape)
    return noisy(170 - 130 * (ink / 255) + light(rows[:, None], columns[None]), 3)


def test_a_picture_of_mnist_is_taken_as_it_is():
    images = load_digits().validation.inputs
    untouched = [np.array_equal(normalize_digit(image), image) for image in images]
    assert np.mean(untouched) > 0.999


def test_the_result_is_28_by_28_float32_from_0_to_255(digits):
    for picture in (digits[0], 255 - enlarge(digits[0], 10), crop(digits[0])):
        digit = normalize_digit(picture)
        assert digit.shape == (28, 28)
        assert digit.dtype == np.float32
        assert 0 <= digit.min() < 1
        assert 254 < digit.max() <= 255


def test_a_faint_digit_in_its_place_gets_full_ink(digits):
    digit = normalize_digit(digits[20] // 3)
    assert digit.max() == pytest.approx(255)
    assert likeness(digit, digits[20]) > 0.99


def test_the_grain_of_the_paper_is_not_ink(digits):
    for digit in digits[::6]:
        grainy = normalize_digit(noisy(230 - 0.7 * enlarge(digit, 10), 8))
        assert np.count_nonzero(grainy > 3) < 1.3 * np.count_nonzero(digit)


@pytest.mark.parametrize(("down", "right"), [(-4, 0), (4, 0), (0, -4), (0, 4), (3, -3)])
def test_a_shifted_digit_comes_back_to_its_place(digits, down, right):
    def shift(image):
        return np.pad(image, 4)[4 - down :, 4 - right :][:28, :28]

    kept = [digit for digit in digits if np.count_nonzero(shift(digit)) == np.count_nonzero(digit)]
    assert len(kept) > 15
    assert worst_likeness(kept, shift) > 0.995


def test_a_small_digit_in_28_by_28_is_enlarged(digits):
    small = np.pad(resize_picture(digits[20], 14, 14).astype(np.uint8), 7)
    digit = normalize_digit(small)
    assert max(crop(digit, 64).shape) >= 19
    assert likeness_of_digits(digit, digits[20]) > 0.8


@pytest.mark.parametrize("resampling", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
def test_a_digit_drawn_dark_on_a_large_page_becomes_the_digit(digits, resampling):
    assert worst_likeness(digits, lambda digit: 255 - enlarge(digit, 10, resampling)) > 0.9


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(crop, id="cropped to its ink"),
        pytest.param(lambda digit: np.pad(crop(digit), 1), id="with a frame of one pixel"),
        pytest.param(lambda digit: crop(bold(digit)), id="bold, cropped"),
        pytest.param(lambda digit: crop(bold(digit, 5), 128), id="very bold, cropped"),
        pytest.param(lambda digit: enlarge(crop(digit), 6), id="cropped, enlarged"),
        pytest.param(lambda digit: jpeg(enlarge(digit, 3)), id="as a JPEG"),
        pytest.param(lambda digit: as_bytes(60 + digit * (20 / 255)), id="grey on grey"),
        pytest.param(lambda digit: noisy(50 + 0.6 * enlarge(digit, 4), 15), id="grainy"),
        pytest.param(lambda digit: np.pad(digit, ((0, 100), (40, 0))), id="in a corner"),
    ],
)
def test_ink_is_recognised_in_either_polarity(digits, draw):
    tall = [digit for digit in digits if min(crop(digit).shape) >= 8]
    for picture in map(draw, tall):
        ink, from_negative = ink_of(picture), ink_of(255 - picture)
        assert likeness(ink, picture) > 0.6
        assert likeness(from_negative, picture) > 0.6


@pytest.mark.parametrize("label", [0, 1, 8])
def test_a_digit_that_fills_its_frame_reads_the_same_dark_and_light(digits, label):
    for digit in digits[6 * label : 6 * label + 6]:
        filling = enlarge(crop(digit), 4)
        white, black = normalize_digit(filling), normalize_digit(255 - filling)
        assert likeness_of_digits(white, digit) > 0.9
        assert likeness_of_digits(black, digit) > 0.9


@pytest.mark.parametrize(
    "light",
    [
        pytest.param(lambda y, x: 55 * x + 25 * y, id="from one side"),
        pytest.param(lambda y, x: -40 * (x * x + y * y), id="in the middle"),
    ],
)
def test_uneven_light_does_not_matter(digits, light):
    assert worst_likeness(digits, lambda digit: page(enlarge(digit, 10), light)) > 0.9


def test_a_speck_beside_the_digit_does_not_move_it(digits):
    for digit in digits[::3]:
        sheet = 255 - enlarge(digit, 10)
        sheet[3:6, 270:273] = 0
        assert likeness_of_digits(normalize_digit(sheet), digit) > 0.93


def test_a_thin_pen_is_not_a_faint_one(digits):
    drawn = np.zeros((280, 280), np.uint8)
    drawn[40:240, 140:142] = 255
    drawn[230:240, 136:146] = 255  # where it rested
    assert np.median(normalize_digit(drawn).max(1)[5:23]) > 200


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((28, 28), 255, np.uint8), "blank: every pixel is 255"),
        (noisy(np.full((100, 100), 200.0), 2), "blank: its greys differ by . of 255 levels"),
        (noisy(np.full((28, 28), 128.0), 40), "noise or shadows only"),
        (np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8), "noise or shadows only"),
        (
            np.random.default_rng(0).choice([0, 255], (64, 64), p=[0.8, 0.2]).astype(np.uint8),
            "noise or shadows",
        ),
        (enlarge(noisy(np.full((20, 20), 200.0), 12), 10), "noise or shadows only"),
        (page(np.zeros((280, 280)), lambda y, x: 60 * x), "blank|noise or shadows only"),
        (np.zeros((7, 40), np.uint8), "40 x 7 pixels; a digit needs at least 8 x 8"),
        (np.zeros((28, 28)), r"uint8, not \(28, 28\) float64"),
        (np.zeros((28, 28, 3), np.uint8), r"\(H, W\) uint8, not \(28, 28, 3\)"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(picture, message):
    with pytest.raises(PictureError, match=message):
        normalize_digit(picture)


@given(arrays(np.uint8, st.tuples(st.integers(8, 40), st.integers(8, 40))))
def test_any_picture_is_a_digit_or_a_picture_error(picture):
    try:
        digit = normalize_digit(picture)
    except PictureError:
        return
    assert digit.shape == (28, 28)
    assert np.isfinite(digit).all()
    assert digit.max() > 0


@given(st.integers(0, 59), st.integers(0, 60), st.integers(0, 60), st.integers(20, 255), st.booleans())
def test_place_contrast_and_polarity_do_not_matter(digits, row, top, left, contrast, negative):
    sheet = np.zeros((100, 100), float)
    sheet[top : top + 28, left : left + 28] = digits[row]
    sheet = as_bytes(sheet * (contrast / 255))
    assert likeness_of_digits(normalize_digit(255 - sheet if negative else sheet), digits[row]) > 0.97


def test_otsu_parts_two_greys_in_the_middle_and_knows_that_they_part_well():
    threshold, separability = otsu(np.array([[10, 10, 10, 90]], np.float32))
    assert threshold == pytest.approx(50, abs=1)
    assert separability == pytest.approx(1)


def test_a_picture_resized_to_its_own_size_is_itself(digits):
    np.testing.assert_array_equal(resize_picture(digits[0], 28, 28), digits[0])


def test_halving_takes_the_mean_of_four():
    picture = np.array([[0, 100, 8, 8], [20, 40, 8, 8]], np.uint8)
    np.testing.assert_allclose(resize_picture(picture, 1, 2), [[40, 8]])


def test_a_third_of_a_pixel_counts_for_a_third():
    np.testing.assert_allclose(resize_picture(np.array([[0, 90, 30]], np.uint8), 1, 2), [[30, 50]], rtol=1e-6)


def test_doubling_interpolates_between_centres():
    np.testing.assert_allclose(resize_picture(np.array([[0, 100]], np.uint8), 1, 4), [[0, 25, 75, 100]])


@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 9), st.just(3))), st.integers(1, 12))
def test_colours_are_resized_apart_and_stay_in_range(picture, size):
    resized = resize_picture(picture, size, size + 1)
    assert resized.shape == (size, size + 1, 3)
    assert resized.dtype == np.float32
    assert picture.min() - 0.01 <= resized.min() <= resized.max() <= picture.max() + 0.01
    for channel in range(3):
        alone = resize_picture(np.ascontiguousarray(picture[..., channel]), size, size + 1)
        np.testing.assert_allclose(resized[..., channel], alone, atol=1e-3)


@given(arrays(np.uint8, st.tuples(st.integers(1, 150), st.integers(1, 20))))
def test_shrinking_to_one_pixel_is_the_mean(picture):
    np.testing.assert_allclose(
        resize_picture(picture, 1, 1), picture.mean(keepdims=True), rtol=1e-4, atol=1e-3
    )


def test_only_pictures_are_resized():
    with pytest.raises(PictureError, match="uint8, not"):
        resize_picture(np.zeros((4, 4), np.float32), 2, 2)


def test_a_picture_of_16_megapixels_takes_less_than_a_second(digits):
    large = np.full((4000, 4000), 255, np.uint8)
    large[:280, :280] = 255 - enlarge(digits[20], 10)
    start = time.process_time()
    normalize_digit(large)
    assert time.process_time() - start < 1
