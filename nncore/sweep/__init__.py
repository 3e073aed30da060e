"""A sweep: one recipe trained with many settings side by side, and what can be learned from that."""

import json
from collections.abc import Sequence
from pathlib import Path

from nncore.config import to_json
from nncore.crew import check_processes
from nncore.errors import ExportError, TrainingError
from nncore.files import replace_file
from nncore.recipe import Recipe
from nncore.sweep.folder import BEST, PICTURE, TABLE, sweep_in
from nncore.sweep.grid import combine, read_axes
from nncore.sweep.picture import draw
from nncore.sweep.ranking import Results, rank
from nncore.sweep.report import csv_text, table_text
from nncore.sweep.trying import Trials
from nncore.tasks import write_plan

OTHERS = (
    "another sweep: of another recipe, grid or dataset; resume with the recipe and options of that one, "
    "or name another folder"
)


def sweep(
    recipe: Recipe,
    folder: Path,
    *,
    grid: Sequence[str],
    random: int | None = None,
    processes: int | None = None,
    resume: bool = False,
) -> None:
    """Train the recipe with all settings of a grid, or so many drawn from it, and write what came of it.

    A grid is of texts `FIELD=VALUE,VALUE`. What the folder holds of the same sweep is gone on from with
    `resume`; raises CheckpointError where it holds another. Raises RecipeError or InputError, before anything
    is trained, where nothing can be, and TrainingError, once that is written, where all members have failed.
    """
    check_processes(processes)
    axes = read_axes(grid)
    trials = Trials(recipe, combine(axes, random, recipe.seed))
    with sweep_in(folder, resume=resume) as place:
        write_plan(place.plan, trials.plan, OTHERS)
        trials.tell_refused()
        members = trials.train(place, processes)
        results = rank([axis.field for axis in axes], trials.score, members)
        print(table_text(results))
        replace_file(folder / TABLE, csv_text(results).encode())
        if any(member.was_lost for member in members):
            print("--resume trains again those that were lost.")
        if not results.ranked:
            raise TrainingError(f"all members have failed; {folder / TABLE} says why")
        _write_best(trials.recipes[results.ranked[0].number], folder)
        _write_picture(results, folder, is_random=random is not None)
    print(f"The best: python -m nncore train {folder / BEST}")


def _write_best(recipe: Recipe, folder: Path) -> None:
    replace_file(folder / BEST, json.dumps(to_json(recipe), indent=2, ensure_ascii=False).encode() + b"\n")


def _write_picture(results: Results, folder: Path, *, is_random: bool) -> None:
    try:
        replace_file(folder / PICTURE, draw(results, is_random=is_random))
    except ExportError as error:
        print(f"No picture: {error}")
        print(f"Wrote {folder / TABLE} and {BEST}.")
    else:
        print(f"Wrote {folder / TABLE}, {PICTURE} and {BEST}.")
