"""From what a caller asks to a plan that can be carried out: everything checked that can be known before."""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nncore.artifact import MOST_FILE_BYTES
from nncore.config import from_json, to_json
from nncore.datasets import DATASETS, Dataset, Source, Split
from nncore.errors import DatasetError, RecipeError
from nncore.files import read_file
from nncore.network import Network
from nncore.publishing import MODEL_FILE, NAME, NAME_MEANING
from nncore.recipe import Recipe, check, check_start, count_parameters, needed_memory, read_recipe
from service.contents import content, load
from service.datasets import Datasets
from service.labels import STABLE
from service.loading import Served
from service.pinning import pin, repeated
from service.problems import Conflict, FieldError, Invalid, NotFound
from service.settings import Settings
from service.store import Store


@dataclass(frozen=True)
class Plan:
    """What a job will do: `start_from` is a version and its SHA-256, `memory` an estimate in bytes."""

    recipe: dict[str, Any]
    dataset: dict[str, str]
    promote: str
    start_from: dict[str, Any] | None
    parameters: int
    memory: int


def make_plan(asked: dict[str, Any], store: Store, datasets: Datasets, settings: Settings) -> Plan:
    """Return the plan for a request's fields: model, recipe, start_from, promote.

    Raises Invalid with a pointer to each field that is wrong, NotFound for unknown models and versions.
    """
    model = asked["model"]
    if not NAME.fullmatch(model):
        raise Invalid([FieldError("#/model", f"must be {NAME_MEANING}")])
    recipe = _recipe(asked.get("recipe"), model, store, datasets, settings.shipped_recipes)
    _check_limit("epochs", recipe.epochs, settings.max_epochs, "epochs")
    data = outline(datasets.root, recipe.dataset)
    with _pointing():
        check(recipe, data)
        parameters, memory = count_parameters(recipe, data), needed_memory(recipe, data)
    _check_limit("network", parameters, settings.max_parameters, "parameters")
    _check_limit("network", memory, settings.max_job_memory, "bytes of memory")
    start = _start(asked.get("start_from"), model, store)
    if start is not None:
        with _pointing():
            check_start(recipe, data, _network(start))
    return Plan(
        recipe=to_json(recipe),
        dataset={"name": data.name, "sha256": data.sha256},
        promote=asked["promote"],
        start_from={"version": start.version, "sha256": start.sha256} if start else None,
        parameters=parameters,
        memory=memory,
    )


def outline(root: Path, dataset: str | Source) -> Dataset:
    """Return a dataset with arrays of the right shapes and dtypes that take no memory: all one zero.

    Raises Conflict where it is not here any more.
    """
    try:
        # A stored one takes milliseconds, and which of them will be asked for again nobody knows.
        return _built_in(dataset) if isinstance(dataset, str) else _outlined(load(root, dataset))
    except DatasetError as error:
        raise Conflict(f"It cannot be trained: {error}.") from None


def check_data(root: Path, plan: dict[str, Any]) -> None:
    """Raise Conflict where the data of a plan have been deleted."""
    dataset = plan["recipe"]["dataset"]
    if isinstance(dataset, dict) and content(root, dataset["sha256"]) is None:
        raise Conflict(f"The dataset {dataset['name']!r} has been deleted: send it again, as it was.")


@functools.cache
def _built_in(name: str) -> Dataset:
    return _outlined(DATASETS[name]())


def _outlined(dataset: Dataset) -> Dataset:
    train, validation, test = map(_hollow, (dataset.train, dataset.validation, dataset.test))
    return dataclasses.replace(dataset, train=train, validation=validation, test=test)


def _hollow(split: Split) -> Split:
    inputs, targets = (
        np.broadcast_to(np.zeros((), array.dtype), array.shape) for array in (split.inputs, split.targets)
    )
    return Split(inputs, targets)


def _recipe(asked: Any, model: str, store: Store, datasets: Datasets, shipped: Path) -> Recipe:
    if asked is None:
        return _repeated(model, store, datasets.root)
    if isinstance(asked, str):
        return _shipped(asked, shipped)
    if "dataset" in asked:
        asked = asked | {"dataset": pin(asked["dataset"], datasets)}
    with _pointing():
        return from_json(Recipe, asked)


def _repeated(model: str, store: Store, root: Path) -> Recipe:
    try:
        card = store.get(model, STABLE).predictor.card
    except NotFound as problem:
        text = f"is missing, and there is no stable version whose recipe could be repeated. {problem.detail}"
        raise Invalid([FieldError("#/recipe", text)]) from None
    return repeated(card, root)


def _shipped(name: str, folder: Path) -> Recipe:
    names = sorted(file.stem for file in folder.glob("*.json"))
    if name not in names:
        text = f"must be a recipe or the name of one, {', '.join(names)}, not {name[:60]!r}"
        raise Invalid([FieldError("#/recipe", text)])
    return read_recipe((folder / f"{name}.json").read_bytes())


def _start(asked: int | str | None, model: str, store: Store) -> Served | None:
    return None if asked is None else store.get(model, asked)


def read_start(model: Path, start: dict[str, Any]) -> bytes:
    """Return the model file that a plan starts from; raises Conflict where it is not there as it was."""
    number, file = start["version"], model / str(start["version"]) / MODEL_FILE
    try:
        data = read_file(file, MOST_FILE_BYTES)
    except OSError:
        raise Conflict(f"Version {number} of {model.name!r}, to start from, has been deleted.") from None
    if hashlib.sha256(data).hexdigest() != start["sha256"]:
        raise Conflict(f"Version {number} of {model.name!r}, to start from, is not the file that it was.")
    return data


def _network(served: Served) -> Network:
    architecture = served.predictor.card.architecture
    return Network(architecture.layers, architecture.input_shape)


def _check_limit(field: str, value: int, most: int, what: str) -> None:
    if value > most:
        text = f"asks for {value:,} {what}; a job may have at most {most:,}"
        raise Invalid([FieldError(f"#/recipe/{field}", text)])


@contextmanager
def _pointing() -> Iterator[None]:
    """Have the recipe errors of a block told with pointers into the request."""
    try:
        yield
    except RecipeError as error:
        errors = [FieldError(_pointer(path), text) for path, text in error.problems.items()]
        raise Invalid(errors) from None


def _pointer(path: str) -> str:
    """Return `network[1].units` as `#/recipe/network/1/units`."""
    parts = [part.replace("~", "~0").replace("/", "~1") for part in re.split(r"[.\[\]]+", path) if part]
    return "/".join(["#/recipe", *parts])
