"""The `nnserve` command."""

import os
import sys
from pathlib import Path

import click

from service.client import Client, ClientError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nnserve")
def main() -> None:
    """Serve small neural networks over HTTP."""


@main.command()
def web() -> None:
    """Start the web service; NNSERVE_* variables set it up (docs/settings.md)."""
    from service.settings import HOME

    # Replaces this process, so that signals go straight to gunicorn.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(HOME / "gunicorn.conf.py")])  # noqa: S606


@main.command()
@click.argument("model")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--url", envvar="NNSERVE_URL", default="http://127.0.0.1:8000", show_default=True)
@click.option("--version", "version_", help="A version's number or a label; without it, stable.")
def predict(model: str, files: tuple[Path, ...], url: str, version_: str | None) -> None:
    """Ask MODEL about picture FILES, and print one line a picture."""
    try:
        with Client(url) as client:
            answer = client.predict(model, pictures=files, version=version_)
    except ClientError as error:
        raise click.ClickException(str(error)) from None
    for file, prediction in zip(files, answer.predictions, strict=True):
        shown = f"{prediction.value}"
        if prediction.label is not None and prediction.confidence is not None:
            shown = f"{prediction.label}\t{prediction.confidence:.4f}"
        click.echo(f"{file}\t{shown}")
