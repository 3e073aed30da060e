"""Where the time of a prediction, or of a training step, goes: measured as they are done, part by part."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nncore.artifact import Model
from nncore.config import from_json
from nncore.datasets import Split, load_dataset
from nncore.descent import Descent, Options
from nncore.errors import InputError
from nncore.inspection import shape_text
from nncore.losses import LOSSES
from nncore.network import NAMES, Network
from nncore.predictor import Predictor, load
from nncore.profiles import Line, Profile, profile_text
from nncore.program import Program
from nncore.recipe import Recipe, prepare
from nncore.stopwatch import Stopwatch, Timed, peak

MOST_ROWS = 10_000
MOST_SECONDS = 3600
# Of a dataset: so many that a batch's are not in the cache before it is begun.
ENOUGH_ROWS = 20_000

# By the name of a part: its output and its multiply-adds.
Facts = Mapping[str, tuple[str, int]]


def profile_model(file: Path, rows: Sequence[int], seconds: float, *, training: bool = False) -> str:
    """Return as text how fast a model answers, for each number of rows at once, or how fast it is trained.

    Each takes so many seconds. Raises InputError where they, or the rows, are out of bounds.
    """
    for count in rows:
        if not 1 <= count <= MOST_ROWS:
            raise InputError(f"--rows: must be from 1 to {MOST_ROWS:,}, not {count}")
    if not 0 <= seconds <= MOST_SECONDS:
        raise InputError(f"--seconds: must be from 0 to {MOST_SECONDS:,}, not {seconds:g}")
    predictor = load(file)
    model = Model(predictor.card, predictor.network)
    if training:
        return profile_text(profile_step(model, seconds))
    return "\n\n".join(profile_text(profile_predictions(model, count, seconds)) for count in rows)


def profile_predictions(model: Model, rows: int, seconds: float) -> Profile:
    """Measure how so many rows are answered, as they are when the model is served."""
    # Which numbers they are makes no difference.
    x = np.random.default_rng(0).random((rows, *model.network.input_shape), np.float32)
    predictor, stopwatch = Predictor(model), Stopwatch()
    facts = _watch_stages(stopwatch, predictor.program)
    spent = stopwatch.measure(lambda: predictor.predict(x), seconds, "input, answer, calls")
    most = predictor.program.rows_at_once
    title = f"{rows:,} row{'s' if rows > 1 else ''}" + (f", {most} at a time" if rows > most else "")
    return Profile(title, rows, _lines(rows, facts, spent), peak())


def profile_step(model: Model, seconds: float) -> Profile:
    """Measure how a model is trained: steps of its recipe, from a copy of its weights."""
    recipe = from_json(Recipe, model.card.recipe)
    everything = load_dataset(recipe.dataset).train
    some = Split(everything.inputs[:ENOUGH_ROWS], everything.targets[:ENOUGH_ROWS])
    train = prepare(model.card.input.steps, some)
    network = Network(model.network.layers, model.network.input_shape)
    network.flat[...] = model.network.flat
    descent, stopwatch = Descent(network, train, _options(recipe)), Stopwatch()
    facts = _watch_step(stopwatch, descent)
    rows = descent.batch_size
    batch = descent.shuffle.permutation(len(train))[:rows]
    spent = stopwatch.measure(lambda: descent.step(batch, 1, 0), seconds, "batch, calls")
    return Profile(f"a training step of {rows:,} rows", rows, _lines(rows, facts, spent), peak())


def _lines(rows: int, facts: Facts, spent: Mapping[str, float]) -> tuple[Line, ...]:
    return tuple(Line(name, *facts.get(name, ("", 0)), took / rows) for name, took in spent.items())


def _watch_stages(stopwatch: Stopwatch, program: Any) -> Facts:
    """Have the stages of a program timed; return what is known of them."""
    facts, timed = {}, []
    for stage in program.stages:
        name = f"{stage.place} {stage.name}"
        facts[name] = shape_text(stage.output_shape), stage.multiply_adds
        timed.append(_timed(stage, stopwatch, run=name))
    program.stages = timed
    return facts


def _watch_step(stopwatch: Stopwatch, descent: Any) -> Facts:
    """Have the parts of a descent's steps timed; return what is known of them."""
    network, facts, timed = descent.network, {}, []
    for place, (layer, products) in enumerate(zip(network.layers, _products(network), strict=True)):
        forward, backward = (f"{place} {NAMES[type(layer)]} {way}" for way in ("forward", "backward"))
        facts[forward] = shape_text(network.layer_shapes[place]), products[0]
        facts[backward] = "", products[1]
        timed.append(_timed(layer, stopwatch, forward=forward, backward=backward))
    network.layers = timed
    for name, thing, method in (
        ("augmentation", descent.augmenter, "apply"),
        ("loss", descent, "compute"),
        ("running statistics", network if network.state else None, "fold"),
        ("optimizer", descent, "_update"),
        ("average", descent if descent.options.weight_average else None, "_move_average"),
    ):
        if thing is not None:
            setattr(thing, method, stopwatch.timed(name, getattr(thing, method)))
    return facts


def _products(network: Network) -> list[tuple[int, int]]:
    """Return for each layer the multiply-adds of a row on the way there, and on the way back.

    Back they are as many by the weights, and as many by the inputs, which the first layer does not need.
    """
    forward, backward = ([0] * len(network.layers) for _ in range(2))
    stages = [stage for stage in Program(network).stages if "weight" in stage.views]
    first = next((stage.place.partition(".")[0] for stage in stages), "")
    begun: set[str] = set()
    for stage in stages:
        # "0.1.2" is a layer of the second member of an ensemble, of which each has a first layer.
        layer, row = stage.place.partition(".")[0], stage.place.rpartition(".")[0]
        needs_both = layer != first or row in begun
        begun.add(row)
        forward[int(layer)] += stage.multiply_adds
        backward[int(layer)] += stage.multiply_adds * (1 + needs_both)
    return list(zip(forward, backward, strict=True))


def _timed(thing: object, stopwatch: Stopwatch, **methods: str) -> Any:
    """Return what does as a thing does, with the time of its methods counted under names."""
    return Timed(thing, **{way: stopwatch.timed(name, getattr(thing, way)) for way, name in methods.items()})


def _options(recipe: Recipe) -> Options:
    names = {field.name for field in dataclasses.fields(Options)} - {"loss"}
    return Options(loss=LOSSES[recipe.loss], **{name: getattr(recipe, name) for name in names})
