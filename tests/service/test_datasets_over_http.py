"""Data of one's own, from the file to the prediction, on a running service with a trainer."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from samples import FRUIT, csv_of, digits, idx, npz, picture_zip, send, table
from serving import JSON, Service, multipart, nnserve
from training import ENDLESS, job, post_job, submit, versions_on_disk, wait_for_epoch, wait_until

from nncore.artifact import describe, from_bytes, to_bytes
from nncore.config import from_json
from nncore.contact_sheet import png
from nncore.publishing import MODEL_FILE
from nncore.recipe import Recipe, run
from service.client import Client

ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The web service and a trainer; every test has datasets and models of its own."""
    service = Service(tmp_path_factory.mktemp("datasets"), "up", workers=1)
    yield service
    service.stop()
    print(service.log)


def sent(service: Service, name: str, file: str, content: bytes, **options: Any) -> dict[str, Any]:
    """Return what a new dataset holds."""
    answer = send(service, name, file, content, **options)
    assert answer.status in (200, 201), answer.body
    document: dict[str, Any] = answer.json
    return document


def trained(service: Service, model: str, recipe: dict[str, Any], **asked: Any) -> dict[str, Any]:
    ended = wait_until(service, submit(service, model, recipe=recipe, **asked), *ENDED)
    assert ended["state"] == "succeeded", ended
    return ended


def delete(service: Service, name: str) -> tuple[int, str]:
    answer = service.ask("DELETE", f"/datasets/{name}")
    return answer.status, answer.json["detail"] if answer.body else ""


def content(service: Service, sha256: str) -> Path:
    return service.store / ".datasets" / sha256


def quick(name: str) -> dict[str, Any]:
    """Return a recipe for a table of two classes."""
    layers = [{"type": "dense", "units": 2}]
    return {
        "dataset": name,
        "network": layers,
        "loss": "softmax_cross_entropy",
        "optimizer": {"type": "adam"},
        "epochs": 2,
    }


def two_kinds(seed: int, rows: int = 40) -> bytes:
    """Return a table that is told apart by its first column, another one for each seed."""
    rng = np.random.default_rng(seed)
    return csv_of(
        ["size", "noise", "kind"],
        [(n % 2 + rng.normal(0, 0.1), rng.normal(), ["small", "large"][n % 2]) for n in range(rows)],
    )


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_a_table_goes_from_a_file_to_predictions_in_four_calls(
    up: Service, name: str, tmp_path: Path
) -> None:
    content, rows, answers = table(name)
    file = tmp_path / f"{name}.csv"
    file.write_bytes(content)
    with Client(up.url) as client:
        dataset = client.upload_dataset(name, file, target="answer")
        job = client.train(name, dataset.recipe)
        ended = client.wait(job.id)
        predicted = client.predict(name, rows)

    assert (dataset.task, len(dataset.classes)) == ("classification", 3)
    assert sum(dataset.rows.values()) + len(rows) == {"iris": 150, "wine": 178}[name]
    assert [column["name"] for column in dataset.columns] == list(rows[0])
    assert ended.state == "succeeded"
    right = [p.label == answer for p, answer in zip(predicted.predictions, answers, strict=True)]
    # Of 30 or 36 rows that no one has seen.
    assert sum(right) >= 0.9 * len(answers)


def test_five_classes_of_pictures_go_from_a_zip_file_to_a_prediction_of_a_picture(up: Service) -> None:
    pictures, targets = digits(5)
    labels = [f"digit {target}" for target in targets]
    seen, unseen = slice(0, 400), slice(400, 440)
    dataset = sent(up, "five", "five.zip", picture_zip(pictures[seen], labels[seen]))
    ended = trained(up, "five", dataset["recipe"])
    answer = up.upload(
        [(f"{n}.png", png(picture)) for n, picture in enumerate(pictures[unseen])], model="five"
    )

    assert dataset["input_shape"] == [8, 8]
    assert [row["label"] for row in dataset["classes"]] == [f"digit {n}" for n in range(5)]
    assert "first" not in dataset
    assert ended["result"]["metrics"]["validation"]["accuracy"] > 0.9
    predicted = [prediction["label"] for prediction in answer.json["predictions"]]
    assert np.mean([mine == right for mine, right in zip(predicted, labels[unseen], strict=True)]) > 0.9

    sheet = up.ask("GET", dataset["sheet"])
    assert (sheet.status, sheet.headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(sheet.body)) as picture:
        # Ten pictures each of five classes, with two pixels between them.
        assert (picture.size, picture.mode) == ((10 * 10 - 2, 5 * 10 - 2), "L")
        corner = np.asarray(picture)[:8, :8]
    assert any(
        (corner == one).all() for one, label in zip(pictures, labels, strict=True) if label == "digit 0"
    )


def test_arrays_and_idx_files_are_taken_too(up: Service) -> None:
    pictures, targets = digits(3)
    values = npz(x=np.arange(60).reshape(30, 2) / 7, y=np.arange(30) / 3)
    arrays = sent(up, "arrays", "some.npz", values, inputs="x", targets="y", task="regression", test=0.2)
    files = [("inputs", "pictures.gz", idx(pictures)), ("targets", "labels.gz", idx(targets))]
    pair = up.ask("POST", "/datasets", *multipart([("name", "pair")], files))

    assert (arrays["task"], arrays["input_shape"], arrays["columns"]) == ("regression", [2], [])
    assert arrays["rows"] == {"train": 20, "validation": 4, "test": 6}
    assert arrays["target"]["max"] <= 29 / 3
    assert len(arrays["first"][0]["inputs"]) == 2
    assert arrays["reading"] == {
        "type": "npz",
        "inputs": "x",
        "targets": "y",
        "task": "regression",
        "validation": 0.15,
        "test": 0.2,
    }
    assert up.ask("GET", "/datasets/arrays/sheet").status == 404
    assert pair.status == 201
    assert pair.json["input_shape"] == [8, 8]
    assert sum(row["train"] for row in pair.json["classes"]) == pair.json["rows"]["train"]


def test_a_dataset_is_shown_as_it_was_answered_and_lies_under_its_hash(up: Service) -> None:
    answer = send(up, "shown", "fruit.csv", FRUIT.encode(), target="kind")

    assert answer.status == 201
    assert answer.headers["location"] == "/datasets/shown"
    shown = up.ask("GET", "/datasets/shown").json
    assert shown == answer.json
    assert shown["bytes"] == sum(file.stat().st_size for file in content(up, shown["sha256"]).iterdir())
    assert shown["columns"][1]["categories"].keys() == {"red", "green", "yellow"}
    # A cell that a spreadsheet would run is a text like any other.
    assert {row["inputs"]["remark"] for row in shown["first"]} <= {"=1+1", "@SUM(A1)", "-cmd"}
    # Nothing says where on the server it lies or lay.
    assert "path" not in json.dumps(shown)
    assert str(up.store) not in json.dumps(shown)


def test_datasets_are_listed_page_by_page(up: Service) -> None:
    for name in ("page-b", "page-a", "page-c"):
        sent(up, name, "two.csv", two_kinds(0), target="kind")
    with Client(up.url) as client:
        listed = [one for one in client.datasets() if one.name.startswith("page-")]
    first = up.ask("GET", "/datasets?limit=1&cursor=page-a").json

    assert [one.name for one in listed] == ["page-a", "page-b", "page-c"]
    assert listed[0].document.keys() == {"name", "sha256", "created", "bytes", "task", "rows"}
    assert [one["name"] for one in first["datasets"]] == ["page-b"]
    assert first["next"] == "page-b"
    assert up.ask("GET", "/datasets?cursor=A").status == 422
    assert up.ask("GET", "/datasets?cursor=a!").status == 422
    assert up.ask("GET", "/datasets?page=2").status == 422


@pytest.fixture(scope="module")
def fruit(up: Service) -> str:
    """A model of a table with a column of texts."""
    dataset = sent(up, "fruit", "fruit.csv", FRUIT.encode(), target="kind", ignore=["remark"])
    trained(up, "fruit", dataset["recipe"])
    return "fruit"


def test_a_row_is_asked_about_by_the_names_of_its_columns(up: Service, fruit: str) -> None:
    rows = [{"weight": 120, "colour": "red"}, {"colour": "yellow", "weight": 240.5}]
    answer = up.predict(model=fruit, inputs=rows)

    assert [one["label"] for one in answer.json["predictions"]] == ["apple", "melon"]
    shown = up.ask("GET", f"/models/{fruit}/versions/1").json
    assert [column["name"] for column in shown["input"]["columns"]] == ["weight", "colour"]
    assert shown["input"]["columns"][1]["categories"] == ["green", "red", "yellow"]
    assert "known_answers" not in shown


@pytest.mark.parametrize(
    ("inputs", "errors"),
    [
        ([{"weight": 1}], [("#/inputs/0/colour", "is missing")]),
        ([{"weight": "1", "colour": "red"}], [("#/inputs/0/weight", "must be a number, not '1'")]),
        ([{"weight": None, "colour": "red"}], [("#/inputs/0/weight", "must be a number, not null")]),
        ([{"weight": True, "colour": "red"}], [("#/inputs/0/weight", "must be a number, not true")]),
        ([{"weight": 1e39, "colour": "red"}], [("#/inputs/0/weight", "finite number of 32 bits")]),
        ([{"weight": 1, "colour": "blue"}], [("#/inputs/0/colour", "'green', 'red', 'yellow', not 'blue'")]),
        ([{"weight": 1, "colour": 1}], [("#/inputs/0/colour", "not 1")]),
        (
            [{"weight": 1, "colour": "red", "a/b~c": 1}],
            [("#/inputs/0/a~1b~0c", "is no column of this model")],
        ),
        (
            [{"weight": 1, "colour": "red"}, [1, 0, 1, 0]],
            [("#/inputs/1", "must be an object by column name")],
        ),
        ([{}, {"weight": 1, "colour": "red"}], [("#/inputs/0/weight", "missing"), ("#/inputs/0/colour", "")]),
        ([[1, 0, 1, 0], {"weight": 1, "colour": "red"}], [("#/inputs/1", "must be an array of 4")]),
        ([[1, 0, 1, 0]], [("#/inputs/0", '{"colour": "…", …}: of texts are colour')]),
        ([{"weight": 1, "colour": "red"}] * 10_001, [("#/inputs", "at most 10,000")]),
        ([{}] * 10_000, [("#/inputs/0/weight", "is missing")]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_row_that_does_not_fit_is_told_by_its_column(
    up: Service, fruit: str, inputs: list[Any], errors: list[tuple[str, str]]
) -> None:
    answer = up.predict(model=fruit, inputs=inputs)

    assert answer.status == 422, answer.body
    for (pointer, text), found in zip(errors, answer.json["errors"], strict=False):
        assert found["pointer"] == pointer
        assert text in found["detail"]


def test_rows_go_to_models_with_columns_alone_and_images_to_none_of_them(up: Service, fruit: str) -> None:
    to_arrays = up.predict(model="xor", inputs=[{"a": 1}])
    both = up.predict(model=fruit, inputs=[{"weight": 1, "colour": "red"}], images=["AA=="])
    odd = up.predict(model=fruit, inputs=[{"weight": 1, "colour": "red"}], odd=1)

    assert to_arrays.json["errors"] == [
        {"pointer": "#/inputs/0", "detail": "must be an array: this model has no columns with names"}
    ]
    assert (both.status, both.json["errors"][0]["pointer"]) == (422, "#")
    assert (odd.status, odd.json["errors"][0]["pointer"]) == (422, "#/odd")


def test_a_job_keeps_the_data_that_it_was_accepted_with(up: Service) -> None:
    blocking = submit(up, "blocking", recipe=ENDLESS)
    wait_for_epoch(up, blocking, 1)
    first = sent(up, "moving", "a.csv", two_kinds(1), target="kind")
    waiting = submit(up, "moving", recipe=quick("moving"))
    assert delete(up, "moving") == (
        409,
        f"The dataset 'moving' is not deleted: job {waiting}, which is queued, needs it.",
    )

    second = sent(up, "moving", "a.csv", two_kinds(2), target="kind")
    assert second["sha256"] != first["sha256"]
    assert up.ask("GET", "/datasets/moving").json["sha256"] == second["sha256"]
    # Nothing needs what the name stands for now.
    assert delete(up, "moving") == (204, "")
    assert not content(up, second["sha256"]).exists()
    up.ask("POST", f"/train/{blocking}/cancel")
    ended = wait_until(up, waiting, *ENDED)

    assert ended["state"] == "succeeded"
    pinned = {"type": "stored", "name": "moving", "sha256": first["sha256"]}
    assert ended["plan"]["recipe"]["dataset"] == pinned
    assert versions_on_disk(up, "moving")[1]["dataset"] == first["sha256"]
    # The model's name alone repeats it on the same data, which are kept for that.
    again = wait_until(up, submit(up, "moving"), *ENDED)
    assert (again["state"], again["plan"]["recipe"]["dataset"]) == ("succeeded", pinned)


def test_data_are_kept_as_long_as_a_version_was_trained_on_them(up: Service) -> None:
    data = two_kinds(3)
    sha256 = sent(up, "kept", "a.csv", data, target="kind")["sha256"]
    assert sent(up, "kept-too", "b.csv", data, target="kind")["sha256"] == sha256
    trained(up, "keeper", quick("kept"))

    # One of two names may go.
    assert delete(up, "kept-too") == (204, "")
    assert delete(up, "kept") == (
        409,
        "The dataset 'kept' is not deleted: version 1 of 'keeper' was trained on it.",
    )
    up.ask("DELETE", "/models/keeper/labels/stable")
    shutil.rmtree(up.store / "keeper")
    assert delete(up, "kept") == (204, "")
    assert not content(up, sha256).exists()
    assert delete(up, "kept") == (404, "There is no dataset 'kept'; GET /datasets lists those there are.")


def test_the_same_data_under_the_same_name_are_the_same_dataset(up: Service) -> None:
    first = send(up, "same", "a.csv", two_kinds(4), target="kind")
    again = send(up, "same", "renamed.csv", two_kinds(4), target="kind")
    # What they are read as makes them what they are.
    other = send(up, "same", "a.csv", two_kinds(4), target="kind", test=0.25)

    assert (first.status, again.status, other.status) == (201, 200, 201)
    assert again.json == first.json
    assert other.json["sha256"] != first.json["sha256"]


def test_a_job_whose_data_have_gone_is_not_tried_again(up: Service) -> None:
    sent(up, "gone", "a.csv", two_kinds(5), target="kind")
    cancelled = submit(up, "goner", recipe=quick("gone") | {"epochs": 10_000, "batch_size": 1})
    up.ask("POST", f"/train/{cancelled}/cancel")
    assert delete(up, "gone") == (204, "")
    answer = up.ask("POST", f"/train/{cancelled}/retry")

    assert answer.status == 409
    assert answer.json["detail"] == "The dataset 'gone' has been deleted: send it again, as it was."
    assert job(up, cancelled)["state"] == "cancelled"

    sent(up, "back-again", "a.csv", two_kinds(5), target="kind")
    assert up.ask("POST", f"/train/{cancelled}/retry").status == 202
    up.ask("POST", f"/train/{cancelled}/cancel")


def test_a_model_whose_data_have_gone_is_not_repeated(up: Service) -> None:
    sha256 = sent(up, "lost", "a.csv", two_kinds(6), target="kind")["sha256"]
    trained(up, "loser", quick("lost"))
    shutil.rmtree(content(up, sha256))
    answer = post_job(up, "loser")
    shown = up.ask("GET", "/datasets/lost")
    asked = post_job(up, "loser", recipe=quick("lost"))

    assert answer.status == 409
    assert "'lost', which the stable version was trained on, is not here" in answer.json["detail"]
    assert (shown.status, asked.status) == (409, 409)
    # Sending it again mends it.
    assert send(up, "lost", "a.csv", two_kinds(6), target="kind").status == 200
    assert wait_until(up, submit(up, "loser"), *ENDED)["state"] == "succeeded"


def test_damaged_data_are_not_trained_on(up: Service) -> None:
    sha256 = sent(up, "damaged", "a.csv", two_kinds(7), target="kind")["sha256"]
    file = content(up, sha256) / "train-inputs.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    ended = wait_until(up, submit(up, "damaged", recipe=quick("damaged")), *ENDED)

    assert ended["state"] == "failed"
    assert "train-inputs.npy is not what it was" in ended["error"]
    # Sending them again mends them.
    assert send(up, "damaged", "a.csv", two_kinds(7), target="kind").status == 200
    assert up.ask("POST", f"/train/{ended['id']}/retry").status == 202
    assert wait_until(up, ended["id"], *ENDED)["state"] == "succeeded"


@pytest.mark.parametrize(
    ("dataset", "pointer", "text"),
    [
        ("nothing", "#/recipe/dataset", "must be the name of a dataset, digits, exam, line, xor"),
        (
            {"type": "csv", "path": "/etc/passwd", "target": "x"},
            "#/recipe/dataset",
            "are sent first, POST /datasets",
        ),
        ({"type": "pictures", "path": "/"}, "#/recipe/dataset", "not read here by their path"),
        ({"type": "stored", "name": "x"}, "#/recipe/dataset", "sha256"),
        (
            {"type": "stored", "name": "x", "sha256": "../../xor"},
            "#/recipe/dataset",
            "there is no dataset 'x'",
        ),
        ({"type": "stored", "name": "x", "sha256": "0" * 64}, "#/recipe/dataset", "there is no dataset 'x'"),
        (7, "#/recipe/dataset", "must be one of"),
        ("a\0b", "#/recipe/dataset", "must be the name of a dataset"),
    ],
    ids=str,
)
def test_a_job_names_a_dataset_that_is_here_and_never_a_path(
    up: Service, dataset: object, pointer: str, text: str
) -> None:
    answer = post_job(up, "nobody", recipe=quick("xor") | {"dataset": dataset})

    assert answer.status == 422, answer.body
    assert answer.json["errors"][0]["pointer"] == pointer
    assert text in answer.json["errors"][0]["detail"]


def test_a_dry_run_says_which_data_it_would_be(up: Service) -> None:
    dataset = sent(up, "dry", "a.csv", two_kinds(8), target="kind")
    answer = post_job(up, "dry", recipe=quick("dry"), dry_run=True)
    wrong = post_job(up, "dry", recipe=quick("dry") | {"network": [{"type": "dense", "units": 3}]})

    assert answer.json["dataset"] == {"name": "dry", "sha256": dataset["sha256"]}
    assert answer.json["parameters"] == 6
    assert wrong.json["errors"][0]["pointer"] == "#/recipe/network/0"


def test_a_model_trained_elsewhere_on_the_same_file_passes_the_gate(up: Service, tmp_path: Path) -> None:
    data = two_kinds(9, rows=100)
    sha256 = sent(up, "shared", "shared.csv", data, target="kind")["sha256"]
    trained(up, "shared", quick("shared") | {"optimizer": {"type": "adam", "learning_rate": 1e-6}})
    file = tmp_path / "elsewhere.csv"
    file.write_bytes(data)
    offline = quick("") | {"dataset": {"type": "csv", "path": str(file), "target": "kind"}, "epochs": 100}
    model = describe(run(from_json(Recipe, offline)))
    answer = up.ask(
        "POST", "/models/shared/versions", to_bytes(model), {"Content-Type": "application/octet-stream"}
    )

    promotion = answer.json["promotion"]
    assert promotion["promoted"] is True, promotion
    assert promotion["candidate"] > promotion["stable"]
    assert versions_on_disk(up, "shared")[2]["dataset"] == sha256
    # Repeated it is trained on what was sent, and not on a file that some machine has under that path.
    repeated = post_job(up, "shared", dry_run=True)
    assert repeated.json["recipe"]["dataset"] == {"type": "stored", "name": "elsewhere", "sha256": sha256}


def test_versions_are_compared_on_new_data_and_only_where_their_columns_are_the_same(up: Service) -> None:
    def values(seed: int, column: str) -> bytes:
        x = np.random.default_rng(seed).normal(size=60)
        return csv_of([column, "y"], zip(x, 2 * x + 1, strict=True))

    recipe = quick("values") | {"network": [{"type": "dense", "units": 1}], "loss": "mean_squared_error"}
    sent(up, "values", "a.csv", values(0, "x"), target="y")
    trained(up, "values", recipe)
    sent(up, "values", "a.csv", values(1, "x"), target="y")
    better = trained(up, "values", recipe | {"epochs": 300})["result"]["promotion"]
    sent(up, "values", "a.csv", values(2, "z"), target="y")
    other = trained(up, "values", recipe | {"epochs": 600})["result"]["promotion"]

    assert (better["promoted"], better["metric"]) == (True, "r2")
    assert better["stable"] < better["candidate"]
    assert other["promoted"] is False
    assert "it takes other columns" in other["reason"]


def test_datasets_are_sent_listed_shown_and_removed_from_a_shell(up: Service, tmp_path: Path) -> None:
    def call(*arguments: object) -> tuple[int, str]:
        done = nnserve("datasets", *arguments, folder=tmp_path, url=up.url)
        return done.returncode, done.stdout + done.stderr

    pictures, targets = digits(3)
    (tmp_path / "x.gz").write_bytes(idx(pictures))
    (tmp_path / "y.gz").write_bytes(idx(targets))
    (tmp_path / "fruit.csv").write_text(FRUIT)
    how = ["--target", "kind", "--ignore", "remark", "--ignore", "weight", "--header", "--test", "0.25"]

    assert call("add", "shell", "fruit.csv", *how)[1].startswith("shell: 24 + 6 + 10 rows\n")
    assert call("add", "shell-pair", "x.gz", "y.gz")[0] == 0
    assert f"shell-pair\tclassification\t{len(pictures) - 2 * 81} + 81 + 81 rows\t" in call("list")[1]
    shown = call("show", "shell")[1].splitlines()
    assert shown[2:4] == ["input\t3", shown[3]]
    assert shown[3].startswith("colour\tgreen ")
    assert shown[4:] == ["class apple\t12 + 3 + 5", "class melon\t12 + 3 + 5"]
    assert call("rm", "shell") == (0, "")
    assert "There is no dataset 'shell'" in call("rm", "shell")[1]
    assert call("add", "shell", "fruit.csv", "--target", "sort")[0] == 1
    assert call("add", "shell", "x.gz", "x.gz", "x.gz")[0] == 2


def test_nothing_of_the_rows_is_in_a_model_file(up: Service, fruit: str) -> None:
    card = from_bytes((up.store / fruit / "1" / MODEL_FILE).read_bytes()).card
    weights = {line.split(",")[0] for line in FRUIT.splitlines()[1:]}

    assert not {str(row[0]) for row in card.known_answers.inputs} & weights


def test_the_bytes_of_another_form_are_no_dataset(up: Service) -> None:
    answer = up.ask("POST", "/datasets", b'{"name": "a"}', JSON)

    assert answer.status == 415
    assert "multipart/form-data" in answer.json["detail"]
