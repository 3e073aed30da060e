"""What `python -m nncore` can be told: its commands and their options."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nncore

MODEL_HELP = "a model file, a version's folder, or a model's folder: its newest version"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for: `command` is its name. Ends the process where it cannot be understood."""
    parser = argparse.ArgumentParser(prog="nncore", description="Train small neural networks with NumPy.")
    parser.add_argument("--version", action="version", version=f"nncore {nncore.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for add in (
        _add_train,
        _add_sweep,
        _add_ensemble,
        _add_data,
        _add_evaluate,
        _add_inspect,
        _add_predict,
        _add_augment,
        _add_export,
        _add_profile,
    ):
        add(commands)
    return parser.parse_args(arguments)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train the network of a recipe and write it as a new version")
    train.add_argument("recipe", type=Path, metavar="RECIPE", help="a recipe as a JSON file")
    train.add_argument(
        "--out", type=Path, default=Path("var/models"), help="folder of models (default: var/models)"
    )
    train.add_argument("--name", help="name of the model (default: the recipe file's)")
    _add_changes(train)
    train.add_argument(
        "--no-test", action="store_true", help="leave the test set alone: for runs that are compared"
    )
    train.add_argument(
        "--resume", action="store_true", help="go on with a run of this recipe that was killed"
    )
    train.add_argument(
        "--start-from", type=Path, metavar="MODEL", help=f"train on from the weights of {MODEL_HELP}"
    )
    train.add_argument(
        "--members",
        type=int,
        metavar="N",
        help="train it N times, with N seeds from the recipe's on, and make an ensemble of them",
    )
    train.add_argument(
        "--processes", type=int, metavar="N", help="how many members at a time (default: one a core)"
    )


def _add_changes(parser: Any) -> None:
    parser.add_argument("--seed", type=int, help="instead of the recipe's seed")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's epochs")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="instead of a field of the recipe: optimizer.learning_rate=0.01, network[1].units=64",
    )


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser("sweep", help="train a recipe with many settings and compare them")
    sweep.add_argument("recipe", type=Path, metavar="RECIPE", help="a recipe as a JSON file")
    sweep.add_argument(
        "--grid",
        action="append",
        required=True,
        metavar="FIELD=V1,V2,…",
        help="values of a field to be tried; several times: all combinations",
    )
    sweep.add_argument(
        "--random",
        type=int,
        metavar="N",
        help="try N combinations drawn from the grid, in which LOW..HIGH is a range",
    )
    _add_changes(sweep)
    sweep.add_argument(
        "--processes", type=int, metavar="N", help="how many members at a time (default: one a core)"
    )
    sweep.add_argument(
        "--out", type=Path, help="folder of the results (default: var/sweeps/<the recipe's name>)"
    )
    sweep.add_argument(
        "--resume", action="store_true", help="go on with a sweep of this recipe and grid that was ended"
    )


def _add_ensemble(commands: Any) -> None:
    ensemble = commands.add_parser("ensemble", help="make several models one that answers with their mean")
    ensemble.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=MODEL_HELP)
    ensemble.add_argument(
        "--out", type=Path, default=Path("var/models"), help="folder of models (default: var/models)"
    )
    ensemble.add_argument("--name", required=True, help="name of the ensemble")
    ensemble.add_argument("--no-test", action="store_true", help="leave the test set alone")


def _add_data(commands: Any) -> None:
    data = commands.add_parser("data", help="tell what is in files of data, and write a recipe for them")
    data.add_argument(
        "files",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="a CSV or NPZ file, two IDX files, or a folder or zip file with a folder of pictures a class",
    )
    data.add_argument("--target", help="of a CSV file the column that is to be told from the others")
    data.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help='how it is read: task=regression, height=32, ignore=["id"]; docs/data.md lists them',
    )
    data.add_argument(
        "--recipe", type=Path, metavar="OUT", help="write a recipe to begin with as a JSON file"
    )


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="measure a model on a dataset")
    evaluate.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    evaluate.add_argument(
        "--data",
        required=True,
        metavar="NAME:PART",
        help="digits:test, xor:train …; :validation of its own dataset",
    )


def _add_inspect(commands: Any) -> None:
    inspect = commands.add_parser("inspect", help="show what a model says of itself")
    inspect.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    inspect.add_argument("--json", action="store_true", help="the whole card as JSON")


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="ask a model")
    predict.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    predict.add_argument(
        "inputs",
        nargs="?",
        default="-",
        metavar="INPUTS",
        help="a JSON array of inputs, [[0, 1], [1, 1]] say; without it, or with -, from standard input",
    )


def _add_augment(commands: Any) -> None:
    augment = commands.add_parser("augment", help="draw what a recipe's augmentation makes of its pictures")
    augment.add_argument("recipe", type=Path, metavar="RECIPE", help="a recipe as a JSON file")
    augment.add_argument("--out", type=Path, required=True, metavar="SHEET.PNG", help="the PNG to write")
    augment.add_argument("--rows", type=int, default=10, help="how many pictures (default: 10)")
    augment.add_argument("--columns", type=int, default=16, help="how many of each, the first as it is (16)")
    augment.add_argument("--seed", type=int, help="instead of the recipe's seed")


def _add_export(commands: Any) -> None:
    export = commands.add_parser("export", help="write a model in another format")
    export.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    export.add_argument(
        "--format", default="onnx", help="onnx, which is the only one so far, and the default"
    )
    export.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="the file to write (default: NAME-VERSION.onnx, in this folder)",
    )


def _add_profile(commands: Any) -> None:
    profile = commands.add_parser(
        "profile", help="measure where a prediction's time goes, or a training step's"
    )
    profile.add_argument("model", type=Path, metavar="MODEL", help=MODEL_HELP)
    profile.add_argument(
        "--rows",
        type=int,
        action="append",
        metavar="N",
        help="how many at once; several times (default: 1, 64)",
    )
    profile.add_argument("--seconds", type=float, default=1, help="how long to measure each (default: 1)")
    profile.add_argument("--training", action="store_true", help="a step of its recipe, at its batch size")
