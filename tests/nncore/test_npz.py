"""Datasets from NPZ files and pairs of IDX files, from honest and from dishonest senders."""

import gzip
import io
import os
import struct
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.testing import assert_array_equal

from nncore.datasets import Dataset, npz, room
from nncore.datasets.dividing import divide
from nncore.datasets.npz import read_idx_pair, read_npz
from nncore.datasets.sources import Idx, Npz
from nncore.errors import DatasetError

CLASSES = np.arange(20) % 2
INPUTS = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)


def write(path, compress=False, **contents):
    (np.savez_compressed if compress else np.savez)(path, **contents)
    return path


def read(path, **options):
    return read_npz(Npz(str(path), **options))


def parts(dataset):
    return dataset.train, dataset.validation, dataset.test


def npy(header, data=b"", version=b"\1\0", length=None):
    """Return the bytes of an array that says of itself whatever a test likes."""
    head = header.encode() + b"\n"
    size = struct.pack("<H" if version == b"\1\0" else "<I", len(head) if length is None else length)
    return b"\x93NUMPY" + version + size + head + data


def header(descr="'<f4'", fortran="False", shape="(20, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


def with_inputs(path, data):
    """Write an NPZ file whose inputs are these bytes."""
    targets = io.BytesIO()
    np.save(targets, CLASSES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("inputs.npy", data)
        file.writestr("targets.npy", targets.getvalue())
    return path


DTYPES = (
    arrays.integer_dtypes()
    | arrays.unsigned_integer_dtypes()
    | arrays.floating_dtypes()
    | arrays.boolean_dtypes()
)


@given(st.data(), DTYPES, st.booleans(), st.booleans())
def test_every_kind_of_number_in_any_order_is_read(tmp_path, data, dtype, fortran, compress):
    shape = (12, *data.draw(st.lists(st.integers(1, 3), max_size=3)))
    values = st.integers(0, 1) if dtype.kind == "b" else st.integers(0, 100)
    inputs = data.draw(arrays.arrays(dtype, shape, elements=values))
    inputs[0] = 1
    inputs[1] = 0
    classes = np.arange(12) % 2
    stored = np.asfortranarray(inputs) if fortran else inputs
    dataset = read(write(tmp_path / "d.npz", compress, inputs=stored, targets=classes))
    held = divide(dataset.sha256, classes, 12, 0.15, 0.15)
    expected = inputs.reshape(12, *shape[1:] or (1,)).astype(np.uint8 if dtype == np.uint8 else np.float32)
    for number, part in enumerate(parts(dataset)):
        assert_array_equal(part.inputs, expected[held == number])
        assert part.inputs.dtype == expected.dtype
        assert part.inputs.dtype.isnative
        assert_array_equal(part.targets, classes[held == number])
    assert dataset.labels == ("0", "1")
    assert dataset.is_private


@pytest.mark.parametrize(
    ("targets", "labels", "shape"),
    [
        (CLASSES, ("0", "1"), ()),
        (CLASSES.astype(">f8"), ("0", "1"), ()),
        (CLASSES.astype(bool), ("False", "True"), ()),
        (np.where(CLASSES, "yes", "nö"), ("nö", "yes"), ()),
        (np.where(CLASSES, "yes", "nö").astype(">U5"), ("nö", "yes"), ()),
        (CLASSES + 0.5, (), (1,)),
        (np.stack([CLASSES, CLASSES * 2.5], axis=1), (), (2,)),
    ],
)
def test_targets_are_classes_texts_or_values(tmp_path, targets, labels, shape):
    dataset = read(write(tmp_path / "d.npz", x=INPUTS, t=targets), inputs="x", targets="t")
    assert dataset.labels == labels
    assert dataset.train.targets.shape[1:] == shape
    assert dataset.train.targets.dtype == (np.int64 if labels else np.float32)


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((4, 5), (4, 5, 1)), ((4, 5, 3), (4, 5, 3)), ((4, 5, 2), None), ((12,), None), ((1025, 2), None)],
)
def test_bytes_in_the_shape_of_a_picture_are_pictures(tmp_path, shape, picture):
    pixels = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8)
    dataset = read(write(tmp_path / "d.npz", inputs=pixels, targets=CLASSES))
    found = dataset.picture
    assert (found and (found.height, found.width, found.channels)) == picture
    assert dataset.input_range == ((0, 255) if picture else None)
    assert dataset.train.inputs.dtype == np.uint8


def test_the_same_bytes_are_the_same_dataset_wherever_they_lie_and_other_names_in_them_another(tmp_path):
    first = write(tmp_path / "a.npz", inputs=INPUTS, targets=CLASSES, other=CLASSES[::-1])
    second = tmp_path / "b.npz"
    second.write_bytes(first.read_bytes())
    assert read(first).sha256 == read(second).sha256
    assert read(first, targets="other").sha256 != read(first).sha256


OBJECTS = np.array([{"a": 1}, None] * 10, object)
LONG = np.zeros((20, 70_000), np.uint8)
REFUSED = {
    "objects": ({"inputs": OBJECTS}, "d.npz, array 'inputs': holds object; numbers and texts are read, no o"),
    "objects as targets": ({"targets": OBJECTS}, "d.npz, array 'targets': holds object; numbers and texts a"),
    "complex numbers": ({"inputs": INPUTS.astype(complex)}, "d.npz, array 'inputs': holds complex128; numbe"),
    "dates": ({"targets": CLASSES.astype("M8[s]")}, "d.npz, array 'targets': holds datetime64[s]; numbers"),
    "bytes as texts": ({"targets": CLASSES.astype("S1")}, "d.npz, array 'targets': holds bytes8; numbers"),
    "records": ({"inputs": np.zeros(20, "f4,i4")}, "d.npz, array 'inputs': holds void64; numbers"),
    "texts as inputs": (
        {"inputs": CLASSES.astype(str)},
        "d: the inputs must be numbers of shape (N, …) with 1 to 3 axes an example, not str672 of shape (20"),
    "one number": ({"inputs": np.float32(3)}, "d: the inputs must be numbers of shape (N, …) with 1 to 3 ax"),
    "five axes": ({"inputs": np.zeros((20, 2, 2, 2, 2))}, "d: the inputs must be numbers of shape (N, …) wi"),
    "no examples": ({"inputs": INPUTS[:0], "targets": CLASSES[:0]}, "d: the inputs must be numbers of shape"),
    "an axis too long": ({"inputs": LONG}, "d: an example has the shape (70000,), with an axis over 65,536"),
    "one target": ({"targets": np.int64(3)}, "d: has 20 inputs and 1 targets"),
    "fewer targets": ({"targets": CLASSES[:19]}, "d: has 20 inputs and 19 targets"),
    "NaN": ({"inputs": np.where(np.arange(20)[:, None] == 7, np.nan, INPUTS)}, "d: example 8 has numbers no"),
    "too large": ({"inputs": np.full((20, 2), 1e39)}, "d: example 1 has numbers not finite"),
    "all the same": ({"inputs": np.ones((20, 3))}, "d: all inputs are the same: there is nothing to learn"),
    "one class": ({"targets": np.zeros(20, int)}, "d: the target is '0' in every row: there is nothing"),
    "one example of a class": (
        {"targets": np.where(np.arange(20) == 4, 9, CLASSES)},
        "d: the target: the class '9' has one example (row 5), and needs two or more: add some, or leave it"),
    "a target too large": (
        {"targets": np.where(np.arange(20) == 4, -1.1e15, 0.5)},
        "d: the target, row 5: must be from -1e+15 to 1e+15: give it in a larger unit"),
    "NaN as a target": ({"targets": np.where(CLASSES, 0.5, np.nan)}, "d: the target, row 1: must be finite,"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_arrays_that_cannot_be_learned_from_are_refused(tmp_path, what):
    contents, message = REFUSED[what]
    path = write(tmp_path / "d.npz", **{"inputs": INPUTS, "targets": CLASSES, **contents})
    with pytest.raises(DatasetError) as caught:
        read(path)
    assert str(caught.value).startswith(message)


def test_an_array_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = write(tmp_path / "d.npz", x_train=INPUTS, y_train=CLASSES)
    with pytest.raises(DatasetError, match=r"^d.npz: has no array 'inputs', only 'x_train', 'y_train'$"):
        read(path)


def test_what_is_pickled_is_never_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was here"),)

    with pytest.raises(DatasetError, match="no objects"):
        read(write(tmp_path / "d.npz", inputs=np.array([Evil()], object), targets=CLASSES))
    assert not (tmp_path / "was here").exists()


DATA = INPUTS.tobytes()
LYING = {
    "more than there is": npy(header(shape="(20, 4)"), DATA),
    "less than there is": npy(header(shape="(20, 2)"), DATA),
    "beyond all memory": npy(header(shape="(4000000000, 4000000000)"), DATA),
    "a negative size": npy(header(shape="(-20, -3)"), DATA),
    "a size to be found out": npy(header(shape="(-1, 3)"), DATA),
    "a size that is none": npy(header(shape="('20', 3)"), DATA),
    "sizes without number": npy(header(shape="(" + "1, " * 100 + "60)"), DATA),
    "a deep header": npy(header(shape="(" * 500 + ")" * 500), DATA),
    "a header that is no literal": npy(header(shape="__import__('os').getcwd()"), DATA),
    "a header that is no dictionary": npy("[1, 2]", DATA),
    "a header with an odd key": npy("{[]: 1}", DATA),
    "a header of quotes": npy("'''", DATA),
    "an unknown type": npy(header(descr="'<q9'"), DATA),
    "texts without letters": npy(header(descr="'<U0'"), DATA),
    "a type of many": npy(header(descr="'(3,)<f4'", shape="(20,)"), DATA),
    "a header longer than the file": npy(header(), DATA, length=60_000),
    "a header of four gigabytes": npy(header(), DATA, version=b"\2\0", length=2**32 - 1),
    "a version that is none": npy(header(), DATA, version=b"\7\0"),
    "no header": b"\x93NUMPY\1\0",
    "no array": b"hello",
    "nothing": b"",
}


@pytest.mark.parametrize("what", LYING)
def test_an_array_that_lies_about_itself_is_refused(tmp_path, what):
    path = with_inputs(tmp_path / "d.npz", LYING[what])
    tracemalloc.start()
    with pytest.raises(DatasetError, match=r"^d.npz, array 'inputs': "):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_header_that_python_2_wrote_is_read_without_a_word(tmp_path):
    dataset = read(with_inputs(tmp_path / "d.npz", npy(header(shape="(20L, 3L)"), DATA)))
    assert sum(map(len, parts(dataset))) == 20


def test_a_bomb_is_refused_with_both_figures_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(room, "room", lambda: 10_000_000)
    path = write(
        tmp_path / "d.npz", compress=True, inputs=np.zeros((20, 60_000, 10), np.uint8), targets=CLASSES
    )
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(
        DatasetError,
        match=r"^d.npz, array 'inputs' would take about 12,\d{3},\d{3} bytes of memory, and 10,000,000",
    ):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_room_is_asked_for_what_numbers_become(tmp_path, monkeypatch):
    path = write(tmp_path / "d.npz", inputs=np.arange(20 * 500).reshape(20, 500) % 2 == 0, targets=CLASSES)
    monkeypatch.setattr(room, "room", lambda: 100_000)
    with pytest.raises(DatasetError, match=r"would take about 120,000 bytes of memory"):
        read(path)
    pixels = write(
        tmp_path / "p.npz",
        inputs=(np.arange(20 * 500) % 256).astype(np.uint8).reshape(20, 500),
        targets=CLASSES,
    )
    assert len(read(pixels).train)


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path):
    path = with_inputs(tmp_path / "d.npz", npy(header(), DATA))
    data = path.read_bytes()
    size = struct.pack("<I", zipfile.ZipFile(path).getinfo("inputs.npy").file_size)
    path.write_bytes(data.replace(size, struct.pack("<I", 200)))
    with pytest.raises(DatasetError, match=r"^d.npz, array 'inputs': "):
        read(path)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    data = write(tmp_path / "d.npz", inputs=INPUTS, targets=CLASSES).read_bytes()
    for length in range(0, len(data), 7):
        (tmp_path / "d.npz").write_bytes(data[:length])
        with pytest.raises(DatasetError, match=r"^d.npz: cannot be read: File is not a zip file$"):
            read(tmp_path / "d.npz")


@settings(max_examples=150)
@given(st.data())
def test_flipped_bytes_are_refused_or_do_no_harm(tmp_path, data):
    path = write(tmp_path / "d.npz", data.draw(st.booleans()), inputs=INPUTS, targets=CLASSES)
    damaged = bytearray(path.read_bytes())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(damaged) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        damaged[place] = value
    path.write_bytes(damaged)
    with suppress(DatasetError):
        assert isinstance(read(path), Dataset)


@given(st.binary(max_size=200), st.text("{}[]()'\",:descr<f48i fortran_ode shapTuFlse0123-L\\#", max_size=80))
def test_any_bytes_in_the_place_of_an_array_are_refused_or_do_no_harm(tmp_path, data, words):
    for content in (
        data,
        b"\x93NUMPY" + data,
        npy(words, data),
        npy(header(shape=words), data),
        npy(header(descr=words), DATA),
    ):
        with suppress(DatasetError):
            assert isinstance(read(with_inputs(tmp_path / "d.npz", content)), Dataset)


@pytest.mark.parametrize("path", ["missing.npz", "."])
def test_a_file_that_is_none_is_named(tmp_path, path):
    with pytest.raises(
        DatasetError, match=r"No such file or directory$|is not a regular file$|Is a directory$"
    ):
        read(tmp_path / path)


def idx(array, code=8):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PIXELS = np.random.default_rng(1).integers(0, 256, (20, 4, 5)).astype(np.uint8)


def write_pair(folder, inputs=None, targets=None, packed=True):
    inputs = idx(PIXELS) if inputs is None else inputs
    targets = idx(CLASSES.astype(np.uint8)) if targets is None else targets
    for name, data in (("digits.idx3-ubyte", inputs), ("labels.idx1-ubyte", targets)):
        (folder / name).write_bytes(gzip.compress(data, mtime=0) if packed else data)
    return Idx(str(folder / "digits.idx3-ubyte"), str(folder / "labels.idx1-ubyte"))


@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_of_idx_files_is_pictures_with_their_classes(tmp_path, packed):
    dataset = read_idx_pair(write_pair(tmp_path, packed=packed))
    held = divide(dataset.sha256, CLASSES, 20, 0.15, 0.15)
    assert dataset.name == "digits"
    assert dataset.labels == ("0", "1")
    assert (dataset.picture.height, dataset.picture.width, dataset.picture.channels) == (4, 5, 1)
    for number, part in enumerate(parts(dataset)):
        assert_array_equal(part.inputs, PIXELS[held == number])
        assert_array_equal(part.targets, CLASSES[held == number])


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (None, idx(PIXELS), r"^labels.idx1-ubyte: holds \(20, 4, 5\), and must hold a class number a row$"),
        (None, idx(CLASSES[:19].astype(np.uint8)), r"^digits: has 20 inputs and 19 targets$"),
        (idx(PIXELS)[:-1], None, r"^digits.idx3-ubyte: truncated IDX file"),
        (b"hello", None, r"^digits.idx3-ubyte: not an IDX file: it begins with 68656c6c"),
        (
            None,
            idx(np.where(CLASSES, np.nan, 1).astype(">f4"), 0x0D),
            r"^digits: the target, row 2: must be finite",
        ),
    ],
)
def test_idx_files_that_do_not_fit_are_refused(tmp_path, inputs, targets, message):
    with pytest.raises(DatasetError, match=message):
        read_idx_pair(write_pair(tmp_path, inputs, targets))


def test_a_gzip_bomb_is_refused_with_the_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "room", lambda: 3_000_000)
    source = write_pair(tmp_path, bytes(20_000_000))
    with pytest.raises(
        DatasetError, match=r"^digits.idx3-ubyte: more than 1,000,000 bytes when decompressed$"
    ):
        read_idx_pair(source)


def test_a_file_with_gzip_damage_is_refused(tmp_path):
    source = write_pair(tmp_path)
    path = tmp_path / "digits.idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"^digits.idx3-ubyte: not a whole gzip file"):
        read_idx_pair(source)


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_idx_files_or_an_error(tmp_path, data, packed):
    with suppress(DatasetError):
        assert isinstance(read_idx_pair(write_pair(tmp_path, data, packed=packed)), Dataset)
    with suppress(DatasetError):
        assert isinstance(read_idx_pair(write_pair(tmp_path, None, data, packed=packed)), Dataset)
