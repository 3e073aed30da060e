"""Which rows are trained on, and which validate and test."""

import hashlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.datasets.dividing import TEST, TRAIN, VALIDATION, divide
from nncore.datasets.targets import MOST_CLASSES, targets_of, texts_of
from nncore.errors import DatasetError

SHARES = st.floats(0.01, 0.45)
CLASSES = st.lists(st.integers(2, 40), min_size=1, max_size=6)


def sha256(seed):
    return hashlib.sha256(str(seed).encode()).hexdigest()


def rows_of(sizes, seed):
    classes = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(seed).permutation(classes)


def divided(*arguments):
    """Return the parts, None where one would be left with nothing."""
    with suppress(DatasetError):
        return divide(*arguments)
    return None


@given(CLASSES, SHARES, SHARES, st.integers(0, 99))
def test_every_class_has_its_share_in_each_part_as_nearly_as_whole_rows_allow(sizes, validation, test, seed):
    classes = rows_of(sizes, seed)
    parts = divided(sha256(seed), classes, len(classes), validation, test)
    if parts is None:
        return
    assert set(parts.tolist()) == {TRAIN, VALIDATION, TEST}
    counts = np.array([np.bincount(parts[classes == number], minlength=3) for number in range(len(sizes))])
    assert (counts[:, TRAIN] >= 1).all()
    if validation + test < 0.5:
        # A class of few rows gives what it can spare.
        exact = np.outer(sizes, [1 - validation - test, validation, test])
        assert (abs(counts - exact) <= 2).all()
        assert abs(counts.sum(axis=0)[[VALIDATION, TEST]] - exact.sum(axis=0)[1:]).max() <= 1


@given(st.integers(3, 300), SHARES, SHARES, st.integers(0, 99))
def test_rows_without_classes_have_exactly_their_shares(rows, validation, test, seed):
    parts = divided(sha256(seed), None, rows, validation, test)
    if parts is None:
        assert 0 in (round(rows * validation), round(rows * test))
    else:
        counts = [round(rows * validation), round(rows * test)]
        assert np.bincount(parts)[[VALIDATION, TEST]].tolist() == counts


def test_the_same_data_are_divided_the_same_way_for_ever():
    classes = rows_of([10, 20, 30], 0)
    parts = divide(sha256(0), classes, 60, 0.15, 0.15)
    assert_array_equal(divide(sha256(0), classes, 60, 0.15, 0.15), parts)
    assert np.flatnonzero(parts == TEST).tolist() == FOR_EVER
    assert divide(sha256(1), classes, 60, 0.15, 0.15).tolist() != parts.tolist()


# Models out there were tested on these rows.
FOR_EVER = [5, 11, 15, 18, 20, 24, 30, 39, 51]


def test_any_row_may_be_held_out():
    held = sum((divide(sha256(seed), None, 40, 0.2, 0.2) != TRAIN).astype(int) for seed in range(200))
    assert held.min() > 40
    assert held.max() < 120


@pytest.mark.parametrize(("validation", "test", "part"), [(0.01, 0.3, "validation"), (0.3, 0.01, "test")])
def test_a_part_of_nothing_is_refused(validation, test, part):
    with pytest.raises(DatasetError, match=f"^{part}: a share of 0.01 of 20 rows is none"):
        divide(sha256(0), None, 20, validation, test)


def test_shares_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(
        DatasetError, match=r"^validation and test: shares of 0.5 and 0.5 of the rows leave none"
    ):
        divide(sha256(0), None, 1000, 0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([3, 1, 3, 1], ("1", "3")),
        ([2.0, 1.0, 1.0, 2.0], ("1", "2")),
        ([0.1, 0.1, 12345678901.0, 12345678901.0], ("0.1", "12345678901")),
        ([True, False, True, False], ("False", "True")),
        (["b", "a", "a", "b"], ("a", "b")),
        (["3.0", "3", "3", "3.0"], ("3", "3.0")),
        ([-0.0, 0.0, 1.0, 1.0], ("0", "1")),
    ],
)
def test_classes_are_numbered_in_order(values, labels):
    found = targets_of(np.array(values), "classification", "t")
    assert [found.labels[number] for number in found.array] == [
        dict(zip(sorted(set(values)), labels, strict=True))[value] for value in values
    ]
    assert found.labels == labels


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20, unique=True))
def test_two_numbers_never_become_one_class(numbers):
    labels = targets_of(np.array([*numbers, *numbers]), "classification", "t").labels
    assert len(set(labels)) == len(numbers)
    assert max(map(len, labels)) < 30


@given(st.lists(st.text(min_size=1, max_size=5), min_size=2, max_size=6, unique=True), st.data())
def test_texts_by_their_places_are_the_classes_that_the_texts_are(texts, data):
    texts = [text.replace("\0", "0") for text in texts]
    codes = data.draw(st.permutations([*range(len(texts)), *range(len(texts))]))
    if len(set(texts)) == len(texts):
        found = texts_of(np.array(codes), texts, "t")
        assert [found.labels[number] for number in found.array] == [texts[code] for code in codes]
        assert found.labels == tuple(sorted(texts))


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        ([1, 1, 2], None, "t: the class '2' has one example (row 3), and needs two or more"),
        ([5, 5, 5], None, "t is '5' in every row: there is nothing to learn"),
        ([5.5, 5.5], None, "t is 5.5 in every row: there is nothing to learn"),
        ([[1.0, 2.0], [1.0, 2.0]], None, "t is 1 in every row"),
        ([0.5, np.nan, 1], None, "t, row 2: must be finite, in 32 bits"),
        ([0, 0, np.nan, np.nan], "classification", "t, row 3: must be finite, in 32 bits"),
        ([0, 0, np.inf, np.inf], None, "t, row 3: must be finite, in 32 bits"),
        ([0, 0.5, 1e39], None, "t, row 3: must be finite, in 32 bits"),
        ([[0.5, 1], [0.5, np.inf]], None, "t, row 2: must be finite, in 32 bits"),
        (
            [[1, 2], [3, 4]],
            "classification",
            "t must be class numbers or texts (N,), not int64 of shape (2, 2)",
        ),
        ([[[1]], [[2]]], None, "t must be numbers, (N,) or (N, K), not int64 of shape (2, 1, 1)"),
        (["a", "b"], "regression", "t must be numbers, (N,) or (N, K), not str32 of shape (2,)"),
        (["a", "a", "", ""], None, "t: the class '' is empty, and must be a text"),
        (
            ["a", "a", "x" * 300, "x" * 300],
            None,
            f"t: the class '{'x' * 56}…' has 300 characters, and may have 200",
        ),
        (["a", "a", "\ud800", "\ud800"], None, "t: the class '\\ud800' is no Unicode text"),
    ],
)
def test_targets_that_nothing_can_be_learned_from_are_refused(values, task, message):
    with pytest.raises(DatasetError) as caught:
        targets_of(np.array(values), task, "t")
    assert str(caught.value).startswith(message)


def test_more_classes_than_there_may_be_are_refused():
    many = np.repeat(np.arange(MOST_CLASSES + 1), 2)
    targets_of(many[2:], "classification", "t")
    with pytest.raises(DatasetError, match=r"^t has more than 1,000 different classes.*regression"):
        targets_of(many, "classification", "t")


def test_letters_that_are_none_are_refused():
    array = np.frombuffer(np.array([0x41, 0x110000, 0x41, 0x110000], "<u4").tobytes(), "<U1")
    with pytest.raises(DatasetError, match=r"^t: holds a text that is not Unicode"):
        targets_of(array, None, "t")
