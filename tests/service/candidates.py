"""Model files of known quality, made and not trained: how good each is on its dataset is decided here."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from serving import ROOT

from nncore.artifact import Architecture, KnownAnswers, Model, describe, from_bytes, to_bytes
from nncore.layers import Dense
from nncore.network import Network
from nncore.recipe import Recipe, override, read_recipe, run

# The exam is passed with even odds after five hours: the further a threshold is from that, the worse.
BEST, GOOD, FAIR, POOR = 5.0, 6.0, 7.0, 8.0


@functools.cache
def exam(threshold: float, steepness: float = 1.5) -> bytes:
    """Return a model file that tells the exam by the hours alone; steeper is as good, and another file."""
    return file_of("exam", lambda network: [[[steepness]], [-steepness * threshold]], input=[])


@functools.cache
def line(slope: float) -> bytes:
    """Return a model file that says y = slope · x + 1; 2 is right."""
    return file_of("line", lambda network: [[[slope]], [1.0]])


def file_of(name: str, weights: Callable[[Any], list[Any]], **changes: Any) -> bytes:
    return to_bytes(model_of(name, weights, **changes))


def model_of(name: str, weights: Callable[[Any], list[Any]], **changes: Any) -> Model:
    """Return the model of a shipped recipe, with weights of our own in the order of its parameters."""
    trained = run(override(recipe(name), {"epochs": 1, "optimizer.learning_rate": 1e-6, **changes}))
    for array, values in zip(trained.network.parameters.values(), weights(trained.network), strict=True):
        array[...] = np.array(values, np.float32)
    return describe(trained)


def recipe(name: str) -> Recipe:
    return read_recipe((ROOT / "recipes" / f"{name}.json").read_bytes())


def changed(data: bytes, **changes: Any) -> bytes:
    """Return a model file whose card says something else; `provenance={...}` say."""
    model = from_bytes(data)
    return to_bytes(dataclasses.replace(model, card=dataclasses.replace(model.card, **changes)))


def silent(units: int) -> bytes:
    """Return a large model file, 4 · units² bytes, that takes one number and says nothing of it."""
    layers = (Dense(units), Dense(units), Dense(1))
    card = dataclasses.replace(
        from_bytes(exam(GOOD)).card,
        architecture=Architecture((1,), layers),
        known_answers=KnownAnswers([[1.0]], [[0.5, 0.5]], 1e-4),
    )
    return to_bytes(Model(card, Network(layers, (1,))))


def damaged(data: bytes) -> bytes:
    """Return a model file with another weight than its known answers were made with."""
    weights = bytearray(data)
    weights[-5] ^= 0x40
    return bytes(weights)
