"""The recipe that `nnserve train` is given: a file, the name of a shipped one, and fields that are set."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from service.cli_calling import STDIN, read_given

_NAME = re.compile(r"[a-z0-9_-]{1,64}")


def read_recipe(given: str) -> Mapping[str, Any] | str:
    """Return a recipe from a file or standard input, or the name that was given.

    A name is what could be one: a file called like that is ./name. Raises ValueError and OSError.
    """
    if given != STDIN and _NAME.fullmatch(given):
        return given
    try:
        recipe = json.loads(read_given(given))
    except ValueError as error:
        raise ValueError(f"{given}: is no JSON: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{given}: a recipe is an object")
    return recipe


def model_of(given: str) -> str | None:
    """Return the name of the model that a recipe makes where none is told: its own."""
    return None if given == STDIN else Path(given).stem


def changed(recipe: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Return a recipe with fields set as `optimizer.learning_rate=0.01` says; raises ValueError."""
    made = copy.deepcopy(dict(recipe))
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ValueError(
                f"--set takes FIELD=VALUE, epochs=20 or optimizer.learning_rate=0.01, not {setting!r}"
            )
        *outer, last = path.split(".")
        place: Any = made
        for number, name in enumerate(outer, 1):
            place = _inside(place, name, ".".join(outer[:number]))
        _set(place, last, _value(text), path)
    return made


def _inside(place: Any, name: str, path: str) -> Any:
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        return place[int(name)]
    if isinstance(place, dict):
        return place.setdefault(name, {})
    raise ValueError(f"--set {path}: there is no such place in the recipe")


def _set(place: Any, name: str, value: Any, path: str) -> None:
    if isinstance(place, list) and name.isdecimal() and int(name) < len(place):
        place[int(name)] = value
    elif isinstance(place, dict):
        place[name] = value
    else:
        raise ValueError(f"--set {path}: there is no such place in the recipe")


def _value(text: str) -> Any:
    """Return what a text says as JSON, or else itself: `--set dataset=flowers`."""
    try:
        return json.loads(text)
    except ValueError:
        return text
