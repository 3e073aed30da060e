"""The command line, `python -m nncore`: what each of its commands does."""

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nncore.allocation import keep_freed_memory
from nncore.arguments import parse
from nncore.artifact import Card, describe, to_bytes
from nncore.bar import Bar, figures_text
from nncore.columns import encode_rows
from nncore.config import to_json, unknown
from nncore.contact_sheet import write_sheet
from nncore.datasets import DATASETS, Dataset, load_dataset
from nncore.datasets.guessing import source_of
from nncore.datasets.stored import PARTS
from nncore.datasets.summary import summarize
from nncore.errors import InputError, NNCoreError, RecipeError, RowError
from nncore.files import write_named
from nncore.inspection import card_text, confusion_text, dataset_text
from nncore.merging import merge
from nncore.metrics import accuracy, confusion_matrix, r2_score
from nncore.onnx import write_onnx
from nncore.origin import own_dataset
from nncore.predictor import Predictor, answers, load
from nncore.profiling import profile_model
from nncore.publishing import MODEL_FILE, NAME, NAME_MEANING, publish, versions
from nncore.recipe import Recipe, StartFrom, check_start, override, read_recipe, run
from nncore.resuming import checkpoints_of, members_of
from nncore.starter import starter
from nncore.training import History
from nncore.types import Array


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code: 0 done, 1 an error that is said in a line, 130 Ctrl-C."""
    options = parse(arguments)
    keep_freed_memory()
    try:
        # At these sizes a second BLAS thread makes a product slower, not faster.
        with threadpool_limits(1, user_api="blas"):
            COMMANDS[options.command](options)
        # Here rather than at the interpreter's end, where a reader that has left would be an error.
        sys.stdout.flush()
    except NNCoreError as error:
        print(f"nncore: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"nncore: interrupted; {error if error.args else 'nothing was written'}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader, `head` say, has enough.
        # Nothing more can be written, and the interpreter would try at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"nncore: {place}{error.strerror or error}", file=sys.stderr)
        return 1
    return 0


def _train(options: argparse.Namespace) -> None:
    name = _checked_name(options.name or options.recipe.stem)
    recipe = _with_changes(_read(options.recipe), options)
    model = options.out / name
    if options.members is not None:
        _train_members(recipe, model, options)
        return
    if options.processes is not None:
        raise InputError("--processes: goes with --members")
    # Once: to read a large file takes a minute.
    dataset = load_dataset(recipe.dataset)
    start = _start(options.start_from, recipe, dataset) if options.start_from else None
    began = time.monotonic()
    with checkpoints_of(model, resume=options.resume) as checkpoints:
        with Bar(recipe.epochs) as bar:
            test = not options.no_test
            trained = run(
                recipe,
                [bar],
                dataset=dataset,
                measure_test=test,
                checkpoints=checkpoints,
                start_from=start,
            )
        _tell_end(trained.history)
        data = to_bytes(describe(trained))
        with _uninterrupted():
            number = publish(model, data, seconds=round(time.monotonic() - began, 1))
            if checkpoints is not None:
                checkpoints.clear()
    _tell_version(trained.metrics, model / str(number) / MODEL_FILE, data)


def _train_members(recipe: Recipe, model: Path, options: argparse.Namespace) -> None:
    # Only here: what runs processes takes a tenth of the time that a command needs to begin.
    from nncore.members import Start, train_members

    start, dataset_sha256 = _check_members(recipe, options)
    began = time.monotonic()
    with members_of(model, resume=options.resume) as folder:
        ensemble = train_members(
            recipe,
            folder,
            dataset_sha256=dataset_sha256,
            members=options.members,
            processes=options.processes,
            start=Start(_model_file(options.start_from), start.sha256) if start else None,
            measure_test=not options.no_test,
        )
        data = to_bytes(ensemble)
        with _uninterrupted():
            number = publish(model, data, seconds=round(time.monotonic() - began, 1))
            folder.clear()
    _tell_version(ensemble.card.metrics, model / str(number) / MODEL_FILE, data)


def _check_members(recipe: Recipe, options: argparse.Namespace) -> tuple[StartFrom | None, str]:
    """Return what members start from, and the SHA-256 of rows that are let go of: each reads its own."""
    from nncore.members import check_members

    dataset = load_dataset(recipe.dataset)
    start = _start(options.start_from, recipe, dataset) if options.start_from else None
    check_members(recipe, dataset, options.members, options.processes)
    return start, dataset.sha256


def _sweep(options: argparse.Namespace) -> None:
    # Only here: what runs processes takes a tenth of the time that a command needs to begin.
    from nncore.sweep import sweep

    sweep(
        _with_changes(_read(options.recipe), options),
        options.out or Path("var/sweeps") / options.recipe.stem,
        grid=options.grid,
        random=options.random,
        processes=options.processes,
        resume=options.resume,
    )


def _ensemble(options: argparse.Namespace) -> None:
    model = options.out / _checked_name(options.name)
    began = time.monotonic()
    ensemble = merge([_model_file(path) for path in options.models], measure_test=not options.no_test)
    data = to_bytes(ensemble)
    with _uninterrupted():
        number = publish(model, data, seconds=round(time.monotonic() - began, 1))
    _tell_version(ensemble.card.metrics, model / str(number) / MODEL_FILE, data)


def _checked_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise RecipeError({"--name": f"must be {NAME_MEANING}, not {name!r}"})
    return name


def _tell_version(metrics: Mapping[str, Any], file: Path, data: bytes) -> None:
    for part, figures in metrics.items():
        print(f"{part}: {figures_text(figures)}")
    print(f"Wrote {file} ({len(data):,} bytes).")


def _tell_end(history: History) -> None:
    if history.ended != "completed":
        why = "Interrupted" if history.ended == "interrupted" else "No more progress"
        done, kept = len(history.epochs), history.kept_epoch
        print(f"{why} after {done} epochs: kept the weights of epoch {kept}, the best so far.")


def _start(path: Path, recipe: Recipe, dataset: Dataset) -> StartFrom:
    """Return the weights to go on from, and say what cannot be taken over."""
    file = _model_file(path)
    start = StartFrom(load(file).network, hashlib.sha256(file.read_bytes()).hexdigest())
    anew = check_start(recipe, dataset, start.network)
    said = f"Starting from {file}."
    if anew:
        place = anew[0].partition(".")[0]
        said += f"\nnetwork[{place}] has another shape and begins anew: {', '.join(anew)}."
    print(said, flush=True)
    return start


def _data(options: argparse.Namespace) -> None:
    target = {"target": options.target} if options.target is not None else {}
    source = source_of(options.files, target | _fields(options.set))
    dataset = load_dataset(source)
    print(dataset_text(dataset, summarize(dataset)))
    if options.recipe is not None:
        recipe = json.dumps(to_json(starter(dataset, source)), indent=2, ensure_ascii=False)
        write_named(options.recipe, recipe.encode() + b"\n")
        print(f"Wrote {options.recipe}, a recipe to begin with: python -m nncore train {options.recipe}")


def _evaluate(options: argparse.Namespace) -> None:
    name, _, part = options.data.partition(":")
    if name not in ("", *DATASETS) or part not in PARTS:
        known = ", ".join(DATASETS)
        raise InputError(
            f"--data: must be {known} with :train, :validation or :test, or one of these alone for the "
            f"model's own dataset, not {options.data!r}"
        )
    predictor = _load(options.model)
    dataset = load_dataset(name) if name else own_dataset(predictor.card)
    data, labels = getattr(dataset, part), predictor.card.output.labels
    if name and labels != dataset.labels and predictor.card.recipe["dataset"] != name:
        told = ", ".join(labels) or "a value"
        raise InputError(
            f"--data: the model tells {told}; {name} has {', '.join(dataset.labels) or 'values'}"
        )
    outputs = predictor.predict(data.inputs)
    if predictor.card.output.kind == "regression":
        targets = data.targets.reshape(len(data), -1)
        mse = float(np.mean(np.square(outputs - targets)))
        print(f"{len(data):,} rows: mean squared error {mse:.6g}, R² {r2_score(outputs, targets):.6f}")
        return
    predicted = outputs.argmax(axis=1)
    right = int((predicted == data.targets).sum())
    print(f"{len(data):,} rows: accuracy {accuracy(predicted, data.targets):.4%} ({len(data) - right} wrong)")
    print(confusion_text(confusion_matrix(predicted, data.targets, len(labels)), labels))


def _inspect(options: argparse.Namespace) -> None:
    card = _load(options.model).card
    print(json.dumps(to_json(card), indent=2, ensure_ascii=False) if options.json else card_text(card))


def _predict(options: argparse.Namespace) -> None:
    predictor = _load(options.model)
    inputs = _inputs(predictor.card, sys.stdin.read() if options.inputs == "-" else options.inputs)
    for answer in answers(predictor.card, predictor.predict(inputs)):
        print(json.dumps(answer))


def _inputs(card: Card, text: str) -> Array:
    """Return the inputs that JSON text holds: numbers in arrays, or rows by column name."""
    try:
        data = json.loads(text)
        if isinstance(data, list) and any(isinstance(row, dict) for row in data):
            return _rows(card, data)
        # What float32 cannot hold becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            inputs = np.array(data, np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"INPUTS: must be a JSON array of inputs, all of one shape ({error})") from None
    shape = card.architecture.input_shape
    if named := [column.name for column in card.input.columns if column.categories]:
        raise InputError(f"INPUTS: {named[0]!r} has categories: give rows by column name, [{{…}}]")
    if inputs.ndim == 0 or inputs.size != len(inputs) * int(np.prod(shape)) or not np.isfinite(inputs).all():
        raise InputError(
            f"INPUTS: must have shape (N, {', '.join(map(str, shape))}), finite, not {inputs.shape}"
        )
    bounds = card.input.range
    if bounds and inputs.size and not bounds[0] <= inputs.min() <= inputs.max() <= bounds[1]:
        raise InputError(f"INPUTS: must be from {bounds[0]:g} to {bounds[1]:g}")
    return inputs.reshape(-1, *shape)


def _rows(card: Card, rows: list[Any]) -> Array:
    if not card.input.columns:
        raise InputError("INPUTS: the model was not trained on a table and takes arrays, no rows by name")
    try:
        return encode_rows(card.input.columns, rows)
    except RowError as error:
        raise InputError(f"INPUTS: {error}") from None


def _augment(options: argparse.Namespace) -> None:
    recipe = _read(options.recipe)
    if options.seed is not None:
        recipe = override(recipe, {"seed": options.seed})
    height, width = write_sheet(recipe, options.out, options.rows, options.columns).shape[:2]
    print(f"Wrote {options.out}, {width} × {height} pixels.")


def _export(options: argparse.Namespace) -> None:
    if problem := unknown(options.format, ["onnx"]):
        raise InputError(f"--format: {problem}")
    path, size = write_onnx(_model_file(options.model), options.out)
    print(f"Wrote {path} ({size:,} bytes).")


def _profile(options: argparse.Namespace) -> None:
    rows = options.rows or [1, 64]
    print(profile_model(_model_file(options.model), rows, options.seconds, training=options.training))


def _read(path: Path) -> Recipe:
    try:
        return read_recipe(path.read_bytes())
    except OSError as error:
        raise RecipeError({str(path): str(error.strerror)}) from None
    except RecipeError as error:
        problems = {
            f"{path}: {field}" if field else str(path): text for field, text in error.problems.items()
        }
        raise RecipeError(problems) from None


def _with_changes(recipe: Recipe, options: argparse.Namespace) -> Recipe:
    changes = _fields(options.set) | {
        name: getattr(options, name) for name in ("seed", "epochs") if getattr(options, name) is not None
    }
    return override(recipe, changes)


def _fields(texts: Sequence[str]) -> dict[str, Any]:
    """Return what --set says, by field."""
    changes: dict[str, Any] = {}
    for text in texts:
        path, equals, value = text.partition("=")
        if not equals:
            raise RecipeError({"--set": f"must be FIELD=VALUE, not {text!r}"})
        try:
            changes[path] = json.loads(value)
        except (ValueError, RecursionError):
            changes[path] = value
    return changes


def _load(path: Path) -> Predictor:
    return load(_model_file(path))


def _model_file(path: Path) -> Path:
    """Take a model file, a version's folder, or a model's folder, whose newest version is meant."""
    if path.is_dir() and (numbers := versions(path)):
        path = path / str(numbers[-1])
    return path / MODEL_FILE if path.is_dir() else path


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let what took so long to learn be written, whatever key is pressed."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


COMMANDS = {
    "train": _train,
    "sweep": _sweep,
    "ensemble": _ensemble,
    "data": _data,
    "evaluate": _evaluate,
    "inspect": _inspect,
    "predict": _predict,
    "augment": _augment,
    "export": _export,
    "profile": _profile,
}
