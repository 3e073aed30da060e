"""What is shown of a version's recent requests: beside its reference, and how far the two are apart."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nncore.artifact import Card
from nncore.reference import BINS, FIGURES, MOST_COLUMNS, Distribution
from nncore.types import Array, FloatArray
from service.drift import chance, fewest_rows, level, psi
from service.layout import CONFIDENCE, LOOKED_AT, REQUESTS, ROWS, Part
from service.monitoring import Monitoring

if TYPE_CHECKING:
    from service.loading import Served

NO_REFERENCE = (
    "The card has no reference to compare with: the model was trained on fewer than 50 rows, "
    "or by an nnserve that kept none. A version that is trained now, on 50 or more, has one."
)
TOO_FEW = "The reference in the card is of too few rows for that many bins to be compared."
DIGITS = 6


def report(monitoring: Monitoring, served: "Served") -> dict[str, Any]:
    """Return what MonitoringReport shows of a version."""
    card = served.predictor.card
    since, counts, _, layout = monitoring.counts(served)
    known = card.reference
    rows, looked_at = int(counts[ROWS]), int(counts[LOOKED_AT])
    inputs = _features(
        layout.inputs, known.inputs if known else (), known.rows if known else 0, counts, looked_at
    )
    document: dict[str, Any] = {
        "model": served.model,
        "version": served.version,
        "sha256": served.sha256,
        "since": since,
        "requests": int(counts[REQUESTS]),
        "rows": rows,
        "inputs": {"rows": looked_at, "features": _named(input_names(card), inputs)},
    }
    held_out = known.held_out if known else 0
    if layout.values is not None:
        values = _features(layout.values, known.values if known else (), held_out, counts, rows)
        names = FIGURES if len(card.known_answers.outputs[0]) > MOST_COLUMNS else map(str, range(len(values)))
        document["outputs"] = _named(list(names), values)
    else:
        document["confidence"] = _shared(
            counts[layout.confidence : layout.confidence + BINS], known.confidence if known else (), held_out
        ) | {"mean": _figure(counts[CONFIDENCE], rows)}
        labels = counts[layout.labels : layout.confidence]
        shown = _shared(labels, known.labels if known else (), held_out)
        document["labels"] = shown | {"names": card.output.labels if len(labels) else ()}
    return document | _drift(card, document)


def indices(document: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return a report's indices by what they are of, and how high each could be by chance.

    Of inputs and of outputs it is the largest; what has none yet is left out.
    """
    parts = {"inputs": document["inputs"]["features"], "outputs": document.get("outputs", [])}
    parts |= {name: [document[name]] for name in ("labels", "confidence") if name in document}
    found = {
        name: [(one["psi"], one["chance"]) for one in part if one.get("psi") is not None]
        for name, part in parts.items()
    }
    return {name: max(of) for name, of in found.items() if of}


def input_names(card: Card) -> list[str]:
    """Return what the features of a card's inputs are called."""
    width = int(np.prod(card.architecture.input_shape))
    if width > MOST_COLUMNS:
        return list(FIGURES)
    if not card.input.columns:
        return [str(place) for place in range(width)]
    return [
        f"{column.name}={category}" if category else column.name
        for column in card.input.columns
        for category in column.categories or ("",)
    ]


def _features(
    part: Part, known: Sequence[Distribution], known_rows: int, counts: FloatArray, rows: int
) -> list[dict[str, Any]]:
    width = len(part.means)
    sums, squares = counts[part.sums : part.squares], counts[part.squares : part.end]
    found = []
    for place in range(width):
        away = sums[place] / rows if rows else 0.0
        deviation = max(squares[place] / rows - away * away, 0.0) ** 0.5 if rows else None
        one: dict[str, Any] = {"mean": _figure((part.means[place] + away) * rows, rows)}
        one["deviation"] = _figure(deviation, 1) if deviation is not None else None
        if known:
            then = known[place]
            start = part.start + place * BINS
            bins = counts[start : start + len(then.shares)]
            one |= _shared(bins, then.shares, known_rows) | {"edges": then.edges}
            one["reference"] = {"shares": then.shares, "mean": then.mean, "deviation": then.deviation}
        found.append(one)
    return found


def _shared(counts: Array, known: Sequence[float], rows: int) -> dict[str, Any]:
    total = counts.sum()
    index = psi(counts, known, rows) if known else None
    return {
        "shares": [round(float(count / total), DIGITS) for count in counts] if total else None,
        "reference": {"shares": known} if known else None,
        "psi": None if index is None else round(index, DIGITS),
        "chance": None if index is None else round(chance(known, rows, total), DIGITS),
        "fewest": fewest_rows(known, rows) if known else None,
    }


def _named(names: Sequence[str], features: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name} | one for name, one in zip(names, features, strict=True)]


def _drift(card: Card, document: dict[str, Any]) -> dict[str, Any]:
    if card.reference is None:
        return {"drift": None, "why_no_drift": NO_REFERENCE}
    known = indices(document)
    if not known:
        least = _fewest(document)
        why = f"Too few have come yet: it takes {least:,}." if least else TOO_FEW
        return {"drift": None, "why_no_drift": why}
    of = max(known, key=lambda name: known[name])
    index, by_chance = known[of]
    return {"drift": {"psi": index, "of": of, "level": level(index, by_chance)}}


def _fewest(document: dict[str, Any]) -> int | None:
    parts = [*document["inputs"]["features"], *document.get("outputs", ())]
    parts += [document[name] for name in ("labels", "confidence") if name in document]
    return min((part["fewest"] for part in parts if part.get("fewest")), default=None)


def _figure(total: float, rows: int) -> float | None:
    return float(f"{total / rows:.{DIGITS}g}") if rows else None
