"""Datasets that are kept as folders of arrays."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.columns import Column
from nncore.datasets import Dataset, Split
from nncore.datasets.stored import ARRAYS, DESCRIPTION, read_description, read_stored, write_stored
from nncore.errors import DatasetError
from nncore.files import write_synced
from nncore.preprocessing import ResizedPicture

RNG = np.random.default_rng(0)
ABOUT = {"rows": {"train": 9}, "größe": [1.5, None]}


def table():
    parts = [Split(RNG.normal(size=(n, 3)).astype(np.float32), RNG.integers(0, 2, n)) for n in (9, 4, 5)]
    columns = (Column("a"), Column("b", ("p", "ü\n")))
    return Dataset("t", "ab" * 32, *parts, ("no", "yes"), columns=columns, note="A note.", is_private=True)


def pictures():
    parts = [
        Split(RNG.integers(0, 256, (n, 4, 5, 3)).astype(np.uint8), RNG.normal(size=(n, 2)).astype(np.float32))
        for n in (9, 4, 5)
    ]
    return Dataset("t", "cd" * 32, *parts, (), (0, 255), ResizedPicture(4, 5, 3), is_private=True)


@pytest.mark.parametrize("make", [table, pictures])
def test_what_is_read_is_what_was_written_and_stays_on_disk(tmp_path, make):
    dataset = make()
    write_stored(dataset, tmp_path, ABOUT)
    found = read_stored(tmp_path, "t", verify=True)
    for name in ("train", "validation", "test"):
        mine, other = getattr(dataset, name), getattr(found, name)
        assert_array_equal(other.inputs, mine.inputs)
        assert_array_equal(other.targets, mine.targets)
        assert (other.inputs.dtype, other.targets.dtype) == (mine.inputs.dtype, mine.targets.dtype)
        assert isinstance(other.inputs, np.memmap)
        assert not other.inputs.flags.writeable
        assert not other.inputs.flags.owndata
    nothing = Split(np.empty(0), np.empty(0))
    parts = dict.fromkeys(("train", "validation", "test"), nothing)
    assert replace(found, **parts) == replace(dataset, **parts)
    assert read_description(tmp_path).about == ABOUT


def test_an_array_in_any_order_of_memory_is_written_right(tmp_path):
    dataset = table()
    turned = replace(
        dataset, train=Split(np.asfortranarray(dataset.train.inputs), dataset.train.targets[::1])
    )
    write_stored(turned, tmp_path, {})
    assert_array_equal(read_stored(tmp_path, "t").train.inputs, dataset.train.inputs)


def test_what_is_half_written_is_never_taken_for_a_dataset(tmp_path, monkeypatch):
    def write_last(path, *parts):
        assert {file.name for file in tmp_path.iterdir()} == set(ARRAYS)
        write_synced(path, *parts)

    monkeypatch.setattr("nncore.datasets.stored.write_synced", write_last)
    write_stored(table(), tmp_path, {})
    whole = (tmp_path / DESCRIPTION).read_bytes()
    for length in range(0, len(whole), 50):
        (tmp_path / DESCRIPTION).write_bytes(whole[:length])
        with pytest.raises(DatasetError, match=r": dataset.json: "):
            read_stored(tmp_path, "t")


@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_is_named(tmp_path, name):
    write_stored(table(), tmp_path, {})
    data = bytearray((tmp_path / name).read_bytes())
    data[-1] ^= 1
    (tmp_path / name).write_bytes(data)
    read_stored(tmp_path, "t")
    with pytest.raises(DatasetError, match=f": {name} is not what it was when the dataset was taken in$"):
        read_stored(tmp_path, "t", verify=True)


@pytest.mark.parametrize("verify", [False, True])
@pytest.mark.parametrize("name", [DESCRIPTION, ARRAYS[0], ARRAYS[-1]])
def test_a_missing_file_is_named(tmp_path, name, verify):
    write_stored(table(), tmp_path, {})
    (tmp_path / name).unlink()
    with pytest.raises(DatasetError, match=f"{name}: .*No such file or directory$"):
        read_stored(tmp_path, "t", verify=verify)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"PK\x03\x04",
        b"\x93NUMPY\1\0\x0a\0{'descr':\n",
        b"\x93NUMPY\1\0\x3b\0{'descr': '|O', 'fortran_order': False, 'shape': (1,), }    \nxxxxxxxx",
        b"\x93NUMPY\1\0\x3b\0{'descr': '<f8', 'fortran_order': False, 'shape': (9,), }   \nxxxxxxxx",
    ],
)
def test_an_array_that_is_none_is_named(tmp_path, content):
    write_stored(table(), tmp_path, {})
    (tmp_path / "train-inputs.npy").write_bytes(content)
    with pytest.raises(DatasetError, match=r": train-inputs.npy: cannot be read: "):
        read_stored(tmp_path, "t")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format: must be ≤ 1, not 2"),
        ({"sha256": 5}, "sha256: must be a string, not 5"),
        ({"labels": "no"}, "labels: must be an array, not 'no'"),
        ({"labels": ["x"] * 1001}, "labels: must have at most 1000 entries, not 1001"),
        ({"input_range": [1.0]}, "input_range: must be two numbers"),
        ({"columns": [{"name": "a"}, {"name": "a"}]}, "two columns have the same name"),
        ({"columns": [{"name": "a", "categories": ["x", "x"]}]}, "the column 'a' has a category twice"),
        ({"picture": {"type": "film"}}, "picture.type: must be one of"),
        ({"more": 1}, "more: is not known here"),
    ],
)
def test_a_description_that_is_wrong_is_refused_with_what_is_wrong(tmp_path, changes, message):
    write_stored(table(), tmp_path, {})
    path = tmp_path / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DatasetError) as caught:
        read_stored(tmp_path, "t")
    assert str(caught.value).startswith(f"{tmp_path.name}: dataset.json: {message}")


@given(st.binary(max_size=40) | st.sampled_from([b"[" * 100_000, b'{"sha256": NaN}', b"[1]", b"null"]))
def test_any_bytes_for_a_description_are_refused(tmp_path, data):
    (tmp_path / DESCRIPTION).write_bytes(data)
    with pytest.raises(DatasetError, match=r": dataset.json: "):
        read_description(tmp_path)
