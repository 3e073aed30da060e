"""The recipe that a dataset begins with."""

import csv
import time

import numpy as np
import pytest

from nncore.config import from_json, to_json
from nncore.datasets import Dataset, load_dataset
from nncore.datasets.arrays import dataset_of
from nncore.datasets.sources import Csv, Npz
from nncore.recipe import Recipe, check, count_parameters, run
from nncore.starter import starter

SOURCE = Npz("data.npz")
RNG = np.random.default_rng(0)
CLASSES = np.arange(40) % 4
VALUES = RNG.normal(size=(40, 3))
NUMBERS = RNG.normal(size=(40, 6))


def pixels(*shape):
    return RNG.integers(0, 256, (40, *shape)).astype(np.uint8)


def made(inputs, targets):
    return dataset_of("data", "ab" * 32, inputs, targets, task=None, validation=0.15, test=0.15)


KINDS = {
    "a table of classes": (NUMBERS, CLASSES),
    "a table of texts": (NUMBERS, np.where(CLASSES == 0, "yes", "no")),
    "a table of one value": (NUMBERS, VALUES[:, 0]),
    "a table of three values": (NUMBERS, VALUES),
    "one column": (NUMBERS[:, 0], CLASSES),
    "a table of bytes": (pixels(7), CLASSES),
    "small pictures": (pixels(5, 9), CLASSES),
    "small pictures in colour": (pixels(5, 9, 3), CLASSES),
    "large pictures": (pixels(64, 48), CLASSES),
    "large pictures in colour": (pixels(64, 48, 3), CLASSES),
    "pictures with a value": (pixels(28, 28), VALUES[:, 0]),
    "pictures of one line": (pixels(1, 300), CLASSES),
    "series": (NUMBERS.reshape(40, 3, 2), CLASSES),
    "volumes": (RNG.normal(size=(40, 3, 4, 5)), VALUES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_dataset_has_a_recipe_that_fits_and_is_read_back(kind):
    dataset = made(*KINDS[kind])
    recipe = starter(dataset, SOURCE)
    check(recipe, dataset)
    assert recipe.dataset is SOURCE
    assert from_json(Recipe, to_json(recipe)) == recipe
    assert count_parameters(recipe, dataset) < 1_000_000


def test_numbers_of_any_size_are_learned_from():
    far = (np.arange(60) % 2)[:, None, None] * np.full((2, 3), 1e30) + 1e30
    dataset = made(far * RNG.uniform(0.9, 1.1, (60, 1, 1)), np.arange(60) % 2)
    assert run(starter(dataset, SOURCE), dataset=dataset).metrics["test"]["accuracy"] == 1


def flowers(path):
    """Write the measures of three kinds of flowers, each spread about a mean of its own."""
    means = {
        "setosa": (5.0, 3.4, 1.5, 0.2),
        "versicolor": (5.9, 2.8, 4.3, 1.3),
        "virginica": (6.6, 3.0, 5.6, 2.0),
    }
    rng = np.random.default_rng(1)
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["sepal length", "sepal width", "petal length", "petal width", "colour", "kind"])
        for kind, mean in means.items():
            for row in rng.normal(mean, (0.4, 0.3, 0.4, 0.2), (50, 4)).round(1).tolist():
                out.writerow([*row, rng.choice(["blue", "white"]), kind])
    return Csv(str(path), "kind")


def test_a_table_is_learned_well_in_a_second(tmp_path):
    source = flowers(tmp_path / "flowers.csv")
    began = time.process_time()
    dataset = load_dataset(source)
    metrics = run(starter(dataset, source), dataset=dataset).metrics
    assert time.process_time() - began < 3
    held = len(dataset.validation) + len(dataset.test)
    right = sum(metrics[name]["accuracy"] * len(getattr(dataset, name)) for name in ("validation", "test"))
    assert right / held > 0.9


@pytest.mark.parametrize("scale", [1, 1e6])
def test_values_of_any_size_are_learned_well(scale):
    inputs = RNG.normal(size=(300, 3))
    targets = scale * (inputs @ [1.0, -2.0, 0.5] + 100 + RNG.normal(0, 0.1, 300))
    dataset = made(inputs, targets)
    assert run(starter(dataset, SOURCE), dataset=dataset).metrics["test"]["r2"] > 0.95


def test_pictures_are_learned():
    inputs = np.zeros((80, 16, 16), np.uint8)
    for number, picture in enumerate(inputs):
        x, y = RNG.integers(2, 13, 2)
        picture[
            (slice(y, y + 1), slice(x - 2, x + 3)) if number % 2 else (slice(y - 2, y + 3), slice(x, x + 1))
        ] = 255
    dataset = made(inputs, np.where(np.arange(80) % 2, "across", "upright"))
    assert isinstance(dataset, Dataset)
    assert run(starter(dataset, SOURCE), dataset=dataset).metrics["test"]["accuracy"] > 0.8
