"""What a run needs is known before it begins: from above, and not by far."""

import dataclasses
import json
import tracemalloc

import numpy as np
import pytest
from test_recipe import DIGITS, MSE, PLAIN, RECIPES, dense, killed, plain

from nncore.checkpoints import Checkpoints
from nncore.datasets import DATASETS, Dataset, Split
from nncore.recipe import check, count_parameters, needed_memory, override, read_recipe, run


def wide(units, **changes):
    layers = [
        dense(units),
        {"type": "tanh"},
        {"type": "dropout", "rate": 0.5},
        dense(units),
        {"type": "relu"},
    ]
    return PLAIN | {"network": [*layers, dense(1)]} | changes


def shipped(name):
    return json.loads((RECIPES / f"{name}.json").read_text())


CONVOLUTIONAL = DIGITS | {
    "network": [
        {"type": "conv2d", "filters": 8, "kernel": 5, "padding": "same"},
        {"type": "max_pool2d"},
        {"type": "batch_norm"},
        {"type": "relu"},
        {"type": "conv2d", "filters": 16, "kernel": 3, "stride": 2},
        {"type": "batch_norm"},
        {"type": "relu"},
        {"type": "flatten"},
        dense(10),
    ],
    "optimizer": {"type": "adamw"},
    "weight_average": 0.9,
    "augmentation": {"rotation": 10, "elastic": 30},
    "epochs": 1,
}


def together(recipe):
    """Return the recipe of an ensemble of three such networks."""
    members = {"type": "ensemble", "output": "binary", "members": [recipe["network"]] * 3}
    return recipe | {"network": [members]}


HUNGRY = {
    "xor": shipped("xor"),
    "exam": shipped("exam"),
    "line": shipped("line"),
    "digits": shipped("digits") | {"epochs": 1},
    "a large network": wide(1500, epochs=1),
    # Long enough for what is done every 128 steps.
    "a large network with l2": wide(700, epochs=8, l2=0.01),
    "a large network without momentum": wide(1500, epochs=1, optimizer={"type": "sgd"}),
    "an ensemble": together(wide(700, epochs=1)),
    "an ensemble of large batches": together(wide(300, epochs=1, batch_size=640)),
    "a large batch": wide(800, batch_size=640, input=[{"type": "standardize"}]),
    "early stopping": wide(500, epochs=30, early_stopping={"patience": 20}),
    "many outputs": DIGITS
    | {
        "network": [{"type": "flatten"}, dense(10)],
        "input": [{"type": "scale", "divide_by": 255}],
        "optimizer": {"type": "sgd"},
        "epochs": 1,
        "batch_size": 4096,
    },
}


def peak_of(recipe):
    """Run a recipe and return the most bytes that it had at a time, beside its dataset."""
    tracemalloc.start()
    run(recipe)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("data", HUNGRY.values(), ids=HUNGRY)
def test_the_memory_that_a_run_needs_is_estimated_from_above_and_not_by_far(monkeypatch, data):
    few_digits(monkeypatch, 5000)
    recipe = read_recipe(json.dumps(data))
    estimate = needed_memory(recipe, DATASETS[recipe.dataset]())
    run(override(plain(), {"epochs": 1}))
    peak = peak_of(recipe)
    assert peak <= estimate <= 3 * peak


def few_digits(monkeypatch, rows):
    """Have the digits be so many of each part."""
    digits = DATASETS["digits"]()
    parts = ("train", "validation", "test")
    few = dataclasses.replace(digits, **{part: getattr(digits, part).take(np.arange(rows)) for part in parts})
    monkeypatch.setitem(DATASETS, "digits", lambda: few)
    return few


POOLING = [
    {"type": "conv2d", "filters": 600, "kernel": 1},
    {"type": "max_pool2d", "size": [2, 28], "stride": 1},
    {"type": "global_average_pooling"},
    dense(10),
]
WIDE_KERNELS = [
    {"type": "conv2d", "filters": 720, "kernel": 14, "stride": 14},
    {"type": "conv2d", "filters": 720, "kernel": 3, "padding": "same"},
    {"type": "global_average_pooling"},
    dense(10),
]


@pytest.mark.parametrize(("layers", "rows"), [(POOLING, 1), (WIDE_KERNELS, 4)])
def test_what_pooling_leaves_and_tiles_work_in_is_part_of_the_estimate(monkeypatch, layers, rows):
    few = few_digits(monkeypatch, 20)
    recipe = read_recipe(json.dumps(CONVOLUTIONAL | {"network": layers, "batch_size": rows}))
    estimate = needed_memory(recipe, few)
    peak = peak_of(recipe)
    assert peak <= estimate <= 4 * peak


@pytest.mark.parametrize("batch_size", [20, 700])
def test_convolutions_and_distorted_pictures_are_part_of_the_estimate(monkeypatch, batch_size):
    few = few_digits(monkeypatch, 700)
    recipe = read_recipe(json.dumps(CONVOLUTIONAL | {"batch_size": batch_size}))
    estimate = needed_memory(recipe, few)
    peak = peak_of(recipe)
    assert peak <= estimate <= 3 * peak


def test_fitting_a_wide_tables_steps_is_part_of_the_estimate(monkeypatch):
    rng = np.random.default_rng(0)
    rows = Split(rng.random((5_000, 60), np.float32), rng.random((5_000, 1), np.float32))
    dataset = Dataset("line", "0" * 64, rows, rows.take(np.arange(10)), rows.take(np.arange(10)))
    monkeypatch.setitem(DATASETS, "line", lambda: dataset)
    recipe = plain(dataset="line", loss=MSE, network=[dense(1)], epochs=1, input=[{"type": "standardize"}])
    estimate = needed_memory(recipe, dataset)
    peak = peak_of(recipe)
    held = rows.inputs.nbytes + rows.targets.nbytes
    assert held + peak <= estimate <= 3 * peak


def test_checkpoints_and_a_resume_need_no_more_memory(tmp_path):
    recipe = read_recipe(json.dumps(wide(500, epochs=3)))
    estimate = needed_memory(recipe, DATASETS["exam"]())
    tracemalloc.start()
    killed(recipe, tmp_path, batches=45)
    run(recipe, checkpoints=Checkpoints(tmp_path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= estimate


def test_what_is_needed_is_known_from_shapes_alone():
    dataset = DATASETS["digits"]()

    def hollow(split):
        arrays = (np.broadcast_to(np.zeros((), a.dtype), a.shape) for a in (split.inputs, split.targets))
        return Split(*arrays)

    parts = {part: hollow(getattr(dataset, part)) for part in ("train", "validation", "test")}
    outline = dataclasses.replace(dataset, **parts)
    recipe = read_recipe(json.dumps(shipped("digits")))
    check(recipe, outline)
    assert needed_memory(recipe, outline) == needed_memory(recipe, dataset)
    assert count_parameters(recipe, outline) == count_parameters(recipe, dataset) == 407_050
