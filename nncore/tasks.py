"""What processes side by side are told to train, and what is kept of each: plans, tasks and outcomes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nncore.config import MOST_ENTRIES, canonical, choice, from_json, number, to_json
from nncore.errors import CheckpointError
from nncore.files import replace_file
from nncore.recipe import Recipe, override

PLAN_FILE = "plan.json"
# How many members one plan has.
MOST_MEMBERS = MOST_ENTRIES
# What of a recipe is another one, as `override` takes it.
Changes = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What members have in common, and for each what its recipe has instead; they are numbered from 1 on.

    `dataset` and `start_from` are SHA-256s; `keeps` says what is left of a member.
    """

    recipe: Recipe
    dataset: str
    start_from: str | None
    members: tuple[Changes, ...]
    keeps: str = choice(("figures", "model"))

    def recipe_of(self, member: int) -> Recipe:
        """Return a member's recipe; raises RecipeError where it cannot be one."""
        recipe = self.recipe
        # One by one, a whole object, whose defaults are filled in then, before a field in it.
        for field, value in sorted(self.members[member - 1].items()):
            recipe = override(recipe, {field: value})
        return recipe


@dataclass(frozen=True)
class Task:
    """What a process is to do: the number of a member of the plan in a file, and for whom."""

    plan: str
    folder: str
    parent: int
    start_from: str | None
    number: int = number(minimum=1, maximum=MOST_MEMBERS)


@dataclass(frozen=True)
class Figures:
    """How good a member is on the validation data, and what that took; `score` is its accuracy or r2."""

    loss: float
    score: float
    epochs: int
    kept_epoch: int
    parameters: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What became of a member that would not end otherwise if it were trained again."""

    figures: Figures | None = None
    error: str = ""


def model_file(folder: Path, member: int) -> Path:
    """Return where a member is once it is trained, if it is kept."""
    return folder / f"{member}.safetensors"


def outcome_file(folder: Path, member: int) -> Path:
    """Return where a member's outcome is, if nothing but figures is kept."""
    return folder / f"{member}.json"


def write_plan(path: Path, plan: Plan, others: str) -> None:
    """Write a plan; raises CheckpointError where there is another one already: the folder is of `others`."""
    data = canonical(to_json(plan)).encode()
    if path.exists() and path.read_bytes() != data:
        raise CheckpointError(f"{path.parent} is of {others}")
    replace_file(path, data)


def read_plan(path: Path) -> Plan:
    """Return the plan in a file."""
    return from_json(Plan, json.loads(path.read_bytes()))


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Write what became of a member."""
    replace_file(path, canonical(to_json(outcome)).encode())


def read_outcome(path: Path) -> Outcome:
    """Return what became of a member; raises OSError, ValueError or RecipeError where no file says it."""
    return from_json(Outcome, json.loads(path.read_bytes()))
