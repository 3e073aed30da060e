"""What commands print: tables for people and shells, CSV, JSON."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

import click

# What a spreadsheet would take for a formula (OWASP, "CSV injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def clean(text: str) -> str:
    """Return a text on one line, without what would move a terminal's cursor or split a cell."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Table:
    """Rows of cells: with titles and aligned on a terminal, elsewhere a line a row with tabs between."""

    def __init__(self, *titles: str) -> None:
        self.titles = titles
        self.watched = sys.stdout.isatty()
        self.widths: list[int] = []

    def print(self, rows: Sequence[Sequence[Any]]) -> None:
        """Print some rows more."""
        cells = [[clean(str(cell)) for cell in row] for row in rows]
        if not self.watched:
            for row in cells:
                click.echo("\t".join(row))
        elif cells:
            self._print_aligned(cells)

    def _print_aligned(self, cells: list[list[str]]) -> None:
        if not self.widths:
            self.widths = [max(map(len, column)) for column in zip(self.titles, *cells, strict=True)]
            cells.insert(0, list(self.titles))
        for row in cells:
            padded = (cell.ljust(width) for cell, width in zip(row, self.widths, strict=True))
            click.echo("  ".join(padded).rstrip())


def print_csv(rows: Sequence[Sequence[Any]]) -> None:
    """Print rows as CSV (RFC 4180), texts so that no spreadsheet runs them."""
    text = io.StringIO()
    csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in rows])
    # Also what looks like colours: it is data. On a terminal it has been cleaned before.
    click.echo(text.getvalue(), nl=False, color=True)


def print_json(document: Any) -> None:
    """Print a document on a line."""
    click.echo(json.dumps(document, ensure_ascii=False))


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    cell = clean(cell) if sys.stdout.isatty() else cell
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
