"""`nnserve models`: what a running service has, and how models come in, go out and are promoted."""

from pathlib import Path
from typing import Any

import click

from service.cli_calling import asking, json_option, url_option
from service.cli_output import Table, print_json


@click.group(short_help="List, show, import and export models.")
def models() -> None:
    """List, show, import, export, promote and remove the models of a running service."""


@models.command("list")
@json_option
@url_option
def list_models(as_json: bool, url: str) -> None:
    """Print a line a model: its name, what each label points to, and its versions."""
    with asking(url) as client:
        found = client.models()
    for model in found if as_json else ():
        print_json(model.document)
    if not as_json:
        Table("model", "labels", "versions").print(
            [(one.model, _labels(one.labels), ", ".join(map(str, one.versions))) for one in found]
        )


@models.command()
@click.argument("model")
@click.argument("version", default="stable")
@json_option
@url_option
def show(model: str, version: str, as_json: bool, url: str) -> None:
    """Print what a VERSION of MODEL says of itself: a number or a label, stable without one."""
    with asking(url) as client:
        found = client.version(model, version)
    if as_json:
        print_json(found.document)
        return
    rows: list[tuple[str, Any]] = [("model", found.model), ("version", found.version)]
    rows += [("labels", ", ".join(found.labels) or "-"), ("sha256", found.sha256), ("bytes", found.bytes)]
    rows += [("published", found.published), ("failure", found.failure), ("note", found.note)]
    for part, figures in (found.metrics or {}).items():
        if isinstance(figures, dict):
            rows.append((part, ", ".join(f"{name} {value:.5g}" for name, value in figures.items())))
    Table("field", "value").print([row for row in rows if row[1]])


@models.command()
@click.argument("model")
@click.option("--label", default="stable", show_default=True, help="The label.")
@json_option
@url_option
def history(model: str, label: str, as_json: bool, url: str) -> None:
    """Print a line for every time a label of MODEL was moved, newest first: when, from, to, who, why."""
    with asking(url) as client:
        moves = list(client.label_history(model, label))
    for move in moves if as_json else ():
        print_json(move.document)
    if not as_json:
        Table("time", "from", "to", "who", "why").print(
            [(one.time, one.from_version or "-", one.to_version or "-", one.who, one.why) for one in moves]
        )


@models.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, help="The name to publish it under.")
@click.option(
    "--promote",
    type=click.Choice(["if_better", "always", "never"]),
    default="if_better",
    show_default=True,
    help="When it becomes what is served by default.",
)
@url_option
def import_model(file: Path, model: str, promote: str, url: str) -> None:
    """Publish a model FILE that was trained elsewhere as the next version of a model."""
    with asking(url) as client:
        answer = client.upload(model, file, promote=promote)
    what = "promoted" if answer.promotion.promoted else "not promoted"
    click.echo(f"{model} version {answer.version}: {what}, {answer.promotion.reason}")


@models.command("export")
@click.argument("model")
@click.argument("version")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@url_option
def export_model(model: str, version: str, file: Path, url: str) -> None:
    """Write the model file of a VERSION, a number or a label, to FILE."""
    with asking(url) as client:
        sha256 = client.download(model, version, file)
    click.echo(f"{sha256}  {file}")


@models.command()
@click.argument("model")
@click.argument("version", type=click.IntRange(1))
@url_option
def rm(model: str, version: int, url: str) -> None:
    """Delete a VERSION, a number, that no label points to."""
    with asking(url) as client:
        client.delete_version(model, version)


@models.command(short_help="Point a label at a version.")
@click.argument("model")
@click.argument("version")
@click.option("--label", default="stable", show_default=True, help="The label to move.")
@url_option
def promote(model: str, version: str, label: str, url: str) -> None:
    """Point a label of MODEL at a VERSION, a number or another label: forward, or back."""
    with asking(url) as client:
        answer = client.promote(model, version, label)
    click.echo(f"{model} {label}: version {answer.version}")


@models.command(short_help="Point a label where it pointed before.")
@click.argument("model")
@click.option("--label", default="stable", show_default=True, help="The label to move.")
@url_option
def rollback(model: str, label: str, url: str) -> None:
    """Point a label of MODEL at the version that it pointed to before; twice is back again."""
    with asking(url) as client:
        answer = client.rollback(model, label)
    click.echo(f"{model} {label}: version {answer.version}")


def _labels(labels: Any) -> str:
    return ", ".join(f"{label} {number}" for label, number in sorted(labels.items())) or "-"
