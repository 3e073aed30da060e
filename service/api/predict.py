"""POST /predict: arrays, base64 pictures or picture files in, predictions out."""

from typing import Any

from flask import Blueprint, Response, current_app, request

from nncore.errors import InputError
from nncore.predictor import answers
from service import bodies, codec, inputs
from service.asking import ask
from service.labels import STABLE
from service.loading import Served
from service.observe import SERVED
from service.problems import FieldError, Invalid, WrongMediaType
from service.schemas import load_predict
from service.settings import Settings
from service.uploads import FILE_FIELD, load_upload

blueprint = Blueprint("predict", __name__)


@blueprint.post("/predict")
def predict() -> Response:
    """Answer a prediction in the form it was asked for."""
    handlers = {"application/json": _from_json, "multipart/form-data": _from_upload}
    handler = handlers.get(request.mimetype)
    if handler is None:
        sent = bodies.media_type()
        raise WrongMediaType(f"/predict takes application/json or multipart/form-data, not {sent}.")
    return handler()


def _from_json() -> Response:
    settings: Settings = current_app.extensions["settings"]
    asked = load_predict(bodies.read(settings.max_body))
    served = _served(asked)
    if "rows" in asked:
        return _answer(served, inputs.from_rows(served.predictor.card, asked["rows"], settings))
    if "inputs" in asked:
        return _answer(served, inputs.from_arrays(served.predictor.card, asked["inputs"], settings))
    return _answer(served, inputs.from_base64(served.predictor.card, asked["images"], settings))


def _from_upload() -> Response:
    settings: Settings = current_app.extensions["settings"]
    asked, files = load_upload(bodies.read(settings.max_upload), request.mimetype_params)
    served = _served(asked)
    return _answer(served, inputs.from_pictures(served.predictor.card, files, f"#/{FILE_FIELD}", settings))


def _served(asked: dict[str, Any]) -> Served:
    served: Served = current_app.extensions["store"].get(asked["model"], asked.get("version", STABLE))
    request.environ[SERVED] = served.model, served.version
    return served


def _answer(served: Served, x: Any) -> Response:
    card = served.predictor.card
    try:
        outputs = ask(served, x)
    except InputError as error:
        raise Invalid([FieldError("#/inputs", str(error))]) from None
    document = {
        "model": served.model,
        "version": served.version,
        "sha256": served.sha256,
        "predictions": answers(card, outputs),
    }
    if card.output.labels:
        document["labels"] = card.output.labels
    return codec.respond(document)
