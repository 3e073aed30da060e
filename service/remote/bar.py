"""What a person sees of a job: a bar, or where nobody watches a line an epoch."""

import sys
from collections.abc import Mapping
from typing import Any

from service.remote.results import Event


class Bar:
    """A bar with epoch, loss and time left, on standard error."""

    def __init__(self, epochs: int, done: int) -> None:
        from tqdm import tqdm

        self.epochs, self.done = epochs, done
        self.watched = sys.stderr.isatty()
        self.bar = tqdm(
            total=epochs,
            initial=done,
            disable=not self.watched,
            bar_format="{percentage:3.0f}% {bar} {elapsed} < {remaining}{postfix}",
        )

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def show(self, event: Event) -> None:
        """Show an event."""
        if event.kind == "epoch":
            self._epoch(event.data)
        elif event.data["state"] in ("queued", "running"):
            self._tell(event.data["state"])

    def _epoch(self, data: Mapping[str, Any]) -> None:
        text = f"epoch {data['epoch']}/{self.epochs}, loss {data['loss']:.4f}{_figures(data)}"
        if self.watched:
            # An epoch that is trained again after a kill takes it back.
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(data["epoch"] - self.bar.n)
        self.done = data["epoch"]
        if not self.watched:
            self._tell(text)

    def _tell(self, text: str) -> None:
        if self.watched:
            self.bar.set_postfix_str(text)
        else:
            print(text, file=sys.stderr, flush=True)


def _figures(data: Mapping[str, Any]) -> str:
    """Return the figures on the validation data, but the loss: `, accuracy 98.70%`."""
    figures = data.get("validation") or {}
    shown = ((name, value) for name, value in figures.items() if name != "loss" and value is not None)
    return "".join(
        f", {name} {value:.2%}" if name == "accuracy" else f", {name} {value:.4f}" for name, value in shown
    )
