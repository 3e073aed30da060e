"""Labels and who moved them: a new version becomes stable where it earns it, or is told to be.

`labels.json` is what is served; the database keeps the history, and gives whoever compares and moves a turn,
so that nothing has moved in between.
"""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy import Connection

from nncore.publishing import NAME as MODEL_NAME
from nncore.publishing import versions
from service import history
from service.database import Database
from service.gate import Candidate, Decision, load
from service.history import Move
from service.labels import MOST_LABELS, NAME, NAME_MEANING, STABLE, labels_of, pin, write_labels
from service.problems import Conflict, FieldError, Invalid, NotFound

__all__ = ["Decision", "Promotions"]

Also = Callable[[Connection, Decision], None]


class Promotions:
    """The labels of the models in a store; safe from many threads, processes and machines."""

    def __init__(self, database: Database, root: Path) -> None:
        self.database, self.root = database, root
        # A dataset takes 55 MB while it is measured on: one at a time.
        self._measuring = threading.Lock()

    def settle(self, model: str, number: int, rule: str, *, who: str, also: Also | None = None) -> Decision:
        """Decide by a rule of `service.gate` whether a version becomes stable, and have it so.

        `also` writes into the decision's own transaction; what it raises undoes all of it. Called again
        after a kill, it decides as before. Raises NotFound where the version has gone, Conflict where
        labels.json cannot be used.
        """
        folder = self.root / model
        with self._measuring:
            candidate = Candidate(folder, number)
            while True:
                with self._turn(model) as connection:
                    before = _to_beat(connection, folder, number)
                decision = candidate.judge(rule, before)
                with self._turn(model) as connection:
                    if _to_beat(connection, folder, number) != before:
                        # Another version has become the one to beat.
                        continue
                    if also is not None:
                        also(connection, decision)
                    if decision.promoted:
                        _point(connection, folder, STABLE, number, who, decision.reason)
                    return decision

    def settle_again(self, model: str, number: int, rule: str, *, who: str) -> Decision:
        """Settle a version that was there before: where it is stable already, nothing is left to decide."""
        if self._caught_up(model, STABLE) == number:
            return Decision(False, "it is the stable version already", stable_version=number)
        return self.settle(model, number, rule, who=who)

    def move(self, model: str, label: str, number: int, *, who: str, why: str) -> None:
        """Point a label at a version that loads and replays its known answers.

        Raises Invalid for a name that no label can have, NotFound, and Conflict where it does not load.
        """
        if not NAME.fullmatch(label):
            raise Invalid([FieldError("#", f"the label must be {NAME_MEANING}, not {label[:100]!r}")])
        folder = self.root / model
        load(folder, number)
        self._caught_up(model, label)
        with self._turn(model) as connection:
            now = labels_of(folder, versions(folder)).get(label)
            history.catch_up(connection, folder, label, now)
            _point(connection, folder, label, number, who, why)

    def drop(self, model: str, label: str, *, who: str) -> None:
        """Take a label away; raises NotFound, and Conflict for `stable`, which can only be moved."""
        if label == STABLE:
            raise Conflict(f"{STABLE} is what is served by default: it can be moved, and not taken away.")
        _check_name(model, label)
        self._caught_up(model, label)
        with self._turn(model) as connection:
            labels = labels_of(self.root / model, versions(self.root / model))
            if label not in labels:
                raise _unknown(model, label, labels)
            history.record(connection, model, label, None, who=who, why="taken away")
            write_labels(self.root / model, {name: at for name, at in labels.items() if name != label})

    def history(
        self, model: str, label: str, *, before: int | None = None, limit: int = 100
    ) -> tuple[int | None, list[Move]]:
        """Return where a label points now, and its moves, newest first, numbered below `before`.

        Raises NotFound for a label that never was.
        """
        _check_name(model, label)
        now = self._caught_up(model, label)
        with self.database.reading() as connection:
            moves = history.page(connection, model, label, before, limit)
            if now is None and history.last(connection, model, label) is None:
                raise _unknown(model, label, labels_of(self.root / model, versions(self.root / model)))
        return now, moves

    def _turn(self, model: str) -> AbstractContextManager[Connection]:
        return self.database.writing(turn=f"labels:{model}")

    def _caught_up(self, model: str, label: str) -> int | None:
        """Have the history say what labels.json says, and return where the label points."""
        folder = self.root / model
        numbers = versions(folder) if MODEL_NAME.fullmatch(model) else []
        if not numbers:
            raise NotFound(f"There is no model {model[:100]!r}.")
        now = labels_of(folder, numbers).get(label)
        with self.database.reading() as connection:
            if history.where(connection, model, label) == now:
                return now
        # For good before anything moves: a kill between the file and the commit must not take it along.
        with self._turn(model) as connection:
            now = labels_of(folder, versions(folder)).get(label)
            history.catch_up(connection, folder, label, now)
        return now


def _to_beat(connection: Connection, folder: Path, number: int) -> int | None:
    """Return the version that is stable, or that was before `number` became it."""
    now = labels_of(folder, versions(folder)).get(STABLE)
    if now != number or history.is_shipped(folder, number):
        history.catch_up(connection, folder, STABLE, now)
    if now != number:
        return now
    # Whoever promoted it was killed between the file and the commit; or it was promoted by hand meanwhile.
    last = history.last(connection, folder.name, STABLE)
    return (last.from_version if last.to_version == number else last.to_version) if last else None


def _check_name(model: str, label: str) -> None:
    """Raise NotFound for a name that was never given to a label; a database may not even take it."""
    if not NAME.fullmatch(label):
        raise NotFound(f"The model {model[:100]!r} has no label {label[:100]!r}; a label is {NAME_MEANING}.")


def _point(connection: Connection, folder: Path, label: str, number: int, who: str, why: str) -> None:
    numbers = versions(folder)
    if number not in numbers:
        raise NotFound(f"Version {number} of {folder.name!r} has just gone.")
    pin(folder)
    labels = labels_of(folder, numbers)
    if label not in labels and label != STABLE and len(labels) >= MOST_LABELS:
        raise Conflict(
            f"{folder.name!r} has {len(labels)} labels, and may have {MOST_LABELS}: take one away."
        )
    history.record(connection, folder.name, label, number, who=who, why=why)
    if labels.get(label) != number:
        write_labels(folder, labels | {label: number})


def _unknown(model: str, label: str, labels: Mapping[str, int]) -> NotFound:
    known = ", ".join(labels) or "none yet"
    return NotFound(f"The model {model!r} has no label {label[:100]!r}; it has: {known[:500]}.")
