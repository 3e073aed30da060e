"""What changes below /models: versions that come and go, and labels that move."""

import dataclasses

from flask import Blueprint, Response, current_app, request, send_file

from nncore.publishing import MODEL_FILE, read_facts
from service import bodies, codec
from service.callers import caller
from service.problems import WrongMediaType
from service.promotion import Promotions
from service.queries import query
from service.schemas import load, number_or_label
from service.settings import Settings
from service.store import Store
from service.version_schemas import LABEL, LABEL_MOVE, LABEL_QUERY, UPLOAD_QUERY, UPLOADED
from service.versions import Versions

blueprint = Blueprint("versions", __name__)

MEDIA_TYPE = "application/octet-stream"


@blueprint.post("/models/<model>/versions")
def upload(model: str) -> Response:
    """Publish a model file that was trained elsewhere, and have it pass the gate."""
    if request.mimetype != MEDIA_TYPE:
        raise WrongMediaType(f"A model file is sent as {MEDIA_TYPE}, not {bodies.media_type()}.")
    rule = query(UPLOAD_QUERY)["promote"]
    settings: Settings = current_app.extensions["settings"]
    current_app.extensions["retention"].check_room(request.content_length or 0)
    added: Versions = current_app.extensions["versions"]
    number, new = added.add(model, bodies.read(settings.max_model))
    settle = _promotions().settle if new else _promotions().settle_again
    decision = settle(model, number, rule, who=caller())
    facts = read_facts(added.root / model / str(number))
    document = facts | {"model": model, "version": number, "promotion": dataclasses.asdict(decision)}
    response = codec.respond(UPLOADED.dump(document), 201 if new else 200)
    response.headers["Location"] = f"{request.script_root}/models/{model}/versions/{number}"
    return response


@blueprint.get("/models/<model>/versions/<version>/file")
def download(model: str, version: str) -> Response:
    """Give a version's model file back, byte for byte."""
    store = _store()
    served = store.get(model, store.number(model, number_or_label(version)))
    return send_file(
        (store.root / model / str(served.version) / MODEL_FILE).absolute(),
        mimetype=MEDIA_TYPE,
        as_attachment=True,
        download_name=f"{model}-{served.version}.safetensors",
        etag=served.sha256,
    )


@blueprint.delete("/models/<model>/versions/<version>")
def delete(model: str, version: str) -> Response:
    """Delete a version that no label points to and no job starts from."""
    added: Versions = current_app.extensions["versions"]
    added.delete(model, _store().number(model, number_or_label(version)))
    return Response(status=204)


@blueprint.get("/models/<model>/labels/<label>")
def show_label(model: str, label: str) -> Response:
    """Show where a label points, and where it pointed before."""
    page = query(LABEL_QUERY)
    return _label(model, label, page.get("cursor"), page["limit"])


@blueprint.put("/models/<model>/labels/<label>")
def move_label(model: str, label: str) -> Response:
    """Point a label at a version: promote it, or roll back."""
    asked = load(LABEL_MOVE, bodies.read_object('{"version": 2}'))
    number = _store().number(model, asked["version"])
    _promotions().move(model, label, number, who=caller(), why="as asked")
    return _label(model, label)


@blueprint.delete("/models/<model>/labels/<label>")
def drop_label(model: str, label: str) -> Response:
    """Take a label away."""
    _promotions().drop(model, label, who=caller())
    return Response(status=204)


def _label(model: str, label: str, cursor: int | None = None, limit: int = 20) -> Response:
    # One more than is shown tells whether there is a next page.
    now, moves = _promotions().history(model, label, before=cursor, limit=limit + 1)
    shown = moves[:limit]
    following = str(shown[-1].number) if len(moves) > limit else None
    document = {"model": model, "label": label, "version": now, "history": shown, "next": following}
    return codec.respond(LABEL.dump(document))


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store


def _promotions() -> Promotions:
    promotions: Promotions = current_app.extensions["promotions"]
    return promotions
