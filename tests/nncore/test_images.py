"""Bytes of picture files, from honest and from dishonest senders."""

import struct
import time
import warnings
import zlib
from contextlib import suppress
from io import BytesIO

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nncore.errors import PictureError
from nncore.image_headers import orientation
from nncore.images import decode_picture

CAP = 16_000_000
FORMATS = ["PNG", "JPEG", "WEBP", "BMP", "GIF"]
OTHERS = [("P", "GIF"), ("1", "BMP"), ("P", "BMP"), ("CMYK", "JPEG"), ("L", "JPEG"), ("RGBA", "WEBP")]

GREY = np.add.outer(np.arange(20), 5 * np.arange(30)).astype(np.uint8)  # every row and column differs
COLOURS = np.stack([GREY, GREY[::-1], 255 - GREY], axis=2)


def encode(image, kind="PNG", **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decode(data, channels=1, max_pixels=CAP):
    return decode_picture(data, channels=channels, max_pixels=max_pixels)


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks, width=2, height=2):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pixels = zlib.compress((b"\0" + bytes(width)) * min(height, 100))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def bmp(width, height, *, bits, encoding):
    sizes = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, encoding, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + (1024 if bits == 8 else 0)) + sizes


def photoshop(records):
    content = b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * records
    return b"\xff\xed" + struct.pack(">H", 2 + len(content)) + content


JPEG = encode(GREY, "JPEG")
BOMB = zlib.compress(bytes(50_000_000))


def strokes(ink, page=(0, 0, 0, 0)):
    """A plus sign of one colour on a page of another, RGBA."""
    picture = np.empty((30, 30, 4), np.uint8)
    picture[...] = page
    picture[5:25, 14:17] = picture[14:17, 5:25] = ink
    return Image.fromarray(picture, "RGBA")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF"])
def test_grey_pixels_arrive_unchanged(kind):
    np.testing.assert_array_equal(decode(encode(GREY, kind)), GREY)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_colours_arrive_unchanged(kind):
    np.testing.assert_array_equal(decode(encode(COLOURS, kind), channels=3), COLOURS)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_formats_arrive_nearly_unchanged(kind):
    assert np.abs(decode(encode(GREY, kind, quality=95)).astype(int) - GREY).max() < 12


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_answers_in_one_channel_and_in_three(kind, channels):
    pixels = decode(encode(COLOURS, kind), channels)
    assert pixels.shape == ((20, 30) if channels == 1 else (20, 30, 3))
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(mode, "PNG") for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16")] + OTHERS,
)
def test_every_kind_of_pixel_shows_the_same_halves(mode, kind):
    halves = np.zeros((32, 32), np.uint8)
    halves[:, 16:] = 255
    if mode == "I;16":
        image = Image.fromarray(halves.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(halves).convert("RGB").convert(mode)
    for channels in (1, 3):
        pixels = decode(encode(image, kind), channels).reshape(32, 32, -1)
        assert pixels[:, :14].max() < 20
        assert pixels[:, 18:].min() > 235


def test_the_high_byte_of_16_bit_grey_is_kept():
    values = np.array([[0, 255, 256, 40000, 65535]], np.uint16)
    assert decode(encode(Image.fromarray(values))).tolist() == [[0, 0, 1, 156, 255]]


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(value, kind):
    upright = np.zeros((40, 64), np.uint8)
    upright[:20, :16] = 255  # no turn leaves it as it is
    image = Image.fromarray(upright)
    exif = image.getexif()
    exif[0x0112] = value
    turns = {2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose}
    turns |= {6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).T, 8: np.rot90}
    expected = turns.get(value, lambda a: a)(upright)
    pixels = decode(encode(image, kind, exif=exif))
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() < 5


def test_corrupt_exif_is_no_turn_and_no_warning():
    corrupt = b"II*\0\x08\0\0\0\x09\0" + struct.pack("<HHII", 0x0132, 2, 99, 9999)
    turned = encode(GREY, "JPEG", exif=b"Exif\0\0" + corrupt).replace(b"JFIF\0\1", b"none\0\1")
    assert decode(turned).shape == GREY.shape


@given(st.binary(max_size=80))
def test_any_exif_gives_a_number(data):
    assert isinstance(orientation(data), int)
    assert isinstance(orientation(b"Exif\0\0MM\0*" + data), int)


@pytest.mark.parametrize(
    ("ink", "page", "corner"),
    [
        pytest.param((0, 0, 0, 255), (0, 0, 0, 0), 255, id="black ink"),
        pytest.param((255, 255, 255, 255), (255, 255, 255, 0), 0, id="white ink"),
        pytest.param((200, 0, 0, 255), (0, 0, 0, 0), 255, id="red ink"),
        pytest.param((0, 0, 0, 90), (0, 0, 0, 0), 255, id="half transparent ink"),
        pytest.param((20, 20, 20, 255), (240, 240, 240, 255), 240, id="a page of its own"),
    ],
)
def test_ink_stays_visible_where_the_page_is_transparent(ink, page, corner):
    for channels in (1, 3):
        pixels = decode(encode(strokes(ink, page)), channels)
        assert (pixels[0, 0] == corner).all()
        assert np.abs(pixels[15, 15].astype(int) - corner).max() > 60


def test_transparent_corners_of_a_page_become_page():
    image = np.asarray(strokes((0, 0, 0, 255), (250, 250, 250, 255))).copy()
    image[:3, :3] = 0
    assert decode(encode(image))[0, 0] == 250


def test_palettes_and_greys_with_transparency_keep_their_ink():
    palette = strokes((0, 0, 0, 255)).convert("L").convert("P")
    for transparent in (encode(palette, transparency=255), encode(strokes((0, 0, 0, 255)).quantize(8))):
        pixels = decode(transparent)
        assert pixels[0, 0] != pixels[15, 15] or len(np.unique(pixels)) == 1
    keyed = np.full((10, 10), 255, np.uint8)
    keyed[2:8, 4:6] = 9
    pixels = decode(encode(Image.fromarray(255 - keyed), transparency=0))
    assert pixels[0, 0] == 0
    assert pixels[5, 5] == 246


def test_a_picture_that_is_transparent_all_over_is_refused():
    with pytest.raises(PictureError, match="transparent all over"):
        decode(encode(Image.new("RGBA", (20, 20))))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_the_first_picture_of_an_animation_is_taken(kind):
    frames = [Image.new("L", (16, 16), grey) for grey in (10, 120, 250)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(decode(data).astype(int) - 10).max() < 4


def test_an_animation_that_says_it_has_no_pictures_is_a_still_one():
    assert decode(png(chunk(b"acTL", bytes(8)))).shape == (2, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty; a PNG, JPEG, WebP, BMP or GIF picture is expected"),
        (b"seven\n", "looks like text; a PNG"),
        (b"  <svg xmlns='http://www.w3.org/2000/svg'/>", "looks like an SVG drawing"),
        (b"%PDF-1.7\n\x80", "looks like a PDF document"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "looks like a HEIC or AVIF picture"),
        (encode(GREY, "TIFF"), "looks like a TIFF picture"),
        (bytes(100), "its first bytes are of no picture known here"),
        (b"BM, said the text, is not only bitmap\x80", "no picture known here"),
        (b"\x89PNG\r\n\x1a\n", "the PNG picture is damaged or incomplete"),
        (b"\xff\xd8\xff\xe0", "the JPEG picture is damaged or incomplete"),
        (b"GIF89a", "the GIF picture is damaged or incomplete"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "the WebP picture is damaged or incomplete"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data, message):
    with pytest.raises(PictureError, match=message):
        decode(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(width=100_000, height=100_000), id="PNG"),
        pytest.param(b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",", id="GIF"),
        pytest.param(
            b"GIF89a\1\0\1\0\0\0\0!\xf9\4\x08\0\0\0\0,"
            + struct.pack("<4HB", 0, 0, 50_000, 50_000, 0)
            + b"\2",
            id="GIF with a frame larger than itself",
        ),
        pytest.param(b"RIFF\xff\0\0\0WEBPVP8X" + b"\x0a\0\0\0" + bytes(4) + b"\xff\x3f\0" * 2, id="WebP"),
        pytest.param(b"RIFF\xff\0\0\0WEBPVP8L" + b"\x0a\0\0\0\x2f\xff\xff\xff\x0f", id="WebP lossless"),
        pytest.param(
            b"BM" + bytes(12) + struct.pack("<IiiHHIIiiII", 40, 60_000, -60_000, 1, 24, 0, 0, 1, 1, 0, 0),
            id="BMP",
        ),
        pytest.param(
            b"\xff\xd8\xff\xc0\0\x0b\x08\xff\xff\xff\xff\1\1\x11\0\xff\xda\0\x08\1\1\0\0\x3f\0", id="JPEG"
        ),
    ],
)
def test_a_picture_that_claims_to_be_huge_costs_nothing(data):
    data += bytes(40)
    start, before = time.process_time(), psutil.Process().memory_info().rss
    with pytest.raises(PictureError, match=r"the picture is \d+ x \d+ = [\d,]+ pixels; at most 16,000,000"):
        decode(data)
    assert time.process_time() - start < 0.2
    assert psutil.Process().memory_info().rss - before < 5_000_000


def test_the_cap_itself_is_taken_and_one_pixel_more_is_not():
    assert decode(encode(GREY), max_pixels=600).shape == (20, 30)
    with pytest.raises(PictureError, match="30 x 20 = 600 pixels; at most 599"):
        decode(encode(GREY), max_pixels=599)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(chunk(b"zTXt", b"k\0\0" + BOMB)), id="text that inflates"),
        pytest.param(png(chunk(b"iCCP", b"k\0\0" + BOMB)), id="profile that inflates"),
        pytest.param(png(chunk(b"teSt", b"") * 200_000), id="empty chunks"),
        pytest.param(b"\xff\xd8" + b"\xff\xe1\0\2" * 500_000, id="empty JPEG segments"),
        pytest.param(b"\xff\xd8" + b"\xff" * 2_000_000, id="JPEG padding"),
        pytest.param(b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1a" * 1_000_000, id="GIF comments"),
        pytest.param(
            encode(GREY, "JPEG", progressive=True).replace(b"\xff\xd9", b"\xff\xda" * 99), id="scans"
        ),
        pytest.param(JPEG[:2] + photoshop(5400) * 240 + JPEG[2:], id="Photoshop's records"),
        pytest.param(b"\xff\xd8\xff\0" + b"\x7f" * (32_641 * 480 - 2) + JPEG[2:], id="bytes of no segment"),
        pytest.param(b"\xff\xd8" + (b"\xff\xf0" + b"\x7f" * 32_639) * 480 + JPEG[2:], id="extensions"),
        pytest.param(
            bmp(4000, 4000, bits=8, encoding=1) + bytes(1024) + b"\1\0" * 4_000_000, id="BMP in runs"
        ),
    ],
)
def test_a_file_made_to_take_long_does_not(data):
    start = time.process_time()
    with suppress(PictureError):
        decode(data)
    assert time.process_time() - start < 0.5


def test_texts_and_profiles_cost_nothing():
    text = zlib.compress(bytes(900_000))
    data = png(*(chunk(b"zTXt", b"k%d\0\0" % n + text) for n in range(100)), chunk(b"iCCP", b"k\0\0" + text))
    start = time.process_time()
    for _ in range(10):
        assert decode(data).shape == (2, 2)
    assert time.process_time() - start < 0.5


def test_a_jpeg_keeps_its_turn_and_its_colours_without_what_applications_left():
    turned = Image.Exif()
    turned[0x0112] = 6
    plain = encode(Image.fromarray(COLOURS).convert("CMYK"), "JPEG", exif=turned, quality=95)
    full = plain[:2] + photoshop(9) + plain[2:]
    full = full.replace(b"\xff\xdb", b"\xff\xfe\0\5abc\xff\xe2\0\4ab\xff\xff\xdb", 1)
    assert decode(full, 3).shape == (30, 20, 3)
    np.testing.assert_array_equal(decode(full, 3), decode(plain, 3))


@pytest.mark.parametrize("kind", FORMATS)
@given(data=st.data())
def test_a_damaged_file_is_a_picture_or_a_picture_error(kind, data):
    whole = encode(COLOURS, kind)
    damaged = bytearray(whole[: data.draw(st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(), suppress(PictureError):
        warnings.simplefilter("error")
        assert decode(bytes(damaged), 3).ndim == 3


@pytest.mark.parametrize("kind", FORMATS)
def test_half_a_file_is_refused(kind):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    whole = encode(noise, kind)
    with pytest.raises(PictureError, match="damaged or incomplete"):
        decode(whole[: len(whole) // 2])


@pytest.mark.parametrize(("mode", "kind"), [("RGB", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")])
def test_a_large_picture_is_reduced_and_leaves_no_memory_behind(mode, kind):
    image = Image.linear_gradient("L").resize((4000, 4000)).convert(mode)
    data = encode(image, kind, **({"compress_level": 1} if kind == "PNG" else {}))
    del image
    decode(data, 3)
    before = psutil.Process().memory_info().rss
    start = time.process_time()
    pixels = decode(data, 3)
    assert time.process_time() - start < 2
    assert psutil.Process().memory_info().rss - before < 10_000_000
    assert max(pixels.shape) in range(500, 1025)
    assert pixels[0].mean() < 5
    assert pixels[-1].mean() > 250


def test_a_long_thin_picture_keeps_a_row():
    assert decode(encode(Image.new("L", (50_000, 1), 7))).tolist() == [[7] * 1021]


def test_pillow_is_left_as_it_was():
    limit = Image.MAX_IMAGE_PIXELS
    decode(encode(GREY))
    assert limit == Image.MAX_IMAGE_PIXELS
