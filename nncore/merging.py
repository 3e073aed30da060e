"""Several models made one: a model file whose network is the ensemble of theirs."""

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nncore.artifact import Architecture, Card, Model, as_read, known_answers, made_with, questions, reference
from nncore.config import canonical, from_json, shorten, to_json
from nncore.ensemble import FEWEST, MOST, Ensemble
from nncore.errors import InputError
from nncore.evaluation import evaluate
from nncore.losses import LOSSES
from nncore.network import Network
from nncore.origin import own_dataset
from nncore.predictor import Predictor, read_model
from nncore.recipe import Recipe, prepare

# What members have in common, in the card's words. The same rows are held out by a dataset's SHA-256: so none
# of those that the ensemble is measured on was learned from.
ALIKE = (
    "architecture.input_shape",
    "input.range",
    "input.picture",
    "input.steps",
    "input.columns",
    "output.kind",
    "output.labels",
    "recipe.dataset",
    "provenance.dataset.sha256",
)
# Characters of what differs that are shown: a SHA-256 and its quotes.
MOST_SHOWN = 66


def merge(files: Sequence[Path], *, measure_test: bool = True) -> Model:
    """Return the ensemble of the models in files, measured on the rows that their dataset holds out.

    Each weighs the same. Its recipe is the first one's with the ensemble for a network: run again, it trains
    the members together. Raises InputError, with the file and the first difference, where models cannot be
    averaged, and ArtifactError where one must not be used.
    """
    if not FEWEST <= len(files) <= MOST:
        raise InputError(f"an ensemble is of {FEWEST} to {MOST} models, not {len(files)}")
    models = [_read(file) for file in files]
    first = models[0].card
    for file, model in zip(files, models, strict=True):
        _check_alike(files[0], first, file, model.card)
    try:
        dataset = own_dataset(first)
    except InputError as error:
        raise InputError(f"{files[0]}: {error}") from None
    network = _together(models)
    recipe = dataclasses.replace(from_json(Recipe, first.recipe), network=network.layers)
    loss, steps = LOSSES[recipe.loss], first.input.steps
    metrics = {"validation": evaluate(network, prepare(steps, dataset.validation), loss)}
    if measure_test:
        metrics["test"] = evaluate(network, prepare(steps, dataset.test), loss)
    card = Card(
        architecture=Architecture(network.input_shape, network.layers),
        input=first.input,
        output=first.output,
        metrics=metrics,
        recipe=to_json(recipe),
        provenance={
            "dataset": {"name": dataset.name, "sha256": dataset.sha256},
            "members": [{"sha256": hashlib.sha256(file.read_bytes()).hexdigest()} for file in files],
            "versions": made_with(),
        },
        known_answers=known_answers(network, steps, questions(dataset), first.output.kind),
        note=dataset.note,
        reference=reference(network, steps, dataset, first.output.kind),
    )
    return Model(as_read(card), network)


def _read(file: Path) -> Model:
    model = read_model(file)
    Predictor(model).verify()
    if any(isinstance(layer, Ensemble) for layer in model.network.layers):
        raise InputError(f"{file}: is an ensemble itself, and a member cannot be one: name its members")
    return model


def _check_alike(first_file: Path, first: Card, file: Path, card: Card) -> None:
    mine, theirs = to_json(first), to_json(card)
    for path in ALIKE:
        here, there = _at(mine, path), _at(theirs, path)
        if not _same(here, there):
            said = f"is {_tell(there)}, and {_tell(here)} in {first_file}"
            if _tell(here) == _tell(there):
                said = f"is not that of {first_file}"
            raise InputError(f"{file}: {path} {said}")


def _at(data: Any, path: str) -> Any:
    for part in path.split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _same(here: Any, there: Any) -> bool:
    """Say whether two are the same; numbers that two kinds of CPU have reckoned differ in their last bits."""
    if isinstance(here, float) and isinstance(there, float):
        return math.isclose(here, there, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(here, dict) and isinstance(there, dict):
        return here.keys() == there.keys() and all(_same(here[key], there[key]) for key in here)
    if isinstance(here, list) and isinstance(there, list):
        return len(here) == len(there) and all(map(_same, here, there))
    return bool(here == there)


def _tell(value: Any) -> str:
    text = canonical(value)
    return text if len(text) <= MOST_SHOWN else shorten(value)


def _together(models: Sequence[Model]) -> Network:
    members = tuple(model.network.layers for model in models)
    layer = Ensemble(members, models[0].card.output.kind)
    network = Network((layer,), models[0].network.input_shape)
    arrays = network.arrays
    for place, model in enumerate(models):
        for name, array in model.network.arrays.items():
            arrays[f"0.{place}.{name}"][...] = array
    return network
