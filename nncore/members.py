"""An ensemble from one recipe: its members trained side by side, each in a process of its own, and merged.

What they learn lies on disk: whatever ends them, little is to be learned again.
"""

import asyncio
import dataclasses
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from nncore.artifact import Model
from nncore.bar import Bar, figures_text
from nncore.config import canonical, from_json, to_json
from nncore.datasets import load_dataset
from nncore.ensemble import FEWEST, MOST, Ensemble
from nncore.errors import ArtifactError, CheckpointError, InputError, RecipeError, TrainingError
from nncore.files import replace_file
from nncore.losses import LOSSES
from nncore.member import PLAN_FILE, Plan, Task, model_file
from nncore.merging import merge
from nncore.predictor import load
from nncore.progress import Epoch
from nncore.recipe import Recipe, check, override
from nncore.resuming import MembersFolder

# Bytes of a line that a member may say.
MOST_LINE = 1 << 20

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Start:
    """The model file that all members go on from, and its SHA-256."""

    file: Path
    sha256: str


def check_members(recipe: Recipe, members: int, processes: int | None) -> None:
    """Raise InputError or RecipeError, before anything is trained, where no ensemble would come of it."""
    if not FEWEST <= members <= MOST:
        raise InputError(f"--members: must be {FEWEST} to {MOST}, not {members}")
    if processes is not None and processes < 1:
        raise InputError(f"--processes: must be ≥ 1, not {processes}")
    dataset = load_dataset(recipe.dataset)
    check(recipe, dataset)
    if any(isinstance(layer, Ensemble) for layer in recipe.network):
        raise RecipeError({"--members": "the network is an ensemble already, and a member cannot be one"})
    layer = Ensemble((recipe.network,) * members, LOSSES[recipe.loss].output)
    together = dataclasses.replace(recipe, network=(layer,))
    check(from_json(Recipe, to_json(together)), dataset)
    # The last member has the largest seed.
    override(recipe, {"seed": recipe.seed + members - 1})


def train_members(
    recipe: Recipe,
    folder: MembersFolder,
    *,
    members: int,
    processes: int | None = None,
    start: Start | None = None,
    measure_test: bool = True,
) -> Model:
    """Train the recipe's network once for each of so many seeds, `processes` at a time, and merge them.

    What the folder holds of the same members is gone on from; raises CheckpointError where it holds others.
    Raises TrainingError where a member is lost; the others are trained nevertheless.
    """
    _write_plan(recipe, folder.path, members, start)
    files = [model_file(folder.path, number) for number in range(1, members + 1)]
    missing = [number for number, file in enumerate(files, start=1) if not _is_whole(file)]
    if done := members - len(missing):
        print(f"Trained already: {done} of {members} members.", flush=True)
    crew = _Crew(recipe.epochs, folder, start, processes or _usable_cores())
    if lost := asyncio.run(crew.train(missing)):
        raise TrainingError(f"{_tell_lost(lost)}; --resume trains only what is missing")
    for number, file in enumerate(files, start=1):
        print(f"member {number}: {_tell_member(file)}")
    return merge(files, measure_test=measure_test)


def _write_plan(recipe: Recipe, folder: Path, members: int, start: Start | None) -> None:
    dataset = load_dataset(recipe.dataset).sha256
    plan = canonical(to_json(Plan(recipe, dataset, start.sha256 if start else None, members))).encode()
    path = folder / PLAN_FILE
    if path.exists() and path.read_bytes() != plan:
        raise CheckpointError(f"{folder} is of other members: of another recipe, dataset, start or number")
    replace_file(path, plan)


def _is_whole(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        load(file)
    except ArtifactError as error:
        logger.warning("the member in %s is trained again: %s", file, error)
        return False
    return True


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _tell_lost(lost: dict[int, str]) -> str:
    first, why = next(iter(lost.items()))
    if len(lost) == 1:
        return f"member {first} was lost: {why}"
    return f"members {', '.join(map(str, lost))} were lost, number {first}: {why}"


def _tell_member(file: Path) -> str:
    card = load(file).card
    figures, epochs = card.metrics["validation"], card.provenance["epochs"]
    end = f"; no more progress after {epochs['run']} epochs: kept the weights of epoch {epochs['kept']}"
    return figures_text({"loss": figures["loss"], **figures}) + (end if epochs["ended"] == "early" else "")


class _Crew:
    """The processes that train members, and what is seen of them."""

    def __init__(self, epochs: int, folder: MembersFolder, start: Start | None, processes: int) -> None:
        self.epochs, self.folder, self.start = epochs, folder, start
        self.room = asyncio.Semaphore(processes)

    async def train(self, numbers: Sequence[int]) -> dict[int, str]:
        """Train members; return why one was lost by its number."""
        ends = await asyncio.gather(*map(self._train, numbers))
        return {number: why for number, why in zip(numbers, ends, strict=True) if why}

    async def _train(self, number: int) -> str:
        async with self.room:
            try:
                process = await self._begin(number)
            except OSError as error:
                return f"no process can be started: {error.strerror}"
            try:
                why = await self._follow(number, process)
                return _tell_end(await process.wait(), why)
            finally:
                # Where this is left before its end, by Ctrl-C say: its checkpoints are always whole.
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def _begin(self, number: int) -> Process:
        start = str(self.start.file.resolve()) if self.start else None
        task = Task(str(self.folder.path.resolve()), os.getpid(), start, number)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nncore.member", json.dumps(to_json(task))),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            limit=MOST_LINE,
            # More than one BLAS thread would take the cores from the others.
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
            # Until the last process has gone nobody else may train this model.
            pass_fds=(self.folder.lock,),
        )

    async def _follow(self, number: int, process: Process) -> str:
        """Show what a member tells until it ends; return what it says last of why."""
        assert process.stdout is not None
        why, name = "", f"member {number}"
        with Bar(self.epochs, name) as bar:
            async for line in process.stdout:
                text = line.decode(errors="replace").rstrip()
                match _event(text):
                    case {"resumed": done}:
                        bar.resumed(done)
                    case {"batch": [batch, batches, loss]}:
                        bar.on_batch(batch, batches, loss)
                    case {"epoch": epoch}:
                        bar.on_epoch(Epoch(**epoch))
                    case {"error": why}:
                        pass
                    case _:
                        # A warning, or what Python says of an error that nobody thought of.
                        why = text
                        tqdm.write(f"{name}: {text}", file=sys.stderr)
        return why


def _event(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _tell_end(status: int, why: str) -> str:
    """Return why a member was lost, nothing where it was not."""
    if status < 0:
        return f"ended by signal {-status}, {signal.strsignal(-status)}"
    return (" ".join(why.split()) or f"exit status {status}") if status else ""
