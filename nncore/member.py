"""One member of an ensemble in a process of its own, `python -m nncore.member`: what nncore.members starts.

What it learns goes into its files, what it has to say to standard output, as a JSON object a line.
"""

import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nncore.allocation import keep_freed_memory
from nncore.artifact import describe, to_bytes
from nncore.checkpoints import Checkpoints
from nncore.config import from_json, number
from nncore.ensemble import FEWEST, MOST
from nncore.errors import InputError, NNCoreError
from nncore.files import replace_file
from nncore.predictor import load
from nncore.progress import Callback, Epoch
from nncore.recipe import Recipe, StartFrom, override, run

PLAN_FILE = "plan.json"
# Seconds between two batches that are told of.
PAUSE = 0.1


@dataclass(frozen=True)
class Plan:
    """What the members of an ensemble have in common; the first has the recipe's seed, the next one more."""

    recipe: Recipe
    dataset: str
    start_from: str | None
    members: int = number(minimum=FEWEST, maximum=MOST)


@dataclass(frozen=True)
class Task:
    """What a process is to do: the member's number, from 1 on, and for whom."""

    folder: str
    parent: int
    start_from: str | None
    number: int = number(minimum=1, maximum=MOST)


def model_file(folder: Path, member: int) -> Path:
    """Return where a member is once it is trained."""
    return folder / f"{member}.safetensors"


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
    folder = Path(task.folder)
    plan = from_json(Plan, json.loads((folder / PLAN_FILE).read_bytes()))
    recipe = override(plan.recipe, {"seed": plan.recipe.seed + task.number - 1})
    start = _start(Path(task.start_from), plan) if task.start_from else None
    checkpoints = Checkpoints(folder / str(task.number))
    # Of the test set nothing is looked at but by all members together.
    trained = run(
        recipe, [_Teller(task.parent)], measure_test=False, checkpoints=checkpoints, start_from=start
    )
    replace_file(model_file(folder, task.number), to_bytes(describe(trained)))
    checkpoints.clear()


def _start(path: Path, plan: Plan) -> StartFrom:
    start = StartFrom(load(path).network, hashlib.sha256(path.read_bytes()).hexdigest())
    if start.sha256 != plan.start_from:
        raise InputError(f"{path}: is another file than the other members started from")
    return start


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
