"""The picture of a sweep: how good its members are, by what was varied.

The `matplotlib` package is needed for this alone, and imported when it is.
"""

import io
import math
from collections.abc import Sequence
from typing import Any

from nncore.config import canonical
from nncore.errors import ExportError
from nncore.sweep.ranking import Results
from nncore.sweep.shown import (
    Shown,
    are_numbers,
    by_number,
    different,
    label,
    spans_decades,
    to_show,
    value_of,
)

# Inches, and pixels an inch.
PANEL, CELL, DENSITY = (4.2, 3.2), (0.85, 0.5), 100
PANELS_A_ROW = 3
# More rows or columns than that leave no room for numbers in the cells, more values none for a tick each.
MOST_CELLS, MOST_TICKS = 20, 8
# More characters below a panel than that need more room than there is side by side.
MOST_ACROSS = 24
DOT, BEST, FAILED = "#3b6ea5", "#d6006c", "#c0392b"


def draw(results: Results, *, is_random: bool) -> bytes:
    """Return a PNG: of two fields a heat map of all combinations, else a panel a field.

    Some members must have ended well. Raises ExportError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        why = "the package matplotlib is not installed: pip install 'nnserve[examples]'"
        raise ExportError(why) from None
    is_map = len(results.fields) == 2 and not is_random
    figure = (_heat_map if is_map else _panels)(Figure, results, to_show(results))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DENSITY, metadata={"Software": None})
    return file.getvalue()


def _panels(figure_type: Any, results: Results, shown: Shown) -> Any:
    """One panel a field: the figure against the field's value, whatever the other fields are."""
    count = len(results.fields)
    columns = min(count, PANELS_A_ROW)
    rows = math.ceil(count / columns)
    figure = figure_type(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    told: dict[str, Any] = {}
    for place, axis in enumerate(figure.subplots(rows, columns, squeeze=False, sharey=True).flat):
        if place >= count:
            axis.remove()
            continue
        _panel(axis, results, shown, place)
        if place % columns == 0:
            axis.set_ylabel(shown.label)
        lines, labels = axis.get_legend_handles_labels()
        told |= dict(zip(labels, lines, strict=True))
    figure.legend(told.values(), told.keys(), loc="outside upper right", ncols=3, fontsize="small")
    return figure


def _panel(axis: Any, results: Results, shown: Shown, place: int) -> None:
    members = by_number(results)
    spots = _spots(axis, [value_of(member, place) for member in members])
    where = {member.number: spots[canonical(value_of(member, place))] for member in members}

    def mark(numbers: Sequence[int], marker: str, color: str, size: int, told: str = "") -> None:
        if numbers:
            xs, ys = [where[number] for number in numbers], [shown.values[number] for number in numbers]
            axis.plot(xs, ys, marker, color=color, markersize=size, label=told, clip_on=False)

    others = [number for number in shown.values if number != shown.best]
    worse = "^" if shown.is_loss else "v"
    mark([number for number in others if number not in shown.cut], "o", DOT, 6)
    mark([number for number in others if number in shown.cut], worse, DOT, 7, "worse yet")
    mark([shown.best], "*", BEST, 15, "best")
    if results.failed:
        xs = [where[member.number] for member in results.failed]
        below = axis.get_xaxis_transform()
        axis.plot(xs, [0.03] * len(xs), "x", color=FAILED, transform=below, label="failed", clip_on=False)
    axis.set_xlabel(results.fields[place])
    axis.grid(alpha=0.3)
    axis.margins(x=0.08, y=0.12)


def _spots(axis: Any, values: Sequence[Any]) -> dict[str, float]:
    """Return where on the axis each value stands, and give the axis its ticks."""
    found = different(values)
    spots = [float(value) for value in found] if are_numbers(found) else list(map(float, range(len(found))))
    if are_numbers(found) and spans_decades(found):
        axis.set_xscale("log")
    if len(found) <= MOST_TICKS or not are_numbers(found):
        labels = [label(value) for value in found]
        axis.set_xticks(spots, labels, rotation=45 if sum(map(len, labels)) > MOST_ACROSS else 0)
        axis.set_xticks([], minor=True)
    return dict(zip(map(canonical, found), spots, strict=True))


def _heat_map(figure_type: Any, results: Results, shown: Shown) -> Any:
    """A row for each value of the first field, a column for each of the second."""
    members = by_number(results)
    down, across = (different([value_of(member, place) for member in members]) for place in (0, 1))
    places = [[canonical(value) for value in values] for values in (down, across)]
    size = (2.8 + CELL[0] * min(len(across), MOST_CELLS), 1.6 + CELL[1] * min(len(down), MOST_CELLS))
    figure = figure_type(figsize=size, layout="constrained")
    axis = figure.subplots()
    cells = [[math.nan] * len(across) for _ in down]
    where = {}
    for member in members:
        row, column = (keys.index(canonical(value_of(member, place))) for place, keys in enumerate(places))
        where[member.number] = column, row
        cells[row][column] = shown.values.get(member.number, math.nan)
    image = axis.imshow(cells, cmap="viridis_r" if shown.is_loss else "viridis", aspect="auto")
    if max(len(down), len(across)) <= MOST_CELLS:
        for member in results.ranked:
            is_high = image.norm(shown.values[member.number]) > 0.6
            color = "black" if is_high != shown.is_loss else "white"
            axis.text(*where[member.number], shown.text(member), ha="center", va="center", color=color)
    for member in results.failed:
        axis.add_patch(_cell(*where[member.number], hatch="////", edgecolor=FAILED, linewidth=0))
    axis.add_patch(_cell(*where[shown.best], edgecolor=BEST, linewidth=4))
    labels = [label(value) for value in across]
    room = MOST_ACROSS * size[0] / PANEL[0]
    axis.set_xticks(range(len(across)), labels, rotation=45 if sum(map(len, labels)) > room else 0)
    axis.set_yticks(range(len(down)), [label(value) for value in down])
    axis.set_xlabel(results.fields[1])
    axis.set_ylabel(results.fields[0])
    told = "best framed, failed hatched" if results.failed else "best framed"
    axis.set_title(told, fontsize="small", color=BEST)
    figure.colorbar(image, label=shown.label)
    return figure


def _cell(column: int, row: int, **look: Any) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, **look)
