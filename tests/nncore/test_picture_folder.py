"""Pictures in a folder a class, on disk and in zip files, from honest and from dishonest senders."""

import io
import os
import stat
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from PIL import Image

from nncore.datasets import Dataset, picture_folder, room
from nncore.datasets.dividing import divide
from nncore.datasets.picture_folder import read_pictures
from nncore.datasets.sources import Pictures
from nncore.errors import DatasetError
from nncore.pictures import resize_picture

RNG = np.random.default_rng(0)


def encode(pixels, kind="PNG", mode=None, **options):
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind, **options)
    return file.getvalue()


def grey(height=4, width=5):
    return RNG.integers(0, 256, (height, width)).astype(np.uint8)


def colour(height=4, width=5):
    return RNG.integers(0, 256, (height, width, 3)).astype(np.uint8)


PIXELS = {f"{label}/{number}.png": grey() for label in ("cat", "dog") for number in range(7)}
FILES = {name: encode(pixels) for name, pixels in PIXELS.items()}


def write_folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def write_zip(path, files, inside=""):
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name if isinstance(name, zipfile.ZipInfo) else inside + name, data)
    return path


def read(path, **options):
    return read_pictures(Pictures(str(path), **options))


def parts(dataset):
    return dataset.train, dataset.validation, dataset.test


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "pets", FILES)


def test_a_folder_a_class_is_pictures_with_their_classes(folder):
    dataset = read(folder)
    classes = np.repeat([0, 1], 7)
    held = divide(dataset.sha256, classes, 14, 0.15, 0.15)
    pixels = np.stack(list(PIXELS.values()))
    assert (dataset.name, dataset.labels, dataset.input_range) == ("pets", ("cat", "dog"), (0, 255))
    assert (dataset.picture.height, dataset.picture.width, dataset.picture.channels) == (4, 5, 1)
    assert dataset.is_private
    for number, part in enumerate(parts(dataset)):
        assert_array_equal(part.inputs, pixels[held == number])
        assert_array_equal(part.targets, classes[held == number])


@pytest.mark.parametrize("inside", ["", "pets/", "./", "./pets/"])
def test_a_zip_file_is_the_folder_that_was_zipped(tmp_path, folder, inside):
    files = dict(reversed(FILES.items()))
    zipped = read(write_zip(tmp_path / "z.zip", files, inside))
    assert zipped.sha256 == read(folder).sha256
    assert zipped.name == "z"
    for mine, other in zip(parts(zipped), parts(read(folder)), strict=True):
        assert_array_equal(mine.inputs, other.inputs)
        assert_array_equal(mine.targets, other.targets)


def test_another_name_or_another_byte_makes_it_another_dataset(tmp_path, folder):
    first = read(folder).sha256
    (folder / "cat/0.png").rename(folder / "cat/9.png")
    second = read(folder).sha256
    (folder / "cat/9.png").write_bytes(encode(grey()))
    assert len({first, second, read(folder).sha256, read(folder, height=4, width=5).sha256}) == 4


def test_what_systems_leave_behind_is_no_picture(tmp_path, folder):
    litter = {"cat/Thumbs.db": b"?", "dog/.DS_Store": b"?", "cat/desktop.ini": b"?", ".git/a/b": b"?"}
    more = {"__MACOSX/cat/._0.png": b"?", "__MACOSX/._cat": b"?", ".DS_Store": b"?", "cat/": b""}
    expected = read(folder).sha256
    assert read(write_folder(folder, litter)).sha256 == expected
    assert read(write_zip(tmp_path / "z.zip", FILES | litter | more)).sha256 == expected


KINDS = {
    "grey": (encode(grey()), 1),
    "two tones": (encode(grey(), mode="1"), 1),
    "16 bits": (encode(grey().astype(np.uint16) << 8), 1),
    "grey with alpha": (encode(np.stack([grey(), grey() | 1], axis=2)), 1),
    "grey JPEG": (encode(grey(), "JPEG"), 1),
    "colour": (encode(colour()), 3),
    "palette": (encode(colour(), mode="P"), 3),
    "alpha": (encode(np.dstack([colour(), grey() | 1])), 3),
    "JPEG": (encode(colour(), "JPEG"), 3),
    "CMYK": (encode(colour(), "JPEG", "CMYK"), 3),
    "WebP": (encode(colour(), "WEBP"), 3),
    "BMP": (encode(colour(), "BMP"), 3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_grey_where_all_are_and_colour_where_one_is_not(folder, kind):
    data, channels = KINDS[kind]
    (folder / "dog/6.png").write_bytes(data)
    assert read(folder).picture.channels == channels
    assert read(folder).train.inputs.shape[1:] == ((4, 5) if channels == 1 else (4, 5, 3))
    for wanted in (1, 3):
        assert read(folder, channels=wanted).picture.channels == wanted


def test_pictures_of_any_size_become_the_one_that_is_asked_for(folder):
    (folder / "dog/6.png").write_bytes(encode(colour(40, 30)))
    (folder / "cat/0.png").write_bytes(encode(grey(1, 2000)))
    dataset = read(folder, height=8, width=6)
    assert dataset.train.inputs.shape[1:] == (8, 6, 3)
    assert dataset.train.inputs.dtype == np.uint8


def test_resized_pixels_are_the_nearest_whole_numbers(folder):
    dataset = read(folder, height=7, width=6)
    expected = {resize_picture(pixels, 7, 6).round().astype(int).tobytes() for pixels in PIXELS.values()}
    assert {picture.astype(int).tobytes() for part in parts(dataset) for picture in part.inputs} == expected


WITHOUT = {name: data for name, data in FILES.items() if name != "dog/6.png"}
REFUSED = {
    "two sizes": (
        {"dog/6.png": encode(grey(3, 9))},
        "pets: the pictures have several sizes: cat/0.png 5 × 4, dog/6.png 9 × 3; give a height and a width, "
        "and all are resized to it"),
    "a file that is no picture": ({"dog/notes.txt": b"hello"}, "dog/notes.txt: "),
    "a picture that is cut": ({"dog/6.png": FILES["cat/0.png"][:50]}, "dog/6.png: the PNG picture is"),
    "an empty file": ({"cat/1.png": b""}, "cat/1.png: "),
    "a picture in no class": ({"stray.png": FILES["cat/0.png"]}, "does not lie in a folder that is its"),
    "a class of one picture": (
        {"cow/0.png": encode(grey())},
        "pets: the target: the class 'cow' has one example (row 8), and needs two or more: add some"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", REFUSED)
def test_pictures_that_cannot_be_learned_from_are_refused_by_name(tmp_path, what, packed):
    more, message = REFUSED[what]
    (tmp_path / "pets").mkdir()
    path = (
        write_zip(tmp_path / "pets.zip", FILES | more)
        if packed
        else write_folder(tmp_path / "pets", FILES | more)
    )
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "^pets: holds no pictures in folders: a folder a class is expected$"),
        ({name: FILES[name] for name in list(FILES)[:7]}, "^pets: the target is 'cat' in every row"),
        (dict.fromkeys(FILES, FILES["cat/0.png"]), "^pets: all inputs are the same"),
    ],
)
def test_what_is_no_set_of_classes_is_refused(tmp_path, files, message, packed):
    (tmp_path / "pets").mkdir()
    with pytest.raises(DatasetError, match=message):
        read(write_zip(tmp_path / "pets.zip", files) if packed else write_folder(tmp_path / "pets", files))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"height": 5}, "give both height and width, or neither"),
        ({"width": 5}, "give both height and width, or neither"),
        ({"channels": 2}, "channels must be 1 (grey) or 3 (colour), not 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, options, message):
    with pytest.raises(DatasetError) as caught:
        read(folder, **options)
    assert str(caught.value).endswith(message)


def test_a_folder_in_a_class_is_refused_by_name(tmp_path, folder):
    more = {"dog/more/0.png": encode(grey())}
    with pytest.raises(DatasetError, match=r"dog/more.* is not a regular file$|dog/more: Is a directory$"):
        read(write_folder(folder, more))
    with pytest.raises(
        DatasetError, match=r"^z.zip: 'dog/more/0.png' does not lie in a folder that is its class$"
    ):
        read(write_zip(tmp_path / "z.zip", FILES | more))


def link(name, target):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return {info: target}


HOSTILE = {
    "a name that goes up": ({"../cat/0.png": b"x"}, "^z.zip: '../cat/0.png' leads out of the zip file$"),
    "a name that goes up in the middle": ({"cat/../../0.png": b"x"}, "leads out of the zip file$"),
    "an absolute name": ({"/etc/passwd": b"x"}, "^z.zip: '/etc/passwd' leads out of the zip file$"),
    "a doubly absolute name": ({"//etc/passwd": b"x"}, "^z.zip: '//etc/passwd' leads out of the zip file$"),
    "a name of Windows": ({"C:\\cat\\0.png": b"x"}, "does not lie in a folder that is its class$"),
    "a name of nothing but dots": ({".": b"x"}, "^z.zip: '.' does not lie in a folder that is its class$"),
    "a link": (link("cat/8.png", "/etc/passwd"), "^z.zip: 'cat/8.png' leads out of the zip file$"),
    "a link to a folder": (link("cat", "/etc"), "^z.zip: 'cat' leads out of the zip file$"),
    "a name twice": ({"./cat/0.png": b"x"}, "^z: has cat/0.png more than once$"),
    "a long class": (
        {f"{'x' * 300}/0.png": b"x"},
        "^z: the folder 'x+…' has 300 characters, and may have 200$",
    ),
    "a large file": (
        {"cat/8.png": bytes(20_000_000)},
        "'cat/8.png' has 20,000,000 bytes; a picture may have 16,777,216$",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_zip_file_is_refused_and_nothing_is_unpacked(tmp_path, monkeypatch, what):
    files, message = HOSTILE[what]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(DatasetError, match=message):
        read(write_zip(tmp_path / "z.zip", FILES | files))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["here", "z.zip"]


def test_a_picture_without_a_name_is_refused(tmp_path):
    path = write_zip(tmp_path / "z.zip", FILES)
    # What is behind a NUL is not read as a name.
    path.write_bytes(path.read_bytes().replace(b"cat/0.png", b"\0at/0.png"))
    with pytest.raises(DatasetError, match=r"^z.zip: '' does not lie in a folder that is its class$"):
        read(path)


def test_a_zip_file_with_a_password_is_refused(tmp_path):
    path = write_zip(tmp_path / "z.zip", FILES)
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        start = data.find(mark)
        data[start + place] |= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match=r"^cat/0.png: cannot be read: .*encrypted, password required"):
        read(path)


def test_a_bomb_of_pictures_is_refused_with_both_figures_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "room", lambda: 10_000_000)
    white = encode(np.full((1000, 1000), 255, np.uint8))
    files = {f"{label}/{number}.png": white for label in "ab" for number in range(20)}
    path = write_zip(tmp_path / "z.zip", files)
    tracemalloc.start()
    with pytest.raises(
        DatasetError,
        match=r"^z, with 40 pictures, would take about 80,000,000 bytes of memory, and 10,000,000",
    ):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_picture_of_more_pixels_than_there_may_be_is_refused(folder, monkeypatch):
    monkeypatch.setattr(picture_folder, "MOST_PIXELS", 20)
    (folder / "dog/6.png").write_bytes(encode(grey(3, 7)))
    with pytest.raises(
        DatasetError, match=r"^dog/6.png: the picture is 7 x 3 = 21 pixels; at most 20 are taken$"
    ):
        read(folder)


def test_more_pictures_than_there_may_be_are_refused(folder, monkeypatch):
    monkeypatch.setattr(picture_folder, "MOST_PICTURES", 13)
    with pytest.raises(DatasetError, match=r"^pets: holds 14 pictures; at most 13 are taken$"):
        read(folder)


def test_a_link_on_disk_is_read_as_what_it_leads_to_and_shows_nothing_of_it(tmp_path, folder):
    (tmp_path / "secret").write_text("the password")
    (folder / "cat/8.png").symlink_to(tmp_path / "secret")
    with pytest.raises(DatasetError, match=r"^cat/8.png: ") as caught:
        read(folder)
    assert "password" not in str(caught.value)
    (folder / "cat/8.png").unlink()
    (folder / "cat/8.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"cat/8.png: No such file or directory$"):
        read(folder)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path, folder):
    os.mkfifo(folder / "cat/8.png")
    with pytest.raises(DatasetError, match=r"cat/8.png: is not a regular file$"):
        read(folder)
    os.mkfifo(tmp_path / "pipe.zip")
    with pytest.raises(DatasetError, match=r"pipe.zip: is not a regular file$"):
        read(tmp_path / "pipe.zip")


def test_a_name_that_is_no_text_is_refused(tmp_path, folder):
    write_folder(folder / os.fsdecode(b"\xff"), {"0.png": encode(grey())})
    with pytest.raises(DatasetError, match=r"^pets: the folder '\\udcff' is no Unicode text$"):
        read(folder)


@pytest.mark.parametrize(
    ("name", "message"), [("nowhere", "No such file"), ("text.zip", "cannot be read: File is not a zip")]
)
def test_what_is_neither_folder_nor_zip_file_is_named(tmp_path, name, message):
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(DatasetError, match=f"{name}: {message}"):
        read(tmp_path / name)


def test_a_zip_file_cut_anywhere_is_refused(tmp_path):
    data = write_zip(tmp_path / "z.zip", FILES).read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "z.zip").write_bytes(data[:length])
        with pytest.raises(DatasetError, match=r"^z.zip: cannot be read: File is not a zip file$"):
            read(tmp_path / "z.zip")


@settings(max_examples=150)
@given(st.data())
def test_flipped_bytes_in_a_zip_file_are_refused_or_do_no_harm(tmp_path, data):
    files = {
        name: FILES[name]
        for name in ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png", "dog/2.png")
    }
    damaged = bytearray(write_zip(tmp_path / "z.zip", files).read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        damaged[place] = value
    (tmp_path / "z.zip").write_bytes(damaged)
    with suppress(DatasetError):
        assert isinstance(read(tmp_path / "z.zip"), Dataset)


@given(st.text(max_size=12), st.binary(max_size=30))
def test_any_name_in_a_zip_file_is_refused_or_does_no_harm(tmp_path, name, data):
    with suppress(DatasetError, UnicodeEncodeError):
        path = write_zip(
            tmp_path / "z.zip", FILES | {name or "x": FILES["cat/0.png"] if data[:1] > b"A" else data}
        )
        assert isinstance(read(path), Dataset)
