"""`python -m nncore data`, and the other commands on somebody's own data."""

import csv
import json

import numpy as np
import pytest

from nncore.cli import main
from nncore.predictor import load

COLOURS = ("blue", "green", "red")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table of 120 rows whose class is told by a number and a colour."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(3)
    sizes, colours = rng.normal(size=120).round(3).tolist(), rng.choice(COLOURS, 120).tolist()
    with (folder / "fruit.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["size", "colour", "ripe"])
        for size, colour in zip(sizes, colours, strict=True):
            writer.writerow([size, colour, "yes" if size > 0 and colour != "green" else "no"])
    return folder


@pytest.fixture
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder, tmp_path_factory):
    """The model that the recipe to begin with makes of the table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["data", "fruit.csv", "--target", "ripe", "--recipe", "fruit.json"]) == 0
        assert main(["train", "fruit.json", "--epochs", "60"]) == 0
    return folder / "var/models/fruit"


def test_a_table_is_described(inside, capsys):
    assert main(["data", "fruit.csv", "--target", "ripe"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rows        120: 84 to train on, 18 to validate, 18 to test"
    assert lines[1] == "inputs      4"
    assert lines[2].startswith("  size                 min -")
    assert lines[3].startswith("  colour               blue (")
    assert lines[4].startswith("classes     2: no (")
    assert lines[5].startswith("sha256      ")


def test_a_table_goes_from_a_file_to_a_prediction_by_column_name(inside, model, capsys):
    assert (
        main(["predict", str(model), '[{"size": 1.5, "colour": "red"}, {"colour": "green", "size": 2}]']) == 0
    )

    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["label"] for answer in answers] == ["yes", "no"]


def test_a_model_is_measured_on_the_rows_that_its_own_dataset_holds_out(inside, model, capsys):
    assert main(["evaluate", str(model), "--data", ":test"]) == 0

    accuracy = load(model / "1/model.safetensors").card.metrics["test"]["accuracy"]
    assert f"18 rows: accuracy {accuracy:.4%}" in capsys.readouterr().out


def test_a_model_is_not_measured_on_a_file_that_has_changed(inside, model, capsys):
    table = inside / "fruit.csv"
    whole = table.read_bytes()
    try:
        table.write_bytes(whole + b"0.1,red,yes\n")
        assert main(["evaluate", str(model), "--data", ":test"]) == 1
    finally:
        table.write_bytes(whole)
    assert "was not trained on the dataset 'fruit' that is here" in capsys.readouterr().err


def test_a_card_names_the_columns_of_a_table(inside, model, capsys):
    assert main(["inspect", str(model)]) == 0
    assert "rows by column name: size, colour (3 categories)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ('[{"size": 1, "colour": "pink"}]', "row 0, column 'colour': must be one of the categories"),
        ('[{"size": 1}]', "row 0, column 'colour': is missing"),
        ('[{"size": "1", "colour": "red"}]', "row 0, column 'size': must be a number, not '1'"),
        ('[{"size": 1, "colour": "red", "weight": 2}]', "column 'weight': is no column of this model"),
        ('[{"size": 1, "colour": "red"}, [1, 2]]', "row 1: must be an object by column name"),
        ("[[1, 0, 0, 1]]", "'colour' has categories: give rows by column name"),
    ],
)
def test_rows_that_do_not_fit_the_columns_are_refused(inside, model, inputs, problem, capsys):
    assert main(["predict", str(model), inputs]) == 1
    assert problem in capsys.readouterr().err


def test_rows_by_column_name_are_refused_by_a_model_without_columns(capsys):
    assert main(["predict", "models/xor", '[{"a": 1}]']) == 1
    assert "takes arrays, no rows by name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["fruit.csv"], "which column is to be told from the others, the target? One of size, colour, ripe"),
        (
            ["fruit.csv", "--target", "rip"],
            "target: there is no column 'rip', only size, colour, ripe (did you mean",
        ),
        (["fruit.csv", "--target", "ripe", "--set", "shuffle=1"], "shuffle: is not known here"),
        (["fruit.csv", "--target", "ripe", "--set", 'numeric=["colour"]'], "row 1, column 'colour': is"),
        (["none.csv", "--target", "ripe"], "none.csv: No such file or directory"),
        (["a", "b", "c"], "3 files are given"),
    ],
)
def test_data_that_cannot_be_read_are_refused(inside, arguments, problem, capsys):
    assert main(["data", *arguments]) == 1
    assert problem in capsys.readouterr().err


def test_two_files_are_a_pair_of_idx_files(capsys):
    files = [f"nncore/datasets/mnist/t10k-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]

    assert main(["data", *files]) == 0
    assert "inputs      28×28; pictures: resize height 28, width 28, channels 1" in capsys.readouterr().out


def test_a_class_that_nearly_all_rows_have_is_pointed_out(tmp_path, capsys):
    rows = "".join(f"{number},{'rare' if number % 20 == 0 else 'usual'}\n" for number in range(200))
    (tmp_path / "sick.csv").write_text("x,kind\n" + rows)

    assert main(["data", str(tmp_path / "sick.csv"), "--target", "kind"]) == 0
    assert "who always says usual is right in 95.0% of the rows" in capsys.readouterr().out


def test_classes_are_not_learned_as_if_they_were_values(inside, tmp_path, capsys):
    rows = "".join(f"{number},{'abc'[number % 3]}\n" for number in range(30))
    (tmp_path / "three.csv").write_text("x,kind\n" + rows)
    recipe = str(tmp_path / "three.json")
    assert main(["data", str(tmp_path / "three.csv"), "--target", "kind", "--recipe", recipe]) == 0

    changes = ["--set", "loss=mean_squared_error", "--set", "network.2.units=1"]
    assert main(["train", recipe, *changes]) == 1
    assert "learns values, and three has 3 classes: use softmax_cross_entropy" in capsys.readouterr().err
