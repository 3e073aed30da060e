"""API keys as the database has them: made, listed, revoked. `nnserve keys` works on it without a service."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update

from service.database import Database, clock
from service.problems import Conflict, NotFound
from service.schema import API_KEYS
from service.scopes import ADMIN, SCOPES

# Whatever is called so is told from an address, which has dots or colons, and from "job …".
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
NAME_MEANING = "1 to 64 letters, digits, - and _, and begin with a letter or a digit"
# The one that stands in a setting, and in no table.
FROM_SETTING = "admin"
# So that a key that was committed or posted somewhere is recognized for what it is.
MARK = "nns_"


@dataclass(frozen=True)
class Key:
    """A key without its secret. Times are seconds since 1970; `scopes` are those it has been given."""

    id: str
    name: str
    sha256: str
    scopes: tuple[str, ...]
    created: float
    expires: float | None = None
    revoked: float | None = None
    used: float | None = None

    def may(self, scope: str) -> bool:
        """Tell whether it has a scope; admin includes all."""
        return scope in self.scopes or ADMIN in self.scopes


def hashed(key: str) -> str:
    """Return what is kept of a key.

    A slow hash with a salt is for passwords, which can be guessed. These are 256 random bits: nobody finds
    one by trying, whatever a try costs, and SHA-256 is quick enough to be taken at every request.
    """
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The keys in a database, whose tables are there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def create(self, name: str, scopes: tuple[str, ...], seconds: float | None = None) -> str:
        """Make a key, which lasts so long, and return it: it is not to be had again. Raises Conflict."""
        if not NAME.fullmatch(name) or name == FROM_SETTING:
            raise Conflict(
                f"A key's name must be {NAME_MEANING}, and not {FROM_SETTING!r}: not {name[:80]!r}."
            )
        key = MARK + secrets.token_urlsafe(32)
        row = {
            "id": secrets.token_hex(4),
            "name": name,
            "sha256": hashed(key),
            "scopes": ",".join(scope for scope in SCOPES if scope in scopes),
            "created": clock(),
            "expires": None if seconds is None else clock() + seconds,
        }
        with self.database.writing(turn="keys") as connection:
            if connection.scalar(select(API_KEYS.c.id).where(API_KEYS.c.name == name, _live())):
                raise Conflict(f"There is a key {name!r} already: revoke it, or choose another name.")
            connection.execute(API_KEYS.insert().values(row))
        return key

    def all(self) -> list[Key]:
        """Return every key, the oldest first, revoked ones too."""
        with self.database.reading() as connection:
            rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.created, API_KEYS.c.id)).all()
        return [_key(row) for row in rows]

    def revoke(self, name: str) -> None:
        """End a key, by its name or id; raises NotFound where none of that name still works."""
        called = (API_KEYS.c.name == name) | (API_KEYS.c.id == name)
        with self.database.writing(turn="keys") as connection:
            done = connection.execute(update(API_KEYS).where(called, _live()).values(revoked=clock()))
        if done.rowcount == 0:
            known = ", ".join(key.name for key in self.all() if key.revoked is None)
            raise NotFound(f"There is no key {name[:80]!r} to revoke, only: {known or 'none'}.")

    def note_use(self, times: dict[str, float], every: float) -> None:
        """Write down when keys were used last, by id; each at most once in so many seconds, whoever does."""
        with self.database.writing() as connection:
            for key_id, used in times.items():
                due = API_KEYS.c.used.is_(None) | (API_KEYS.c.used < used - every)
                connection.execute(update(API_KEYS).where(API_KEYS.c.id == key_id, due).values(used=used))


def _live() -> ColumnElement[bool]:
    return API_KEYS.c.revoked.is_(None) & (API_KEYS.c.expires.is_(None) | (API_KEYS.c.expires > clock()))


def _key(row: Any) -> Key:
    return Key(**dict(row._mapping) | {"scopes": tuple(row.scopes.split(","))})
