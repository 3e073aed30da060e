"""What became of the members of a sweep, best first."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nncore.bar import figures_text
from nncore.tasks import Changes, Figures, Outcome


@dataclass(frozen=True)
class Member:
    """One combination and what became of it; `was_lost` tells that it may end otherwise another time."""

    number: int
    changes: Changes
    outcome: Outcome
    was_lost: bool = False

    @property
    def figures(self) -> Figures:
        """What it reached, where it did not fail."""
        assert self.outcome.figures is not None
        return self.outcome.figures

    @property
    def failed(self) -> bool:
        """Whether nothing can be said of how good it is."""
        return self.outcome.figures is None

    @property
    def why(self) -> str:
        """Why it failed, in a line."""
        return ("was lost: " if self.was_lost else "") + " ".join(self.outcome.error.split())

    def told(self, score: str) -> str:
        """Return its figures, the score by its name, or why it failed."""
        if self.failed:
            return f"failed: {self.why}"
        return figures_text({"loss": self.figures.loss, score: self.figures.score})


@dataclass(frozen=True)
class Results:
    """All members of a sweep: those that ended well, best first, and those that failed, by their number.

    The better one has the higher score, `accuracy` or `r2`; of two with the same it is the one with the
    smaller loss, and then the first. All are figures on the validation data.
    """

    fields: tuple[str, ...]
    score: str
    ranked: tuple[Member, ...]
    failed: tuple[Member, ...]


def rank(fields: Sequence[str], score: str, members: Iterable[Member]) -> Results:
    """Return the results of members, in whatever order they are."""
    members = sorted(members, key=lambda member: member.number)
    return Results(
        tuple(fields),
        score,
        tuple(sorted((member for member in members if not member.failed), key=goodness, reverse=True)),
        tuple(member for member in members if member.failed),
    )


def goodness(member: Member) -> tuple[float, float, int]:
    """Return what is larger for a better member."""
    return member.figures.score, -member.figures.loss, -member.number


def short_names(fields: Sequence[str]) -> dict[str, str]:
    """Return for each field the end of its path that no other has: `units`, or `0.units` where two do."""
    return {field: _short(field, fields) for field in fields}


def _short(field: str, fields: Sequence[str]) -> str:
    parts = field.split(".")
    ends = (".".join(parts[-count:]) for count in range(1, len(parts)))
    others = [f".{other}" for other in fields if other != field]
    return next((end for end in ends if not any(other.endswith(f".{end}") for other in others)), field)
