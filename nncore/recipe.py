"""A recipe: one training run as data. `run` turns it into a trained network."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncore.config import choice, from_json, number, tagged, to_json
from nncore.datasets import DATASETS, Dataset, Split
from nncore.errors import InputError, RecipeError
from nncore.layers import Layer
from nncore.losses import LOSSES
from nncore.network import LAYERS, Network, plan
from nncore.optimizers import OPTIMIZERS, Optimizer
from nncore.preprocessing import STEPS, Step, apply_steps
from nncore.randomness import stream
from nncore.schedules import SCHEDULES, Constant, Schedule
from nncore.training import Callback, EarlyStopping, History, Metrics, evaluate, fit
from nncore.types import Shape


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run gives, besides the machine's arithmetic."""

    dataset: str = choice(DATASETS)
    network: tuple[Layer, ...] = tagged(LAYERS)
    loss: str = choice(LOSSES)
    optimizer: Optimizer = tagged(OPTIMIZERS)
    epochs: int = number(minimum=1, maximum=1_000_000)
    batch_size: int = number(32, minimum=1, maximum=65_536)
    input: tuple[Step, ...] = tagged(STEPS, default=())
    schedule: Schedule = tagged(SCHEDULES, default=Constant())
    l2: float = number(0.0, minimum=0, maximum=1000)
    clip_norm: float | None = number(None, above=0)
    early_stopping: EarlyStopping | None = None
    seed: int = number(0, minimum=0, maximum=2**63 - 1)


@dataclass(frozen=True)
class Trained:
    """What a run gives: the network, the fitted input steps, how the run went and how good it is."""

    recipe: Recipe
    dataset: Dataset
    network: Network
    steps: tuple[Step, ...]
    history: History
    metrics: dict[str, Metrics]


def read_recipe(text: str | bytes) -> Recipe:
    """Return the recipe that JSON text holds; raises RecipeError that says which field is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError({"": f"not JSON: {error}"}) from None
    return from_json(Recipe, data)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with fields replaced: `{"optimizer.learning_rate": 0.01, "network.0.units": 64}`."""
    data = to_json(recipe)
    for path, value in changes.items():
        parts = path.replace("[", ".").replace("]", "").split(".")
        inner = data
        for part in parts[:-1]:
            inner = _child(inner, part, path)
        _child(inner, parts[-1], path)
        inner[int(parts[-1]) if isinstance(inner, list) else parts[-1]] = value
    return from_json(Recipe, data)


def run(recipe: Recipe, callbacks: Sequence[Callback] = (), *, measure_test: bool = True) -> Trained:
    """Train the network that the recipe describes.

    `measure_test=False` leaves the test set alone: what a search among recipes must do.
    """
    dataset = DATASETS[recipe.dataset]()
    check(recipe, dataset)
    steps = _fit_steps(recipe, dataset)
    network = Network(recipe.network, dataset.train.inputs.shape[1:])
    network.initialize(stream(recipe.seed, "init"))
    loss = LOSSES[recipe.loss]
    validation = _prepare(steps, dataset.validation)
    history = fit(
        network,
        _prepare(steps, dataset.train),
        loss=loss,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        validation=validation,
        early_stopping=recipe.early_stopping,
        l2=recipe.l2,
        clip_norm=recipe.clip_norm,
        callbacks=callbacks,
    )
    metrics = {"validation": evaluate(network, validation, loss)}
    if measure_test:
        metrics["test"] = evaluate(network, _prepare(steps, dataset.test), loss)
    return Trained(recipe, dataset, network, steps, history, metrics)


def check(recipe: Recipe, dataset: Dataset) -> None:
    """Raise RecipeError where network, loss and dataset do not fit together."""
    problems: dict[str, str] = {}
    output = LOSSES[recipe.loss].output
    last = plan(recipe.network, dataset.train.inputs.shape[1:])[1][-1]
    if dataset.labels and output == "regression" and dataset.train.targets.ndim == 1:
        width: Shape = (1,)
    elif dataset.labels:
        width = (len(dataset.labels),) if output == "classes" else (1,)
    else:
        width = dataset.train.targets.shape[1:]
    if not dataset.labels and output != "regression":
        problems["loss"] = (
            f"{recipe.loss} needs classes, and {dataset.name} has values: use mean_squared_error"
        )
    elif output == "binary" and len(dataset.labels) != 2:
        problems["loss"] = f"{recipe.loss} needs two classes, {dataset.name} has {len(dataset.labels)}"
    elif last != width:
        place = f"network[{len(recipe.network) - 1}]"
        problems[place] = f"gives {last} numbers an example; {recipe.loss} on {dataset.name} needs {width}"
    score = "r2" if output == "regression" else "accuracy"
    if recipe.early_stopping and recipe.early_stopping.monitor not in ("loss", score):
        problems["early_stopping.monitor"] = f"must be loss or {score} with {recipe.loss}"
    if problems:
        raise RecipeError(problems)


def _fit_steps(recipe: Recipe, dataset: Dataset) -> tuple[Step, ...]:
    steps: list[Step] = []
    for place, step in enumerate(recipe.input):
        inputs = dataset.train.inputs
        if steps:
            inputs = apply_steps(steps, inputs, np.empty(inputs.shape, np.float32))
        try:
            steps.append(step.fit(inputs))
        except InputError as error:
            raise RecipeError({f"input[{place}]": str(error)}) from None
    return tuple(steps)


def _prepare(steps: Sequence[Step], split: Split) -> Split:
    return dataclasses.replace(
        split, inputs=apply_steps(steps, split.inputs, np.empty(split.inputs.shape, np.float32))
    )


def _child(data: Any, part: str, path: str) -> Any:
    if isinstance(data, list) and part.isdecimal() and int(part) < len(data):
        return data[int(part)]
    if isinstance(data, dict) and part in data:
        return data[part]
    known = (
        ", ".join(data)
        if isinstance(data, dict)
        else f"0 to {len(data) - 1}"
        if isinstance(data, list)
        else ""
    )
    raise RecipeError({path: f"there is no {part!r} here" + (f", only {known}" if known else "")})
