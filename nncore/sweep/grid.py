"""What a sweep varies: fields of a recipe with their values, and the combinations of them that are tried."""

import itertools
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nncore.config import canonical, shorten
from nncore.errors import InputError
from nncore.randomness import stream
from nncore.tasks import MOST_MEMBERS, Changes

WHOLE = re.compile(r"[-+]?\d{1,18}")
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
RANGE = re.compile(rf"({NUMBER})\.\.({NUMBER})")
# Digits of a number that is drawn: more say nothing about what is a good one.
DIGITS = 4
# Draws for each combination that is wanted, after which there seem to be no more different ones.
MOST_DRAWS = 200


@dataclass(frozen=True)
class Range:
    """All numbers from low to high, whole ones where both are."""

    low: float
    high: float

    def draw(self, rng: np.random.Generator) -> float:
        """Return a number, evenly drawn by its logarithm where both ends are > 0."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        margin = 0.5 if whole else 0.0
        if self.low > 0:
            drawn = math.exp(rng.uniform(math.log(self.low - margin), math.log(self.high + margin)))
        else:
            drawn = rng.uniform(self.low - margin, self.high + margin)
        number = round(drawn) if whole else float(f"{drawn:.{DIGITS}g}")
        return min(max(number, self.low), self.high)


@dataclass(frozen=True)
class Axis:
    """A field of the recipe, `network.0.units`, and the values that it may have."""

    field: str
    values: tuple[Any, ...] | Range

    def draw(self, rng: np.random.Generator) -> Any:
        """Return one of the values."""
        return (
            self.values.draw(rng)
            if isinstance(self.values, Range)
            else self.values[rng.integers(len(self.values))]
        )


def read_axes(texts: Sequence[str]) -> list[Axis]:
    """Return what each `FIELD=V1,V2` says; raises InputError that says which is wrong."""
    axes = [_read_axis(text) for text in texts]
    fields = [axis.field for axis in axes]
    if twice := [field for field in fields if fields.count(field) > 1]:
        raise InputError(f"--grid: {twice[0]} is given twice: name all its values in one")
    return axes


def combine(axes: Sequence[Axis], random: int | None, seed: int) -> list[Changes]:
    """Return the combinations: all, the last field's values changing first, or so many drawn by the seed.

    Raises InputError where there are too many, or not as many different ones as are to be drawn.
    """
    if random is None:
        return _all(axes)
    if not 1 <= random <= MOST_MEMBERS:
        raise InputError(f"--random: must be 1 to {MOST_MEMBERS:,}, not {random}")
    lists = [axis.values for axis in axes if not isinstance(axis.values, Range)]
    if len(lists) == len(axes) and (count := math.prod(map(len, lists))) < random:
        raise InputError(f"--random: must be at most {count}, the combinations of the grid, not {random}")
    rng, found = stream(seed, "sweep"), dict[str, Changes]()
    for _ in range(MOST_DRAWS * random):
        drawn = {axis.field: axis.draw(rng) for axis in axes}
        found.setdefault(canonical(drawn), drawn)
        if len(found) == random:
            return list(found.values())
    raise InputError(f"--random: only {len(found)} different combinations were found, not {random}")


def setting_text(value: Any) -> str:
    """Return a value as a person would write it after `FIELD=`."""
    plain = isinstance(value, str) and value.isprintable() and list(_split(value)) == [value]
    return value if plain else json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def settings_text(changes: Changes) -> str:
    """Return a combination: `optimizer.learning_rate=0.03 network.0.units=16`."""
    return " ".join(f"{field}={setting_text(value)}" for field, value in changes.items())


def _all(axes: Sequence[Axis]) -> list[Changes]:
    lists: list[tuple[Any, ...]] = []
    for axis in axes:
        if isinstance(axis.values, Range):
            raise InputError(f"--grid: {axis.field} is a range, from which values are drawn: add --random N")
        lists.append(axis.values)
    if (count := math.prod(map(len, lists))) > MOST_MEMBERS:
        raise InputError(
            f"--grid: has {count:,} combinations, more than {MOST_MEMBERS:,}: "
            "name fewer values, or have some drawn with --random N"
        )
    fields = [axis.field for axis in axes]
    return [dict(zip(fields, values, strict=True)) for values in itertools.product(*lists)]


def _read_axis(text: str) -> Axis:
    path, equals, rest = text.partition("=")
    field = path.strip().replace("[", ".").replace("]", "")
    if not equals or not field or not rest.strip():
        raise InputError(f"--grid: must be FIELD=VALUE,VALUE, not {shorten(text)}")
    if field.partition(".")[0] == "dataset":
        raise InputError("--grid: dataset cannot be varied: figures on other rows cannot be compared")
    if found := RANGE.fullmatch(rest.strip()):
        return Axis(field, _range(field, *found.groups()))
    values = tuple(_split(rest))
    texts = [_encoded(field, value) for value in values]
    if "" in values:
        raise InputError(f"--grid: {field} must have a value on both sides of a comma")
    if twice := [value for value, text in zip(values, texts, strict=True) if texts.count(text) > 1]:
        raise InputError(f"--grid: {field} has the value {setting_text(twice[0])} twice")
    return Axis(field, values)


def _range(field: str, *ends: str) -> Range:
    low, high = (int(end) if WHOLE.fullmatch(end) else float(end) for end in ends)
    if not low < high or not math.isfinite(high - low):
        raise InputError(
            f"--grid: {field} must be LOW..HIGH, the smaller number first, not {'..'.join(ends)}"
        )
    return Range(low, high)


def _encoded(field: str, value: Any) -> str:
    text = canonical(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"--grid: {field} has a value that is no text") from None
    return text


def _split(text: str) -> Iterator[Any]:
    """Yield the values in a text: JSON where it is, commas and all, else what stands between commas."""
    place = 0
    while place <= len(text):
        place += len(text[place:]) - len(text[place:].lstrip())
        end = -1
        try:
            value, end = DECODER.raw_decode(text, place)
            end += len(text[end:]) - len(text[end:].lstrip())
        except (ValueError, RecursionError):
            pass
        if end < 0 or text[end : end + 1] not in ("", ","):
            end = text.find(",", place)
            end = len(text) if end < 0 else end
            value = text[place:end].rstrip()
        yield value
        place = end + 1


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number that can be written")
    return value


# What is no JSON, NaN say, and what no float can hold, are texts, which the recipe then refuses.
DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)
