"""Tables from CSV files, against Python's own csv module and plain loops."""

import csv
import tracemalloc
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from nncore.datasets import Dataset, cells, csv_file, room
from nncore.datasets.csv_file import read_csv
from nncore.datasets.dividing import divide
from nncore.datasets.sources import DELIMITERS, Csv
from nncore.datasets.summary import summarize
from nncore.errors import DatasetError

# Whatever may stand in a cell: all of Unicode but NUL, and what means something in a CSV file more often.
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0") | st.sampled_from(
    " \"',;\t|\n\r=é"
)
TEXTS = st.text(LETTERS, min_size=1, max_size=8).map(str.strip).filter(bool)
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def write(path, rows, **options):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, **options).writerows(rows)
    return path


def read(path, target="y", **options):
    return read_csv(Csv(str(path), target, **options))


def parts(dataset):
    return dataset.train, dataset.validation, dataset.test


def columns(dataset):
    return {column.name: column.categories for column in dataset.columns}


@st.composite
def tables(draw):
    """Columns of cells by name, a target of two classes last; each column has two different values."""
    rows = draw(st.integers(12, 25))
    table = {}
    for number in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            rest = draw(st.lists(NUMBERS, min_size=rows - 2, max_size=rows - 2))
            table[f'n{number}, "x"; é'] = [0.0, 1.0, *rest]
        else:
            pool = draw(st.lists(TEXTS, min_size=2, max_size=5, unique=True))
            rest = draw(st.lists(st.sampled_from(pool), min_size=rows - 2, max_size=rows - 2))
            table[f"t{number} | ü"] = [*pool[:2], *rest]
    labels = draw(st.lists(TEXTS, min_size=2, max_size=2, unique=True))
    rest = draw(st.lists(st.sampled_from(labels), min_size=rows - 4, max_size=rows - 4))
    table["y"] = [*labels, *labels, *rest]
    return table


def by_hand(table, held):
    """Return the category tables, and the rows as numbers, worked out cell by cell."""
    tables, encoded = {}, []
    for name, values in table.items():
        seen = {value for value, part in zip(values, held, strict=True) if part == 0}
        tables[name] = sorted(seen) if isinstance(values[0], str) else []
    for row in zip(*table.values(), strict=True):
        numbers = []
        for value, categories in list(zip(row, tables.values(), strict=True))[:-1]:
            numbers += [float(value == text) for text in categories] if categories else [np.float32(value)]
        encoded.append(numbers)
    return tables, np.array(encoded, np.float32)


@settings(max_examples=100)
@given(
    tables(),
    st.sampled_from(DELIMITERS),
    # Without quotes around all, a writer leaves out those that a line end of another system needs.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
    st.booleans(),
    st.sampled_from([1, 10, 100_000]),
)
def test_what_a_csv_writer_wrote_is_read_back(tmp_path, monkeypatch, table, delimiter, ends, header, chunk):
    monkeypatch.setattr(cells, "CHUNK_CELLS", chunk)
    monkeypatch.setattr(cells, "PREVIEW_ROWS", 3)
    names = list(table)
    rows = [
        [repr(cell) if isinstance(cell, float) else cell for cell in row]
        for row in zip(*table.values(), strict=True)
    ]
    path = write(
        tmp_path / "t.csv",
        [names] * header + rows,
        delimiter=delimiter,
        lineterminator=ends[0],
        quoting=ends[1],
    )
    if not header:
        table = {f"column_{place}": values for place, values in enumerate(table.values(), 1)}
    *_, target = table
    texts = tuple(name for name, values in table.items() if isinstance(values[0], str))
    numeric = tuple(name for name in table if name not in texts)
    dataset = read(path, target, header=header, delimiter=delimiter, categorical=texts, numeric=numeric)

    labels = sorted({*table[target]})
    classes = np.array([labels.index(value) for value in table[target]])
    held = divide(dataset.sha256, classes, len(rows), 0.15, 0.15)
    expected, encoded = by_hand(table, held)
    assert dataset.labels == tuple(labels)
    assert columns(dataset) == {name: tuple(expected[name]) for name in expected if name != target}
    for number, part in enumerate(parts(dataset)):
        assert_array_equal(part.inputs, encoded[held == number])
        assert_array_equal(part.targets, classes[held == number])
        assert part.inputs.dtype == np.float32
        assert part.targets.dtype == np.int64


def plain(count=20, seed=0):
    """Rows of two numbers and a class, which are simple to change one cell of."""
    rng = np.random.default_rng(seed)
    rows = [[f"{a:.3f}", f"{b:.3f}", "no" if a < 0 else "yes"] for a, b in rng.normal(size=(count, 2))]
    return [["a", "b", "y"], *rows]


def text(rows, delimiter=","):
    return "".join(delimiter.join(row) + "\n" for row in rows)


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\r\n"])
def test_delimiter_header_and_byte_order_mark_are_found_out(tmp_path, delimiter, start):
    rows = plain()
    rows[0][0] = '"a, b; c | d; e, f | g"'
    (tmp_path / "t.csv").write_text(start + text(rows, delimiter))
    dataset = read(tmp_path / "t.csv")
    assert columns(dataset) == {"a, b; c | d; e, f | g": (), "b": ()}
    assert sum(map(len, parts(dataset))) == 20


def test_a_first_line_with_a_number_in_it_is_a_row(tmp_path):
    path = write(tmp_path / "t.csv", plain()[1:])
    dataset = read(path, "column_3")
    assert list(columns(dataset)) == ["column_1", "column_2"]
    assert sum(map(len, parts(dataset))) == 20


def test_a_first_line_with_the_target_in_it_is_a_header_even_if_others_are_called_by_numbers(tmp_path):
    path = write(tmp_path / "t.csv", [["0", "1", "y"], *plain()[1:]])
    assert list(columns(read(path))) == ["0", "1"]


def test_a_header_of_texts_can_be_said_to_be_none(tmp_path):
    rows = [[name, row[2]] for row, name in zip(plain()[1:], "pqpqpqpqpqpqpqpqpqpq", strict=True)]
    path = write(tmp_path / "t.csv", rows)
    assert sum(map(len, parts(read(path, "column_2", header=False)))) == 20


def test_the_same_content_is_the_same_dataset_wherever_it_lies(tmp_path):
    first = read(write(tmp_path / "a.csv", plain()))
    second = read(write(tmp_path / "b.csv", plain()))
    assert first.sha256 == second.sha256
    assert (first.name, second.name) == ("a", "b")
    for mine, other in zip(parts(first), parts(second), strict=True):
        assert_array_equal(mine.inputs, other.inputs)


def test_every_option_and_every_byte_makes_it_another_dataset(tmp_path):
    path = write(tmp_path / "a.csv", plain())
    options = [
        {},
        {"ignore": ("b",)},
        {"categorical": ("y",)},
        {"test": 0.2},
        {"validation": 0.2},
        {"header": True},
    ]
    found = [read(path, **each).sha256 for each in options]
    found += [read(path, "a").sha256, read(write(tmp_path / "c.csv", plain(seed=1))).sha256]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("target", "options", "labels"),
    [
        ("few", {}, ("1", "2", "3")),
        ("few", {"task": "regression"}, ()),
        ("few", {"numeric": ("few",)}, ("1", "2", "3")),
        ("few", {"categorical": ("few",)}, ("1", "2", "3")),
        ("many", {}, ()),
        ("many", {"task": "classification"}, tuple(map(str, range(25)))),
        ("half", {}, ()),
        ("half", {"task": "classification"}, ("0.5", "1.5", "2.5")),
        ("truth", {}, ("False", "True")),
    ],
)
def test_what_a_target_is_can_be_told_by_its_values_or_is_said(tmp_path, target, options, labels):
    rows = [[n * n, n % 3 + 1, n % 25, n % 3 + 0.5, n % 2 == 0] for n in range(100)]
    path = write(tmp_path / "t.csv", [["x", "few", "many", "half", "truth"], *rows])
    dataset = read(path, target, **options)
    assert dataset.labels == labels
    assert dataset.train.targets.dtype == (np.int64 if labels else np.float32)
    assert dataset.train.targets.ndim == (1 if labels else 2)


def test_numbers_that_are_said_to_be_categories_are_texts(tmp_path):
    path = write(tmp_path / "t.csv", [["zip", "y"], *(["0" + str(n % 3), n % 2] for n in range(20))])
    assert columns(read(path, categorical=("zip",))) == {"zip": ("00", "01", "02")}
    assert columns(read(path)) == {"zip": ()}


def test_what_looks_like_a_formula_is_a_text(tmp_path):
    path = write(
        tmp_path / "t.csv", [["f", "y"], *([["=1+1", "@SUM(A1)"][n % 2], n // 2 % 2] for n in range(20))]
    )
    assert columns(read(path)) == {"f": ("=1+1", "@SUM(A1)")}


def test_spaces_around_cells_and_names_are_none_of_them(tmp_path):
    path = write(
        tmp_path / "t.csv",
        [
            [" a ", "k", " y"],
            *(
                [f" {n} ", [" p", "p "][n % 2] + "q"[: n % 4 // 3], " u" if n % 3 else "v "]
                for n in range(20)
            ),
        ],
    )
    dataset = read(path)
    assert columns(dataset) == {"a": (), "k": ("p", "p q")}
    assert dataset.labels == ("u", "v")


def test_columns_that_are_ignored_may_hold_anything(tmp_path):
    rows = plain()
    path = write(
        tmp_path / "t.csv",
        [[*row, "", "x" * 300, f"id {n}"] if n else [*row, "e", "l", "i"] for n, row in enumerate(rows)],
    )
    assert list(columns(read(path, ignore=("e", "l", "i")))) == ["a", "b"]


def categories(count, rare):
    """Rows with a category for each row number in `rare`, and p or q elsewhere."""
    kinds = [rare.get(n, "pq"[n % 2]) for n in range(count)]
    return [["k", "a", "y"], *([kind, n * n % 7, n % 2] for n, kind in enumerate(kinds))]


def test_a_category_of_held_out_rows_alone_is_in_no_table_and_counts_as_none(tmp_path):
    # The file decides what is held out, so every row is tried until one of them is.
    for row in range(40):
        dataset = read(write(tmp_path / "t.csv", categories(40, {row: "odd"})))
        if columns(dataset)["k"] == ("p", "q"):
            break
        assert columns(dataset)["k"] == ("odd", "p", "q")
        assert dataset.note == ""
    assert dataset.note == (
        "1 of the rows held out have a category that no training row has: it counts as none of them."
    )
    held = np.concatenate([dataset.validation.inputs, dataset.test.inputs])
    assert Counter(held[:, :2].sum(axis=1).tolist()) == {1: len(held) - 1, 0: 1}
    assert (dataset.train.inputs[:, :2].sum(axis=1) == 1).all()


def test_figures_are_of_training_rows_alone(tmp_path):
    rows = [[n, ["p", "q", "r"][n % 3], n % 2] for n in range(50)]
    dataset = read(write(tmp_path / "t.csv", [["a", "k", "y"], *rows]))
    about = summarize(dataset)
    a = dataset.train.inputs[:, 0].astype(float)
    number, kind = about["columns"]
    assert number == {
        "name": "a",
        "kind": "numeric",
        "min": a.min(),
        "max": a.max(),
        "mean": pytest.approx(a.mean(), rel=1e-6),
        "deviation": pytest.approx(a.std(), rel=1e-6),
    }
    assert kind["categories"] == dict(Counter("pqr"[int(n) % 3] for n in a))
    assert about["rows"] == {
        "train": len(a),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
    }
    assert about["classes"][1] == {
        "label": "1",
        **{part: int(getattr(dataset, part).targets.sum()) for part in ("train", "validation", "test")},
    }
    assert about["first"] == [
        {"inputs": {"a": n, "k": "pqr"[int(n) % 3]}, "target": str(int(n) % 2)} for n in a[:5]
    ]


def test_figures_of_a_table_are_worked_out_in_blocks(tmp_path, monkeypatch):
    rows = [[n * 1e6, n % 7, n * 0.5] for n in range(60)]
    dataset = read(write(tmp_path / "t.csv", [["a", "b", "y"], *rows]))
    whole = summarize(dataset)
    monkeypatch.setattr("nncore.datasets.summary.BLOCK", 7)
    assert summarize(dataset)["columns"] == [
        {
            name: value if isinstance(value, str) else pytest.approx(value, rel=1e-6)
            for name, value in column.items()
        }
        for column in whole["columns"]
    ]
    assert whole["target"]["max"] == dataset.train.targets.max()


def changed(row, column, cell, count=20):
    rows = plain(count)
    rows[row][column] = cell
    return text(rows)


HUGE = "x" * 300
IDS = text([["id", "y"], *([f"row {n}", "no" if n % 2 else "yes"] for n in range(60))])
# Name: content, options, and the whole message.
REFUSED = {
    "a target that is not there": (
        text(plain()), {"target": "yes?"}, "t.csv: target: there is no column 'yes?', only a, b, y"),
    "a target that was misspelt": (
        text([["price", "income"], ["1", "2"]]), {"target": "incme"},
        "t.csv: target: there is no column 'incme', only price, income (did you mean 'income'?)"),
    "a header that is none": (
        text(plain()[1:]), {}, "t.csv: target: there is no column 'y', only column_1, column_2, column_3"),
    "an unknown column to ignore": (
        text(plain()), {"ignore": ("c",)}, "t.csv: ignore: there is no column 'c', only a, b, y"),
    "an unknown categorical column": (
        text(plain()), {"categorical": ("c",)}, "t.csv: categorical: there is no column 'c', only a, b, y"),
    "an unknown numeric column": (
        text(plain()), {"numeric": ("c",)}, "t.csv: numeric: there is no column 'c', only a, b, y"),
    "a column of both kinds": (
        text(plain()), {"numeric": ("a",), "categorical": ("b", "a")},
        "t.csv: the column 'a' is both categorical and numeric: choose"),
    "a categorical target of a regression": (
        text(plain()), {"categorical": ("y",), "task": "regression"},
        "t.csv: the target 'y' is categorical: no regression"),
    "an ignored target": (
        text(plain()), {"ignore": ("y",)}, "t.csv: the target 'y' is among the columns to ignore"),
    "a target alone": ("y\n1\n2\n", {}, "t.csv: has no column beside the target to tell it from"),
    "all others ignored": (
        text(plain()), {"ignore": ("a", "b")}, "t.csv: has no column beside the target to tell it from"),
    "a text among numbers": (
        changed(7, 1, "seven"), {},
        "t.csv, row 7, column 'b': is 'seven', and must be a number; if the column holds texts, say so "
        '("categorical")'),
    "an empty cell": (
        changed(20, 0, " "), {},
        "t.csv, row 20, column 'a': is empty, and must be a number: fill it, or leave the row out"),
    "a decimal comma": (
        text([["a", "y"], *([f"{n},5", str(n % 2)] for n in range(20))], ";"), {},
        "t.csv, row 1, column 'a': is '0,5', and must be a number, with a point for the decimals"),
    "a number of Python's own": (
        changed(3, 0, "1_000"), {},
        "t.csv, row 3, column 'a': is '1_000', and must be a number; if the column holds texts, say so "
        '("categorical")'),
    "not a number": (changed(2, 1, "nan"), {}, "t.csv, row 2, column 'b': is 'nan', and must be finite, "
    "in 32 bits"),
    "infinity": (changed(2, 1, "-inf"), {}, "t.csv, row 2, column 'b': is '-inf', and must be finite, in "
    "32 bits"),
    "a number too large": (
        changed(2, 1, "1e40"), {}, "t.csv, row 2, column 'b': is '1e40', and must be finite, in 32 bits"),
    "a number far too large": (
        changed(2, 1, "1e400"), {}, "t.csv, row 2, column 'b': is '1e400', and must be finite, in 32 bits"),
    "texts where numbers are meant": (
        text(plain()), {"numeric": ("y",)},
        "t.csv, row 1, column 'y': is 'yes', and must be a number; if the column holds texts, say so "
        '("categorical")'),
    "texts for a regression": (
        text(plain()), {"task": "regression"},
        "t.csv, row 1, column 'y': is 'yes', and must be a number; if the column holds texts, say so "
        '("categorical")'),
    "a category that is empty": (
        text([["k", "y"], *(["" if n == 9 else "pq"[n % 2], str(n % 2)] for n in range(20))]), {},
        "t.csv, row 10, column 'k': is empty, and must be a text: fill it, or leave the row out"),
    "a category that is long": (
        text([["k", "y"], *([HUGE if n == 9 else "pq"[n % 2], str(n % 2)] for n in range(20))]), {},
        "t.csv, row 10, column 'k': has 300 characters; a category has at most 200"),
    "a target that is empty": (
        changed(5, 2, ""), {},
        "t.csv, row 5, column 'y': is empty, and must be a text: fill it, or leave the row out"),
    "names instead of kinds": (
        IDS, {},
        "t.csv: the column 'id' has 60 different texts in 60 rows; if it names rows instead of kinds of "
        "rows, "
        'leave it out ("ignore")'),
    "more categories than there may be": (
        text([["id", "y"], *([f"row {n}", str(n % 2)] for n in range(1200))]), {},
        "t.csv, row 1,001, column 'id': is one different text more than the 1,000 that a column may have; "
        "if it "
        'names rows instead of kinds of rows, leave it out ("ignore")'),
    "a constant column": (
        text([["a", "c", "y"], *([str(n), "7.0", str(n % 2)] for n in range(20))]), {},
        "t.csv: the column 'c' is 7 in every row and tells nothing: leave it out (\"ignore\")"),
    "a column that is constant in 32 bits": (
        text([["c", "y"], *([f"1.00000000{n}", str(n % 2)] for n in range(9))]), {},
        "t.csv: the column 'c' is 1 in every row and tells nothing: leave it out (\"ignore\")"),
    "a column of one text": (
        text([["a", "c", "y"], *([str(n), "same", str(n % 2)] for n in range(20))]), {},
        "t.csv: the column 'c' is 'same' in every row and tells nothing: leave it out (\"ignore\")"),
    "one class": (
        text([["a", "y"], *([str(n), "yes"] for n in range(20))]), {},
        "t.csv: the target 'y' is 'yes' in every row: there is nothing to learn"),
    "one value": (
        text([["a", "y"], *([str(n), "1.5"] for n in range(20))]), {},
        "t.csv: the target 'y' is 1.5 in every row: there is nothing to learn"),
    "a class of one example": (
        changed(13, 2, "maybe"), {},
        "t.csv: the target 'y': the class 'maybe' has one example (row 13), and needs two or more: add "
        "some, or "
        "leave it out"),
    "a number of one example": (
        text([["a", "y"], *([str(n), "3" if n == 4 else str(n % 2)] for n in range(20))]), {},
        "t.csv: the target 'y': the class '3' has one example (row 5), and needs two or more: add some, "
        "or leave "
        'it out; if these are values, say "task": "regression"'),
    "a validation part of nothing": (
        text(plain(20)), {"validation": 0.01},
        "validation: a share of 0.01 of 20 rows is none; one or more are needed to measure on: give more "
        "rows, or "
        "a larger share"),
    "a test part of nothing": (
        text(plain(20)), {"test": 0.01},
        "test: a share of 0.01 of 20 rows is none; one or more are needed to measure on: give more rows, "
        "or a "
        "larger share"),
    "one row": (
        "x,y\n1.5,2.5\n", {}, "t.csv: the column 'x' is 1.5 in every row and tells nothing: leave it out "
        "(\"ignore\")"),
    "a header alone": ("a,b,y\n", {}, "t.csv: has a header and no rows below it"),
    "nothing": ("", {}, "t.csv: is empty; a table with a header and rows is expected"),
    "empty lines alone": ("\n\r\n\n", {}, "t.csv: is empty; a table with a header and rows is expected"),
    "a short row": (
        "a,b,y\n1,2,p\n3,4\n", {},
        "t.csv, row 2: has 2 cells, and the first line 3 (split at ',')"),
    "a long row": (
        "a,b,y\n1,2,p\n3,4,p\n5,6,q,7\n", {},
        "t.csv, row 3: has 4 cells, and the first line 3 (split at ',')"),
    "two names that are the same": (
        "a,b, a,y\n1,2,3,4\n", {},
        "t.csv: column 3 has the same name as column 1, 'a' in the first line; if that is no header, say "
        '"header": false'),
    "a column without a name": (
        ",b,y\n1,2,3\n", {},
        "t.csv: column 1 has no name of 1 to 200 printable characters in the first line; if that is no "
        "header, "
        'say "header": false'),
    "a name that cannot be printed": (
        '"a\nb",y\n1,2\n', {},
        "t.csv: column 1 has no name of 1 to 200 printable characters in the first line; if that is no "
        "header, "
        'say "header": false'),
    "a long name": (
        f"{HUGE},y\n1,2\n", {},
        "t.csv: column 1 has no name of 1 to 200 printable characters in the first line; if that is no "
        "header, "
        'say "header": false'),
    "a quote that is not closed": (
        'a,y\n1,p\n2,"q\n3,p\n', {},
        "t.csv, line 4: unexpected end of data; is every quote closed, and written twice inside of quotes?"),
    "a quote inside of quotes": (
        'a,y\n1,"p"q\n', {},
        "t.csv, line 2: ',' expected after '\"'; is every quote closed, and written twice inside of quotes?"),
    "another encoding": (
        "a,y\n1,p\n2,café\n3,p\n".encode("latin-1"), {},
        "t.csv, line 3: is not UTF-8, invalid continuation byte 0xe9; save it as UTF-8 (in a spreadsheet: "
        "CSV "
        "UTF-8)"),
    "UTF-16": (
        "a,y\n1,p\n".encode("utf-16"), {},
        "t.csv, line 1: is not UTF-8, invalid start byte 0xff; save it as UTF-8 (in a spreadsheet: CSV "
        "UTF-8)"),
    "UTF-16 without a mark": (
        "a,y\n1,p\n".encode("utf-16-be"), {},
        "t.csv, line 1: is no text, it has a NUL; save it as UTF-8 (in a spreadsheet: CSV UTF-8)"),
    "a NUL": (
        "a,y\n1,p\n2,q\0\n", {},
        "t.csv, line 3: is no text, it has a NUL; save it as UTF-8 (in a spreadsheet: CSV UTF-8)"),
    "more columns than there may be": (
        ",".join(f"c{n}" for n in range(10_000)) + "\n" + ",".join("1" * 10_000) + "\n", {},
        "t.csv: has 10,000 columns; at most 5,000 are taken"),
    "a line of many megabytes": (
        "a,y\n" + "1" * 5_000_000, {},
        "t.csv: has a line of more than 4,194,304 characters, or rows of more than 67,108,864 together: "
        "is it a "
        "CSV file, and is every quote closed?"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_cannot_be_learned_from_is_refused_with_the_place(tmp_path, what):
    content, options, message = REFUSED[what]
    path = tmp_path / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DatasetError) as caught:
        read(path, **options)
    assert str(caught.value) == message


def test_the_place_of_a_mistake_is_right_in_every_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "CHUNK_CELLS", 30)
    monkeypatch.setattr(cells, "PREVIEW_ROWS", 4)
    for row in range(1, 41):
        (tmp_path / "t.csv").write_text(changed(row, 1, "?", 40))
        with pytest.raises(
            DatasetError, match=f"^t.csv, row {row}, column 'b': is '\\?', and must be a number"
        ):
            read(tmp_path / "t.csv", numeric=("b",))
        (tmp_path / "t.csv").write_text(changed(row, 1, "1,2", 40))
        with pytest.raises(DatasetError, match=f"^t.csv, row {row}: has 4 cells, and the first line 3 "):
            read(tmp_path / "t.csv")


def test_a_byte_that_is_no_utf8_is_found_in_its_line_wherever_that_is(tmp_path):
    rows = text(plain(2000)).encode().splitlines(keepends=True)
    for line in (2, 700, 1999):
        bad = [*rows[: line - 1], b"1,\xff,yes\n", *rows[line:]]
        (tmp_path / "t.csv").write_bytes(b"".join(bad))
        with pytest.raises(DatasetError, match=f"^t.csv, line {line:,}: is not UTF-8"):
            read(tmp_path / "t.csv")


def test_names_without_number_are_cut_in_an_error(tmp_path):
    path = write(tmp_path / "t.csv", [[f"column {n} {'x' * 100}" for n in range(4000)], ["1"] * 4000])
    with pytest.raises(DatasetError, match=r"there is no column 'y', only .*…") as caught:
        read(path)
    assert len(str(caught.value)) < 1000


def test_a_row_that_becomes_too_many_numbers_is_refused(tmp_path):
    names = [f"k{n}" for n in range(15)]
    rows = [[f"t{n % 900}"] * 15 + [n % 2] for n in range(2000)]
    path = write(tmp_path / "t.csv", [[*names, "y"], *rows])
    with pytest.raises(
        DatasetError, match=r"a row becomes 1\d,\d{3} numbers, .* and may become 10,000: leave out"
    ):
        read(path)


def test_categories_that_no_model_file_has_room_for_are_refused(tmp_path):
    rows = [[f"{n % 900} {'漢' * 190}", f"{n % 900} {'quote' * 38}", n % 2] for n in range(1800)]
    assert len(columns(read(write(tmp_path / "t.csv", [["a", "b", "y"], *rows])))["a"]) > 800
    rows = [[*row[:2], *row] for row in rows]
    with pytest.raises(
        DatasetError, match=r"^t.csv: the names of .* take 1,\d{3},\d{3} bytes, and may take 1,048,576"
    ):
        read(write(tmp_path / "t.csv", [["a", "b", "c", "d", "y"], *rows]))


@pytest.mark.parametrize("path", ["missing.csv", "."])
def test_a_file_that_is_none_is_named(tmp_path, path):
    with pytest.raises(
        DatasetError, match=r"No such file or directory$|is not a regular file$|Is a directory$"
    ):
        read(tmp_path / path)


@settings(max_examples=200)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_a_dataset_or_an_error(tmp_path, data, headed):
    path = tmp_path / "t.csv"
    path.write_bytes(b"x,y\n1,a\n2,b\n" + data if headed else data)
    with suppress(DatasetError):
        assert isinstance(read(path), Dataset)


@settings(max_examples=200)
@given(st.lists(st.text('ab01.,;e-_"\n\r\t =', max_size=6), min_size=2, max_size=60), st.booleans())
def test_any_cells_are_a_dataset_or_an_error(tmp_path, pieces, quoted):
    rows = [["x", "y"], *zip(pieces[::2], pieces[1::2], strict=False)]
    path = tmp_path / "t.csv"
    if quoted:
        write(path, rows)
    else:
        path.write_text(text(rows), newline="")
    with suppress(DatasetError):
        assert isinstance(read(path), Dataset)


def test_a_file_that_needs_more_memory_than_there_is_is_refused_early_with_both_figures(
    tmp_path, monkeypatch
):
    path = write(tmp_path / "t.csv", plain(20_000))
    monkeypatch.setattr(room, "room", lambda: 100_000)
    seen = []
    monkeypatch.setattr(
        csv_file.Table,
        "_take",
        lambda table, rows, take=csv_file.Table._take: (seen.append(len(rows)), take(table, rows)),
    )
    with pytest.raises(
        DatasetError,
        match=r"^t.csv, with about (\d\d),(\d{3}) rows, would take about (\d{3}),\d{3} bytes of memory, and "
        r"100,000 are there: use fewer rows or columns$",
    ) as caught:
        read(path)
    rows = int(str(caught.value).split("about ")[1].split(" rows")[0].replace(",", ""))
    assert rows == pytest.approx(20_000, rel=0.4)
    assert sum(seen) == 1000


def test_a_large_file_is_read_in_little_more_memory_than_its_rows_take(tmp_path, monkeypatch):
    monkeypatch.setattr(cells, "CHUNK_CELLS", 2000)
    numbers = ",".join(["0.125", "-1.75", "3.5", "1e-3"] * 5)
    with (tmp_path / "t.csv").open("w") as file:
        file.write(",".join(f"x{n}" for n in range(20)) + ",k,y\n")
        file.writelines(f"{n}{numbers[5:]},{'pqr'[n % 3]},{'uv'[n % 2]}\n" for n in range(20_000))
    ignored = tuple(f"x{n}" for n in range(10, 20))
    numeric = tuple(f"x{n}" for n in range(10))
    monkeypatch.setattr(csv_file.NumberColumn, "problem", lambda column, rows: None)
    tracemalloc.start()
    dataset = read(tmp_path / "t.csv", ignore=ignored, numeric=numeric)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    arrays = sum(part.inputs.nbytes + part.targets.nbytes for part in parts(dataset))
    assert arrays == 20_000 * (4 * 13 + 8)
    assert peak < 2 * arrays + (1 << 20)
