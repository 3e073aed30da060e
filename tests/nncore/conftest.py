"""Models to test with: the ones of the small recipes, and one that shows everything a file can hold."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from nncore.artifact import InputPipeline, Model, describe
from nncore.datasets import DATASETS, Dataset, Split
from nncore.datasets.dataset import digest
from nncore.evaluation import evaluate
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.optimizers import Adam
from nncore.preprocessing import ResizedPicture, Scale, Standardize
from nncore.recipe import Recipe, Trained, override, read_recipe, run
from nncore.training import fit

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="session", autouse=True)
def digits_unpacked_once():
    """Keep the digits that are asked for by name: to unpack them takes a third of a second."""
    unpack = DATASETS["digits"]

    @functools.cache
    def digits():
        dataset = unpack()
        for part in (dataset.train, dataset.validation, dataset.test):
            part.inputs.flags.writeable = part.targets.flags.writeable = False
        return dataset

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "digits", digits)
        yield


def train(name, **changes):
    return describe(run(override(read_recipe((RECIPES / f"{name}.json").read_bytes()), changes)))


@pytest.fixture(scope="session")
def xor():
    """Two classes from one logit, by the shipped recipe."""
    return train("xor", epochs=200)


@pytest.fixture(scope="session")
def line():
    """A regression, by the shipped recipe."""
    return train("line", epochs=5)


def pictures(count, seed):
    """Pictures of 2 × 3 pixels, and which of the three columns is the brightest."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (count, 2, 3)).astype(np.uint8)
    return Split(x, x.sum(axis=1, dtype=int).argmax(axis=1))


def make_showcase():
    """Return a model with every kind of layer and step, several classes, a picture and a range."""
    parts = [pictures(count, seed) for seed, count in enumerate((400, 100, 100))]
    sha256 = digest(*(array for part in parts for array in (part.inputs, part.targets)))
    dataset = Dataset(
        "columns", sha256, *parts, ("left", "middle", "right"), (0, 255), note="Made for tests."
    )
    layers = (Dense(12), ReLU(), Dropout(0.1), Dense(8), Sigmoid(), Dense(8, bias=False), Tanh(), Dense(3))
    layers = (Flatten(), *layers)
    # A card's recipe names a dataset that nncore knows.
    recipe = Recipe("digits", layers, "softmax_cross_entropy", Adam(0.02), epochs=30)
    steps = (Scale(255.0), Standardize((0.5, 0.5, 0.5), (0.3, 0.3, 0.3)))
    network, loss = Network(layers, (2, 3)), LOSSES[recipe.loss]
    network.initialize(np.random.default_rng(0))
    parts = [dataclasses.replace(part, inputs=prepared(steps, part.inputs)) for part in parts]
    history = fit(network, parts[0], loss=loss, optimizer=recipe.optimizer, epochs=30, validation=parts[1])
    metrics = {"validation": evaluate(network, parts[1], loss), "test": evaluate(network, parts[2], loss)}
    model = describe(Trained(recipe, dataset, network, steps, history, metrics))
    pipeline = InputPipeline(model.card.input.range, ResizedPicture(2, 3), steps)
    return Model(dataclasses.replace(model.card, input=pipeline), network)


def prepared(steps, inputs):
    x = np.empty(inputs.shape, np.float32)
    for step in steps:
        inputs = step.apply(inputs, x)
    return x


@pytest.fixture(scope="session")
def showcase():
    return make_showcase()


@pytest.fixture(scope="session")
def models(xor, line, showcase):
    return {"xor": xor, "line": line, "showcase": showcase}


@pytest.fixture(scope="session")
def take_apart():
    """Take the bytes of a model file apart: a test changes what it likes and puts it together again."""
    return File


class File:
    """A model file as its header, its card and its tensors' bytes."""

    def __init__(self, data):
        length = int.from_bytes(data[:8], "little")
        self.header = json.loads(data[8 : 8 + length])
        self.card = json.loads(self.header["__metadata__"]["nnserve"])
        self.body = bytearray(data[8 + length :])

    def bytes(self):
        if self.card is not None:
            text = self.card if isinstance(self.card, str) else json.dumps(self.card, ensure_ascii=False)
            self.header["__metadata__"] = {"nnserve": text}
        header = json.dumps(self.header).encode()
        return len(header).to_bytes(8, "little") + header + bytes(self.body)

    def floats(self):
        """Return the tensors' numbers, all in a row, to be written to."""
        return np.frombuffer(self.body, "<f4")
