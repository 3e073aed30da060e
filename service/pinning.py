"""Which dataset a training run is about, pinned by its SHA-256: a name may stand for another one tomorrow."""

from pathlib import Path
from typing import Any

from nncore.artifact import Card
from nncore.config import from_json, to_json
from nncore.datasets import DATASETS, SOURCES, Stored
from nncore.origin import dataset_sha256
from nncore.publishing import NAME
from nncore.recipe import Recipe
from service.contents import content
from service.datasets import Datasets
from service.problems import Conflict, FieldError, Invalid
from service.provenance import dataset_name

POINTER = "#/recipe/dataset"


def pin(asked: Any, datasets: Datasets) -> Any:
    """Return what a recipe over HTTP says of its dataset, the name of one that was sent with its SHA-256.

    Raises Invalid where there is no such dataset, and for files: nobody reads this machine's by their path.
    """
    if isinstance(asked, str) and asked not in DATASETS:
        found = datasets.find(asked)
        if found is None:
            raise _invalid(f"must be {_known(datasets)}, not {asked[:60]!r}")
        return to_json(Stored(found.name, found.sha256), SOURCES)
    if not isinstance(asked, dict):
        return asked
    name, sha256 = asked.get("name"), asked.get("sha256")
    if asked.get("type") != "stored" or not isinstance(name, str) or not isinstance(sha256, str):
        raise _invalid(
            f'must be {_known(datasets)}, or {{"type": "stored", "name": …, "sha256": …}}; '
            f"files are sent first, POST /datasets, and not read here by their path"
        )
    if not NAME.fullmatch(name) or content(datasets.root, sha256) is None:
        raise _invalid(f"there is no dataset {name[:60]!r} with the SHA-256 {sha256[:64]!r} here")
    return asked


def repeated(card: Card, root: Path) -> Recipe:
    """Return the recipe of a version with the dataset that it was trained on.

    Raises Conflict where that is not here. One that lay in files elsewhere may have been sent meanwhile.
    """
    recipe = card.recipe
    if not isinstance(recipe["dataset"], str):
        name, sha256 = dataset_name(card), dataset_sha256(card)
        if content(root, sha256) is None:
            raise Conflict(
                f"The dataset {name!r}, which the stable version was trained on, is not here: send it as it "
                f"was, POST /datasets, or give a recipe."
            )
        recipe = recipe | {"dataset": to_json(Stored(name, sha256), SOURCES)}
    return from_json(Recipe, recipe)


def _known(datasets: Datasets) -> str:
    names = [*sorted(DATASETS), *datasets.names()]
    return f"the name of a dataset, {', '.join(names)}"


def _invalid(text: str) -> Invalid:
    return Invalid([FieldError(POINTER, text)])
