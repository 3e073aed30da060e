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
from nncore.augmentation import Augmentation
from nncore.checkpoints import Checkpoints
from nncore.config import to_json
from nncore.convolution import PADDINGS, Conv2D
from nncore.datasets import DATASETS, Dataset, Split
from nncore.errors import CheckpointError, RecipeError
from nncore.evaluation import evaluate
from nncore.inspection import card_text
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.losses import LOSSES
from nncore.normalization import BatchNorm
from nncore.optimizers import SGD, Adam, AdamW
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.preprocessing import Scale, Standardize
from nncore.recipe import (
    Recipe,
    StartFrom,
    check,
    check_start,
    count_parameters,
    override,
    read_recipe,
    run,
)
from nncore.schedules import Constant, Cosine, OneCycle, Step
from nncore.training import Callback, EarlyStopping

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(RECIPES.glob("*.json"))

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
    assert {read_recipe(path.read_bytes()).dataset for path in SHIPPED} == DATASETS.keys()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_read_round_trips_and_fits_its_dataset(path):
    recipe = read_recipe(path.read_bytes())
    written = to_json(recipe)
    assert read_recipe(json.dumps(written)) == recipe
    assert written.items() >= {key: written[key] for key in json.loads(path.read_text())}.items()
    check(recipe, DATASETS[recipe.dataset]())


def floats(low, high):
    return st.floats(low, high, exclude_min=True, exclude_max=True)


sides = st.integers(1, 64) | st.tuples(st.integers(1, 64), st.integers(1, 64))
recipes = st.builds(
    Recipe,
    dataset=st.sampled_from(sorted(DATASETS)),
    network=st.lists(
        st.one_of(
            st.builds(Dense, st.integers(1, 99), st.booleans(), st.sampled_from(["he", "glorot"])),
            st.builds(Dropout, floats(0, 1)),
            st.builds(Conv2D, st.integers(1, 99), sides, sides, st.sampled_from(PADDINGS), st.booleans()),
            st.builds(MaxPool2D, sides, st.none() | sides),
            st.builds(BatchNorm, floats(0, 1)),
            st.sampled_from([Flatten(), ReLU(), Sigmoid(), Tanh(), GlobalAveragePooling()]),
        ),
        max_size=5,
    ).map(tuple),
    loss=st.sampled_from(sorted(LOSSES)),
    optimizer=st.one_of(
        st.builds(SGD, floats(0, 10), floats(0, 1), st.booleans(), floats(0, 1)),
        st.builds(AdamW, floats(0, 10)),
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
    standardize_targets=st.booleans(),
    label_smoothing=floats(0, 1),
    weight_average=st.none() | floats(0, 1),
    augmentation=st.none()
    | st.builds(Augmentation, floats(0, 180), floats(0, 1), floats(0, 2), floats(0, 9)),
    early_stopping=st.none()
    | st.builds(EarlyStopping, st.integers(1, 9), st.sampled_from(["accuracy", "loss", "r2"]), floats(0, 1)),
    seed=st.integers(0, 2**63 - 1),
)


@given(recipes)
def test_a_recipe_is_the_same_after_json(recipe):
    assert read_recipe(json.dumps(to_json(recipe))) == recipe


@pytest.mark.parametrize(
    ("field", "value"),
    [("label_smoothing", 0.1), ("weight_average", 0.9), ("augmentation", {"rotation": 5})],
)
def test_a_field_that_is_not_written_can_be_set_all_the_same(field, value):
    changed = override(plain(), {field: value})
    assert changed == plain(**{field: value})


def test_what_is_to_be_set_in_nothing_is_an_error_that_says_so():
    what = "augmentation.rotation: there is nothing yet that 'rotation' could be in: set the whole object"
    with pytest.raises(RecipeError, match=f"^{what}"):
        override(plain(), {"augmentation.rotation": 5})


def test_what_came_later_is_not_written_where_it_is_not_set():
    # So that a recipe's files, checkpoints and versions are the same bytes as before.
    later = {"standardize_targets", "label_smoothing", "weight_average", "augmentation"}
    assert to_json(plain()).keys() == {field.name for field in dataclasses.fields(Recipe)} - later
    assert to_json(plain(label_smoothing=0.1))["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"augmentation": {"shift": 1}}, "augmentation", r"works on pictures, .* \(1,\)"),
        (
            {"loss": "mean_squared_error", "dataset": "line", "label_smoothing": 0.1},
            "label_smoothing",
            "must be 0 with mean_squared_error: only classes have labels to smooth",
        ),
        (
            {"network": [{"type": "conv2d", "filters": 2, "kernel": 3}]},
            r"network\[0\]",
            r"conv2d takes pictures, \(height, width, channels\), not \(1,\)",
        ),
        (
            {
                "batch_size": 1,
                "network": [{"type": "dense", "units": 1}, {"type": "batch_norm"}],
            },
            r"network\[1\]",
            "batch_norm needs more than one row a batch here: make batch_size larger",
        ),
        (
            {"loss": "softmax_cross_entropy"},
            r"network\[2\]",
            r"gives \(1,\) numbers an example; softmax_cross_entropy on exam needs \(2,\)",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_refused_before_the_first_batch(changes, path, text):
    recipe = plain(**changes)
    with pytest.raises(RecipeError, match=f"{path}: {text}"):
        check(recipe, DATASETS[recipe.dataset]())


def conv2d(**changes):
    return {"type": "conv2d", "filters": 3, "kernel": 3} | changes


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
    (["dataset"], ["exam"], "dataset", "not an array; or an object"),
    (["network"], {}, "network", "must be an array, not an object"),
    (["network"], "dense", "network", "must be an array, not 'dense'"),
    (["network"], [{"type": "relu"}] * 1001, "network", "must have at most 1000 entries"),
    (["network", 1], "tanh", "network[1]", "must be an object, not 'tanh'"),
    (["network", 1], {}, "network[1].type", "is missing; must be one of batch_norm, conv2d, dense, "),
    (["network", 1, "type"], "tahn", "network[1].type", "(did you mean 'tanh'?)"),
    (["network", 1, "type"], "os.system", "network[1].type", "must be one of batch_norm, conv2d, dense, "),
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
    (["optimizer", "type"], "adamx", "optimizer.type", "(did you mean 'adam'?)"),
    (["optimizer"], {"type": "adamw", "weight_decay": -1}, "optimizer.weight_decay", "must be ≥ 0"),
    (["label_smoothing"], 1, "label_smoothing", "must be < 1"),
    (["standardize_targets"], 1, "standardize_targets", "must be true or false"),
    (["weight_average"], 1.5, "weight_average", "must be < 1"),
    (["weight_average"], 0, "weight_average", "must be > 0"),
    (["augmentation"], 5, "augmentation", "must be an object, not 5"),
    (["augmentation"], {"rotate": 5}, "augmentation.rotate", "(did you mean 'rotation'?)"),
    (["augmentation"], {"rotation": 500}, "augmentation.rotation", "must be ≤ 180"),
    (["network", 1], {"type": "conv2d", "filters": 3}, "network[1].kernel", "is missing"),
    (["network", 1], conv2d(kernel=0), "network[1].kernel", "must be from 1 to 64, not 0"),
    (["network", 1], conv2d(kernel=[3, 65]), "network[1].kernel[1]", "must be from 1 to 64, not 65"),
    (["network", 1], conv2d(kernel=[3]), "network[1].kernel", "or two of them, height and width, not 1"),
    (["network", 1], conv2d(kernel=2.5), "network[1].kernel", "must be a whole number, not 2.5"),
    (["network", 1], conv2d(kernel=None), "network[1].kernel", "must be a whole number, not null"),
    (["network", 1], conv2d(stride=[1, True]), "network[1].stride[1]", "must be a whole number, not true"),
    (["network", 1], conv2d(padding="full"), "network[1].padding", "must be one of same, valid, not 'full'"),
    (["network", 1], conv2d(filters=5000), "network[1].filters", "must be ≤ 4096"),
    (["network", 1], {"type": "max_pool2d", "size": -1}, "network[1].size", "must be from 1 to 64, not -1"),
    (["network", 1], {"type": "batch_norm", "momentum": 1}, "network[1].momentum", "must be < 1"),
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
        (
            "early_stopping.patience",
            "nothing yet that 'patience' could be in: set the whole object$",
        ),
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
            {"network": [{"type": "ensemble", "members": [[dense(1)]] * 2, "output": "regression"}]},
            "network[0].output: must be binary with binary_cross_entropy, not regression",
        ),
        (
            {"network": [{"type": "ensemble", "members": [[dense(1)], [dense(3), dense(2)]]}]},
            "network[0].members[1]: gives (2,) numbers an example, the first member (1,)",
        ),
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


def test_more_steps_than_are_allowed_are_refused():
    recipe = plain(input=[{"type": "standardize"}] * 17)

    with pytest.raises(RecipeError, match="input: must have at most 16 steps, not 17"):
        run(recipe)


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
        read_recipe((RECIPES / "exam.json").read_bytes()),
        {"loss": "mean_squared_error", "optimizer.learning_rate": 0.01, "epochs": 2},
    )
    card = from_bytes(to_bytes(describe(run(recipe)))).card
    assert (card.output.kind, card.output.labels) == ("regression", ())


# Killed and gone on with.


class Killed(BaseException):
    """Ends a run as a kill would."""


class KilledAt(Callback):
    """Has every batch end with a checkpoint and ends the run after some."""

    def __init__(self, checkpoints, batches):
        self.checkpoints, self.batches = checkpoints, batches
        self.behind = None

    def on_resume(self, epochs):
        self.behind = len(epochs)

    def on_batch(self, batch, batches, loss):
        self.checkpoints.ask()
        self.batches -= 1

    def on_checkpoint(self, epoch, batch, batches):
        if self.batches == 0:
            raise Killed


def killed(recipe, folder, batches=30, **more):
    checkpoints = Checkpoints(folder)
    callback = KilledAt(checkpoints, batches)
    with pytest.raises(Killed):
        run(recipe, [callback], checkpoints=checkpoints, **more)
    return callback


@pytest.mark.parametrize(
    "path", [path for path in SHIPPED if not path.stem.startswith("digits")], ids=lambda path: path.stem
)
def test_a_recipe_that_was_killed_twice_gives_the_model_file_of_an_unbroken_run(path, tmp_path):
    recipe = override(read_recipe(path.read_bytes()), {"epochs": 40})
    unbroken = to_bytes(describe(run(recipe)))
    assert killed(recipe, tmp_path, 15).behind is None
    assert killed(recipe, tmp_path, 20).behind is not None
    assert to_bytes(describe(run(recipe, checkpoints=Checkpoints(tmp_path)))) == unbroken


@pytest.mark.parametrize(
    "other", [{"seed": 5}, {"epochs": 3}, {"optimizer": {"type": "adam", "learning_rate": 0.002}}]
)
def test_another_recipes_checkpoint_is_refused(tmp_path, other):
    killed(plain(), tmp_path)
    with pytest.raises(CheckpointError, match="of another run"):
        run(plain(**other), checkpoints=Checkpoints(tmp_path))


def test_a_checkpoint_of_other_data_is_refused(tmp_path, monkeypatch):
    killed(plain(), tmp_path)
    dataset = DATASETS["exam"]()
    monkeypatch.setitem(DATASETS, "exam", lambda: dataclasses.replace(dataset, sha256="0" * 64))
    with pytest.raises(CheckpointError, match="of another run"):
        run(plain(), checkpoints=Checkpoints(tmp_path))


# Starting from another network's weights.


def started(trained, sha256="a" * 64):
    return StartFrom(trained.network, sha256)


def test_training_goes_on_from_anothers_weights():
    first = run(plain(epochs=20))
    start = started(first)
    before = first.network.parameters.flat.copy()
    slow = {"type": "sgd", "learning_rate": 1e-9}
    second = run(plain(epochs=1, optimizer=slow), start_from=start)
    assert_allclose(second.network.parameters.flat, before, rtol=1e-5)
    assert second.reinitialized == ()
    assert_array_equal(first.network.parameters.flat, before)
    # It starts where the first one ended, and not where that one began.
    third = run(plain(epochs=20), start_from=start)
    assert third.history.epochs[0].loss < first.history.epochs[-1].loss * 1.1 < first.history.epochs[0].loss


def test_an_output_layer_of_another_shape_begins_anew_as_the_recipes_seed_says():
    start = started(run(plain(epochs=20)))
    frozen = plain(network=[dense(4), {"type": "tanh"}, dense(2)], loss=SOFTMAX, epochs=1, seed=9)
    frozen = dataclasses.replace(frozen, optimizer=SGD(1e-12))
    trained = run(frozen, start_from=start)
    assert trained.reinitialized == ("2.weight", "2.bias")
    fresh = run(frozen).network.parameters
    for name, array in trained.network.parameters.items():
        expected = fresh if name in trained.reinitialized else start.network.parameters
        assert_allclose(array, expected[name], rtol=1e-5, atol=1e-9)


def test_the_last_layer_of_each_member_of_an_ensemble_may_begin_anew():
    def layers(*last):
        return [[dense(4), {"type": "tanh"}, *last]] * 2

    before = plain(network=[{"type": "ensemble", "members": layers(dense(1)), "output": "binary"}], epochs=1)
    start = started(run(before))
    classes = plain(network=[{"type": "ensemble", "members": layers(dense(2))}], loss=SOFTMAX)
    anew = ("0.0.2.weight", "0.0.2.bias", "0.1.2.weight", "0.1.2.bias")
    assert check_start(classes, DATASETS["exam"](), start.network) == anew
    deeper = plain(network=[{"type": "ensemble", "members": layers(dense(3), dense(2))}], loss=SOFTMAX)
    with pytest.raises(RecipeError) as caught:
        check_start(deeper, DATASETS["exam"](), start.network)
    assert [*caught.value.problems] == [
        f"network[0].members[{m}][{place}]" for m in (0, 1) for place in (2, 3)
    ]


@pytest.mark.parametrize(
    ("layers", "problem"),
    [
        (
            [dense(5), {"type": "tanh"}, dense(1)],
            "network[0]: has weight (1, 5), bias (5,); the start has weight (1, 4), bias (4,)",
        ),
        (
            [dense(4), {"type": "dropout", "rate": 0.1}, {"type": "tanh"}, dense(1)],
            "network[2]: has nothing to learn; the start has weight (4, 1), bias (1,); network[3]: has",
        ),
        (
            [dense(4), {"type": "tanh"}, dense(1), {"type": "tanh"}, dense(1)],
            "network[4]: has weight (1, 1), bias (1,); the start has nothing to learn",
        ),
        ([dense(1)], "network[0]: has weight (1, 1), bias (1,); the start has weight (1, 4), bias (4,)"),
        ([dense(4) | {"bias": False}, {"type": "tanh"}, dense(1)], "network[0]: has weight (1, 4); the"),
    ],
)
def test_any_other_difference_is_refused_before_the_first_batch_with_its_layer(layers, problem):
    start = started(run(plain()))
    recipe = plain(network=layers)
    for refuse in (
        lambda: run(recipe, [KilledAt(None, 0)], start_from=start),
        lambda: check_start(recipe, DATASETS["exam"](), start.network),
    ):
        with pytest.raises(RecipeError) as caught:
            refuse()
        assert str(caught.value).startswith(problem)


def test_the_card_tells_of_a_start_and_only_where_there_was_one():
    first = run(plain())
    assert "start_from" not in describe(first).card.provenance
    second = run(plain(), start_from=started(first))
    assert describe(second).card.provenance["start_from"] == {"sha256": "a" * 64, "reinitialized": []}
    output = plain(network=[dense(4), {"type": "tanh"}, dense(2)], loss=SOFTMAX)
    card = from_bytes(to_bytes(describe(run(output, start_from=started(first))))).card
    assert card.provenance["start_from"] == {
        "sha256": "a" * 64,
        "reinitialized": ["2.weight", "2.bias"],
    }
    assert f"start_from  reinitialized [2.weight, 2.bias], sha256 {'a' * 64}" in card_text(card)


def test_a_run_with_a_start_goes_on_after_a_kill_and_with_no_other_start(tmp_path):
    start = started(run(plain()))
    recipe = plain(epochs=5)
    unbroken = to_bytes(describe(run(recipe, start_from=start)))
    killed(recipe, tmp_path, start_from=start)
    for other in (None, started(run(plain()), "b" * 64)):
        with pytest.raises(CheckpointError, match="of another run"):
            run(recipe, checkpoints=Checkpoints(tmp_path), start_from=other)
    resumed = run(recipe, checkpoints=Checkpoints(tmp_path), start_from=start)
    assert to_bytes(describe(resumed)) == unbroken


# What a run takes.


@pytest.mark.parametrize(
    ("layers", "count"),
    [([dense(1)], 2), ([dense(4), {"type": "tanh"}, dense(1)], 13), ([{"type": "relu"}], 0)],
)
def test_parameters_are_counted(layers, count):
    assert count_parameters(plain(network=layers), DATASETS["exam"]()) == count
