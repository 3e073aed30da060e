"""/v2/repository: the models that are there, in the words of the protocol's model repository extension."""

from typing import Any

from flask import Blueprint, Response, current_app

from service import bodies, codec
from service.problems import BadBody, NotServable
from service.store import Entry, Store

blueprint = Blueprint("v2_repository", __name__, url_prefix="/v2/repository")


@blueprint.post("/index")
def index() -> Response:
    """List every version of every model, or those that are ready to answer."""
    only_ready = _sent().get("ready", False)
    if not isinstance(only_ready, bool):
        raise BadBody("ready must be true or false.")
    found = [item for name, entry in _store().entries().items() for item in _versions(name, entry)]
    return codec.respond([item for item in found if item["state"] == "READY" or not only_ready])


@blueprint.post("/models/<model>/load")
def load(model: str) -> Response:
    """Read a model's labelled versions from the disk anew, and check them as at the start."""
    if _sent().get("parameters") not in (None, {}):
        raise BadBody("load takes no parameters: a model is what its published versions say.")
    entry = _store().reload(model)
    if complaints := entry.complaints():
        told = "; ".join(f"{what}: {why}" for what, why in complaints.items())
        raise NotServable(f"Not everything of {model!r} can be served: {told}")
    return codec.respond({"name": model, "load": True})


@blueprint.post("/models/<model>/unload")
def unload(model: str) -> Response:
    """Refuse: what is served is decided elsewhere."""
    _store().entry(model)
    raise BadBody(
        "Models are not unloaded: labels decide what is served. PUT /models/<model>/labels/<label> moves "
        "one, DELETE /models/<model>/versions/<version> deletes what none points to."
    )


def _versions(name: str, entry: Entry) -> list[dict[str, str]]:
    """Return an item a version; one that was not loaded yet is loaded when it is asked."""
    return [
        {
            "name": name,
            "version": str(number),
            "state": "UNAVAILABLE" if number in entry.failures else "READY",
            "reason": entry.failures.get(number, ""),
        }
        for number in entry.numbers
    ]


def _sent() -> dict[str, Any]:
    body = bodies.read(current_app.extensions["settings"].max_body)
    try:
        sent = codec.loads(body) if body else {}
    except ValueError as error:
        raise BadBody(f"The body is not JSON: {error}") from None
    if not isinstance(sent, dict):
        raise BadBody("The body must be an object, or empty.")
    return sent


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store
