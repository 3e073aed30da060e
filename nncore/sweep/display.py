"""What a person sees of a sweep while it goes: one bar for all, or where nobody watches a line a member."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from tqdm import tqdm

from nncore.bar import TICKS, figure_text
from nncore.progress import Epoch
from nncore.sweep.grid import setting_text, settings_text
from nncore.sweep.ranking import Member, goodness, short_names


class Display:
    """One bar with how many members are done and have failed, the time left, and the best one so far.

    `epochs` are those of each member that is to be trained, by its number; `ended` are there already.
    """

    def __init__(self, epochs: Mapping[int, int], ended: Iterable[Member], score: str) -> None:
        self.epochs, self.score = epochs, score
        self.members = list(ended)
        self.total = len(self.members) + len(epochs)
        self.watched = sys.stderr.isatty()
        self.bar = tqdm(
            total=TICKS * len(epochs),
            disable=not self.watched,
            # Members end in leaps: the mean of all says more of the time left than the last moments do.
            smoothing=0,
            bar_format="{percentage:3.0f}% {bar:12} {elapsed} < {remaining}{postfix}",
        )
        self.bar.set_postfix_str(self._summary())

    def __enter__(self) -> "Display":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    @contextmanager
    def follow(self, number: int) -> Iterator["Steps"]:
        """Give what follows a member while it is trained."""
        steps = Steps(self, f"member {number}", self.epochs[number])
        yield steps
        # However it ended, it takes no more time.
        steps.move(TICKS)

    def ended(self, member: Member) -> None:
        """Take note of what became of a member."""
        self.members.append(member)
        self.bar.set_postfix_str(self._summary())
        if not self.watched:
            place = f"member {member.number} of {self.total}"
            self.say(f"{place}: {settings_text(member.changes)}: {member.told(self.score)}")

    def say(self, text: str) -> None:
        """Write a line."""
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def _summary(self) -> str:
        done = [member for member in self.members if not member.failed]
        failed = len(self.members) - len(done)
        text = f"{len(self.members)} of {self.total} members" + (f", {failed} failed" if failed else "")
        if not done:
            return text
        best = max(done, key=goodness)
        names = short_names(tuple(best.changes))
        settings = ", ".join(f"{names[field]} {setting_text(value)}" for field, value in best.changes.items())
        return f"{text}, best {figure_text(self.score, best.figures.score)}: {settings}"


class Steps:
    """Follows one member, and moves the bar of all."""

    def __init__(self, display: Display, name: str, epochs: int) -> None:
        self.display, self.name, self.epochs = display, name, epochs
        self.done = self.ticks = 0

    def resumed(self, done: int) -> None:
        """Say after how many epochs it goes on, which tells nothing of the time that one takes."""
        self.done = done
        self.move(TICKS * done // self.epochs)
        if self.display.watched:
            self.display.bar.initial += self.ticks
        else:
            self.display.say(f"{self.name}: resumed after epoch {done} of {self.epochs}")

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """Move the bar."""
        self.move(TICKS * (self.done * batches + batch) // (self.epochs * batches))

    def on_epoch(self, epoch: Epoch) -> None:
        """Move the bar."""
        self.done = epoch.number
        self.move(TICKS * self.done // self.epochs)

    def move(self, ticks: int) -> None:
        """Have the bar say that so much of a member is done."""
        self.display.bar.update(ticks - self.ticks)
        self.ticks = ticks
