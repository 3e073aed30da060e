"""The `nnserve` command."""

import os
import socket
import sys
from pathlib import Path

import click

from service.client import Client, ClientError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nnserve")
def main() -> None:
    """Serve small neural networks over HTTP."""


class _WithSettings(click.Command):
    """A command whose help lists the settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from service.settings import described

        with formatter.section("Settings, from the environment"):
            formatter.write_dl(described())


@main.command(cls=_WithSettings)
def web() -> None:
    """Start the web service."""
    from service.settings import HOME, SettingsError, read_settings

    try:
        settings = read_settings()
    except SettingsError as error:
        sys.exit(f"nnserve: {error}")
    _refuse_if_taken(settings.host, settings.port)
    # Replaces this process, so that signals go straight to gunicorn.
    os.execv(sys.executable, [sys.executable, "-m", "gunicorn", "-c", str(HOME / "gunicorn.conf.py")])  # noqa: S606


def _refuse_if_taken(host: str, port: int) -> None:
    """Say at once that somebody else listens there; gunicorn would try for five seconds."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        hint = f"choose another port: make serve PORT={port + 1}, or NNSERVE_PORT={port + 1}"
        sys.exit(f"nnserve: cannot listen on {host}:{port} ({error.strerror}); {hint}")


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
