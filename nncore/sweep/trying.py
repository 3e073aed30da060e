"""The members of a sweep: which can be trained at all, and training those, side by side."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from nncore.crew import Crew, Place, side_by_side
from nncore.datasets import Dataset, load_dataset
from nncore.errors import InputError, RecipeError
from nncore.evaluation import figures_of
from nncore.losses import LOSSES
from nncore.recipe import Recipe, check
from nncore.resuming import say
from nncore.sweep.display import Display
from nncore.sweep.grid import settings_text
from nncore.sweep.ranking import Member
from nncore.tasks import Changes, Outcome, Plan, outcome_file, read_outcome

# Combinations that are refused so many are told of before the training; the table has more.
MOST_TOLD = 10

logger = logging.getLogger(__name__)


class Trials:
    """All that a sweep is to try: its plan, the recipes that can work, by number, and why others cannot."""

    def __init__(self, recipe: Recipe, changes: list[Changes]) -> None:
        """Check all on the dataset; raises RecipeError or InputError where none can be trained."""
        dataset = load_dataset(recipe.dataset)
        self.plan = Plan(recipe, dataset.sha256, None, tuple(changes), keeps="figures")
        self.recipes: dict[int, Recipe] = {}
        self.refused: dict[int, RecipeError] = {}
        for number in range(1, len(changes) + 1):
            self._check(number, dataset)
        if not self.recipes:
            raise self._all_refused()
        self.score = _score(self.recipes)

    def _check(self, number: int, dataset: Dataset) -> None:
        try:
            recipe = self.plan.recipe_of(number)
            check(recipe, dataset)
            self.recipes[number] = recipe
        except RecipeError as error:
            self.refused[number] = error

    def _all_refused(self) -> Exception:
        first = self.refused[1]
        if len({str(error) for error in self.refused.values()}) == 1:
            return first
        settings = settings_text(self.plan.members[0])
        return InputError(f"--grid: no combination can be trained; {settings}: {first}")

    def tell_refused(self) -> None:
        """Say which combinations are refused, and why."""
        for number, error in [*self.refused.items()][:MOST_TOLD]:
            say(f"Refused: {settings_text(self.plan.members[number - 1])}: {error}")
        if (more := len(self.refused) - MOST_TOLD) > 0:
            say(f"Refused: {more} more")

    def train(self, place: Place, processes: int | None) -> list[Member]:
        """Train all that has not been yet; return what became of each, in whatever order."""
        ended = [self._member(number, Outcome(error=str(error))) for number, error in self.refused.items()]
        missing = {}
        for number, recipe in self.recipes.items():
            if outcome := _read(outcome_file(place.folder, number)):
                ended.append(self._member(number, outcome))
            else:
                missing[number] = recipe.epochs
        if done := len(self.recipes) - len(missing):
            say(f"Trained already: {done} of {len(self.recipes)} members.")
        with Display(missing, ended, self.score) as display:
            crew = Crew(place, processes, display.follow)
            return ended + asyncio.run(self._train(crew, place.folder, missing, display))

    async def _train(
        self, crew: Crew, folder: Path, missing: Mapping[int, int], display: Display
    ) -> list[Member]:
        async def train(number: int) -> Member:
            why = await crew.train(number)
            # What is written holds, however the process ended after that.
            if outcome := _read(outcome_file(folder, number)):
                member = self._member(number, outcome)
            else:
                error = why or "nothing was written of what it reached"
                member = self._member(number, Outcome(error=error), was_lost=True)
            display.ended(member)
            return member

        return await side_by_side(train, missing)

    def _member(self, number: int, outcome: Outcome, *, was_lost: bool = False) -> Member:
        return Member(number, self.plan.members[number - 1], outcome, was_lost)


def _score(recipes: Mapping[int, Recipe]) -> str:
    """Return by what the members are compared: accuracy or r2."""
    names = {figures_of(LOSSES[recipe.loss])[1] for recipe in recipes.values()}
    if len(names) > 1:
        raise InputError("--grid: losses of values and of classes cannot be compared: name those of one kind")
    return names.pop()


def _read(file: Path) -> Outcome | None:
    if not file.exists():
        return None
    try:
        return read_outcome(file)
    except (OSError, ValueError, RecipeError) as error:
        logger.warning("the member in %s is trained again: %s", file, error)
        return None
