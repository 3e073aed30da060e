"""`nnserve predict`: pictures, tables and arrays, from files and standard input, as a table, CSV and JSON."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Run, lines, runner
from PIL import Image
from serving import Service
from sketches import Digit

from nncore.artifact import describe, to_bytes
from nncore.recipe import read_recipe
from nncore.recipe import run as run_recipe
from service.cli_output import Table
from service.client import Client

# A name that a spreadsheet would run, one that would clear a terminal, one with a tab.
LABELS = ("=1+1", "\x1b[2J", "a\tb")
FRUIT = {
    "input": [{"type": "standardize"}],
    "network": [{"type": "dense", "units": 3}],
    "loss": "softmax_cross_entropy",
    "optimizer": {"type": "adam", "learning_rate": 0.1},
    "epochs": 60,
}
TABLE = "weight,colour,kind\n" + "".join(
    f"{100 * kind + n},{colour},{LABELS[kind]}\n"
    for n in range(20)
    for kind, colour in enumerate(("red", "green", "blue"))
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a model of a table besides the shipped ones."""
    folder = tmp_path_factory.mktemp("predict")
    running = Service(folder, workers=1)
    (folder / "fruit.csv").write_text(TABLE)
    table = {"type": "csv", "path": str(folder / "fruit.csv"), "target": "kind"}
    recipe = read_recipe(json.dumps(FRUIT | {"dataset": table}).encode())
    (folder / "fruit.safetensors").write_bytes(to_bytes(describe(run_recipe(recipe))))
    with Client(running.url) as client:
        client.upload("fruit", folder / "fruit.safetensors")
    yield running
    running.stop()


@pytest.fixture
def run(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "fruit.csv").write_text(TABLE)
    return runner(service.url, tmp_path, monkeypatch)


def test_a_table_is_read_by_the_names_of_its_columns(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mixed.csv").write_text("id;colour;weight\n=7;red;5\nx;blue;210,\n".replace(",", ""))

    assert [(source, label) for source, label, _ in lines(run("predict", "fruit", "mixed.csv"))] == [
        ("mixed.csv:1", "=1+1"),
        ("mixed.csv:2", "a b"),
    ]


def test_a_table_without_names_has_its_columns_in_order(run: Run) -> None:
    found = lines(run("predict", "fruit", "-", input="5,red\n110,green\n"))

    assert [(source, label) for source, label, _ in found] == [("stdin:1", "=1+1"), ("stdin:2", " [2J")]


def test_a_model_of_numbers_takes_lines_of_them_with_titles_or_without(run: Run) -> None:
    for text in ("0,1\n1,1\n", "a,b\n0,1\n1,1\n", "0\t1\n1\t1\n", "\ufeff0|1\r\n\r\n1|1\r\n"):
        assert [cells[1] for cells in lines(run("predict", "xor", "-", input=text.encode()))] == ["1", "0"]
    assert lines(run("predict", "line", "-", input="1.5\n")) == [["stdin:1", "3.9903076"]]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[0, 1]\n\n[1, 1]\n", ["1", "0"]),
        ("[[0, 1], [1, 1]]", ["1", "0"]),
        ("[\n [0, 1],\n [1, 1]\n]\n", ["1", "0"]),
        ("[0, 1]", ["1"]),
    ],
)
def test_json_is_an_array_of_examples_or_an_example_a_line(run: Run, text: str, labels: list[str]) -> None:
    assert [cells[1] for cells in lines(run("predict", "xor", "-", input=text))] == labels


def test_json_may_have_rows_by_column_name_and_stand_in_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(
        '{"weight": 5, "colour": "red"}\n{"colour": "blue", "weight": 215}\n'
    )
    found = lines(run("predict", "fruit", "rows.jsonl"))

    assert [(cells[0], cells[1]) for cells in found] == [("rows.jsonl:1", "=1+1"), ("rows.jsonl:2", "a b")]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_a_picture_may_come_by_standard_input(run: Run, digits: list[Digit], kind: str) -> None:
    file = io.BytesIO()
    with Image.open(io.BytesIO(digits[0].png)) as picture:
        picture.convert("RGB").save(file, kind)
    [[source, label, _]] = lines(run("predict", "digits", "-", input=file.getvalue()))

    assert (source, label) == ("stdin", digits[0].label)


def test_a_table_whose_first_title_begins_like_a_picture_is_a_table(run: Run) -> None:
    assert len(lines(run("predict", "xor", "-", input="BMI,age\n0,1\n"))) == 1


def test_csv_has_titles_and_nothing_that_a_spreadsheet_runs(run: Run) -> None:
    done = run("predict", "fruit", "fruit.csv", "--csv")
    titles, *rows = csv.reader(io.StringIO(done.stdout))

    assert (done.exit_code, titles) == (0, ["file", "row", "label", "confidence"])
    assert [row[:3] for row in rows[:3]] == [
        ["fruit.csv", "1", "'=1+1"],
        ["fruit.csv", "2", LABELS[1]],
        ["fruit.csv", "3", LABELS[2]],
    ]
    assert len(rows) == 60
    assert float(rows[0][3]) > 0.5


def test_json_has_all_probabilities_by_label(run: Run) -> None:
    [one, two] = map(
        json.loads, run("predict", "xor", "-", "--json", input="[0, 1]\n[1, 1]").stdout.splitlines()
    )

    assert {name: one[name] for name in ("file", "row", "model", "version", "label")} == {
        "file": "stdin",
        "row": 1,
        "model": "xor",
        "version": 1,
        "label": "1",
    }
    assert one["probabilities"]["1"] == one["confidence"]
    assert two["row"] == 2


def test_several_files_keep_their_order(run: Run, tmp_path: Path, digits: list[Digit]) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(digits[number].png)
    (tmp_path / "pixels.json").write_text(json.dumps([digits[3].pixels.tolist()]))
    found = lines(run("predict", "digits", "0.png", "1.png", "pixels.json", "2.png"))

    assert [(cells[0], cells[1]) for cells in found] == [
        ("0.png", digits[0].label),
        ("1.png", digits[1].label),
        ("pixels.json:1", digits[3].label),
        ("2.png", digits[2].label),
    ]


def test_many_pictures_and_rows_go_in_several_requests(
    run: Run, service: Service, tmp_path: Path, digits: list[Digit]
) -> None:
    (tmp_path / "0.png").write_bytes(digits[0].png)
    before = service.log.count("POST /predict 200")
    assert len(lines(run("predict", "digits", *["0.png"] * 70))) == 70
    found = lines(run("predict", "xor", "-", input="0,1\n1,1\n" * 1_050))

    assert [cells[1] for cells in found] == ["1", "0"] * 1_050
    assert found[-1][0] == "stdin:2100"
    assert service.log.count("POST /predict 200") - before == 2 + 3


def test_large_pictures_that_one_request_does_not_take_together_are_asked_about_one_by_one(
    run: Run, tmp_path: Path, digits: list[Digit]
) -> None:
    with Image.open(io.BytesIO(digits[0].png)) as picture:
        picture.convert("L").resize((3000, 3000), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    found = lines(run("predict", "digits", "large.png", "large.png"))

    assert [cells[0] for cells in found] == ["large.png", "large.png"]


@pytest.mark.parametrize(
    ("model", "text", "said"),
    [
        ("xor", "0,1\n1,x\n", "stdin, row 2, column 2: is 'x', and must be a number"),
        ("xor", "0,1\n1\n", "stdin: line 2 has 1 cells, and the first 2"),
        ("xor", "", "stdin: is empty"),
        ("xor", "[]", "stdin: has no examples"),
        ("xor", '[0, 1]\n[0, "1"]\n', "stdin, row 2, 1: must be a number, not the text '1'"),
        ("xor", "[0, 1]\n[0,\n", "stdin: line 2 is no JSON"),
        ("xor", "[0, NaN]", "not JSON compliant"),
        ("xor", b"\xff\xfe0,1", "stdin: is no text in UTF-8: byte 0 is wrong"),
        ("xor", '0,"1\n' + "x" * 200_000, "stdin: is no CSV: field larger than field limit"),
        ("fruit", "weight\n5\n", "the first line must name the model's columns; missing are colour"),
        ("fruit", "weight,colour\nheavy,red\n", "stdin, row 1, column 'weight': is 'heavy', and must be"),
        ("fruit", "weight,colour\n" + "5,red\n" * 1_001 + "5,pink\n", "stdin, row 1002, colour: "),
        ("fruit", '{"weight": 5}', "stdin, row 1, colour: is missing"),
        ("nobody", "0,1\n", "404 Not Found: There is no model 'nobody'"),
    ],
)
def test_what_is_wrong_is_told_by_file_and_row_on_one_line(
    run: Run, model: str, text: str | bytes, said: str
) -> None:
    done = run("predict", model, "-", input=text)

    assert done.exit_code == 1
    assert done.stderr.startswith("nnserve: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_of_several_pictures_the_wrong_one_is_named(run: Run, tmp_path: Path, digits: list[Digit]) -> None:
    (tmp_path / "0.png").write_bytes(digits[0].png)
    (tmp_path / "no.png").write_text("words")
    done = run("predict", "digits", "0.png", "no.png", "0.png")

    assert done.exit_code == 1
    assert "; no.png: it looks like text" in done.stderr


def test_rows_are_answered_by_one_version_also_where_another_becomes_stable(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(service.url) as client:
        asked = []
        predict = Client.predict

        def promoting(
            self: Client, model: str, *how: object, version: object = None, **more: object
        ) -> object:
            asked.append(version)
            answer = predict(self, model, *how, version=version, **more)
            client.promote("digits", 1)
            return answer

        monkeypatch.setattr(Client, "predict", promoting)
        text = "\n".join(["[" + "0.0, " * 783 + "255]"] * 300)
        found = run("predict", "digits", "-", "--json", input=text).stdout.splitlines()
        client.promote("digits", 2)

    assert asked == [None, 2]
    assert {json.loads(line)["version"] for line in found} == {2}


def test_standard_input_is_read_once(run: Run) -> None:
    done = run("predict", "xor", "-", "-", input="0,1\n")

    assert done.exit_code == 2
    assert "standard input can be read once" in done.stderr


def test_on_a_terminal_a_table_has_titles_and_aligned_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    table = Table("file", "label")
    table.print([("long.png", "1"), ("a.png", "\x1b[2Jbad\n")])
    table.print([("b.png", "longer than before")])

    assert capsys.readouterr().out == (
        "file      label\nlong.png  1\na.png      [2Jbad\nb.png     longer than before\n"
    )
