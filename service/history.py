"""The history of labels: a row in the database for every time one was moved, whoever moved it."""

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Row, Select, select

from nncore.publishing import read_facts
from service.database import clock
from service.schema import LABEL_MOVES
from service.seeding import SHIPPED

# Who is written down where labels.json was replaced by hand.
OUTSIDE = "outside of the API"


@dataclass(frozen=True)
class Move:
    """A label was moved from one version to another; None is none at all."""

    number: int
    from_version: int | None
    to_version: int | None
    who: str
    why: str
    time: float


def last(connection: Connection, model: str, label: str) -> Move | None:
    """Return the last move of a label that was written down."""
    row = connection.execute(_moves(model, label).limit(1)).first()
    return _move(row) if row is not None else None


def where(connection: Connection, model: str, label: str) -> int | None:
    """Return the version that a label points to, as far as it was written down."""
    move = last(connection, model, label)
    return move.to_version if move else None


def page(connection: Connection, model: str, label: str, before: int | None, limit: int) -> list[Move]:
    """Return moves, newest first, of those with a lower number than `before`."""
    query = _moves(model, label).limit(limit)
    if before is not None:
        query = query.where(LABEL_MOVES.c.number < before)
    return [_move(row) for row in connection.execute(query)]


def record(connection: Connection, model: str, label: str, to: int | None, *, who: str, why: str) -> None:
    """Write down that a label was moved; one that is there already was not."""
    from_version = where(connection, model, label)
    if from_version != to:
        connection.execute(
            LABEL_MOVES.insert().values(
                model=model,
                label=label,
                from_version=from_version,
                to_version=to,
                who=who,
                why=why,
                time=clock(),
            )
        )


def catch_up(connection: Connection, model: Path, label: str, now: int | None) -> None:
    """Write down what became of a label behind the database's back: by hand, or at a start."""
    before = where(connection, model.name, label)
    brought_in = is_shipped(model, now) and (
        before is None or (is_shipped(model, before) and before < (now or 0))
    )
    who, why = (SHIPPED, "brought in at the start") if brought_in else (OUTSIDE, "found in labels.json")
    record(connection, model.name, label, now, who=who, why=why)


def is_shipped(model: Path, number: int | None) -> bool:
    """Tell whether a version came with nnserve."""
    return number is not None and read_facts(model / str(number)).get("origin") == SHIPPED


def _moves(model: str, label: str) -> Select[tuple[Move]]:
    mine = LABEL_MOVES.c.model == model, LABEL_MOVES.c.label == label
    return select(LABEL_MOVES).where(*mine).order_by(LABEL_MOVES.c.number.desc())


def _move(row: Row[tuple[Move]]) -> Move:
    return Move(row.number, row.from_version, row.to_version, row.who, row.why, row.time)
