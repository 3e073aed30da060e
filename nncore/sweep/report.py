"""The end of a sweep: a table for a person, and one for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from nncore.bar import figure_text
from nncore.config import canonical
from nncore.sweep.grid import setting_text, settings_text
from nncore.sweep.ranking import Member, Results

# Members of either kind that are shown; results.csv has all.
MOST_ROWS = 20
# Characters of a value in the table; a whole network may be one.
MOST_CELL = 40
# What a spreadsheet would take for a formula where a text begins with it.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def table_text(results: Results) -> str:
    """Return the results as lines: the best members in a table, and below it why others failed."""
    total = len(results.ranked) + len(results.failed)
    lines = []
    if results.ranked:
        lines.append(f"{len(results.ranked)} of {total} members, best first by the validation data:")
        heads = ("rank", *results.fields, "loss", results.score, "epochs", "kept", "parameters", "seconds")
        rows = [
            _row(place, member, results.score)
            for place, member in enumerate(results.ranked[:MOST_ROWS], start=1)
        ]
        lines += [*_aligned([heads, *rows]), *_more(results.ranked)]
    if results.failed:
        lines.append(f"{len(results.failed)} of {total} members failed:")
        lines += [f"  {settings_text(member.changes)}: {member.why}" for member in results.failed[:MOST_ROWS]]
        lines += _more(results.failed)
    return "\n".join(lines)


def csv_text(results: Results) -> str:
    """Return the results as CSV: a line a member, best first, and those that failed below."""
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    score = f"validation_{results.score}"
    figures = ("validation_loss", score, "epochs_run", "epoch_kept", "parameters", "seconds")
    table.writerow(("rank", "member", *results.fields, *figures, "failed"))
    for place, member in enumerate(results.ranked, start=1):
        table.writerow((place, member.number, *_values(member), *_figures(member), ""))
    for member in results.failed:
        nothing = [""] * len(figures)
        table.writerow(("", member.number, *_values(member), *nothing, _harmless(member.why)))
    return file.getvalue()


def _row(place: int, member: Member, score: str) -> tuple[str, ...]:
    loss, reached, epochs, kept, parameters, seconds = _figures(member)
    return (
        str(place),
        *(_cut(setting_text(value)) for value in member.changes.values()),
        figure_text("loss", loss),
        figure_text(score, reached),
        str(epochs),
        str(kept),
        f"{parameters:,}",
        f"{seconds:.1f}",
    )


def _figures(member: Member) -> tuple[Any, ...]:
    found = member.figures
    return found.loss, found.score, found.epochs, found.kept_epoch, found.parameters, found.seconds


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _more(members: Sequence[Member]) -> list[str]:
    return [f"  … and {len(members) - MOST_ROWS} more"] if len(members) > MOST_ROWS else []


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CELL else f"{text[: MOST_CELL - 1]}…"


def _values(member: Member) -> list[Any]:
    return [
        _harmless(value) if isinstance(value, str) and value.isprintable() else canonical(value)
        for value in member.changes.values()
    ]


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
