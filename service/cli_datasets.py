"""`nnserve datasets`: data of one's own for a running service."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli_calling import asking, json_option, url_option
from service.cli_output import Table, print_json

if TYPE_CHECKING:
    from service.client import Dataset


@click.group()
def datasets() -> None:
    """Send, list, show and remove the datasets of a running service."""


@datasets.command("list")
@json_option
@url_option
def list_datasets(as_json: bool, url: str) -> None:
    """Print a line a dataset: its name, what it is for, its rows, and its SHA-256."""
    with asking(url) as client:
        found = list(client.datasets())
    for one in found if as_json else ():
        print_json(one.document)
    if not as_json:
        Table("name", "task", "rows", "sha256").print(
            [(one.name, one.task, _rows(one), one.sha256) for one in found]
        )


@datasets.command()
@click.argument("name")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--target", help="CSV: the column to tell from the others.")
@click.option("--task", type=click.Choice(["classification", "regression"]), help="CSV, NPZ.")
@click.option("--header/--no-header", default=None, help="CSV: whether the first line names the columns.")
@click.option("--delimiter", help="CSV: , ; | or tab.")
@click.option("--ignore", multiple=True, metavar="COLUMN", help="CSV: a column to leave out.")
@click.option("--categorical", multiple=True, metavar="COLUMN", help="CSV: a column of texts.")
@click.option("--numeric", multiple=True, metavar="COLUMN", help="CSV: a column of numbers.")
@click.option("--height", type=int, help="Pictures: what they are resized to, with --width.")
@click.option("--width", type=int, help="Pictures.")
@click.option("--channels", type=int, help="Pictures: 1 for grey, 3 for colour.")
@click.option("--inputs", metavar="ARRAY", help="NPZ: the name of the array of inputs.")
@click.option("--targets", metavar="ARRAY", help="NPZ: the name of the array of targets.")
@click.option("--validation", type=float, help="The share of rows to validate on.")
@click.option("--test", type=float, help="The share of rows to test on.")
@url_option
def add(name: str, files: tuple[Path, ...], url: str, **options: Any) -> None:
    """Send FILES as the dataset NAME: a CSV, NPZ or zip file, or the inputs and targets of an IDX pair."""
    if len(files) > 2:
        raise click.UsageError(f"a dataset is one file, or the two of an IDX pair, not {len(files)}")
    sent = files[0] if len(files) == 1 else (files[0], files[1])
    with asking(url) as client:
        one = client.upload_dataset(name, sent, **options)
    click.echo(f"{name}: {_rows(one)}\n{one.sha256}")


@datasets.command()
@click.argument("name")
@json_option
@url_option
def show(name: str, as_json: bool, url: str) -> None:
    """Print what the dataset NAME holds."""
    with asking(url) as client:
        one = client.dataset(name)
    if as_json:
        print_json(one.document)
        return
    click.echo(f"{name}: {one.task}, {_rows(one)}\n{one.sha256}")
    rows = [("input", " × ".join(map(str, one.input_shape)))]
    rows += [(column["name"], _told(column)) for column in one.columns]
    rows += [
        (f"class {row['label']}", f"{row['train']} + {row['validation']} + {row['test']}")
        for row in one.classes
    ]
    rows += [("target", _told(one.target))] if one.target else []
    Table("field", "value").print(rows)


@datasets.command()
@click.argument("name")
@url_option
def rm(name: str, url: str) -> None:
    """Delete the dataset NAME."""
    with asking(url) as client:
        client.delete_dataset(name)


def _rows(one: "Dataset") -> str:
    rows = one.rows
    return f"{rows['train']:,} + {rows['validation']:,} + {rows['test']:,} rows"


def _told(figures: Mapping[str, Any]) -> str:
    if "categories" in figures:
        return ", ".join(f"{name} {count:,}" for name, count in figures["categories"].items())
    return f"{figures['min']:g} to {figures['max']:g}, mean {figures['mean']:g}"
