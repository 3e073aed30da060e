"""Counters that all workers share, for rate limits: a table in memory that is made before they fork.

What `limits` brings along either counts in each process by itself, or needs a server.
"""

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from limits.storage import Storage

SCHEME = "nnserve"
# A key's hash, its count, and when it begins anew.
_SLOT = struct.Struct("16sqd")
_SLOTS = 1 << 16
# A key stands in one of so many slots in a row. Where others have all of them, the one that ends first goes.
_PROBES = 8
_NOBODY = b"\0" * 16


class Counters(Storage):
    """Counts by key, each until its time is over."""

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 (so it is declared there)

    def __init__(
        self, uri: str | None = None, wrap_exceptions: bool = False, **_: float | str | bool
    ) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._table = mmap.mmap(-1, _SLOT.size * _SLOTS)
        self._thread_lock = threading.Lock()
        self._file, path = tempfile.mkstemp()
        os.unlink(path)  # noqa: PTH108 (a descriptor and its file, all of the operating system)

    @property
    def base_exceptions(self) -> type[Exception]:
        """What may go wrong."""
        return OSError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, in a time that begins with the first of a key; return the count."""
        with self._locked():
            place, name, count, ends = self._find(key)
            if not count:
                ends = time.time() + expiry
            _SLOT.pack_into(self._table, place, name, count + amount, ends)
            return count + amount

    def get(self, key: str) -> int:
        """Return a count, 0 where its time is over."""
        with self._locked():
            return self._find(key)[2]

    def get_expiry(self, key: str) -> float:
        """Return when a key begins anew, in seconds since 1970."""
        with self._locked():
            return self._find(key)[3]

    def check(self) -> bool:
        """Tell that it works."""
        return True

    def reset(self) -> int | None:
        """Forget all counts."""
        with self._locked():
            self._table[:] = bytes(len(self._table))
        return None

    def clear(self, key: str) -> None:
        """Forget one count."""
        with self._locked():
            _SLOT.pack_into(self._table, self._find(key)[0], _NOBODY, 0, 0.0)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._thread_lock:
            # The kernel lets go of it when a process dies.
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _find(self, key: str) -> tuple[int, bytes, int, float]:
        """Return a key's slot, its hash, its count and when that ends; for a new key a slot to be had."""
        name = hashlib.blake2b(key.encode(), digest_size=16).digest()
        first, now = int.from_bytes(name[:4]), time.time()
        best, soonest = 0, float("inf")
        for probe in range(_PROBES):
            place = (first + probe) % _SLOTS * _SLOT.size
            there, count, ends = _SLOT.unpack_from(self._table, place)
            if there == name and ends > now:
                return place, name, count, ends
            ends = ends if ends > now and there != name else 0.0
            if ends < soonest:
                best, soonest = place, ends
        return best, name, 0, now
