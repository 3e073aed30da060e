"""A dataset as a folder of arrays: what was checked and divided once is mapped into memory ever after."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from nncore.columns import MOST_COLUMNS, Column, columns_problem
from nncore.config import entries, from_json, number, tagged, to_json
from nncore.datasets.dataset import Dataset, Split
from nncore.datasets.targets import MOST_CLASSES
from nncore.datasets.zips import damage
from nncore.errors import DatasetError, RecipeError
from nncore.files import read_file, sha256_of, sync_folder, write_synced
from nncore.preprocessing import PICTURES, Picture
from nncore.types import Array

FORMAT = 1
DESCRIPTION = "dataset.json"
PARTS = ("train", "validation", "test")
ARRAYS = tuple(f"{part}-{kind}.npy" for part in PARTS for kind in ("inputs", "targets"))
MOST_DESCRIPTION = 16 << 20


@dataclass(frozen=True)
class Description:
    """What a folder says of itself; `files` are the SHA-256 of its arrays, `about` what people are shown."""

    sha256: str
    files: dict[str, Any]
    about: dict[str, Any]
    input_range: tuple[float, ...] | None
    picture: Picture | None = tagged(PICTURES)
    labels: tuple[str, ...] = entries(MOST_CLASSES)
    columns: tuple[Column, ...] = entries(MOST_COLUMNS)
    note: str = ""
    format: int = number(FORMAT, minimum=1, maximum=FORMAT)


def write_stored(dataset: Dataset, folder: Path, about: dict[str, Any]) -> None:
    """Write a dataset's arrays and description into a folder, and flush them to disk."""
    for part in PARTS:
        split = getattr(dataset, part)
        _save(folder / f"{part}-inputs.npy", split.inputs)
        _save(folder / f"{part}-targets.npy", split.targets)
    description = Description(
        sha256=dataset.sha256,
        labels=dataset.labels,
        input_range=dataset.input_range,
        picture=dataset.picture,
        columns=dataset.columns,
        files={name: _sha256(folder / name) for name in ARRAYS},
        about=about,
        note=dataset.note,
    )
    text = json.dumps(to_json(description), ensure_ascii=False, allow_nan=False)
    write_synced(folder / DESCRIPTION, text.encode())
    sync_folder(folder)


def read_description(folder: Path) -> Description:
    """Return what a folder says of itself; raises DatasetError where it says nothing that can be read."""
    try:
        data = json.loads(read_file(folder / DESCRIPTION, MOST_DESCRIPTION))
        description = from_json(Description, data)
    except OSError as error:
        raise DatasetError(f"{folder.name}: {DESCRIPTION}: {error.strerror}") from None
    except (ValueError, RecursionError, RecipeError) as error:
        raise DatasetError(f"{folder.name}: {DESCRIPTION}: {error}") from None
    problem = columns_problem(description.columns)
    if description.input_range is not None and len(description.input_range) != 2:
        problem = "input_range: must be two numbers"
    if problem:
        raise DatasetError(f"{folder.name}: {DESCRIPTION}: {problem}")
    return description


def read_stored(folder: Path, name: str, *, verify: bool = False) -> Dataset:
    """Return the dataset in a folder under a name, its arrays mapped and not read.

    With `verify` their SHA-256 are compared first. Raises DatasetError where something is missing or is not
    what it was.
    """
    found = read_description(folder)
    if verify:
        for file in ARRAYS:
            if _sha256(folder / file) != found.files.get(file):
                raise DatasetError(f"{folder.name}: {file} is not what it was when the dataset was taken in")
    train, validation, test = (
        Split(_mapped(folder / f"{part}-inputs.npy"), _mapped(folder / f"{part}-targets.npy"))
        for part in PARTS
    )
    bounds = found.input_range
    return Dataset(
        name=name,
        sha256=found.sha256,
        train=train,
        validation=validation,
        test=test,
        labels=found.labels,
        input_range=(bounds[0], bounds[1]) if bounds else None,
        picture=found.picture,
        columns=found.columns,
        note=found.note,
        is_private=True,
    )


def _save(path: Path, array: Array) -> None:
    with path.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def _mapped(path: Path) -> Array:
    with damage(f"{path.parent.name}: {path.name}"):
        return open_memmap(path, mode="r")


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DatasetError(f"{path.parent.name}: {path.name}: {error.strerror}") from None
