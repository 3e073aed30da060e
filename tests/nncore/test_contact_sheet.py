import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from nncore.augmentation import Augmentation
from nncore.cli import main
from nncore.config import to_json
from nncore.contact_sheet import GAP, GREY, contact_sheet, png, write_sheet
from nncore.datasets import DATASETS, Split, make_xor
from nncore.errors import InputError, RecipeError
from nncore.recipe import read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
MOVED = Augmentation(rotation=10, shift=2)


def pictures(count, *shape):
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


def cell(sheet, row, column, height, width):
    top, left = row * (height + GAP), column * (width + GAP)
    return sheet[top : top + height, left : left + width]


@pytest.mark.parametrize("channels", [(), (1,), (3,)])
def test_a_row_is_a_picture_followed_by_what_became_of_it(channels):
    x = pictures(5, 6, 9, *channels)
    sheet = contact_sheet(x, MOVED, rows=5, columns=4, seed=0)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (5 * 6 + 4 * GAP, 4 * 9 + 3 * GAP) + (channels if channels == (3,) else ())
    for row in range(5):
        cells = [cell(sheet, row, column, 6, 9) for column in range(4)]
        assert_array_equal(cells[0], x[row].reshape(cells[0].shape))
        assert len(np.unique(cells, axis=0)) == 4
    assert (sheet[6 : 6 + GAP] == GREY).all()
    assert (sheet[:, 9 : 9 + GAP] == GREY).all()


def test_what_is_shown_is_what_augmentation_does():
    x = pictures(2, 8, 8)
    sheet = contact_sheet(x, Augmentation(shift=1e-9), rows=2, columns=3, seed=0)
    assert_array_equal(cell(sheet, 1, 2, 8, 8), x[1])


def test_the_pictures_are_taken_evenly_from_all_and_no_more_than_there_are():
    x = pictures(9, 4, 4)
    sheet = contact_sheet(x, MOVED, rows=3, columns=1, seed=0)
    assert_array_equal(np.stack([cell(sheet, row, 0, 4, 4) for row in range(3)]), x[[0, 4, 8]])
    assert contact_sheet(x, MOVED, rows=50, columns=1, seed=0).shape == (9 * (4 + GAP) - GAP, 4)


def test_numbers_other_than_bytes_are_shown_from_their_smallest_to_their_largest():
    x = pictures(3, 8, 8)
    x[1, 0, :2] = 0, 255
    sheet = contact_sheet(x, MOVED, rows=3, columns=3, seed=0)
    of_numbers = contact_sheet(x / 51 - 2, MOVED, rows=3, columns=3, seed=0)
    assert_allclose(of_numbers.astype(int), sheet, atol=1)
    assert_array_equal(of_numbers[:, :8], sheet[:, :8])
    assert (cell(contact_sheet(np.ones((1, 8, 8)), MOVED, rows=1, columns=2, seed=0), 0, 0, 8, 8) == 0).all()


def test_a_seed_gives_the_same_sheet_and_another_seed_another():
    x = pictures(3, 8, 8)
    first, again, other = (contact_sheet(x, MOVED, rows=3, columns=3, seed=seed) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_is_read_as_what_was_written(shape):
    picture = pictures(1, *shape)[0]
    with Image.open(io.BytesIO(png(picture))) as read:
        read.load()
        assert read.format == "PNG"
        assert_array_equal(np.asarray(read), picture)


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "right"),
    [
        ((8, 8), 0, 4, "1 to 100 rows and columns, not 0 and 4"),
        ((8, 8), 4, 0, "1 to 100 rows and columns, not 4 and 0"),
        ((8, 8), 4, 101, "1 to 100 rows and columns, not 4 and 101"),
        ((8, 8, 2), 4, 4, "of 1 channel or 3, not 2"),
    ],
)
def test_a_sheet_that_cannot_be_is_refused(shape, rows, columns, right):
    with pytest.raises(InputError, match=right):
        contact_sheet(pictures(3, *shape), MOVED, rows=rows, columns=columns, seed=0)


@pytest.fixture
def recipe(monkeypatch):
    """The recipe of digits, of which there are only three."""
    split = Split(pictures(3, 28, 28), np.arange(3))
    few = dataclasses.replace(make_xor(), train=split)
    monkeypatch.setitem(DATASETS, "digits", lambda: few)
    digits = read_recipe((RECIPES / "digits.json").read_bytes())
    return dataclasses.replace(digits, augmentation=MOVED, seed=4)


def test_the_sheet_of_a_recipe_is_written_with_its_seed(recipe, tmp_path):
    path = tmp_path / "new" / "sheet.png"
    for _ in ("written", "written over"):
        sheet = write_sheet(recipe, path, 2, 3)
        assert_array_equal(sheet, contact_sheet(DATASETS["digits"]().train.inputs, MOVED, 2, 3, seed=4))
        assert path.read_bytes() == png(sheet)
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_a_recipe_without_augmentation_has_no_sheet(augmentation, recipe, tmp_path):
    with pytest.raises(RecipeError, match=r'^augmentation: is off; set .* as \{"rotation": 10') as caught:
        write_sheet(dataclasses.replace(recipe, augmentation=augmentation), tmp_path / "sheet.png", 2, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("augmentation", [None, MOVED])
def test_a_dataset_without_pictures_has_no_sheet(augmentation, recipe, tmp_path):
    recipe = dataclasses.replace(recipe, augmentation=augmentation)
    with pytest.raises(
        RecipeError, match=r"^augmentation: works on pictures, .* not on inputs of shape \(2,\)$"
    ):
        write_sheet(dataclasses.replace(recipe, dataset="xor"), tmp_path / "sheet.png", 2, 2)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_sheet(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("moved.json").write_text(json.dumps(to_json(recipe)))
    command = ["augment", "moved.json", "--out", "sheet.png"]
    assert main([*command, "--rows", "2", "--columns", "3", "--seed", "5"]) == 0
    another = dataclasses.replace(recipe, seed=5)
    assert Path("sheet.png").read_bytes() == png(write_sheet(another, tmp_path / "same.png", 2, 3))
    assert capsys.readouterr().out == "Wrote sheet.png, 88 × 58 pixels.\n"
    assert main(command) == 0
    assert Path("sheet.png").read_bytes() == png(write_sheet(recipe, tmp_path / "same.png", 10, 16))
    assert main([*command, "--seed", "-1"]) == 1
    assert capsys.readouterr().err == "nncore: seed: must be ≥ 0, not -1\n"


@pytest.mark.parametrize("name", ["xor", "none"])
def test_the_command_says_in_a_line_what_would_be_right(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["augment", str(RECIPES / f"{name}.json"), "--out", "sheet.png"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("nncore: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not Path("sheet.png").exists()
