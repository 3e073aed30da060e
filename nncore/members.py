"""An ensemble from one recipe: its members trained side by side, each in a process of its own, and merged.

What they learn lies on disk: whatever ends them, little is to be learned again.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

from nncore.artifact import Model
from nncore.bar import Bar, figures_text
from nncore.config import from_json, to_json
from nncore.crew import Crew, Place, check_processes, side_by_side
from nncore.datasets import Dataset
from nncore.ensemble import FEWEST, MOST, Ensemble
from nncore.errors import ArtifactError, InputError, RecipeError, TrainingError
from nncore.losses import LOSSES
from nncore.merging import merge
from nncore.predictor import load
from nncore.recipe import Recipe, check, override
from nncore.resuming import MembersFolder
from nncore.tasks import PLAN_FILE, Plan, model_file, write_plan

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Start:
    """The model file that all members go on from, and its SHA-256."""

    file: Path
    sha256: str


def check_members(recipe: Recipe, dataset: Dataset, members: int, processes: int | None) -> None:
    """Raise InputError or RecipeError, before anything is trained, where no ensemble would come of it."""
    if not FEWEST <= members <= MOST:
        raise InputError(f"--members: must be {FEWEST} to {MOST}, not {members}")
    check_processes(processes)
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
    dataset_sha256: str,
    members: int,
    processes: int | None = None,
    start: Start | None = None,
    measure_test: bool = True,
) -> Model:
    """Train the recipe's network once for each of so many seeds, `processes` at a time, and merge them.

    What the folder holds of the same members is gone on from; raises CheckpointError where it holds others.
    Raises TrainingError where a member is lost; the others are trained nevertheless.
    """
    plan = Plan(
        recipe,
        dataset_sha256,
        start.sha256 if start else None,
        tuple({"seed": recipe.seed + place} for place in range(members)),
        keeps="model",
    )
    place = Place(folder.path / PLAN_FILE, folder.path, folder.lock)
    write_plan(place.plan, plan, "other members: of another recipe, dataset, start or number")
    files = [model_file(folder.path, number) for number in range(1, members + 1)]
    missing = [number for number, file in enumerate(files, start=1) if not _is_whole(file)]
    if done := members - len(missing):
        print(f"Trained already: {done} of {members} members.", flush=True)
    crew = Crew(
        place,
        processes,
        lambda number: Bar(recipe.epochs, f"member {number}"),
        start.file if start else None,
    )
    if lost := asyncio.run(_train(crew, missing)):
        raise TrainingError(f"{_tell_lost(lost)}; --resume trains only what is missing")
    for number, file in enumerate(files, start=1):
        print(f"member {number}: {_tell_member(file)}")
    return merge(files, measure_test=measure_test)


async def _train(crew: Crew, numbers: Sequence[int]) -> dict[int, str]:
    """Train members; return why one was lost by its number."""
    ends = await side_by_side(crew.train, numbers)
    return {number: why for number, why in zip(numbers, ends, strict=True) if why}


def _is_whole(file: Path) -> bool:
    if not file.exists():
        return False
    try:
        load(file)
    except ArtifactError as error:
        logger.warning("the member in %s is trained again: %s", file, error)
        return False
    return True


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
