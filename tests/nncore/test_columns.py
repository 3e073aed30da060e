"""Rows by column name, as numbers and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.columns import (
    LARGEST,
    MOST_MISTAKES,
    Column,
    columns_problem,
    decode_rows,
    encode_rows,
    text_problem,
    width_of,
)
from nncore.errors import RowError

HOUSE = (Column("area"), Column("town", ("Bern", "Genève", "Zürich")), Column("rooms"))
LEARNED = "must be one of the categories that the model has learned, 'Bern', 'Genève', 'Zürich'"
ROW = {"area": 80.5, "town": "Genève", "rooms": 3}


@st.composite
def tables(draw):
    names = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4, unique=True))
    kinds = st.just(()) | st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True).map(tuple)
    columns = tuple(Column(name, draw(kinds)) for name in names)
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False) | st.integers(-(2**20), 2**20)
    cells = {c.name: st.sampled_from(c.categories) if c.categories else numbers for c in columns}
    return columns, draw(st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=4))


@given(tables(), st.randoms())
def test_a_row_becomes_its_numbers_and_a_one_for_each_category_in_whatever_order_its_columns_come(
    table, random
):
    columns, rows = table
    expected = []
    for row in rows:
        numbers = []
        for column in columns:
            value = row[column.name]
            numbers += [float(value == text) for text in column.categories] or [np.float32(value)]
        expected.append(numbers)
    shuffled = [dict(random.sample(sorted(row.items()), len(row))) for row in rows]
    encoded = encode_rows(columns, shuffled)
    assert_array_equal(encoded, np.array(expected, np.float32))
    assert encoded.dtype == np.float32
    assert encoded.shape == (len(rows), width_of(columns))
    for row, back in zip(rows, decode_rows(columns, encoded), strict=True):
        assert list(back) == [column.name for column in columns]
        assert back == {
            name: x if isinstance(x, str) else pytest.approx(x, rel=1e-6) for name, x in row.items()
        }


def test_numbers_without_a_category_are_decoded_as_none():
    assert decode_rows(HOUSE, np.array([[1, 0, 0, 0, 2]])) == [{"area": 1.0, "town": None, "rooms": 2.0}]


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        ({"area": 1, "rooms": 2}, "town", "is missing"),
        (ROW | {"garden": 1}, "garden", "is no column of this model; its columns are area, town, rooms"),
        (
            ROW | {"town": "Paris"},
            "town",
            f"{LEARNED}, not 'Paris'",
        ),
        (
            ROW | {"town": 1},
            "town",
            f"{LEARNED}, not 1",
        ),
        (ROW | {"area": "80"}, "area", "must be a number, not '80'"),
        (ROW | {"area": None}, "area", "must be a number, not null"),
        (ROW | {"area": True}, "area", "must be a number, not true"),
        (ROW | {"area": [80]}, "area", "must be a number, not an array"),
        (ROW | {"area": float("nan")}, "area", "must be a finite number of 32 bits, not nan"),
        (ROW | {"area": -float("inf")}, "area", "must be a finite number of 32 bits, not -inf"),
        (ROW | {"area": 1e39}, "area", "must be a finite number of 32 bits, not 1e+39"),
        (ROW | {"area": 10**400}, "area", "must be a finite number of 32 bits, not so large a number"),
        ([80, "Bern", 3], "", "must be an object by column name, not an array"),
        ("Bern", "", "must be an object by column name, not 'Bern'"),
        (None, "", "must be an object by column name, not null"),
    ],
)
def test_a_row_that_does_not_fit_is_told_by_row_and_column(row, column, problem):
    with pytest.raises(RowError) as caught:
        encode_rows(HOUSE, [ROW, row, ROW])
    assert caught.value.mistakes == [(1, column, problem)]
    assert str(caught.value) == (f"row 1, column {column!r}: {problem}" if column else f"row 1: {problem}")


def test_all_that_is_wrong_is_told_at_once_up_to_a_bound():
    with pytest.raises(RowError) as caught:
        encode_rows(HOUSE, [{"town": "Paris", "x": 1}, ROW, {"area": "?"}])
    assert [mistake[:2] for mistake in caught.value.mistakes] == [
        (0, "area"), (0, "town"), (0, "rooms"), (0, "x"), (2, "area"), (2, "town"), (2, "rooms"),
    ]  # fmt: skip
    with pytest.raises(RowError) as caught:
        encode_rows(HOUSE, [{str(n): n for n in range(1000)}] * 1000)
    assert len(caught.value.mistakes) == MOST_MISTAKES


def test_an_error_about_long_things_is_short():
    columns = tuple(Column(f"{n} {'x' * 190}", ("p" * 200, "q" * 200, "r" * 200)) for n in range(50))
    with pytest.raises(RowError) as caught:
        encode_rows(columns, [{column.name: "s" * 10_000 for column in columns}, {"y" * 10_000: 1}])
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize("value", [LARGEST, -LARGEST, 0, 5e-324, 2**53 + 1])
def test_every_number_of_32_bits_is_taken(value):
    assert encode_rows(HOUSE, [ROW | {"area": value}])[0, 0] == np.float32(value)


def test_no_rows_are_no_numbers():
    assert encode_rows(HOUSE, []).shape == (0, 5)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        (HOUSE, None),
        ((*HOUSE, Column("area")), "two columns have the same name"),
        ((Column("a", ("x", "y", "x")),), "the column 'a' has a category twice"),
        ((Column("a" * 201),), "a name or category has 201 characters, more than 200"),
        ((Column("a", ("x", "y" * 201)),), "a name or category has 201 characters, more than 200"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_a_problem(columns, problem):
    assert columns_problem(columns) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Zürich\n=1+1", None),
        ("x" * 200, None),
        ("", "is empty, and must be a text"),
        ("x" * 201, "has 201 characters, and may have 200"),
        ("a\0", "is no Unicode text"),
        ("\udcff", "is no Unicode text"),
    ],
)
def test_a_text_that_no_file_can_hold_names_no_class(text, problem):
    assert text_problem(text) == problem
