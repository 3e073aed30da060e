"""GET /models and below: what is served, and what each version says of itself. Changes: versions.py."""

from typing import Any

from flask import Blueprint, Response, current_app

from nncore.config import to_json
from nncore.publishing import read_facts
from service import codec
from service.problems import NotServable
from service.schemas import ModelSummary, VersionDetail, number_or_label
from service.store import Entry, Store

blueprint = Blueprint("models", __name__)

MODEL_SUMMARY = ModelSummary()
VERSION_DETAIL = VersionDetail()


@blueprint.get("/models")
def list_models() -> Response:
    """List every model."""
    entries = _store().entries()
    return codec.respond({"models": [_summary(name, entry) for name, entry in entries.items()]})


@blueprint.get("/models/<model>")
def show_model(model: str) -> Response:
    """Show one model."""
    return codec.respond(_summary(model, _store().entry(model, at_once=True)))


@blueprint.get("/models/<model>/versions/<version>")
def show_version(model: str, version: str) -> Response:
    """Show one version, by its number or a label."""
    store = _store()
    number = store.number(model, number_or_label(version))
    labels = [label for label, target in store.entry(model).labels.items() if target == number]
    facts = read_facts(store.root / model / str(number))
    document = facts | {"model": model, "version": number, "labels": labels}
    try:
        # The known answers stay inside: they are rows of somebody's data.
        document |= to_json(store.get(model, number).predictor.card)
    except NotServable as problem:
        document["failure"] = problem.detail
    return codec.respond(VERSION_DETAIL.dump(document))


def _summary(name: str, entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = MODEL_SUMMARY.dump(
        {
            "model": name,
            "stable": entry.stable.version if entry.stable else None,
            "labels": entry.labels,
            "versions": entry.numbers,
            "failures": entry.complaints(),
        }
    )
    return shown


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store
