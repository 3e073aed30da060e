"""What a person sees of a run while it goes: a bar, or where nobody watches a line an epoch."""

import sys
from collections.abc import Sequence

from tqdm import tqdm

from nncore.training import Callback, Epoch

# One tick is a thousandth of an epoch, so that the bar moves inside long epochs too.
TICKS = 1000


class Bar(Callback):
    """A bar with loss, accuracy and time left; where nobody watches, a line an epoch instead.

    With a name it is one of several at once: all that it says begins with it, and its end is a line.
    """

    def __init__(self, epochs: int, name: str = "") -> None:
        self.epochs, self.done = epochs, 0
        self.name = f"{name}: " if name else ""
        self.watched = sys.stderr.isatty()
        self.measured = self.moving = False
        self.bar = tqdm(
            total=epochs * TICKS,
            disable=not self.watched,
            leave=not name,
            bar_format=self.name + "{percentage:3.0f}% {bar} {elapsed} < {remaining}{postfix}",
        )

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        if self.name and self.measured and self.watched:
            tqdm.write(f"{self.name}{self.bar.postfix}", file=sys.stderr)

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        """Say from where the run goes on."""
        self.resumed(len(epochs))

    def resumed(self, done: int) -> None:
        """Say after how many epochs the run goes on."""
        self.done = done
        with self.bar.external_write_mode():
            print(f"{self.name}Resumed after epoch {done} of {self.epochs}.", flush=True)

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        """Move the bar."""
        if not self.watched:
            return
        if not self.moving:
            # Neither loading the data nor a run before this one says anything of the time left.
            self.moving = True
            self.bar.initial = self.bar.n = self._ticks(batch - 1, batches)
            self.bar.unpause()
        if not self.measured:
            self.bar.set_postfix_str(f"epoch {self.done + 1}/{self.epochs}, loss {loss:.4f}", refresh=False)
        self.bar.update(self._ticks(batch, batches) - self.bar.n)

    def on_epoch(self, epoch: Epoch) -> None:
        """Show the epoch's figures."""
        self.measured = True
        self.done = epoch.number
        text = f"epoch {epoch.number}/{self.epochs}, loss {epoch.loss:.4f}"
        score = figures_text({name: value for name, value in epoch.validation.items() if name != "loss"})
        if self.watched:
            # Not of every batch is a bar told whose run is another process.
            self.bar.update(TICKS * self.done - self.bar.n)
            # No more than leaves room for the bar in a terminal of 80 columns.
            self.bar.set_postfix_str(f"{text}, {score}")
        else:
            loss = epoch.validation["loss"]
            print(f"{self.name}{text}, validation loss {loss:.4f}, {score}", file=sys.stderr, flush=True)

    def _ticks(self, batch: int, batches: int) -> int:
        return TICKS * self.done + TICKS * batch // batches


def figures_text(figures: dict[str, float]) -> str:
    """Return figures as a person reads them: `loss 0.0123, accuracy 98.70%`."""
    return ", ".join(f"{name} {figure_text(name, value)}" for name, value in figures.items())


def figure_text(name: str, value: float) -> str:
    """Return one of them alone: `98.70%`."""
    return f"{value:.2%}" if name == "accuracy" else f"{value:.5g}"
