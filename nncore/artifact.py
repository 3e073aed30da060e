"""Model files: one safetensors file, with the card as canonical JSON in its one metadata entry.

Format: https://huggingface.co/docs/safetensors. A file is hostile until checked: nothing is unpickled,
layers come from an allow-list, and sizes are compared before anything is allocated.
"""

import json
import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

import nncore
from nncore import ops
from nncore.columns import LARGEST, MOST_COLUMNS, Column, columns_problem, width_of
from nncore.config import canonical, choice, entries, from_json, number, quiet, tagged, to_json
from nncore.datasets import Dataset
from nncore.errors import ArtifactError, RecipeError
from nncore.evaluation import forward_all
from nncore.layers import Layer
from nncore.losses import LOSSES
from nncore.network import LAYERS, Network, plan
from nncore.preprocessing import MOST_STEPS, PICTURES, STEPS, Picture, Standardize, Step, apply_steps
from nncore.randomness import stream
from nncore.recipe import Recipe, Trained
from nncore.reference import MOST_NUMBERS, Reference, refer, reference_problem, spread
from nncore.types import Array, FloatArray, Shape

FORMAT = 1
METADATA_KEY = "nnserve"
MOST_HEADER_BYTES = 4 << 20
MOST_FILE_BYTES = 256 << 20

# Known answers are compared with this absolute and relative tolerance: kinds of CPU differ in the last
# bits of a float32 product, about 1e-6 here; a damaged weight or another pipeline shows far above it.
TOLERANCE = 1e-4
KNOWN_ANSWERS = 5
# From which their mean and deviation are taken, where they are made up.
ENOUGH_ROWS = 1000
# Characters of a label.
MOST_LABEL = 256

# The deepest thing in a card is a kernel's height in an ensemble in its recipe: eight. Who walks a card may
# recurse.
DEEPEST_CARD = 32


@dataclass(frozen=True)
class Architecture:
    """The network without its arrays; `input_shape` is that of one example."""

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...] = tagged(LAYERS)


@dataclass(frozen=True)
class InputPipeline:
    """What becomes of what a caller sends.

    `range` is the lowest and highest value, None if unbounded; `columns` is how a row by column name becomes
    numbers, and empty where a model takes none.
    """

    range: tuple[float, ...] | None
    picture: Picture | None = tagged(PICTURES)
    steps: tuple[Step, ...] = tagged(STEPS)
    columns: tuple[Column, ...] = quiet(entries(MOST_COLUMNS))


@dataclass(frozen=True)
class Output:
    """What the network's outputs mean; `labels` names the classes and is empty for a regression."""

    kind: str = choice(("regression", "binary", "classes"))
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class KnownAnswers:
    """A few raw inputs, what the model answered when it was made, and how close a replay must come."""

    inputs: list[Any]
    outputs: list[Any]
    tolerance: float = number(above=0, maximum=0.01)


@dataclass(frozen=True)
class Card:
    """What a model file says of itself. Nothing in it differs between two identical runs.

    `reference` is None in files made before there was one, and where the dataset has too few rows.
    """

    architecture: Architecture
    input: InputPipeline
    output: Output
    metrics: dict[str, Any]
    recipe: dict[str, Any]
    provenance: dict[str, Any]
    known_answers: KnownAnswers
    note: str = ""
    format: int = number(FORMAT, minimum=1)
    reference: Reference | None = quiet(number(None))


@dataclass(frozen=True)
class Model:
    """A card and the network with its weights."""

    card: Card
    network: Network


def describe(trained: Trained) -> Model:
    """Return the model of a finished run: its network, and the card that tells how it came to be."""
    recipe, dataset, history = trained.recipe, trained.dataset, trained.history
    kind = LOSSES[recipe.loss].output
    card = Card(
        architecture=Architecture(trained.network.input_shape, trained.network.layers),
        input=InputPipeline(dataset.input_range, dataset.picture, trained.steps, dataset.columns),
        output=Output(kind, () if kind == "regression" else dataset.labels),
        metrics=trained.metrics,
        recipe=to_json(recipe),
        provenance={
            "dataset": {"name": dataset.name, "sha256": dataset.sha256},
            "epochs": {"run": len(history.epochs), "kept": history.kept_epoch, "ended": history.ended},
            "seed": recipe.seed,
            "versions": made_with(),
        }
        | _start(trained),
        known_answers=known_answers(trained.network, trained.steps, questions(dataset), kind),
        note=dataset.note,
        reference=reference(trained.network, trained.steps, dataset, kind),
    )
    return Model(as_read(card), trained.network)


def as_read(card: Card) -> Card:
    """Return a card as a reader of the file gets it.

    255 becomes 255.0, so that saving what was loaded gives the same bytes.
    """
    return from_json(Card, to_json(card))


def made_with() -> dict[str, str]:
    """Return the versions of what a file is made with."""
    return {
        "nncore": nncore.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def questions(dataset: Dataset) -> Array:
    """Return a few raw inputs to know the answers of: rows held out, and made-up ones where rows are private.

    A model file may go further than the rows that it was made from.
    """
    if not dataset.is_private:
        return dataset.validation.inputs[:KNOWN_ANSWERS]
    some = dataset.train.inputs[:ENOUGH_ROWS].astype(np.float64)
    noise = stream(0, "questions").normal(size=(KNOWN_ANSWERS, *some.shape[1:]))
    made_up: Array = some.mean(axis=0) + some.std(axis=0) * noise
    if dataset.input_range is not None:
        return made_up.clip(*dataset.input_range).round().astype(dataset.train.inputs.dtype)
    return made_up.clip(-LARGEST, LARGEST).astype(np.float32)


def known_answers(network: Network, steps: Sequence[Step], inputs: Array, kind: str) -> KnownAnswers:
    """Return the first few raw inputs with what a caller gets for them."""
    few = inputs[:KNOWN_ANSWERS]
    outputs = _answer(network, steps, few, kind)
    return KnownAnswers(few.tolist(), outputs.astype(float).round(7).tolist(), TOLERANCE)


def reference(network: Network, steps: Sequence[Step], dataset: Dataset, kind: str) -> Reference | None:
    """Return what the training inputs look like, and the answers to rows held out."""
    held_out = spread(dataset.validation.inputs, MOST_NUMBERS)
    return refer(dataset.train.inputs, _answer(network, steps, held_out, kind), kind)


def _answer(network: Network, steps: Sequence[Step], inputs: Array, kind: str) -> FloatArray:
    x = apply_steps(steps, inputs, np.empty(inputs.shape, np.float32))
    return activate(forward_all(network, x), kind)


def activate(outputs: FloatArray, kind: str, out: FloatArray | None = None) -> FloatArray:
    """Return, in `out` or a new array, what a caller sees: probabilities (N, classes), or values (N, K)."""
    if out is None:
        out = np.empty((len(outputs), 2) if kind == "binary" else outputs.shape, outputs.dtype)
    if kind == "classes":
        return ops.softmax(outputs, out=out)
    if kind == "binary":
        ops.sigmoid(outputs, out=out[:, 1:])
        np.subtract(1, out[:, 1:], out=out[:, :1])
        return out
    np.copyto(out, outputs)
    return out


def to_bytes(model: Model) -> bytes:
    """Return the model file. The same model gives the same bytes."""
    return pack(model.network.arrays, to_json(model.card))


def pack(arrays: dict[str, Array], card: Any) -> bytes:
    """Return a safetensors file of arrays and a card, whatever memory order the arrays have."""
    # safetensors writes the buffer as it lies in memory: strided or Fortran-ordered data would be wrong.
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(contiguous, {METADATA_KEY: canonical(card)})


def from_bytes(data: bytes) -> Model:
    """Return the model that a file holds, all but its known answers checked.

    Raises ArtifactError that says which check the file failed.
    """
    header, start = _read_header(data)
    card = _read_card(header.pop("__metadata__", None))
    _check_tensors(header, card, len(data) - start)
    try:
        arrays = safetensors.numpy.load(data)
    except safetensors.SafetensorError as error:
        raise ArtifactError(f"not a safetensors file: {error}") from None
    network = Network(card.architecture.layers, card.architecture.input_shape)
    for name, array in network.arrays.items():
        if not np.isfinite(arrays[name]).all():
            raise ArtifactError(f"tensor {name} holds NaN or infinity")
        if name.endswith(".variance") and arrays[name].min() < 0:
            raise ArtifactError(f"tensor {name} holds a variance below zero")
        array[...] = arrays[name]
    return Model(card, network)


def _start(trained: Trained) -> dict[str, Any]:
    if trained.start_from is None:
        return {}
    return {"start_from": {"sha256": trained.start_from, "reinitialized": list(trained.reinitialized)}}


def _read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """Return the header and where the tensors start."""
    if len(data) > MOST_FILE_BYTES:
        raise ArtifactError(f"the file has {len(data):,} bytes, more than {MOST_FILE_BYTES:,}")
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8:
        raise ArtifactError(f"truncated: {len(data)} bytes, the header's size alone takes 8")
    if length > MOST_HEADER_BYTES:
        raise ArtifactError(f"the header claims {length:,} bytes, more than {MOST_HEADER_BYTES:,}")
    if len(data) < 8 + length:
        raise ArtifactError(
            f"truncated: the header claims {length:,} bytes, the file has {len(data):,} in all"
        )
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        raise ArtifactError("the header is not JSON") from None
    if not isinstance(header, dict):
        raise ArtifactError("the header is not a JSON object")
    return header, 8 + length


def _read_card(metadata: Any) -> Card:
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ArtifactError(f"no card: the metadata has no entry {METADATA_KEY!r}; was it made by nncore?")
    try:
        data = json.loads(metadata[METADATA_KEY])
        # Python reads NaN, 1e999 and lone surrogates, which nobody could be sent.
        canonical(data).encode()
    except (ValueError, RecursionError):
        raise ArtifactError("the card is not JSON") from None
    _check_plain(data)
    made = data.get("format") if isinstance(data, dict) else None
    if isinstance(made, int) and made > FORMAT:
        raise ArtifactError(f"the file has format {made}, this nncore reads up to {FORMAT}: upgrade it")
    try:
        card = from_json(Card, data)
        from_json(Recipe, card.recipe)
    except RecipeError as error:
        raise ArtifactError(f"the card is wrong: {error}") from None
    _check_card(card)
    return card


def _check_plain(data: Any) -> None:
    level = [data]
    for _ in range(DEEPEST_CARD):
        if any(isinstance(item, int) and abs(item) >= 2**63 for item in level):
            raise ArtifactError("the card is wrong: it holds a number of more than 64 bits")
        lists = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list))
        ]
        level = [item for inner in lists for item in inner]
        if not level:
            return
    raise ArtifactError(f"the card is wrong: it is nested more than {DEEPEST_CARD} deep")


def _check_card(card: Card) -> None:
    shape = card.architecture.input_shape
    if not 1 <= len(shape) <= 3 or not all(0 < size <= 65_536 for size in shape):
        raise ArtifactError(f"the card is wrong: architecture.input_shape: {shape}")
    if card.input.range is not None and (
        len(card.input.range) != 2 or card.input.range[0] >= card.input.range[1]
    ):
        raise ArtifactError(f"the card is wrong: input.range: {card.input.range}")
    if card.input.picture and (problem := card.input.picture.check(shape)):
        raise ArtifactError(f"the card is wrong: input.picture: {problem}")
    if card.input.columns:
        _check_columns(card.input.columns, shape)
    if card.reference:
        problem = reference_problem(card.reference, shape, card.output.kind, len(card.output.labels))
        if problem:
            raise ArtifactError(f"the card is wrong: reference: {problem}")
    if len(card.input.steps) > MOST_STEPS:
        what = f"input.steps: {len(card.input.steps)} of them, more than {MOST_STEPS}"
        raise ArtifactError(f"the card is wrong: {what}")
    for step in card.input.steps:
        if isinstance(step, Standardize) and not len(step.mean) == len(step.deviation) == shape[-1]:
            raise ArtifactError(
                f"the card is wrong: input.steps: standardize needs {shape[-1]} means and deviations"
            )
        if isinstance(step, Standardize) and not min(step.deviation) > 0:
            raise ArtifactError("the card is wrong: input.steps: standardize needs deviations > 0")


def _check_columns(columns: Sequence[Column], shape: Shape) -> None:
    problem = columns_problem(columns)
    if not problem and shape != (width_of(columns),):
        problem = f"they give {width_of(columns)} numbers, the network takes {shape}"
    if problem:
        raise ArtifactError(f"the card is wrong: input.columns: {problem}")


def _check_tensors(header: dict[str, Any], card: Card, size: int) -> None:
    try:
        planned = plan(card.architecture.layers, card.architecture.input_shape)
    except RecipeError as error:
        raise ArtifactError(f"the card is wrong: architecture: {error}") from None
    shapes = planned.arrays
    _check_output(card.output, planned.outputs[-1])
    if header.keys() != shapes.keys():
        odd = sorted(header.keys() ^ shapes.keys())
        raise ArtifactError(f"the card's layers and the file's tensors differ: {', '.join(odd)[:200]}")
    end = 0
    for name, shape in shapes.items():
        found = header[name] if isinstance(header[name], dict) else {}
        if found.get("dtype") != "F32":
            raise ArtifactError(f"tensor {name} has dtype {found.get('dtype')}, not F32")
        if found.get("shape") != list(shape):
            raise ArtifactError(f"tensor {name} has shape {found.get('shape')}, not {list(shape)}")
        end += 4 * math.prod(shape)
    if size != end:
        what = "truncated" if size < end else "oversized"
        raise ArtifactError(f"{what}: the tensors need {end:,} bytes, {size:,} follow the header")


def _check_output(output: Output, width: Shape) -> None:
    needed = {"classes": (len(output.labels),), "binary": (1,)}.get(output.kind, width)
    labels = {"classes": len(output.labels) > 1, "binary": len(output.labels) == 2}.get(
        output.kind, not output.labels
    )
    if width != needed or len(width) != 1 or not labels or len(set(output.labels)) != len(output.labels):
        what = f"{output.kind} with {len(output.labels)} labels, where the network gives {width}"
        raise ArtifactError(f"the card is wrong: output: {what}")
    longest = max(map(len, output.labels), default=0)
    if longest > MOST_LABEL:
        # Every row of an answer names one.
        what = f"a label has {longest:,} characters, more than {MOST_LABEL}"
        raise ArtifactError(f"the card is wrong: output: {what}")
