"""A user's table from the recipe to the model file, and what the file gives away."""

import dataclasses
import hashlib
import json
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from nncore.artifact import describe, from_bytes, questions, to_bytes
from nncore.checkpoints import Checkpoints
from nncore.columns import Column, encode_rows
from nncore.config import from_json, to_json
from nncore.datasets import Dataset, Split, load_dataset
from nncore.datasets.arrays import dataset_of
from nncore.datasets.sources import SOURCES, Csv, Idx, Npz, Pictures, Stored
from nncore.errors import ArtifactError, CheckpointError, DatasetError, InputError, RecipeError
from nncore.merging import merge
from nncore.predictor import Predictor
from nncore.recipe import Recipe, override, read_recipe, run
from nncore.training import Callback

TOWNS = ("Aarau", "Bern", "Chur")


def write(path, seed=0, count=90):
    """Write rows of which each number is like no other; `area` and `town` tell the target."""
    rng = np.random.default_rng(seed)
    rows = [(x, y, TOWNS[n % 3]) for n, (x, y) in enumerate(rng.normal(50, 20, (count, 2)).round(6).tolist())]
    lines = [
        f'{x:.6f},{y:.6f},"{town}",{"dear" if x + 30 * (town == "Bern") > 60 else "cheap"}'
        for x, y, town in rows
    ]
    path.write_text("\n".join(["area,age,town,price", *lines]) + "\n")
    return path


def recipe(path, **changes):
    data = {
        "dataset": {"type": "csv", "path": str(path), "target": "price"},
        "network": [{"type": "dense", "units": 8}, {"type": "tanh"}, {"type": "dense", "units": 2}],
        "loss": "softmax_cross_entropy",
        "optimizer": {"type": "adam", "learning_rate": 0.02},
        "input": [{"type": "standardize"}],
        "epochs": 60,
    }
    return from_json(Recipe, data | changes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "houses.csv")


@pytest.fixture(scope="module")
def trained(path):
    return run(recipe(path))


@pytest.fixture(scope="module")
def data(trained):
    return to_bytes(describe(trained))


def test_rows_by_name_are_answered_as_the_network_did_in_training(path, trained, data):
    predictor = Predictor(from_bytes(data))
    predictor.verify()
    columns = predictor.card.input.columns
    assert columns == (Column("area"), Column("age"), Column("town", TOWNS))
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    named = [{"town": town.strip('"'), "age": float(age), "area": float(area)} for area, age, town, _ in rows]
    encoded = encode_rows(columns, named)
    held = {
        row.tobytes(): target
        for row, target in zip(trained.dataset.test.inputs, trained.dataset.test.targets, strict=True)
    }
    answers = predictor.predict(encoded).argmax(axis=1)
    right = [
        held[row.tobytes()] == answer
        for row, answer in zip(encoded, answers, strict=True)
        if row.tobytes() in held
    ]
    assert len(right) == len(trained.dataset.test)
    assert np.mean(right) == pytest.approx(trained.metrics["test"]["accuracy"])
    assert np.mean(right) > 0.8


def test_standardisation_is_fitted_on_training_rows_alone(trained):
    (step,) = trained.steps
    assert_array_equal(step.mean, trained.dataset.train.inputs.mean(axis=0, dtype=np.float64))
    everything = np.concatenate(
        [part.inputs for part in (trained.dataset.train, trained.dataset.validation, trained.dataset.test)]
    )
    assert (np.abs(step.mean - everything.mean(axis=0, dtype=np.float64)) > 1e-6)[:2].all()


def test_training_again_gives_the_same_bytes_and_so_does_saving_what_was_loaded(path, data):
    assert to_bytes(describe(run(recipe(path)))) == data
    assert to_bytes(from_bytes(data)) == data


def test_a_file_holds_none_of_the_rows_that_it_was_made_from(trained, data):
    text = data.decode("latin-1")
    numbers = {f"{x:.3f}" for x in map(float, re.findall(r"-?\d+\.\d+", text))}
    for part in (trained.dataset.train, trained.dataset.validation, trained.dataset.test):
        rows = part.inputs[:, :2]
        assert not {f"{x:.3f}" for x in rows.ravel().tolist()} & numbers
        for row in rows:
            assert row.astype("<f4").tobytes() not in data


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_questions_about_private_rows_are_made_up_and_the_same_each_time(dtype):
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 256, (200, 6, 7)).astype(dtype)
    dataset = dataset_of("d", "ab" * 32, inputs, np.arange(200) % 2, task=None, validation=0.15, test=0.15)
    asked = questions(dataset)
    assert asked.dtype == dtype
    assert asked.shape == (5, 6, 7)
    assert_array_equal(questions(dataset), asked)
    assert not any((question == row).all() for question in asked for row in inputs)
    assert 100 < asked.mean() < 155
    if dataset.input_range:
        assert (asked.min(), asked.max()) >= (0, 0)
    open_to_all = dataclasses.replace(dataset, is_private=False)
    assert_array_equal(questions(open_to_all), dataset.validation.inputs[:5])


def test_questions_about_numbers_near_the_end_of_32_bits_are_finite():
    inputs = np.float32(3e38) * np.random.default_rng(0).choice([-1, 1], (100, 3)).astype(np.float32)
    part = Split(inputs, np.arange(100) % 2)
    asked = questions(Dataset("d", "0" * 64, part, part, part, ("a", "b"), is_private=True))
    assert np.isfinite(asked).all()
    assert asked.dtype == np.float32


def test_a_checkpoint_of_a_file_that_has_changed_since_is_refused(tmp_path):
    class Killed(BaseException):
        pass

    class Stop(Callback):
        def on_epoch(self, epoch):
            checkpoints.ask()
            if epoch.number == 3:
                raise Killed

    path = write(tmp_path / "houses.csv")
    checkpoints = Checkpoints(tmp_path / "c")
    with pytest.raises(Killed):
        run(recipe(path), [Stop()], checkpoints=checkpoints)
    assert not checkpoints.is_empty()
    write(path, seed=1)
    with pytest.raises(CheckpointError):
        run(recipe(path), checkpoints=Checkpoints(tmp_path / "c"))
    write(path)
    assert len(run(recipe(path), checkpoints=Checkpoints(tmp_path / "c")).history.epochs) == 60


def test_models_of_one_table_become_an_ensemble_and_of_another_do_not(tmp_path, path):
    files = []
    for seed in (1, 2):
        files.append(tmp_path / f"{seed}.safetensors")
        files[-1].write_bytes(to_bytes(describe(run(recipe(path, seed=seed, epochs=5)))))
    predictor = Predictor(from_bytes(to_bytes(merge(files))))
    predictor.verify()
    assert predictor.card.input.columns[2] == Column("town", TOWNS)
    files[1].write_bytes(to_bytes(describe(run(recipe(write(tmp_path / "houses.csv", seed=1), epochs=5)))))
    with pytest.raises(InputError, match=r"input.steps is not that of"):
        merge(files)


def repack(data, change):
    """Return a model file with its card changed."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    card = json.loads(header["__metadata__"]["nnserve"])
    change(card)
    header["__metadata__"]["nnserve"] = json.dumps(card)
    head = json.dumps(header).encode()
    return len(head).to_bytes(8, "little") + head + data[8 + length :]


TOWN = {"name": "town", "categories": list(TOWNS)}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([{"name": "area"}, {"name": "area"}, TOWN], "input.columns: two columns have the same name"),
        (
            [{"name": "area"}, {"name": "age"}, TOWN | {"categories": ["a", "b", "a"]}],
            "the column 'town' has a cat",
        ),
        ([{"name": "area"}, {"name": "age"}], "input.columns: they give 2 numbers, the network takes (5,)"),
        (
            [{"name": "x" * 201}, {"name": "age"}, TOWN],
            "a name or category has 201 characters, more than 200",
        ),
        ([{"name": "a"}] * 5001, "input.columns: must have at most 5000 entries, not 5001"),
        ([{"name": "a", "categories": ["x"] * 1001}], "categories: must have at most 1000 entries, not 1001"),
        ([{"name": 3}, {"name": "age"}, TOWN], "input.columns[0].name: must be a string, not 3"),
        ([{"name": "area", "eval": 1}, {"name": "age"}, TOWN], "input.columns[0].eval: is not known here"),
        ("town", "input.columns: must be an array, not 'town'"),
    ],
)
def test_columns_in_a_card_that_do_not_fit_are_refused(data, columns, message):
    with pytest.raises(ArtifactError) as caught:
        from_bytes(repack(data, lambda card: card["input"].update(columns=columns)))
    assert message in str(caught.value)


# What a recipe says of its dataset.


@pytest.mark.parametrize(
    "source",
    [
        Csv("a.csv", "y", ignore=("a",), categorical=("b",), header=False, delimiter=";", task="regression"),
        Npz("a.npz", "x", "t", validation=0.2, test=0.1),
        Idx("images.gz", "labels.gz"),
        Pictures("pets", height=20, width=30, channels=3),
        Stored("houses", "ab" * 32),
    ],
)
def test_every_source_is_read_back_as_it_was_written(path, source):
    changed = dataclasses.replace(recipe(path), dataset=source)
    again = read_recipe(json.dumps(to_json(changed)))
    assert again == changed
    assert to_json(again)["dataset"]["type"] == next(
        name for name, kind in SOURCES.items() if type(source) is kind
    )


CSV = {"type": "csv", "path": "a.csv", "target": "y"}


@pytest.mark.parametrize(
    ("dataset", "field", "problem"),
    [
        ({"path": "a.csv"}, "dataset.type", "is missing; must be one of csv, idx, npz, pictures, stored"),
        ({"type": "xls"}, "dataset.type", "must be one of csv, idx, npz, pictures, stored, not 'xls'"),
        ({"type": "csv", "path": "a.csv"}, "dataset.target", "is missing"),
        (CSV | {"path": ""}, "dataset.path", "must be a text, not ''"),
        (CSV | {"path": "a\0b"}, "dataset.path", "must be a text, not 'a\\x00b'"),
        (CSV | {"target": "\ud800"}, "dataset.target", "must be a text, not '\\ud800'"),
        (CSV | {"path": ["a.csv"]}, "dataset.path", "must be a string, not an array"),
        (CSV | {"validation": 0}, "dataset.validation", "must be > 0, not 0.0"),
        (CSV | {"test": 0.6}, "dataset.test", "must be ≤ 0.5, not 0.6"),
        (CSV | {"delimiter": ":"}, "dataset.delimiter", "must be one of \t, ,, ;, |, not ':'"),
        (CSV | {"header": 1}, "dataset.header", "must be true or false, not 1"),
        (CSV | {"task": "guess"}, "dataset.task", "must be one of classification, regression, not 'guess'"),
        (CSV | {"ignore": "a"}, "dataset.ignore", "must be an array, not 'a'"),
        (CSV | {"ignore": [1]}, "dataset.ignore[0]", "must be a string, not 1"),
        (CSV | {"eval": 1}, "dataset.eval", "is not known here"),
        ({"type": "pictures", "path": "p", "height": 0}, "dataset.height", "must be ≥ 1, not 0"),
        ({"type": "pictures", "path": "p", "width": 2000}, "dataset.width", "must be ≤ 1024, not 2000"),
        (
            "mnist",
            "dataset",
            "must be one of digits, exam, line, xor, not 'mnist'; or an object whose type is one of",
        ),
        (
            None,
            "dataset",
            "must be one of digits, exam, line, xor, not null; or an object whose type is one of csv",
        ),
    ],
)
def test_a_dataset_that_is_none_is_refused_by_its_field(path, dataset, field, problem):
    with pytest.raises(RecipeError) as caught:
        recipe(path, dataset=dataset)
    assert list(caught.value.problems) == [field]
    assert caught.value.problems[field].startswith(problem)


def test_a_field_of_the_dataset_can_be_set_alone(path):
    changed = override(recipe(path), {"dataset.validation": 0.3})
    assert changed.dataset == dataclasses.replace(recipe(path).dataset, validation=0.3)
    with pytest.raises(RecipeError, match="there is no 'pth' here, only type, path, target"):
        override(recipe(path), {"dataset.pth": "b.csv"})


def test_a_dataset_that_a_service_keeps_is_not_here():
    with pytest.raises(DatasetError, match=r"^the dataset 'houses' is kept by a service"):
        load_dataset(Stored("houses", hashlib.sha256().hexdigest()))
