"""What a person reads: a card and a confusion matrix as text."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from nncore.artifact import Card
from nncore.config import to_json
from nncore.datasets import Dataset
from nncore.ensemble import Ensemble
from nncore.layers import Layer
from nncore.network import LAYERS, NAMES, plan
from nncore.preprocessing import PICTURES, STEPS
from nncore.types import IntArray, Shape

# Numbers of a list that are shown: the means of a wide table would fill pages.
MOST_SHOWN = 4
# Categories and classes that are named.
MOST_CATEGORIES = 12
# The share of one class from which on an accuracy says little.
UNBALANCED = 0.8


def card_text(card: Card) -> str:
    """Return a card as aligned lines: architecture, input, output, figures, provenance."""
    shape = card.architecture.input_shape
    shapes = plan(card.architecture.layers, shape)
    count = sum(int(np.prod(s)) for s in shapes.parameters.values())
    lines = [f"format      {card.format}", f"network     {count:,} parameters, input {shape_text(shape)}"]
    lines += [f"            {line}" for line in _layers(card.architecture.layers, shape)]
    lines.append(f"input       {_input(card)}")
    labels = f": {', '.join(card.output.labels)}" if card.output.labels else ""
    lines.append(f"output      {card.output.kind}{labels}")
    lines += [f"{part:<11} {_settings(figures)}" for part, figures in card.metrics.items()]
    lines += [f"{name:<11} {_settings(value)}" for name, value in card.provenance.items()]
    lines.append(f"replayed    {len(card.known_answers.inputs)} known answers, all right")
    if card.note:
        lines.append(f"note        {card.note}")
    return "\n".join(lines)


def confusion_text(counts: IntArray, labels: Sequence[str]) -> str:
    """Return a confusion matrix as a table: a row a true label, a column a predicted one."""
    width = max(len(str(counts.max())), *(len(label) for label in labels)) + 1
    head = "true \\ predicted".ljust(17) + "".join(label.rjust(width) for label in labels)
    rows = [
        label.rjust(16) + " " + "".join(str(count).rjust(width) for count in row)
        for label, row in zip(labels, counts.tolist(), strict=True)
    ]
    return "\n".join([head, *rows])


def dataset_text(dataset: Dataset, about: dict[str, Any]) -> str:
    """Return what `summarize` says of a dataset as aligned lines."""
    rows = about["rows"]
    lines = [
        f"rows        {sum(rows.values()):,}: {rows['train']:,} to train on, {rows['validation']:,} to "
        f"validate, {rows['test']:,} to test",
        f"inputs      {shape_text(dataset.train.inputs.shape[1:])}"
        + (f"; pictures: {_settings(to_json(dataset.picture, PICTURES))}" if dataset.picture else ""),
    ]
    lines += [f"  {column['name']:<20} {_column(column)}" for column in about["columns"]]
    if dataset.labels:
        counts = [f"{c['label']} ({c['train'] + c['validation'] + c['test']:,})" for c in about["classes"]]
        lines.append(f"classes     {len(counts)}: {_shown(counts)}")
        lines += _warned(about["classes"])
    else:
        lines.append(f"target      {_settings(about['target'])}")
    lines += [f"note        {dataset.note}"] if dataset.note else []
    return "\n".join([*lines, f"sha256      {dataset.sha256}"])


def _warned(classes: Sequence[dict[str, Any]]) -> list[str]:
    """Return what to beware of where nearly all rows are of one class."""
    rows = {one["label"]: one["train"] + one["validation"] + one["test"] for one in classes}
    label, most = max(rows.items(), key=lambda item: item[1])
    share = most / sum(rows.values())
    if share < UNBALANCED:
        return []
    return [
        f"            who always says {label} is right in {share:.1%} of the rows: read an accuracy by that"
    ]


def _column(column: dict[str, Any]) -> str:
    if column["kind"] == "numeric":
        return _settings({name: value for name, value in column.items() if name not in ("name", "kind")})
    return _shown([f"{category} ({count:,})" for category, count in column["categories"].items()])


def _shown(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MOST_CATEGORIES:,} more" if len(texts) > MOST_CATEGORIES else ""
    return ", ".join(texts[:MOST_CATEGORIES]) + more


def _layers(layers: Sequence[Layer], shape: Shape) -> Iterator[str]:
    """Yield a line a layer, and below an ensemble those of its members, alike ones once."""
    kinds = max(8, *(len(NAMES[type(layer)]) for layer in layers))
    outputs = plan(layers, shape).outputs
    widest = max(8, *(len(shape_text(output)) for output in outputs))
    for layer, output in zip(layers, outputs, strict=True):
        settings = to_json(layer, LAYERS)
        kind = settings.pop("type")
        settings.pop("members", None)
        settings = {name: value for name, value in settings.items() if value is not None}
        yield f"{kind:<{kinds}} → {shape_text(output):<{widest}} {_settings(settings)}".rstrip()
        if isinstance(layer, Ensemble):
            for member in dict.fromkeys(layer.members):
                places = [str(place) for place, other in enumerate(layer.members, 1) if other == member]
                several = f"{len(places)} members, each" if len(places) == len(layer.members) else ""
                yield f"  {several or _plural('member', places)}:"
                yield from (f"    {line}" for line in _layers(member, shape))
        shape = output


def _plural(word: str, places: Sequence[str]) -> str:
    return f"{word}{'s' if len(places) > 1 else ''} {', '.join(places)}"


def _input(card: Card) -> str:
    bounds = card.input.range
    parts = [f"numbers in {bounds[0]:g}-{bounds[1]:g}" if bounds else "any finite numbers"]
    parts += [_settings(to_json(step, STEPS)) for step in card.input.steps]
    if card.input.columns:
        names = [
            column.name + (f" ({len(column.categories)} categories)" if column.categories else "")
            for column in card.input.columns
        ]
        parts.append(f"rows by column name: {_shown(names)}")
    if card.input.picture:
        parts.append(f"or pictures: {_settings(to_json(card.input.picture, PICTURES))}".rstrip())
    return "; ".join(parts)


def _settings(values: Any) -> str:
    if not isinstance(values, dict):
        return _value(values)
    # What it is comes first, and needs no name: "scale divide_by 255".
    kind = f"{values['type']} " if "type" in values else ""
    return kind + ", ".join(f"{name} {_value(value)}" for name, value in values.items() if name != "type")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({_settings(value)})"
    if isinstance(value, list):
        shown = [_value(item) for item in value[:MOST_SHOWN]]
        return f"[{', '.join(shown)}{', …' if len(value) > MOST_SHOWN else ''}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def shape_text(shape: Shape) -> str:
    """Return a shape as a person writes it: 28×28."""
    return "×".join(map(str, shape))
