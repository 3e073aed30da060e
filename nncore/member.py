"""One of several trainings side by side, `python -m nncore.member`: what nncore.crew starts a process for.

What it learns goes into its files, what it has to say to standard output, as a JSON object a line.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nncore.allocation import keep_freed_memory
from nncore.artifact import describe, to_bytes
from nncore.checkpoints import Checkpoints
from nncore.config import from_json
from nncore.errors import InputError, NNCoreError, TrainingError
from nncore.evaluation import figures_of
from nncore.files import replace_file
from nncore.losses import LOSSES
from nncore.predictor import load
from nncore.progress import Callback, Epoch
from nncore.recipe import StartFrom, Trained, count_parameters, run
from nncore.tasks import Figures, Outcome, Plan, Task, model_file, outcome_file, read_plan, write_outcome

# Seconds between two batches that are told of.
PAUSE = 0.1


def main(arguments: Sequence[str]) -> int:
    """Train the member that the task, a JSON object, names; return the exit code."""
    # Ctrl-C in a terminal reaches all processes; what becomes of this one the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_freed_memory()
    try:
        _train(from_json(Task, json.loads(arguments[0])))
    except (NNCoreError, OSError) as error:
        _tell(error=str(error))
        return 1
    return 0


def _train(task: Task) -> None:
    plan, folder = read_plan(Path(task.plan)), Path(task.folder)
    recipe = plan.recipe_of(task.number)
    start = _start(Path(task.start_from), plan) if task.start_from else None
    checkpoints = Checkpoints(folder / str(task.number))
    teller = _Teller(task.parent)
    began = time.monotonic()
    try:
        # Of the test set nothing is looked at but by what has been chosen.
        trained = run(recipe, [teller], measure_test=False, checkpoints=checkpoints, start_from=start)
    except TrainingError as error:
        if plan.keeps == "figures":
            write_outcome(outcome_file(folder, task.number), Outcome(error=str(error)))
            checkpoints.clear()
        raise
    if trained.dataset.sha256 != plan.dataset:
        raise InputError(f"the dataset {trained.dataset.name!r} is no longer the one that this began with")
    if plan.keeps == "model":
        replace_file(model_file(folder, task.number), to_bytes(describe(trained)))
    else:
        figures = _figures(trained, time.monotonic() - began)
        write_outcome(outcome_file(folder, task.number), Outcome(figures))
    checkpoints.clear()


def _start(path: Path, plan: Plan) -> StartFrom:
    start = StartFrom(load(path).network, hashlib.sha256(path.read_bytes()).hexdigest())
    if start.sha256 != plan.start_from:
        raise InputError(f"{path}: is another file than the other members started from")
    return start


def _figures(trained: Trained, seconds: float) -> Figures:
    recipe, history = trained.recipe, trained.history
    loss, score = (trained.metrics["validation"][name] for name in figures_of(LOSSES[recipe.loss]))
    return Figures(
        loss=loss,
        score=score,
        epochs=len(history.epochs),
        kept_epoch=history.kept_epoch,
        parameters=count_parameters(recipe, trained.dataset),
        seconds=round(seconds, 2),
    )


class _Teller(Callback):
    """Tells the parent how it goes, and leaves once that is gone."""

    def __init__(self, parent: int) -> None:
        self.parent, self.due = parent, 0.0

    def on_resume(self, epochs: Sequence[Epoch]) -> None:
        _tell(resumed=len(epochs))

    def on_batch(self, batch: int, batches: int, loss: float) -> None:
        if os.getppid() != self.parent:
            sys.exit(1)
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + PAUSE
            _tell(batch=[batch, batches, loss])

    def on_epoch(self, epoch: Epoch) -> None:
        _tell(epoch=asdict(epoch))


def _tell(**event: Any) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
