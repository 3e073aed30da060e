import copy
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.artifact import describe, from_bytes, to_bytes
from nncore.config import to_json
from nncore.datasets import DATASETS, Dataset, Split
from nncore.errors import RecipeError
from nncore.evaluation import evaluate
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.losses import LOSSES
from nncore.optimizers import SGD, Adam
from nncore.preprocessing import Scale, Standardize
from nncore.recipe import Recipe, check, override, read_recipe, run
from nncore.schedules import Constant, Cosine, OneCycle, Step
from nncore.training import EarlyStopping

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.json"))

PLAIN = {
    "dataset": "exam",
    "network": [{"type": "dense", "units": 4}, {"type": "tanh"}, {"type": "dense", "units": 1}],
    "loss": "binary_cross_entropy",
    "optimizer": {"type": "adam"},
    "epochs": 2,
}


def plain(**changes):
    return read_recipe(json.dumps(PLAIN | changes))


def test_there_is_a_recipe_for_every_dataset():
    assert {path.stem for path in SHIPPED} == DATASETS.keys()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_read_round_trips_and_fits_its_dataset(path):
    recipe = read_recipe(path.read_bytes())
    written = to_json(recipe)
    assert read_recipe(json.dumps(written)) == recipe
    assert written.items() >= {key: written[key] for key in json.loads(path.read_text())}.items()
    check(recipe, DATASETS[recipe.dataset]())


def floats(low, high):
    return st.floats(low, high, exclude_min=True, exclude_max=True)


recipes = st.builds(
    Recipe,
    dataset=st.sampled_from(sorted(DATASETS)),
    network=st.lists(
        st.one_of(
            st.builds(Dense, st.integers(1, 99), st.booleans(), st.sampled_from(["he", "glorot"])),
            st.builds(Dropout, floats(0, 1)),
            st.sampled_from([Flatten(), ReLU(), Sigmoid(), Tanh()]),
        ),
        max_size=5,
    ).map(tuple),
    loss=st.sampled_from(sorted(LOSSES)),
    optimizer=st.one_of(
        st.builds(SGD, floats(0, 10), floats(0, 1), st.booleans(), floats(0, 1)),
        st.builds(Adam, floats(0, 10), floats(0, 1), floats(0, 1), floats(0, 1), floats(0, 1)),
    ),
    epochs=st.integers(1, 10**6),
    batch_size=st.integers(1, 65_536),
    input=st.lists(st.builds(Scale, floats(0, 999)) | st.just(Standardize()), max_size=2).map(tuple),
    schedule=st.one_of(
        st.just(Constant()),
        st.builds(Cosine, floats(0, 1)),
        st.builds(OneCycle, floats(0, 1), floats(0, 1), floats(0, 1)),
        st.builds(Step, st.integers(1, 99), floats(0, 1)),
    ),
    l2=floats(0, 9),
    clip_norm=st.none() | floats(0, 9),
    early_stopping=st.none()
    | st.builds(EarlyStopping, st.integers(1, 9), st.sampled_from(["accuracy", "loss", "r2"]), floats(0, 1)),
    seed=st.integers(0, 2**63 - 1),
)


@given(recipes)
def test_a_recipe_is_the_same_after_json(recipe):
    assert read_recipe(json.dumps(to_json(recipe))) == recipe


# A place in the plain recipe, what is put there, the path in the message and a part of its text.
DELETE = object()
BAD = [
    (
        ["dataset"],
        "exams",
        "dataset",
        "must be one of digits, exam, line, xor, not 'exams' (did you mean 'exam'?)",
    ),
    (["dataset"], DELETE, "dataset", "is missing"),
    (["dataset"], ["exam"], "dataset", "must be a string, not an array"),
    (["network"], {}, "network", "must be an array, not an object"),
    (["network"], "dense", "network", "must be an array, not 'dense'"),
    (["network"], [{"type": "relu"}] * 1001, "network", "must have at most 1000 entries"),
    (["network", 1], "tanh", "network[1]", "must be an object, not 'tanh'"),
    (["network", 1], {}, "network[1].type", "is missing; must be one of dense, dropout, flatten, relu"),
    (["network", 1, "type"], "tahn", "network[1].type", "(did you mean 'tanh'?)"),
    (["network", 1, "type"], "os.system", "network[1].type", "must be one of dense, "),
    (["network", 1, "rate"], 0.5, "network[1].rate", "is not known here; there is nothing to set"),
    (["network", 0, "units"], 0, "network[0].units", "must be ≥ 1, not 0"),
    (["network", 0, "units"], -3, "network[0].units", "must be ≥ 1, not -3"),
    (["network", 0, "units"], 10**6, "network[0].units", "must be ≤ 65536"),
    (["network", 0, "units"], 4.0, "network[0].units", "must be a whole number, not 4.0"),
    (["network", 0, "units"], True, "network[0].units", "must be a whole number, not true"),
    (["network", 0, "units"], "4", "network[0].units", "must be a whole number, not '4'"),
    (["network", 0, "units"], None, "network[0].units", "must be a whole number, not null"),
    (["network", 0, "units"], 10**400, "network[0].units", "must be ≤ 65536, not so large a number"),
    (["network", 0, "units"], DELETE, "network[0].units", "is missing"),
    (["network", 0, "unit"], 3, "network[0].unit", "(did you mean 'units'?)"),
    (["network", 0, "bias"], 1, "network[0].bias", "must be true or false, not 1"),
    (["network", 0, "initializer"], "her", "network[0].initializer", "(did you mean 'he'?)"),
    (["network", 1], {"type": "dropout"}, "network[1].rate", "is missing"),
    (["network", 1], {"type": "dropout", "rate": 1}, "network[1].rate", "must be < 1, not 1"),
    (["network", 1], {"type": "dropout", "rate": -0.1}, "network[1].rate", "must be ≥ 0"),
    (["network", 1], {"type": "dropout", "rate": float("nan")}, "network[1].rate", "must be a finite number"),
    (["loss"], "mse", "loss", "must be one of binary_cross_entropy, "),
    (["loss"], "softmax_crossentropy", "loss", "(did you mean 'softmax_cross_entropy'?)"),
    (["optimizer"], "adam", "optimizer", "must be an object, not 'adam'"),
    (["optimizer", "type"], "adamw", "optimizer.type", "(did you mean 'adam'?)"),
    (["optimizer", "learning_rate"], 0, "optimizer.learning_rate", "must be > 0"),
    (["optimizer", "learning_rate"], 1e9, "optimizer.learning_rate", "must be ≤ 1000"),
    (["optimizer", "learning_rate"], float("inf"), "optimizer.learning_rate", "must be a finite number"),
    (["optimizer", "learning_rate"], 10**400, "optimizer.learning_rate", "must be a finite number"),
    (["optimizer", "learning_rate"], False, "optimizer.learning_rate", "must be a number, not false"),
    (["optimizer", "learningrate"], 1, "optimizer.learningrate", "(did you mean 'learning_rate'?)"),
    (["optimizer", "beta1"], 1, "optimizer.beta1", "must be < 1"),
    (["optimizer", "beta2"], -0.1, "optimizer.beta2", "must be ≥ 0"),
    (["optimizer", "epsilon"], 0, "optimizer.epsilon", "must be > 0"),
    (["optimizer", "weight_decay"], 2, "optimizer.weight_decay", "must be ≤ 1"),
    (["optimizer", "momentum"], 0.9, "optimizer.momentum", "is not known here"),
    (["optimizer"], {"type": "sgd", "momentum": 1}, "optimizer.momentum", "must be < 1"),
    (
        ["optimizer"],
        {"type": "sgd", "nesterov": "yes"},
        "optimizer.nesterov",
        "must be true or false, not 'yes'",
    ),
    (["epochs"], 0, "epochs", "must be ≥ 1, not 0"),
    (["epochs"], 10**7, "epochs", "must be ≤ 1000000"),
    (["epochs"], DELETE, "epochs", "is missing"),
    (["batch_size"], 0, "batch_size", "must be ≥ 1"),
    (["batch_size"], 1e400, "batch_size", "must be a whole number, not inf"),
    (["batchsize"], 8, "batchsize", "(did you mean 'batch_size'?)"),
    (["input"], [{"type": "scale"}], "input[0].divide_by", "is missing"),
    (["input"], [{"type": "scale", "divide_by": 0}], "input[0].divide_by", "must be > 0"),
    (["input"], [{"type": "standardise"}], "input[0].type", "(did you mean 'standardize'?)"),
    (["input"], [{"type": "standardize", "mean": [None]}], "input[0].mean[0]", "must be a number, not null"),
    (["schedule"], {"type": "cosin"}, "schedule.type", "(did you mean 'cosine'?)"),
    (["schedule"], {"type": "step"}, "schedule.every", "is missing"),
    (["schedule"], {"type": "step", "every": 0}, "schedule.every", "must be ≥ 1"),
    (["schedule"], {"type": "one_cycle", "warmup": 1}, "schedule.warmup", "must be < 1"),
    (["schedule"], {"type": "cosine", "final": 2}, "schedule.final", "must be ≤ 1"),
    (["l2"], -1, "l2", "must be ≥ 0"),
    (["clip_norm"], 0, "clip_norm", "must be > 0"),
    (["early_stopping"], 3, "early_stopping", "must be an object, not 3"),
    (["early_stopping"], {}, "early_stopping.patience", "is missing"),
    (["early_stopping"], {"patience": 0}, "early_stopping.patience", "must be ≥ 1"),
    (
        ["early_stopping"],
        {"patience": 1, "monitor": "los"},
        "early_stopping.monitor",
        "(did you mean 'loss'?)",
    ),
    (
        ["early_stopping"],
        {"patience": 1, "minimum_improvement": -1},
        "early_stopping.minimum_improvement",
        "must be ≥ 0",
    ),
    (["seed"], -1, "seed", "must be ≥ 0, not -1"),
    (["seed"], 2**63, "seed", "must be ≤ 9223372036854775807"),
    (["seed"], 1.5, "seed", "must be a whole number, not 1.5"),
]


@pytest.mark.parametrize(("place", "value", "path", "fragment"), BAD)
def test_a_bad_field_is_named_with_what_would_be_right(place, value, path, fragment):
    data = copy.deepcopy(PLAIN)
    inner = data
    for key in place[:-1]:
        inner = inner[key]
    if value is DELETE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    with pytest.raises(RecipeError) as caught:
        read_recipe(json.dumps(data))
    assert caught.value.problems.keys() == {path}
    assert fragment in caught.value.problems[path]
    assert str(caught.value) == f"{path}: {caught.value.problems[path]}"


def test_every_field_of_a_recipe_has_a_bad_value_above():
    named = {path.split("[")[0].split(".")[0] for _, _, path, _ in BAD}
    assert {field.name for field in dataclasses.fields(Recipe)} <= named


@pytest.mark.parametrize(
    "text",
    ["", "{", "nul", '{"a": 1,}', b"\xff\xfe\xfd", "[" * 100_000, '{"a":' * 100_000, "1" * 5000],
    ids=lambda text: repr(text[:9]),
)
def test_what_is_not_json_is_refused(text):
    with pytest.raises(RecipeError, match=r"^not JSON: "):
        read_recipe(text)


@pytest.mark.parametrize("text", ["[]", "3", "null", "NaN", '"exam"'])
def test_json_that_is_not_an_object_is_refused(text):
    with pytest.raises(RecipeError, match=r"^must be an object, not "):
        read_recipe(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps), st.data())
def test_any_json_in_any_field_is_a_recipe_or_a_recipe_error(value, data):
    field = data.draw(st.sampled_from(sorted({field.name for field in dataclasses.fields(Recipe)})))
    text = json.dumps(PLAIN | {field: "HERE"}).replace('"HERE"', value)
    problems = {}
    try:
        read_recipe(text)
    except RecipeError as error:
        problems = error.problems
    assert all(path.startswith(field) for path in problems)


# Overrides.

SGD_JSON = {"type": "sgd", "learning_rate": 0.5, "momentum": 0.0, "nesterov": True, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        ("epochs", 7, lambda recipe: recipe.epochs),
        ("optimizer.learning_rate", 0.5, lambda recipe: recipe.optimizer.learning_rate),
        ("network.0.units", 64, lambda recipe: recipe.network[0].units),
        ("network[0].units", 64, lambda recipe: recipe.network[0].units),
        ("network[2].bias", False, lambda recipe: recipe.network[2].bias),
        ("network[1]", {"type": "relu"}, lambda recipe: to_json(recipe)["network"][1]),
        ("clip_norm", 1.5, lambda recipe: recipe.clip_norm),
        ("early_stopping", {"patience": 3}, lambda recipe: {"patience": recipe.early_stopping.patience}),
        ("optimizer", SGD_JSON, lambda recipe: to_json(recipe)["optimizer"]),
    ],
)
def test_a_field_is_overridden_by_its_path_and_nothing_else_changes(path, value, read):
    recipe = plain()
    before = copy.deepcopy(recipe)
    changed = override(recipe, {path: value})
    assert read(changed) == value
    assert recipe == before
    root = path.split(".")[0].split("[")[0]
    assert dataclasses.replace(changed, **{root: getattr(recipe, root)}) == recipe


def test_several_fields_are_overridden_at_once():
    changed = override(plain(), {"seed": 3, "schedule.type": "cosine", "network.0.units": 9})
    assert (changed.seed, changed.schedule, changed.network[0].units) == (3, Cosine(), 9)
    assert override(plain(), {}) == plain()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("epoch", "^epoch: there is no 'epoch' here, only dataset, network, loss"),
        ("optimizer.lr", "^optimizer.lr: there is no 'lr' here, only type, learning_rate"),
        ("network.9.units", "^network.9.units: there is no '9' here, only 0 to 2$"),
        ("network.-1.units", "there is no '-1' here"),
        ("network.units", "there is no 'units' here"),
        ("network[0]", r"^network\[0\]: must be an object, not 1$"),
        ("epochs.deeper", "^epochs.deeper: there is no 'deeper' here$"),
        ("early_stopping.patience", "there is no 'patience' here$"),
        ("", "there is no '' here"),
        ("network[0].", "there is no '' here"),
    ],
)
def test_a_path_that_leads_nowhere_is_refused(path, message):
    with pytest.raises(RecipeError, match=message):
        override(plain(), {path: 1})


def test_an_override_is_checked_like_a_recipe():
    with pytest.raises(RecipeError, match=r"^network\[0\]\.units: must be ≥ 1, not 0$"):
        override(plain(), {"network.0.units": 0})


# Recipes of which every field is right and that cannot work.


def dense(units):
    return {"type": "dense", "units": units}


SOFTMAX, BCE, MSE = "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"
LINE = {"dataset": "line", "network": [dense(1)], "loss": MSE}
DIGITS = {"dataset": "digits", "network": [{"type": "flatten"}, dense(10)], "loss": SOFTMAX}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"network": [dense(3)], "loss": SOFTMAX},
            "network[0]: gives (3,) numbers an example; softmax_cross_entropy on exam needs (2,)",
        ),
        (
            {"network": [dense(2), {"type": "relu"}]},
            "network[1]: gives (2,) numbers an example; binary_cross_entropy on exam needs (1,)",
        ),
        (
            {"network": [dense(2)], "loss": MSE},
            "network[0]: gives (2,) numbers an example; mean_squared_error on exam needs (1,)",
        ),
        (
            LINE | {"loss": SOFTMAX},
            "loss: softmax_cross_entropy needs classes, and line has values: use mean_squared_error",
        ),
        (LINE | {"loss": BCE}, "loss: binary_cross_entropy needs classes, and line has values"),
        (LINE | {"network": [dense(2)]}, "network[0]: gives (2,)"),
        (DIGITS | {"loss": BCE}, "loss: binary_cross_entropy needs two classes, digits has 10"),
        (DIGITS | {"network": [dense(10)]}, "network[0]: dense takes flat inputs, not (28, 28)"),
        ({"network": []}, "network: must have at least one layer"),
        (
            {"network": [dense(50_000), dense(50_000), dense(1)]},
            "network[1]: more than 50,000,000 parameters",
        ),
        (
            {"network": [dense(60_000), *[{"type": "tanh"}] * 20, dense(1)]},
            "network: its layers give 1,260,001 numbers an example, more than 1,048,576",
        ),
        (
            {"early_stopping": {"patience": 1, "monitor": "r2"}},
            "early_stopping.monitor: must be loss or accuracy with binary_cross_entropy",
        ),
        (
            LINE | {"early_stopping": {"patience": 1, "monitor": "accuracy"}},
            "early_stopping.monitor: must be loss or r2",
        ),
        (
            DIGITS | {"input": [{"type": "scale", "divide_by": 255}, {"type": "standardize"}]},
            "input[1]: standardize works on columns, not on inputs of shape (28, 28)",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused_before_training(changes, problem):
    with pytest.raises(RecipeError) as caught:
        run(plain(**changes))
    assert str(caught.value).startswith(problem)


# Running.


def test_a_run_is_what_its_recipe_and_seed_say():
    first, again, other = run(plain(seed=1)), run(plain(seed=1)), run(plain(seed=2))
    weights = [trained.network.parameters.flat.tobytes() for trained in (first, again, other)]
    assert weights[0] == weights[1] != weights[2]
    assert first.metrics == again.metrics
    assert first.recipe == plain(seed=1)
    assert len(first.history.epochs) == 2


def test_the_figures_are_those_of_the_validation_and_test_rows():
    trained = run(plain())
    for part in ("validation", "test"):
        split = getattr(trained.dataset, part)
        assert trained.metrics[part] == evaluate(trained.network, split, LOSSES[BCE])


def test_steps_learn_from_the_training_inputs_alone_each_from_what_the_one_before_gives():
    recipe = plain(input=[{"type": "scale", "divide_by": 10}, {"type": "standardize"}])
    trained = run(recipe)
    hours = trained.dataset.train.inputs.astype(float) / 10
    scale, standardize = trained.steps
    assert scale == Scale(10.0)
    assert_allclose(standardize.mean, hours.mean(axis=0), rtol=1e-6)
    assert_allclose(standardize.deviation, hours.std(axis=0), rtol=1e-6)
    assert recipe.input[1] == Standardize()


@pytest.fixture
def toy(monkeypatch):
    """A dataset of two columns and two targets, whose test rows cannot be measured."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 2)).astype(np.float32)
    rows = Split(x, x @ np.array([[1, 2], [3, 4]], np.float32))
    dataset = Dataset("line", "0" * 64, rows, rows.take(np.arange(10)), None)
    monkeypatch.setitem(DATASETS, "line", lambda: dataset)
    return dataset


def test_the_test_rows_can_be_left_alone(toy):
    recipe = plain(dataset="line", loss=MSE, network=[dense(2)], optimizer={"type": "sgd"}, epochs=50)
    trained = run(recipe, measure_test=False)
    assert trained.metrics.keys() == {"validation"}
    assert trained.metrics["validation"]["r2"] > 0.99
    with pytest.raises(AttributeError):
        run(recipe)


def test_a_regression_may_have_several_columns(toy):
    recipe = plain(dataset="line", loss=MSE, network=[dense(2)], optimizer={"type": "sgd"}, epochs=100)
    weights = run(recipe, measure_test=False).network.parameters
    assert_allclose(weights["0.weight"], [[1, 2], [3, 4]], atol=1e-3)
    assert_array_equal(np.abs(weights["0.bias"]) < 1e-3, True)


def test_classes_learned_by_a_squared_loss_become_a_regression_that_loads():
    recipe = override(
        read_recipe(SHIPPED[1].with_name("exam.json").read_bytes()),
        {"loss": "mean_squared_error", "optimizer.learning_rate": 0.01, "epochs": 2},
    )
    card = from_bytes(to_bytes(describe(run(recipe)))).card
    assert (card.output.kind, card.output.labels) == ("regression", ())
