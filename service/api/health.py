"""GET /healthz and /readyz: whether the process lives, and whether every model can answer."""

from flask import Blueprint, Response, current_app

from service import codec

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Say that the process answers."""
    return codec.respond({"status": "alive"})


@blueprint.get("/readyz")
def readyz() -> Response:
    """Say whether every model has a version that replayed its known answers, and what did not load."""
    entries = current_app.extensions["store"].entries()
    ready = bool(entries) and all(entry.ready for entry in entries.values())
    models = {
        name: {
            "ready": entry.ready,
            "version": entry.stable.version if entry.stable else None,
            "failures": entry.complaints(),
        }
        for name, entry in entries.items()
    }
    return codec.respond({"ready": ready, "models": models}, 200 if ready else 503)
