"""A recipe: one training run as data. `run` turns it into a trained network."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncore.augmentation import Augmentation
from nncore.checkpoints import Checkpoints
from nncore.config import canonical, choice, from_json, number, quiet, tagged, to_json, word_or_tagged
from nncore.datasets import DATASETS, SOURCES, Dataset, Source, Split, load_dataset
from nncore.ensemble import Ensemble
from nncore.errors import InputError, RecipeError
from nncore.evaluation import Metrics, evaluate
from nncore.layers import Layer
from nncore.losses import LOSSES
from nncore.memory import Rows, run_bytes
from nncore.network import LAYERS, Network, plan
from nncore.normalization import BatchNorm
from nncore.optimizers import OPTIMIZERS, Optimizer
from nncore.preprocessing import MOST_STEPS, STEPS, Standardize, Step, apply_steps
from nncore.randomness import stream
from nncore.schedules import SCHEDULES, Constant, Schedule
from nncore.starting import changed_output, take_weights
from nncore.target_scale import scale_of, takes_scale
from nncore.training import Callback, EarlyStopping, History, fit
from nncore.types import Array, Shape


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run gives, besides the machine's arithmetic."""

    dataset: str | Source = word_or_tagged(DATASETS, SOURCES)
    network: tuple[Layer, ...] = tagged(LAYERS)
    loss: str = choice(LOSSES)
    optimizer: Optimizer = tagged(OPTIMIZERS)
    epochs: int = number(minimum=1, maximum=1_000_000)
    batch_size: int = number(32, minimum=1, maximum=65_536)
    input: tuple[Step, ...] = tagged(STEPS, default=())
    schedule: Schedule = tagged(SCHEDULES, default=Constant())
    l2: float = number(0.0, minimum=0, maximum=1000)
    clip_norm: float | None = number(None, above=0)
    standardize_targets: bool = quiet(number(False))
    label_smoothing: float = quiet(number(0.0, minimum=0, below=1))
    weight_average: float | None = quiet(number(None, above=0, below=1))
    augmentation: Augmentation | None = quiet(number(None))
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
    start_from: str | None = None
    reinitialized: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartFrom:
    """Weights to go on from, and the SHA-256 of the model file that they are from."""

    network: Network
    sha256: str


def read_recipe(text: str | bytes) -> Recipe:
    """Return the recipe that JSON text holds; raises RecipeError that says which field is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError({"": f"not JSON: {error}"}) from None
    return from_json(Recipe, data)


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return the recipe with fields replaced: `{"optimizer.learning_rate": 0.01, "network.0.units": 64}`."""
    data = to_json(recipe, whole=True)
    for path, value in changes.items():
        parts = path.replace("[", ".").replace("]", "").split(".")
        inner = data
        for part in parts[:-1]:
            inner = _child(inner, part, path)
        _child(inner, parts[-1], path)
        inner[int(parts[-1]) if isinstance(inner, list) else parts[-1]] = value
    return from_json(Recipe, data)


def run(
    recipe: Recipe,
    callbacks: Sequence[Callback] = (),
    *,
    dataset: Dataset | None = None,
    measure_test: bool = True,
    checkpoints: Checkpoints | None = None,
    start_from: StartFrom | None = None,
) -> Trained:
    """Train the network that the recipe describes, on a dataset that is at hand or on the one that it names.

    `measure_test=False` leaves the test set alone: what a search among recipes must do. With `checkpoints`
    a run of the same recipe, dataset and start that was killed is gone on with. Raises CheckpointError
    where they are of another run.
    """
    dataset = dataset or load_dataset(recipe.dataset)
    check(recipe, dataset)
    reinitialized = check_start(recipe, dataset, start_from.network) if start_from else ()
    if checkpoints is not None:
        checkpoints.bind(_fingerprint(recipe, dataset, start_from))
    steps = _fit_steps(recipe, dataset.train.inputs)
    network = Network(recipe.network, dataset.train.inputs.shape[1:])
    network.initialize(stream(recipe.seed, "init"))
    if start_from is not None:
        take_weights(network, start_from.network, leave=reinitialized)
    loss = LOSSES[recipe.loss]
    train, validation = prepare(steps, dataset.train), prepare(steps, dataset.validation)
    scale = scale_of(train.targets) if recipe.standardize_targets else None
    if scale and start_from and not reinitialized:
        scale.unfold(network)
    history = fit(
        network,
        scale.apply(train) if scale else train,
        loss=loss,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        validation=scale.apply(validation) if scale else validation,
        early_stopping=recipe.early_stopping,
        l2=recipe.l2,
        clip_norm=recipe.clip_norm,
        label_smoothing=recipe.label_smoothing,
        weight_average=recipe.weight_average,
        augmentation=recipe.augmentation,
        callbacks=callbacks,
        checkpoints=checkpoints,
    )
    if scale:
        scale.fold(network)
    metrics = {"validation": evaluate(network, validation, loss)}
    if measure_test:
        metrics["test"] = evaluate(network, prepare(steps, dataset.test), loss)
    source = start_from.sha256 if start_from else None
    return Trained(recipe, dataset, network, steps, history, metrics, source, reinitialized)


def prepare(steps: Sequence[Step], split: Split) -> Split:
    """Return rows as the network gets them, the input steps applied to each."""
    return dataclasses.replace(
        split, inputs=apply_steps(steps, split.inputs, np.empty(split.inputs.shape, np.float32))
    )


def check(recipe: Recipe, dataset: Dataset) -> None:
    """Raise RecipeError, before anything is trained, where recipe and dataset do not fit together."""
    last = plan(recipe.network, dataset.train.inputs.shape[1:]).outputs[-1]
    problems = _check_output(recipe, dataset, last)
    if len(recipe.input) > MOST_STEPS:
        problems["input"] = f"must have at most {MOST_STEPS} steps, not {len(recipe.input)}"
        raise RecipeError(problems)
    if recipe.standardize_targets and (problem := _check_scale(recipe)):
        problems["standardize_targets"] = problem
    if recipe.label_smoothing and LOSSES[recipe.loss].output == "regression":
        problems["label_smoothing"] = f"must be 0 with {recipe.loss}: only classes have labels to smooth"
    if min(recipe.batch_size, len(dataset.train)) == 1:
        problems |= _check_norms(recipe, dataset.train.inputs.shape[1:])
    if recipe.augmentation and (problem := recipe.augmentation.check(dataset.train.inputs.shape[1:])):
        problems["augmentation"] = problem
    score = "r2" if LOSSES[recipe.loss].output == "regression" else "accuracy"
    if recipe.early_stopping and recipe.early_stopping.monitor not in ("loss", score):
        problems["early_stopping.monitor"] = f"must be loss or {score} with {recipe.loss}"
    try:
        # Whether a step can work on such inputs two rows tell.
        _fit_steps(recipe, dataset.train.inputs[:2])
    except RecipeError as error:
        problems |= error.problems
    if problems:
        raise RecipeError(problems)


def _check_scale(recipe: Recipe) -> str | None:
    if LOSSES[recipe.loss].output != "regression":
        return f"must be false with {recipe.loss}: classes have no scale"
    if not takes_scale(recipe.network[-1]):
        return "needs a dense layer with a bias at the end of the network: the scale goes into it"
    return None


def _check_norms(recipe: Recipe, input_shape: Shape) -> dict[str, str]:
    """Return what is wrong where a batch has one number a channel, which has no variance."""
    shapes = [input_shape, *plan(recipe.network, input_shape).outputs]
    return {
        f"network[{place}]": "batch_norm needs more than one row a batch here: make batch_size larger"
        for place, (layer, shape) in enumerate(zip(recipe.network, shapes, strict=False))
        if isinstance(layer, BatchNorm) and math.prod(shape[:-1]) == 1
    }


def _check_output(recipe: Recipe, dataset: Dataset, last: Shape) -> dict[str, str]:
    output = LOSSES[recipe.loss].output
    if not dataset.labels and output != "regression":
        return {"loss": f"{recipe.loss} needs classes, and {dataset.name} has values: use mean_squared_error"}
    if output == "regression" and dataset.is_private and len(dataset.labels) > 2:
        count, other = len(dataset.labels), "softmax_cross_entropy"
        return {"loss": f"{recipe.loss} learns values, and {dataset.name} has {count} classes: use {other}"}
    if output == "binary" and len(dataset.labels) != 2:
        return {"loss": f"{recipe.loss} needs two classes, {dataset.name} has {len(dataset.labels)}"}
    width: Shape = (1,)
    if output == "classes":
        width = (len(dataset.labels),)
    elif dataset.train.targets.ndim > 1:
        width = dataset.train.targets.shape[1:]
    place, final = f"network[{len(recipe.network) - 1}]", recipe.network[-1]
    if isinstance(final, Ensemble) and final.output != output:
        return {f"{place}.output": f"must be {output} with {recipe.loss}, not {final.output}"}
    if last == width:
        return {}
    return {place: f"gives {last} numbers an example; {recipe.loss} on {dataset.name} needs {width}"}


def check_start(recipe: Recipe, dataset: Dataset, start: Network) -> tuple[str, ...]:
    """Return the names of the parameters that begin anew where a run goes on from a network's weights.

    They are those of the last layer, where its shape is another one. Raises RecipeError, with the layer's
    place, where any other differs.
    """
    mine = plan(recipe.network, dataset.train.inputs.shape[1:])
    return changed_output(mine.arrays, {name: array.shape for name, array in start.arrays.items()})


def count_parameters(recipe: Recipe, dataset: Dataset) -> int:
    """Return how many numbers the recipe's network learns on a dataset."""
    shapes = plan(recipe.network, dataset.train.inputs.shape[1:]).parameters
    return sum(map(math.prod, shapes.values()))


def needed_memory(recipe: Recipe, dataset: Dataset) -> int:
    """Return how many bytes a run of the recipe allocates at most, the dataset itself included."""
    train, validation, test = dataset.train, dataset.validation, dataset.test
    arrays = {
        id(array): array.nbytes for part in (train, validation, test) for array in (part.inputs, part.targets)
    }
    # Standardised in float64, and kept as float32.
    scaled = 6 * (train.targets.nbytes + validation.targets.nbytes) if recipe.standardize_targets else 0
    rows = Rows(len(train), len(validation), len(test), min(recipe.batch_size, len(train)))
    return (
        sum(arrays.values())
        + scaled
        + run_bytes(
            recipe.network,
            train.inputs.shape[1:],
            rows,
            moments=len(recipe.optimizer.start(np.empty(0, np.float32))),
            averages=recipe.weight_average is not None,
            augments=recipe.augmentation is not None,
            standardizes=any(isinstance(step, Standardize) for step in recipe.input),
            epochs=recipe.epochs,
        )
    )


def _fingerprint(recipe: Recipe, dataset: Dataset, start_from: StartFrom | None) -> str:
    run = {
        "recipe": to_json(recipe),
        "dataset": dataset.sha256,
        "start_from": start_from.sha256 if start_from else None,
    }
    return hashlib.sha256(canonical(run).encode()).hexdigest()


def _fit_steps(recipe: Recipe, rows: Array) -> tuple[Step, ...]:
    steps: list[Step] = []
    inputs = rows
    # What the steps before have made of the rows is what a step learns from.
    room = np.empty(rows.shape if len(recipe.input) > 1 else 0, np.float32)
    for place, step in enumerate(recipe.input):
        if steps:
            inputs = steps[-1].apply(inputs, room)
        try:
            steps.append(step.fit(inputs))
        except InputError as error:
            raise RecipeError({f"input[{place}]": str(error)}) from None
    return tuple(steps)


def _child(data: Any, part: str, path: str) -> Any:
    if data is None:
        raise RecipeError({path: f"there is nothing yet that {part!r} could be in: set the whole object"})
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
