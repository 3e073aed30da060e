"""`nnserve models`: what a running service has, and how models come in, go out and are promoted."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from service.client import API_KEY, Client, ClientError

url_option = click.option("--url", envvar="NNSERVE_URL", default="http://127.0.0.1:8000", show_default=True)


@click.group()
def models() -> None:
    """List, import, export and promote the models of a running service."""


@models.command("list")
@url_option
def list_models(url: str) -> None:
    """Print a line a model: its name, what each label points to, and its versions."""
    with asking(url) as client:
        for model in client.models():
            labels = ", ".join(f"{label} {number}" for label, number in sorted(model["labels"].items()))
            click.echo(f"{model['model']}\t{labels or '-'}\t{', '.join(map(str, model['versions']))}")


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
    promotion = answer["promotion"]
    what = "promoted" if promotion["promoted"] else "not promoted"
    click.echo(f"{model} version {answer['version']}: {what}, {promotion['reason']}")


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
@click.argument("version")
@click.option("--label", default="stable", show_default=True, help="The label to move.")
@url_option
def promote(model: str, version: str, label: str, url: str) -> None:
    """Point a label at a VERSION, a number or another label: forward, or back."""
    with asking(url) as client:
        answer = client.promote(model, version, label)
    click.echo(f"{model} {label}: version {answer['version']}")


@contextmanager
def asking(url: str) -> Iterator[Client]:
    """Give a client whose errors end the command with their message."""
    try:
        with Client(url, api_key=os.environ.get(API_KEY)) as client:
            yield client
    except (ClientError, OSError) as error:
        raise click.ClickException(str(error)) from None
