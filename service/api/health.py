"""GET /healthz and /readyz: whether the process lives, and whether every model can answer."""

from flask import Blueprint, Response, current_app

from service import codec
from service.labels import STABLE
from service.store import Entry

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Say that the process answers."""
    return codec.respond({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Say whether every model has a version that replayed its known answers, and what did not load."""
    entries = current_app.extensions["store"].entries()
    ready = bool(entries) and all(map(_ready, entries.values()))
    models = {
        name: {
            "ready": _ready(entry),
            "version": entry.stable.version if entry.stable else None,
            "failures": entry.complaints(),
        }
        for name, entry in entries.items()
    }
    return codec.respond({"ready": ready, "models": models}, 200 if ready else 503)


def _ready(entry: Entry) -> bool:
    # A model of which nothing was promoted yet is a candidate's, and owes nobody an answer.
    return entry.stable is not None or not (STABLE in entry.labels or entry.broken)
