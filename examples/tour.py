"""What the eight parts share: their arguments, their colours, and how a picture is made and written."""

import argparse
from pathlib import Path

from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

# By Okabe and Ito: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"


def settings(description, arguments=None, **defaults):
    """Return what is said on the command line: `--out`, and an option for each of the defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("var/tour"), help="folder for the picture")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"({value})")
    # A second thread costs more than it brings in products as small as ours.
    threadpool_limits(1, user_api="blas")
    return parser.parse_args(arguments)


def panels(columns, rows=1, width=4.5, height=3.8):
    """Return a figure and its axes, each so many inches wide and high. No display is needed."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure, folder, name):
    """Write the figure, with legends, into a folder as NAME.png, and say where it is."""
    for axes in figure.axes:
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize="small")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    # Without the name of the program that drew it, the same figure is the same file.
    figure.savefig(path, dpi=90, metadata={"Software": None})
    print(f"Picture: {path}")
