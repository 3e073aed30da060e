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


class NoAnswer(Failure):
    """The service could not be reached, or took too long."""

    exit_code = UNREACHABLE


class Commands(click.Group):
    """A group that tells every error on one line, and ends with 130 at Ctrl-C, as other programs do."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command, and end with its exit status."""
        try:
            status = super().main(*args, **extra | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            status = error.exit_code
        except click.ClickException as error:
            click.echo(f"nnserve: {_told(error)}", err=True)
            status = error.exit_code
        except click.Abort:
            status = INTERRUPTED
        sys.exit(status)


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


def _told(error: click.ClickException) -> str:
    text = " ".join(clean(error.format_message()).split())
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return f"{text.rstrip('.')} (try '{ctx.command_path} --help')" if ctx else text


def _api_key() -> str | None:
    if path := os.environ.get(API_KEY_FILE):
        return Path(path).read_text().strip()
    return os.environ.get(API_KEY)
