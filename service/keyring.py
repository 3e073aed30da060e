"""The keys as a worker process knows them: in memory, looked at anew once a second, never in a request."""

import fcntl
import hashlib
import hmac
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import orjson
from sqlalchemy.exc import SQLAlchemyError

from service.database import Database, reason
from service.keys import FROM_SETTING, Key, Keys, hashed
from service.scopes import ADMIN

# How long a revoked key may still work.
LOOK_SECONDS = 1.0
USE_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Known:
    """What is known at a moment: keys and their hashes by the first bytes of these."""

    by_start: dict[bytes, tuple[bytes, Key]] = field(default_factory=dict)
    configured: bool = False


class Keyring:
    """Finds keys. What was last known is shared by all workers, for one that starts without a database."""

    def __init__(self, database: Database, admin_key: str = "") -> None:
        """Read the keys, before the fork; raises SQLAlchemyError."""
        self._keys = Keys(database)
        admin = Key(FROM_SETTING, FROM_SETTING, hashed(admin_key), (ADMIN,), 0.0)
        self._from_setting = [admin] if admin_key else []
        self._used: dict[str, float] = {}
        self._written: dict[str, float] = {}
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._memory = _Memory()
        self._rows: list[Key] | None = None
        self._known = _Known()
        self._look()
        database.close()

    @property
    def configured(self) -> bool:
        """Whether there ever was a key: revoking the last one must not open the service to all."""
        return self._known.configured

    def find(self, sent: str) -> Key | None:
        """Return the key that was sent, where it is one and still works."""
        digest = hashlib.sha256(sent.encode()).digest()
        expected, key = self._known.by_start.get(digest[:8], _NONE)
        if key is None or not hmac.compare_digest(expected, digest):
            return None
        now = time.time()
        if key.expires is not None and key.expires <= now:
            return None
        self._used[key.id] = now
        return key

    def watch(self) -> None:
        """Begin to look, in this process: what is known from before the fork may be old."""
        if self._watcher is not None:
            return
        with self._lock:
            if self._watcher is None:
                try:
                    self._look()
                except SQLAlchemyError:
                    self._recall()
                self._watcher = threading.Thread(target=self._watch, name="keys", daemon=True)
                self._watcher.start()

    def _watch(self) -> None:
        well = True
        while True:
            time.sleep(LOOK_SECONDS)
            try:
                self._look()
                self._note_uses()
                well = True
            except Exception as error:
                # Whatever it is, a key that is revoked later must still be seen.
                if well:
                    logger.error("keys stay as they were, until the database answers: %s", reason(error))
                well = False

    def _look(self) -> None:
        rows = self._keys.all()
        if rows != self._rows:
            self._take(rows)
            self._memory.write(orjson.dumps([asdict(key) for key in rows]))

    def _recall(self) -> None:
        rows = orjson.loads(self._memory.read())
        self._take([Key(**row | {"scopes": tuple(row["scopes"])}) for row in rows])

    def _take(self, rows: list[Key]) -> None:
        self._rows = rows
        live = self._from_setting + [key for key in rows if key.revoked is None]
        digests = [(bytes.fromhex(key.sha256), key) for key in live]
        by_start = {digest[:8]: (digest, key) for digest, key in digests}
        self._known = _Known(by_start, configured=bool(self._from_setting or rows))

    def _note_uses(self) -> None:
        now = time.time()
        due = {key_id: used for key_id, used in self._used.copy().items() if self._is_due(key_id, used, now)}
        if due:
            self._keys.note_use(due, USE_SECONDS)
            self._written |= dict.fromkeys(due, now)

    def _is_due(self, key_id: str, used: float, now: float) -> bool:
        written = self._written.get(key_id, 0.0)
        return key_id != FROM_SETTING and used > written and now - written > USE_SECONDS


_NONE: tuple[bytes, None] = b"", None


class _Memory:
    """A few bytes that processes of one parent share, in a file without a name."""

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108 (a descriptor and its file, all of the operating system)

    def write(self, data: bytes) -> None:
        with self._locked():
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, data, 0)

    def read(self) -> bytes:
        with self._locked():
            return os.pread(self._file, os.fstat(self._file).st_size, 0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # The kernel lets go of the lock when a process dies.
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)
