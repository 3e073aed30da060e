import hashlib
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.datasets import DATASETS, Split, hold_out
from nncore.datasets.dataset import digest
from nncore.datasets.digits import FOLDER, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, load_digits
from nncore.errors import DatasetError

# A card names a dataset by these: they never change.
SHA256 = {
    "digits": "c65580678af93f1ea48c2c0d01d543ec89307c6b8a0eb7ca542d7c18c5f4c681",
    "exam": "f8e3397e0328b82f47fa72d4ba76a0a5fd4d18bea9f10aad3ab13a15c51010b3",
    "line": "a3e9da575035a7402eee75e6f692e1cf8393714593fefa309f89479c5286da1b",
    "xor": "56247b84d65bf1294c45c4836b83abbc44ad71c33c46d2c9520e543db6c7dc72",
}
# Nor do the rows that are held out of them.
PARTS = {
    "exam": ["2a165cafb769c707", "ee9cd14917cb6391", "bc642d9836185069"],
    "line": ["0fefe737c8dbe420", "3d386927aa60f37a", "5a07338aab7ed993"],
}


@pytest.fixture(scope="module")
def datasets():
    return {name: make() for name, make in DATASETS.items()}


def parts(dataset):
    return dataset.train, dataset.validation, dataset.test


def test_every_dataset_has_its_sha256_here():
    assert DATASETS.keys() == SHA256.keys()


@pytest.mark.parametrize("name", sorted(SHA256))
def test_a_dataset_is_what_its_sha256_says(datasets, name):
    assert datasets[name].name == name
    assert datasets[name].sha256 == SHA256[name]


@pytest.mark.parametrize("name", sorted(PARTS))
def test_the_same_rows_are_held_out_for_ever(datasets, name):
    assert [digest(part.inputs, part.targets)[:16] for part in parts(datasets[name])] == PARTS[name]


@pytest.mark.parametrize("name", ["exam", "line"])
def test_no_row_is_in_two_parts(datasets, name):
    rows = [row for part in parts(datasets[name]) for row in part.inputs[:, 0].tolist()]
    shared = len(rows) - len(set(rows))
    # Four digits leave a few equal inputs by chance.
    assert shared < 0.02 * len(rows)


@pytest.mark.parametrize("name", sorted(SHA256))
def test_inputs_targets_labels_and_range_fit_together(datasets, name):
    dataset = datasets[name]
    for part in parts(dataset):
        assert len(part) == len(part.inputs) == len(part.targets) > 0
        if dataset.labels:
            assert part.targets.dtype == np.int64
            assert set(part.targets) == set(range(len(dataset.labels)))
        else:
            assert part.targets.ndim == 2
        if dataset.input_range:
            assert (part.inputs.min(), part.inputs.max()) == dataset.input_range


def test_digits_are_55000_and_5000_and_10000_pictures(datasets):
    assert [part.inputs.shape for part in parts(datasets["digits"])] == [
        (55_000, 28, 28),
        (5_000, 28, 28),
        (10_000, 28, 28),
    ]
    assert datasets["digits"].train.inputs.dtype == np.uint8
    assert datasets["digits"].labels == tuple("0123456789")


def test_the_last_5000_training_digits_are_the_validation_set_and_the_10000_are_the_test_set(datasets):
    # The original decompressed files, put together again from the parts.
    train, validation, test = parts(datasets["digits"])
    images = train.inputs.tobytes() + validation.inputs.tobytes()
    labels = np.concatenate([train.targets, validation.targets]).astype(np.uint8).tobytes()
    head = bytes.fromhex("00000803 0000ea60 0000001c 0000001c")
    assert hashlib.sha256(head + images).hexdigest() == TRAIN_IMAGES[1]
    assert hashlib.sha256(bytes.fromhex("00000801 0000ea60") + labels).hexdigest() == TRAIN_LABELS[1]
    labels = test.targets.astype(np.uint8).tobytes()
    assert hashlib.sha256(bytes.fromhex("00000801 00002710") + labels).hexdigest() == TEST_LABELS[1]


def test_a_line_is_a_line_with_noise(datasets):
    x, y = datasets["line"].train.inputs[:, 0], datasets["line"].train.targets[:, 0]
    slope, intercept = np.polyfit(x, y, 1)
    assert (slope, intercept) == (pytest.approx(2, abs=0.03), pytest.approx(1, abs=0.03))
    assert np.std(y - slope * x - intercept) == pytest.approx(0.1, abs=0.02)


def test_an_exam_is_passed_by_those_who_studied(datasets):
    hours, passed = datasets["exam"].train.inputs[:, 0], datasets["exam"].train.targets
    assert passed[hours < 2].mean() < 0.1
    assert passed[hours > 8].mean() > 0.9
    assert 0.3 < passed[(hours > 4.5) & (hours < 5.5)].mean() < 0.7


def test_xor_is_its_four_rows_and_says_what_that_means(datasets):
    xor = datasets["xor"]
    assert {
        tuple(x): t for x, t in zip(xor.train.inputs.tolist(), xor.train.targets.tolist(), strict=True)
    } == {
        (0, 0): 0,
        (0, 1): 1,
        (1, 0): 1,
        (1, 1): 0,
    }
    assert xor.train is xor.validation is xor.test
    assert "tested on the rows it was trained on" in xor.note


@pytest.fixture
def mnist(tmp_path):
    """A folder that is like the shipped one until a test changes a file in it."""
    for file in FOLDER.glob("*.gz"):
        (tmp_path / file.name).symlink_to(file)
    return tmp_path


def replace(path, data):
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("name", sorted(file.name for file in FOLDER.glob("*.gz")))
def test_a_missing_file_is_named(mnist, name):
    (mnist / name).unlink()
    with pytest.raises(DatasetError, match=f"^{name}: No such file or directory$"):
        load_digits(mnist)


@pytest.mark.parametrize("cut", [0, 10, 100_000, -1])
def test_a_file_that_is_cut_is_refused(mnist, cut):
    path = mnist / f"{TRAIN_IMAGES[0]}.gz"
    replace(path, path.read_bytes()[:cut])
    with pytest.raises(DatasetError, match=f"^{path.name}: "):
        load_digits(mnist)


def test_a_file_with_a_flipped_bit_is_refused(mnist):
    path = mnist / f"{TRAIN_IMAGES[0]}.gz"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    replace(path, bytes(data))
    with pytest.raises(DatasetError, match=f"^{path.name}: "):
        load_digits(mnist)


def test_a_file_under_the_name_of_another_is_refused(mnist):
    name = f"{TRAIN_LABELS[0]}.gz"
    (mnist / name).unlink()
    shutil.copy(FOLDER / f"{TEST_LABELS[0]}.gz", mnist / name)
    with pytest.raises(
        DatasetError, match=f"^{name}: not the original file, its SHA-256 is {TEST_LABELS[1]}"
    ):
        load_digits(mnist)


@st.composite
def splits(draw):
    count = draw(st.integers(2, 60))
    shape = (count, *draw(st.lists(st.integers(1, 3), max_size=2)))
    inputs = np.random.default_rng(draw(st.integers(0, 999))).standard_normal(shape).astype(np.float32)
    # Targets that number the rows show where each went.
    return Split(inputs, np.arange(count))


@given(splits(), st.floats(0.05, 0.95))
def test_holding_out_parts_the_rows_and_keeps_their_order(split, fraction):
    held = round(len(split) * fraction)
    if not 0 < held < len(split):
        with pytest.raises(DatasetError, match="at least 1 each"):
            hold_out(split, fraction)
        return
    rest, out = hold_out(split, fraction)
    assert len(out) == held
    assert sorted([*rest.targets, *out.targets]) == list(range(len(split)))
    for part in (rest, out):
        assert_array_equal(part.targets, np.sort(part.targets))
        assert_array_equal(part.inputs, split.inputs[part.targets])


@given(splits())
def test_which_rows_are_held_out_depends_on_the_data_alone(split):
    first = hold_out(split, 0.5)[1].targets
    copied = Split(np.asfortranarray(split.inputs), split.targets.astype(">i8"))
    assert_array_equal(hold_out(copied, 0.5)[1].targets, first)


def test_other_data_hold_out_other_rows():
    inputs = np.zeros((100, 1), np.float32)
    first = hold_out(Split(inputs, np.arange(100)), 0.5)[1].targets
    inputs[0] = 1
    assert hold_out(Split(inputs, np.arange(100)), 0.5)[1].targets.tolist() != first.tolist()


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 2.0, 0.01])
def test_a_share_that_leaves_nothing_on_one_side_is_refused(fraction):
    with pytest.raises(DatasetError, match=f"{fraction} of 10 rows leaves"):
        hold_out(Split(np.zeros((10, 1)), np.zeros(10)), fraction)


def test_inputs_without_targets_are_refused():
    with pytest.raises(DatasetError, match="3 inputs but 2 targets"):
        Split(np.zeros((3, 1)), np.zeros(2))


def test_a_digest_sees_contents_shape_and_dtype_but_not_the_layout_in_memory():
    array = np.arange(6, dtype="<f4").reshape(2, 3)
    same = [np.asfortranarray(array), array.astype(">f4"), np.repeat(array, 2, axis=0)[::2]]
    assert {digest(other) for other in same} == {digest(array)}
    others = [array + 1, array.reshape(3, 2), array.astype("<i4"), array[:1]]
    assert len({digest(other) for other in [array, *others]}) == 5
    assert digest(array, array) != digest(array)
