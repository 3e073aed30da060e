"""6. Two dials: the learning rate and the number of hidden units, as a heat map.

No formula says how far to step and how many neurons to take; one tries. Each cell is a few training runs on
XOR that differ in nothing but their first weights: a single run may just have been lucky.
"""

from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.colors import LogNorm
from tour import panels, save, settings

from nncore.recipe import override, read_recipe, run

RATES = [0.03, 0.1, 0.3, 1, 3, 10, 30]
UNITS = [1, 2, 3, 4, 8]
RECIPE = Path(__file__).parents[1] / "recipes" / "xor.json"


def try_out(recipe, rate, units, seeds):
    """Return the share of runs that know XOR, and the mean of their losses."""
    metrics = []
    for seed in range(seeds):
        changes = {"optimizer.learning_rate": rate, "network.0.units": units, "seed": seed}
        # The test set is no part of a choice: whoever picks the best of many by it has trained on it.
        metrics.append(run(override(recipe, changes), measure_test=False).metrics["validation"])
    return np.mean([m["accuracy"] == 1 for m in metrics]), np.mean([m["loss"] for m in metrics])


def draw(figure, axes, table, title, style, **colours):
    """Draw a table with a cell for each choice, its number written in it."""
    image = axes.imshow(table, cmap="viridis", aspect="auto", origin="lower", **colours)
    for (row, column), number in np.ndenumerate(table):
        # What is written stays legible on dark and on light.
        ink = "black" if image.norm(number) > 0.5 else "white"
        axes.text(column, row, style.format(number), ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(RATES)), RATES)
    axes.set_yticks(range(len(UNITS)), UNITS)
    axes.set(title=title, xlabel="learning rate", ylabel="hidden units")
    figure.colorbar(image, ax=axes)


def main(arguments=None):
    """Train with every pair of settings and draw what came of it."""
    options = settings(__doc__, arguments, epochs=200, seeds=5)
    # A recipe is a run as data, so a search is a loop over changes to it. Plain gradient descent shows best
    # what a rate does; Adam, which the recipe has, adapts its steps.
    changes = {"optimizer": {"type": "sgd"}, "epochs": options.epochs}
    recipe = override(read_recipe(RECIPE.read_bytes()), changes)

    results = [try_out(recipe, rate, units, options.seeds) for units, rate in product(UNITS, RATES)]
    solved, loss = np.reshape(results, (len(UNITS), len(RATES), 2)).transpose(2, 0, 1)

    print("Share of runs that know XOR; a row is a number of hidden units, a column a learning rate:")
    print("   " + "".join(f"{rate:6}" for rate in RATES))
    for units, row in zip(UNITS, solved, strict=True):
        print(f"{units:3}" + "".join(f"{share:6.0%}" for share in row))
    units, rate = np.unravel_index(loss.argmin(), loss.shape)
    print(f"The lowest loss, {loss.min():.4f}, is that of {UNITS[units]} units at rate {RATES[rate]}.")

    figure, (left, right) = panels(2, width=5)
    draw(figure, left, solved, "Share of runs that know XOR", "{:.0%}", vmin=0, vmax=1)
    draw(figure, right, loss, "Mean loss", "{:.2g}", norm=LogNorm())
    save(figure, options.out, "6_heat_map")


if __name__ == "__main__":
    main()
