"""/v2: the Open Inference Protocol, with JSON and binary tensors."""

import re
from typing import Any

from flask import Blueprint, Response, current_app, request

from nncore import __version__
from service import bodies, codec
from service.application import Whole
from service.labels import STABLE
from service.loading import Served
from service.observe import SERVED
from service.problems import BadBody, NotServable, TooLarge
from service.schemas import number_or_label
from service.settings import Settings
from service.store import Store
from service.v2 import metadata
from service.v2.answers import Answer, wanted_outputs, work_out, write_answer
from service.v2.encoding import pack, unpack
from service.v2.inputs import from_tensors
from service.v2.requests import read_request
from service.v2.statistics import Statistics, Watch

blueprint = Blueprint("v2", __name__, url_prefix="/v2")

MODEL = "/models/<model>"
VERSION = f"{MODEL}/versions/<version>"
HEADER_LENGTH = "Inference-Header-Content-Length"


@blueprint.route("", methods=["GET", "POST"])
@blueprint.route("/", methods=["GET", "POST"])
def server() -> Response:
    """Tell what serves, and what of the protocol it can do."""
    if bodies.read(_settings().max_body):
        raise BadBody("POST /v2 takes an empty body. To ask a model: POST /v2/models/<model>/infer.")
    document = {"name": "nnserve", "version": __version__, "extensions": metadata.EXTENSIONS}
    return codec.respond(document)


@blueprint.get("/health/live")
def live() -> Response:
    """Say that the process answers."""
    return codec.respond({"live": True})


@blueprint.get("/health/ready")
def ready() -> Response:
    """Say whether every model can answer."""
    entries = _store().entries()
    waiting = [name for name, entry in entries.items() if not entry.ready]
    if entries and not waiting:
        return codec.respond({"live": True, "ready": True})
    error = f"These models cannot answer: {', '.join(waiting)[:500]}." if waiting else "There are no models."
    return codec.respond({"live": True, "ready": False, "error": error}, 503)


@blueprint.get(MODEL)
@blueprint.get(VERSION)
def show(model: str, version: str = STABLE) -> Response:
    """Tell a model's versions and the tensors of the one that is asked for."""
    served = _served(model, version)
    return codec.respond(metadata.model_metadata(served, _store().entry(model).numbers))


@blueprint.get(f"{MODEL}/ready")
@blueprint.get(f"{VERSION}/ready")
def model_ready(model: str, version: str = STABLE) -> Response:
    """Say whether a version can answer."""
    try:
        served = _served(model, version)
    except NotServable as problem:
        return codec.respond({"name": model, "ready": False, "error": problem.detail}, 503)
    return codec.respond({"name": served.model, "ready": True})


@blueprint.get(f"{MODEL}/config")
@blueprint.get(f"{VERSION}/config")
def config(model: str, version: str = STABLE) -> Response:
    """Tell a version's tensors as a configuration of other servers has them."""
    return codec.respond(metadata.model_config(_served(model, version), _settings().max_rows))


@blueprint.get("/models/stats")
def all_stats() -> Response:
    """Tell what all models have answered since the service was started."""
    stats = [document for name in _store().names() for document in _statistics().of(name)]
    return codec.respond({"model_stats": stats})


@blueprint.get(f"{MODEL}/stats")
@blueprint.get(f"{VERSION}/stats")
def stats(model: str, version: str | None = None) -> Response:
    """Tell what a model's versions have answered, or one of them."""
    number = None if version is None else _store().number(model, number_or_label(version))
    _store().entry(model)
    return codec.respond({"model_stats": _statistics().of(model, number)})


@blueprint.post(f"{MODEL}/infer")
@blueprint.post(f"{VERSION}/infer")
def infer(model: str, version: str = STABLE) -> Response:
    """Answer tensors with tensors."""
    served = _served(model, version)
    request.environ[SERVED] = served.model, served.version
    with _statistics().request(served.model, served.version) as watch:
        answer = _infer(served, watch)
    body, encoding = pack(answer.body, request.headers.get("Accept-Encoding", ""))
    binary = answer.header_length is not None
    response = Whole(body, content_type="application/octet-stream" if binary else "application/json")
    if binary:
        response.headers[HEADER_LENGTH] = str(answer.header_length)
    if encoding:
        response.headers["Content-Encoding"] = encoding
    return response


def _infer(served: Served, watch: Watch) -> Answer:
    settings = _settings()
    asked = read_request(*_body(settings))
    wanted = wanted_outputs(served, asked, settings)
    x = from_tensors(served.predictor.card, asked.inputs, settings)
    watch.rows = len(x)
    watch.lap()
    tensors = work_out(served, x, [output.name for output in wanted])
    watch.lap()
    answer = write_answer(served, asked.id, wanted, tensors)
    watch.lap()
    return answer


def _body(settings: Settings) -> tuple[bytes, int | None]:
    """Return the body as it was before it was packed, and how much of it is JSON where tensors follow."""
    sent: str | None = request.headers.get(HEADER_LENGTH)
    if sent is not None and not re.fullmatch(r"[0-9]{1,12}", sent):
        raise BadBody(f"{HEADER_LENGTH} must be a whole number: the bytes of JSON before the tensors.")
    length = None if sent is None else int(sent)
    most = settings.max_body if length is None else max(settings.max_body, settings.max_upload)
    body = unpack(bodies.read_as_sent(most), request.headers.get("Content-Encoding", ""), most)
    # One that is longer than the body is not too large but wrong.
    if length is not None and settings.max_body < length <= len(body):
        raise TooLarge(f"The JSON before the tensors may have at most {settings.max_body:,} bytes.")
    return body, length


def _served(model: str, version: str) -> Served:
    return _store().get(model, number_or_label(version))


def _store() -> Store:
    store: Store = current_app.extensions["store"]
    return store


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings


def _statistics() -> Statistics:
    statistics: Any = current_app.extensions["v2_statistics"]
    assert isinstance(statistics, Statistics)
    return statistics
