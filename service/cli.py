"""The `nnserve` command."""

import runpy
import sys
from typing import TYPE_CHECKING

import click

from service.cli_calling import Commands, Failure
from service.cli_check import check
from service.cli_completion import completion
from service.cli_datasets import datasets
from service.cli_jobs import jobs
from service.cli_keys import keys
from service.cli_models import models, promote, rollback
from service.cli_predict import predict
from service.cli_train import train
from service.port import taken

if TYPE_CHECKING:
    from service.settings import Settings


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nnserve")
def main() -> None:
    """Serve small neural networks over HTTP."""


for command in (predict, train, jobs, models, promote, rollback, datasets, keys, check, completion):
    main.add_command(command)


class _WithSettings(click.Command):
    """A command whose help lists the settings."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from service.settings import described

        with formatter.section("Settings, from the environment"):
            formatter.write_dl(described())


@main.command(cls=_WithSettings)
def up() -> None:
    """Start the web service and a trainer, and start again what dies."""
    settings = _settings()
    _refuse_if_taken(settings.host, settings.port)
    _supervise(settings, web=True)


@main.command(cls=_WithSettings)
def web() -> None:
    """Start the web service alone."""
    settings = _settings()
    _refuse_if_taken(settings.host, settings.port)
    # In this process, which has read the settings and imported half of what it takes: 0.3 s less.
    sys.argv = _gunicorn()[2:]
    runpy.run_module("gunicorn", run_name="__main__", alter_sys=True)


@main.command(cls=_WithSettings)
def trainer() -> None:
    """Start a trainer alone: any number of them may share a database and the models."""
    _supervise(_settings(), web=False)


@main.command()
@click.argument("part", type=click.Choice(["web", "trainer"]))
def health(part: str) -> None:
    """Tell by the exit status whether the web service, or a trainer on this machine, is well."""
    from service.client import Client, ClientError

    settings = _settings()
    if part == "web":
        try:
            with Client(_here(settings)) as client:
                client.ready()
        except ClientError as error:
            raise Failure(str(error)) from None
    elif not _trainer_beats(settings):
        raise Failure("no trainer on this machine shows life in the database")


def _here(settings: "Settings") -> str:
    """Return the address at which the web service is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _trainer_beats(settings: "Settings") -> bool:
    from service.alive import trainer_beats
    from service.database import parse_url

    return trainer_beats(parse_url(settings.database_url))


def _settings() -> "Settings":
    from service.settings import SettingsError, read_settings

    try:
        return read_settings()
    except SettingsError as error:
        raise Failure(str(error)) from None


def _supervise(settings: "Settings", *, web: bool) -> None:
    from service.observe import configure_logging
    from service.supervisor import Part, Supervisor

    configure_logging(settings)
    parts = [Part("the web service", _gunicorn(), vital=True)] if web else []
    command = [sys.executable, "-m", "service.jobs.trainer"]
    trainers = settings.trainers if web else 1
    parts += [Part(f"trainer {number}", command) for number in range(1, trainers + 1)]
    # Longer than what is stopped may take to stop by itself.
    sys.exit(Supervisor(parts, settings.graceful_timeout + 5).run())


def _gunicorn() -> list[str]:
    from service.settings import HOME

    return [sys.executable, "-m", "gunicorn", "-c", str(HOME / "gunicorn.conf.py")]


def _refuse_if_taken(host: str, port: int) -> None:
    """Say at once that somebody else listens there; gunicorn would try for five seconds."""
    if why := taken(host, port):
        hint = f"choose another port: make serve PORT={port + 1}, or NNSERVE_PORT={port + 1}"
        raise Failure(f"cannot listen on {host}:{port} ({why}); {hint}")
