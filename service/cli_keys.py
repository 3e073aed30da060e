"""`nnserve keys`: API keys, in the database itself: the first is made before the service starts."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from service.cli_calling import Failure
from service.scopes import ADMIN, SCOPES

if TYPE_CHECKING:
    from service.keys import Keys

_SECONDS = {"m": 60, "h": 3600, "d": 86400}


@click.group()
def keys() -> None:
    """Make, list and revoke the API keys of a service, in its database (NNSERVE_DATABASE_URL)."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), help="May be given several times."
)
@click.option("--admin", is_flag=True, help="The same as --scope admin, which includes the others.")
@click.option("--expires", metavar="30d", help="After so many minutes (m), hours (h) or days (d).")
def create(name: str, scopes: tuple[str, ...], admin: bool, expires: str | None) -> None:
    """Make a key, called NAME in logs and lists, and print it: it is shown only once."""
    scopes += (ADMIN,) if admin else ()
    if not scopes:
        raise click.UsageError(f"say what it may do: --scope {'|'.join(SCOPES)}, or --admin")
    seconds = None if expires is None else _duration(expires)
    with _opened() as opened:
        click.echo(opened.create(name, scopes, seconds))


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked ones too.")
def list_keys(everything: bool) -> None:
    """Print a line a key: id, name, scopes, when it was made, was used last, and ends or ended."""
    with _opened() as opened:
        for key in opened.all():
            if key.revoked is None or everything:
                end = f"expires {_when(key.expires)}" if key.expires is not None else "does not expire"
                end = f"revoked {_when(key.revoked)}" if key.revoked is not None else end
                used = f"used {_when(key.used)}" if key.used is not None else "never used"
                scopes = ",".join(key.scopes)
                click.echo(f"{key.id}\t{key.name}\t{scopes}\tmade {_when(key.created)}\t{used}\t{end}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """End a key, by its NAME or id; a running service takes it for a second or two more."""
    with _opened() as opened:
        opened.revoke(name)
    click.echo(f"revoked {name}")


def _duration(text: str) -> float:
    found = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", text)
    if found is None:
        raise click.UsageError(f"--expires must be like 30d, 12h or 90m, not {text!r}")
    return int(found[1]) * _SECONDS[found[2]]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _opened() -> Iterator["Keys"]:
    """Give the keys of the database that is set, made or brought up to date where it is not."""
    from sqlalchemy.exc import DBAPIError

    from service.database import Database, parse_url, reason
    from service.keys import Keys
    from service.problems import Problem
    from service.schema import Unusable, migrate
    from service.settings import SettingsError, read_settings

    try:
        with closing(Database(parse_url(read_settings().database_url))) as database:
            migrate(database)
            yield Keys(database)
    except (SettingsError, Unusable, Problem) as error:
        raise Failure(str(error)) from None
    except DBAPIError as error:
        raise Failure(f"the database does not answer: {reason(error)}") from None
