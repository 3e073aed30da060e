"""Frozen dataclasses from JSON and back, every field checked with a message that says where.

A field is declared with `number`, `choice`, `tagged` and the like; anything else is read by its type. A
problem is a pair of a path, `network[1].units`, and what would be right, `must be ≥ 1`.
"""

import dataclasses
import difflib
import json
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from nncore.errors import RecipeError

T = TypeVar("T")
Check = Callable[[Any], str | None]
Bounds = tuple[int, int]
REQUIRED = dataclasses.MISSING

# Past this the problems repeat themselves.
MOST_PROBLEMS = 20
MOST_ENTRIES = 1000
# An ensemble of 64 deep networks has 2,000; arrays in arrays could ask for a thousand times a thousand.
MOST_OBJECTS = 10_000


class Problems(dict[str, str]):
    """What is wrong, by its path, and how many objects have been looked at."""

    objects = 0


def number(
    default: Any = REQUIRED,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
) -> Any:
    """Declare a number with bounds; the annotation says whether it is an int or a float."""

    def check(value: Any) -> str | None:
        if minimum is not None and not value >= minimum:
            return f"must be ≥ {minimum}, not {shorten(value)}"
        if above is not None and not value > above:
            return f"must be > {above}, not {shorten(value)}"
        if maximum is not None and not value <= maximum:
            return f"must be ≤ {maximum}, not {shorten(value)}"
        if below is not None and not value < below:
            return f"must be < {below}, not {shorten(value)}"
        return None

    return dataclasses.field(default=default, metadata={"check": check})


def quiet(field: Any) -> Any:
    """Have a field written out only where it is set: one that came later changes no file made without it."""
    return dataclasses.field(default=field.default, metadata={**field.metadata, "quiet": True})


def sides(default: Any = REQUIRED, *, minimum: int, maximum: int) -> Any:
    """Declare a size on a picture: one whole number, or an array of two, height and width."""

    def check(value: Any) -> str | None:
        within = isinstance(value, int) and minimum <= value <= maximum
        return None if within else f"must be from {minimum} to {maximum}, not {shorten(value)}"

    return dataclasses.field(default=default, metadata={"check": check, "sides": True})


def choice(options: Collection[str], default: Any = REQUIRED) -> Any:
    """Declare one of a few words."""
    return dataclasses.field(default=default, metadata={"check": lambda value: unknown(value, options)})


def entries(most: int) -> Any:
    """Declare a tuple that is empty by default and has so many entries at most."""
    return dataclasses.field(default=(), metadata={"lengths": ((0, most),)})


def word_or_tagged(words: Collection[str], registry: Mapping[str, type]) -> Any:
    """Declare one of a few words, or an object whose `type` names a dataclass in the registry."""
    return dataclasses.field(metadata={"words": words, "registry": registry})


def tagged(
    registry: Mapping[str, type], default: Any = REQUIRED, lengths: tuple[Bounds, ...] = ((0, MOST_ENTRIES),)
) -> Any:
    """Declare an object, or a tuple of them, whose `type` names a dataclass in the registry.

    `lengths` are how few and how many entries a tuple has, and then the tuples in it, where it holds some.
    """
    return dataclasses.field(default=default, metadata={"registry": registry, "lengths": lengths})


def from_json(kind: type[T], data: object) -> T:
    """Return a `kind` built from JSON data, or raise RecipeError with every problem found."""
    problems = Problems()
    result = _dataclass(kind, data, "", problems)
    if problems:
        raise RecipeError(dict(list(problems.items())[:MOST_PROBLEMS]))
    return typing.cast(T, result)


def to_json(value: Any, registry: Mapping[str, type] | None = None, *, whole: bool = False) -> Any:
    """Return the JSON form of a dataclass tree: what `from_json` reads, defaults written out.

    With `whole` those of quiet fields too.
    """
    if isinstance(value, tuple):
        return [to_json(item, registry, whole=whole) for item in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = {
        field.name: to_json(getattr(value, field.name), field.metadata.get("registry"), whole=whole)
        for field in dataclasses.fields(value)
        if whole or not (field.metadata.get("quiet") and getattr(value, field.name) == field.default)
    }
    names = [name for name, kind in (registry or {}).items() if kind is type(value)]
    return {"type": names[0]} | fields if names else fields


def canonical(data: Any) -> str:
    """Return JSON that is the same for the same data; raises ValueError for NaN and infinity."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def unknown(value: object, options: Collection[str]) -> str | None:
    """Return what to say of a word that is not among the options, None if it is."""
    if isinstance(value, str) and value in options:
        return None
    if not options:
        return "there is nothing to set"
    close = (
        difflib.get_close_matches(value, options, 1) if isinstance(value, str) and len(value) < 100 else []
    )
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"must be one of {', '.join(sorted(options))}, not {shorten(value)}{hint}"


def shorten(value: object) -> str:
    """Return a value as JSON would show it, cut to a length that fits an error message."""
    if isinstance(value, (list, dict)):
        return "an array" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**30:
        return "so large a number"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…'"


def _dataclass(kind: type, data: object, path: str, problems: Problems) -> Any:
    if len(problems) >= MOST_PROBLEMS:
        return None
    if not isinstance(data, dict):
        problems[path] = f"must be an object, not {shorten(data)}"
        return None
    problems.objects += 1
    if problems.objects > MOST_OBJECTS:
        raise RecipeError({path: f"is one object more than the {MOST_OBJECTS:,} that may be given in all"})
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    before = len(problems)
    # Looking for the word that was meant takes long enough that a body full of odd keys would keep us busy.
    for key in [key for key in data if key not in fields][:MOST_PROBLEMS]:
        problems[_join(path, str(key)[:60])] = f"is not known here; {unknown(key, fields)}"
    values = {}
    for name, field in fields.items():
        if name in data:
            values[name] = _value(hints[name], data[name], _join(path, name), field.metadata, problems)
        elif field.default is REQUIRED and field.default_factory is REQUIRED:
            problems[_join(path, name)] = "is missing"
    return kind(**values) if len(problems) == before else None


def _value(hint: Any, data: object, path: str, metadata: Mapping[str, Any], problems: Problems) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if "sides" in metadata:
        return _sides(data, path, metadata, problems, optional=type(None) in arguments)
    if "words" in metadata:
        return _word_or_tagged(data, path, metadata, problems)
    if origin in (types.UnionType, typing.Union):
        if data is None:
            return None
        return _value(arguments[0], data, path, metadata, problems)
    if origin is tuple:
        return _tuple(arguments[0], data, path, metadata, problems)
    if "registry" in metadata:
        return _tagged(metadata["registry"], data, path, problems)
    if dataclasses.is_dataclass(hint):
        return _dataclass(typing.cast(type, hint), data, path, problems)
    value, problem = _scalar(origin or hint, data)
    problem = problem or ("check" in metadata and metadata["check"](value)) or None
    if problem:
        problems[path] = problem
    return value


def _tuple(hint: Any, data: object, path: str, metadata: Mapping[str, Any], problems: Problems) -> Any:
    if not isinstance(data, list):
        problems[path] = f"must be an array, not {shorten(data)}"
        return None
    (fewest, most), *inner = metadata.get("lengths") or [(0, MOST_ENTRIES)]
    if not fewest <= len(data) <= most:
        bound = f"at most {most}" if len(data) > most else f"at least {fewest}"
        plural = "entry" if bound == "at least 1" else "entries"
        problems[path] = f"must have {bound} {plural}, not {len(data)}"
        return None
    metadata = {**metadata, "lengths": inner}
    return tuple(
        _value(hint, item, f"{path}[{index}]", metadata, problems) for index, item in enumerate(data)
    )


def _sides(
    data: object, path: str, metadata: Mapping[str, Any], problems: Problems, *, optional: bool
) -> Any:
    if data is None and optional:
        return None
    if isinstance(data, list):
        if len(data) != 2:
            problems[path] = f"must be a whole number or two of them, height and width, not {len(data)}"
            return None
        return tuple(
            _value(int, item, f"{path}[{index}]", {"check": metadata["check"]}, problems)
            for index, item in enumerate(data)
        )
    return _value(int, data, path, {"check": metadata["check"]}, problems)


def _word_or_tagged(data: object, path: str, metadata: Mapping[str, Any], problems: Problems) -> Any:
    registry = metadata["registry"]
    if isinstance(data, dict):
        return _tagged(registry, data, path, problems)
    if problem := unknown(data, metadata["words"]):
        problems[path] = f"{problem}; or an object whose type is one of {', '.join(sorted(registry))}"
    return data


def _tagged(registry: Mapping[str, type], data: object, path: str, problems: Problems) -> Any:
    if not isinstance(data, dict):
        problems[path] = f"must be an object, not {shorten(data)}"
        return None
    problem = unknown(data["type"], registry) if "type" in data else f"is missing; {unknown('', registry)}"
    if problem:
        problems[_join(path, "type")] = problem
        return None
    rest = {key: value for key, value in data.items() if key != "type"}
    return _dataclass(registry[data["type"]], rest, path, problems)


def _scalar(hint: Any, data: object) -> tuple[Any, str | None]:
    if hint is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        try:
            value = float(data)
        except OverflowError:
            value = math.inf
        return value, None if math.isfinite(value) else "must be a finite number"
    if type(data) is hint:
        return data, None
    words = {
        bool: "true or false",
        dict: "an object",
        float: "a number",
        int: "a whole number",
        list: "an array",
        str: "a string",
    }
    return None, f"must be {words[hint]}, not {shorten(data)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
