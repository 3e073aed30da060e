"""The model repository: which versions there are, which one a name means, and their predictors.

Versions are immutable folders, `<store>/<model>/<number>/`; labels are one small file a model. Each
worker looks at both, at most ten times a second, and swaps one reference when something has changed.
The new version is loaded before the old one is let go.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nncore.publishing import NAME, versions
from service.labels import LABELS_FILE, STABLE, labels_of
from service.loading import Loading, Served
from service.problems import Conflict, NotFound, NotServable

# A folder that changed this recently may change again within the same tick of the file system's clock.
SETTLED_NS = 100_000_000

# A look costs two calls of the kernel, 4 µs; between looks a request pays nothing.
LOOK_SECONDS = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What is known of one model at a moment. Never changed: a reload makes another one.

    `stable` is what is served without a version: the version that the label names, or while that one
    cannot be served the newest one before it that can. It is None where none can, and where no version
    has been promoted yet. `broken` says why labels.json cannot be used, where `labels` are those known
    before, or none. `stamp` is how the folder looked.
    """

    stamp: tuple[int, ...]
    settled: bool
    numbers: tuple[int, ...]
    labels: Mapping[str, int]
    stable: Served | None
    loaded: Mapping[int, Served]
    failures: Mapping[int, str]
    broken: str = ""

    @property
    def ready(self) -> bool:
        """Whether it can answer. Where nothing was promoted yet, it owes nobody an answer."""
        return self.stable is not None or not (STABLE in self.labels or self.broken)

    def complaints(self) -> dict[str, str]:
        """Return what is wrong with it: why by version, and by labels.json."""
        labels = {LABELS_FILE: self.broken} if self.broken else {}
        return labels | {str(number): why for number, why in self.failures.items()}


class Store:
    """Models by name and version, safe from many threads: readers take a reference, writers a lock."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # Told of a model's entry before and after it was looked up anew.
        self.on_change: Callable[[str, Entry | None, Entry | None], None] = lambda *_: None
        self._entries: dict[str, Entry] = {}
        self._next_look: dict[str, float] = {}
        self._lock = threading.Lock()

    def get(self, model: str, version: int | str = STABLE) -> Served:
        """Return a version that is ready to predict.

        Raises NotFound for an unknown model, version or label, NotServable where it failed its checks.
        """
        entry = self.entry(model)
        if version == STABLE and entry.stable is not None:
            return entry.stable
        served = entry.loaded.get(version) if isinstance(version, int) else None
        if served is not None:
            return served
        number = self.number(model, version)
        served = self._load(model, number)
        if served is None:
            entry = self._entries.get(model, entry)
            reason = entry.failures.get(number, "it has just gone")
            raise NotServable(f"Version {number} of {model!r} cannot be served: {reason}.")
        return served

    def number(self, model: str, version: int | str) -> int:
        """Return the number of a version that is there, from itself or a label.

        Raises NotFound, and NotServable where labels.json would have to say.
        """
        entry = self.entry(model, at_once=True)
        number = entry.labels.get(version) if isinstance(version, str) else version
        if number is None and entry.broken:
            asked = str(version)[:100]
            raise NotServable(f"It is not known which version of {model!r} is {asked}: {entry.broken}")
        if number is None and version == STABLE:
            known = ", ".join(map(str, entry.numbers[-20:]))
            raise NotFound(
                f"No version of {model!r} is {STABLE} yet. Ask for one by its number, {known}, "
                f"or promote one: PUT /models/{model}/labels/{STABLE}."
            )
        if number is None:
            known = ", ".join(entry.labels)
            raise NotFound(f"The model {model!r} has no label {str(version)[:100]!r}, only {known}.")
        if number not in entry.numbers:
            known = ", ".join(map(str, entry.numbers[-20:]))
            raise NotFound(f"The model {model!r} has no version {number}, only {known}.")
        return number

    def entry(self, model: str, *, at_once: bool = False) -> Entry:
        """Return what is known of a model; its folder is looked at every so often, or `at_once`."""
        entry = self._entries.get(model)
        if entry is not None and entry.settled:
            now = time.monotonic()
            if not at_once and now < self._next_look.get(model, 0):
                return entry
            if entry.stamp == self._stamp(model):
                self._next_look[model] = now + LOOK_SECONDS
                return entry
        if NAME.fullmatch(model):
            self._reload(model)
            entry = self._entries.get(model)
            if entry is not None:
                return entry
        known = ", ".join(self.names()) or "none yet"
        raise NotFound(f"There is no model {model[:100]!r}; the models are: {known[:500]}.")

    def reload(self, model: str) -> Entry:
        """Read a model's labelled versions from the disk anew, and return what is known of it then.

        A version in memory goes on serving where its file does not pass any more. Raises NotFound.
        """
        self.entry(model, at_once=True)
        with self._lock:
            numbers, stamp, before = self._numbers(model), self._stamp(model), self._entries.get(model)
            if before is not None and numbers:
                anew = replace(before, loaded={}, numbers=numbers)
                self._entries[model] = self._look_anew(model, anew, stamp, numbers, settled=False)
        return self.entry(model)

    def names(self) -> list[str]:
        """Return the names of all models that have a version, in order."""
        folders = self.root.iterdir() if self.root.is_dir() else []
        return sorted(
            folder.name for folder in folders if NAME.fullmatch(folder.name) and self._numbers(folder.name)
        )

    def entries(self) -> dict[str, Entry]:
        """Return what is known of every model, looked up anew."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.entry(name, at_once=True)
            except NotFound:
                # It went between the two looks.
                continue
        return found

    def _numbers(self, model: str) -> tuple[int, ...]:
        """Return the numbers of a model's versions; those known before where its folder cannot be read."""
        try:
            return tuple(versions(self.root / model))
        except OSError as error:
            logger.error("the folder of %s cannot be read: %s", model, error.strerror)
            entry = self._entries.get(model)
            return entry.numbers if entry else ()

    def _stamp(self, model: str) -> tuple[int, ...]:
        """Return what changes when a version appears or a label moves."""
        folder = f"{self.root}/{model}"
        try:
            stat = os.stat(folder)  # noqa: PTH116 (a Path costs as much as the call, on every request)
        except OSError:
            return ()
        try:
            labels = os.stat(f"{folder}/{LABELS_FILE}")  # noqa: PTH116
        except OSError:
            return stat.st_mtime_ns, stat.st_ino
        # Of the labels also that they can be read again: chmod leaves the time of the content as it is.
        return stat.st_mtime_ns, stat.st_ino, labels.st_ctime_ns, labels.st_ino, labels.st_size

    def _reload(self, model: str) -> None:
        """Look at a model's folder anew; while one thread does, the others go on with what they have."""
        if not self._lock.acquire(blocking=model not in self._entries):
            return
        try:
            stamp = self._stamp(model)
            numbers = self._numbers(model)
            before = self._entries.get(model)
            changed = max(stamp[:1] + stamp[2:3], default=0)
            settled = time.time_ns() - changed > SETTLED_NS
            if not numbers:
                self._entries.pop(model, None)
            elif before is not None and before.stamp == stamp and before.numbers == numbers:
                self._entries[model] = replace(before, settled=settled)
            else:
                self._entries[model] = self._look_anew(model, before, stamp, numbers, settled)
            now = self._entries.get(model)
            if (now and now.loaded) is not (before and before.loaded):
                self.on_change(model, before, now)
        finally:
            self._lock.release()

    def _look_anew(
        self,
        model: str,
        before: Entry | None,
        stamp: tuple[int, ...],
        numbers: tuple[int, ...],
        settled: bool,
    ) -> Entry:
        labels, broken = self._labels(model, before, numbers)
        loading = Loading(self.root / model, numbers, before.loaded if before else {})
        # What is labelled is loaded now; so is what has just appeared, so that its faults show at once.
        fresh = [n for n in numbers if before and (n not in before.numbers or n in before.failures)]
        for number in {*labels.values(), *fresh}:
            loading.get(number)
        serving = before.stable if before else None
        named = labels.get(STABLE)
        stable = None if named is None else loading.get(named) or serving
        if named is not None and stable is None:
            older = [number for number in reversed(numbers) if number < named]
            stable = next(filter(None, map(loading.get, older)), None)
        if stable is not None and stable is not serving:
            logger.info("serving version %d of %s", stable.version, model)
        loaded = loading.kept(labels, stable)
        return Entry(stamp, settled, numbers, labels, stable, loaded, loading.failures, broken)

    def _labels(
        self, model: str, before: Entry | None, numbers: tuple[int, ...]
    ) -> tuple[Mapping[str, int], str]:
        """Return what labels.json says; where it cannot be used what it said before, and why it cannot."""
        try:
            return labels_of(self.root / model, numbers), ""
        except Conflict as problem:
            logger.error(problem.detail)
            # Not the newest version: perhaps nobody has promoted that one.
            return before.labels if before else {}, problem.detail

    def _load(self, model: str, number: int) -> Served | None:
        """Load a version that no label names, asked for by its number."""
        with self._lock:
            entry = self._entries.get(model)
            if entry is None:
                return None
            if number in entry.loaded or number in entry.failures:
                return entry.loaded.get(number)
            loading = Loading(self.root / model, entry.numbers, entry.loaded)
            served = loading.get(number)
            loaded = loading.kept(entry.labels, entry.stable)
            failures = {**entry.failures, **loading.failures}
            self._entries[model] = replace(entry, loaded=loaded, failures=failures)
            self.on_change(model, entry, self._entries[model])
            return served
