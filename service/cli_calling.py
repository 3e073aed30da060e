"""What commands that call a service have in common: its address, the key, and how they end.

Nothing here imports the client before it is needed: `nnserve --help` and the completion of a word are quick.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from service.cli_output import clean

if TYPE_CHECKING:
    from service.client import Client

FAILED, UNREACHABLE, INTERRUPTED = 1, 3, 130
STDIN = "-"
# The key to call with, or a file that has it. No option: everybody on a machine sees everybody's arguments.
API_KEY = "NNSERVE_API_KEY"
API_KEY_FILE = "NNSERVE_API_KEY_FILE"

url_option = click.option(
    "--url",
    envvar="NNSERVE_URL",
    default="http://127.0.0.1:8000",
    show_default=True,
    show_envvar=True,
    help="Where the service is.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print what the service answered.")


class Failure(click.ClickException):
    """An error that ends the command with one line."""

    exit_code = FAILED

    def __init__(self, text: str) -> None:
        super().__init__(clean(text))


class NoAnswer(Failure):
    """The service could not be reached, or took too long."""

    exit_code = UNREACHABLE


class Commands(click.Group):
    """A group whose commands end with 130 at Ctrl-C, as other programs do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo(err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


@contextmanager
def asking(url: str) -> Iterator["Client"]:
    """Give a client whose errors end the command with one line."""
    from service.client import Client, ClientError, Unreachable

    try:
        with Client(url, api_key=_api_key()) as client:
            yield client
    except BrokenPipeError:
        # `| head` has seen enough.
        raise
    except Unreachable as error:
        raise NoAnswer(str(error)) from None
    except (ClientError, OSError, ValueError) as error:
        raise Failure(str(error)) from None


def read_given(file: str) -> bytes:
    """Return what is in a file, or comes by standard input."""
    return sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()


def _api_key() -> str | None:
    if path := os.environ.get(API_KEY_FILE):
        return Path(path).read_text().strip()
    return os.environ.get(API_KEY)
