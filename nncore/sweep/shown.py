"""What is drawn of a sweep: the figure of each member, what stands on an axis, and in what words."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nncore.bar import figure_text
from nncore.config import canonical
from nncore.sweep.grid import setting_text
from nncore.sweep.ranking import Member, Results

# Characters of a tick's label.
MOST_LABEL = 24
# A range that spans so much may be drawn by its logarithm.
DECADE = 10
# Times as far below the best as the median is: members that are worse are drawn at the edge.
FAR = 10


@dataclass(frozen=True)
class Shown:
    """What is drawn of the members that ended well, by their numbers: a figure of each.

    Those in `cut` are worse than that: they are drawn at the edge.
    """

    name: str
    label: str
    values: dict[int, float]
    cut: frozenset[int]
    best: int
    is_loss: bool

    def text(self, member: Member) -> str:
        """Return a member's figure, whole."""
        return figure_text(self.name, member.figures.loss if self.is_loss else member.figures.score)


def to_show(results: Results) -> Shown:
    """Return what is drawn where some ended well: the score, or where all have the same, the loss."""
    members = results.ranked
    is_loss = len({member.figures.score for member in members}) == 1 < len(members)
    name = "loss" if is_loss else results.score
    sign, unit = (-1 if is_loss else 1), (100 if name == "accuracy" else 1)
    goodness = {
        member.number: sign * unit * (member.figures.loss if is_loss else member.figures.score)
        for member in members
    }
    best = max(goodness.values())
    edge = best - FAR * (best - statistics.median(goodness.values()))
    edge = edge if edge < best else -math.inf
    return Shown(
        name,
        f"validation {name}" + (", %" if name == "accuracy" else ""),
        {number: sign * max(value, edge) for number, value in goodness.items()},
        frozenset(number for number, value in goodness.items() if value < edge),
        members[0].number,
        is_loss,
    )


def by_number(results: Results) -> list[Member]:
    """Return all members in the order of the grid."""
    return sorted([*results.ranked, *results.failed], key=lambda member: member.number)


def value_of(member: Member, place: int) -> Any:
    """Return the value of the field at this place of the grid."""
    return tuple(member.changes.values())[place]


def different(values: Sequence[Any]) -> list[Any]:
    """Return the values, each once: numbers by their size, others as they come."""
    found = list({canonical(value): value for value in values}.values())
    return sorted(found) if are_numbers(found) else found


def are_numbers(values: Sequence[Any]) -> bool:
    """Say whether all values stand on a line."""
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def spans_decades(values: Sequence[float]) -> bool:
    """Say whether sorted values are better drawn by their logarithm."""
    low, middle, high = values[0], statistics.median(values), values[-1]
    if low <= 0 or high < DECADE * low:
        return False
    # As is right of values that were drawn by their logarithm, and not of those drawn from 0.0 to 1.0.
    return abs(middle - math.sqrt(low) * math.sqrt(high)) < abs(middle - (low + high) / 2)


def label(value: Any) -> str:
    """Return what stands at a tick."""
    text = value if isinstance(value, str) else _words(value)
    text = text if len(text) <= MOST_LABEL else f"{text[: MOST_LABEL - 1]}…"
    # What stands between two of these is a formula to matplotlib.
    return text.replace("$", r"\$")


def _words(value: Any) -> str:
    """Return an object as `step every 2`, and an array of them with commas."""
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if isinstance(value, dict):
        rest = [f"{key} {_words(inner)}" for key, inner in value.items() if key != "type"]
        return " ".join([str(value["type"]), *rest] if "type" in value else rest)
    return setting_text(value)
