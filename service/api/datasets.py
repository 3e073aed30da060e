"""/datasets: data of one's own come in, are looked at, and go."""

import dataclasses
import logging
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, Response, current_app, request

from nncore.contact_sheet import class_sheet, png
from service import bodies, codec
from service.contents import drafted
from service.dataset_forms import FILES, read_form, shown_options
from service.dataset_schemas import DATASET_DETAIL, DATASET_SUMMARY, DATASETS_QUERY
from service.datasets import Datasets, Named
from service.importing import import_dataset
from service.problems import Busy, NotFound, WrongMediaType
from service.queries import query
from service.receiving import pieces, receive
from service.retention import Retention
from service.settings import Settings

blueprint = Blueprint("datasets", __name__)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "multipart/form-data"
# Of one worker: each holds a thread, and at last a process with memory of its own.
UPLOADS_AT_ONCE = 2
SHEET = "sheet"


@blueprint.post("/datasets")
def upload() -> Response:
    """Take in a dataset, read and checked, under a name."""
    if request.mimetype != MEDIA_TYPE:
        raise WrongMediaType(f"A dataset is sent as {MEDIA_TYPE}, not {bodies.media_type()}.")
    bodies.refuse_packed()
    settings: Settings = current_app.extensions["settings"]
    retention: Retention = current_app.extensions["retention"]
    with _seat(), drafted(_datasets().root) as draft:
        folder, sent = draft / "content", draft / "sent"
        folder.mkdir()
        sent.mkdir()
        body = pieces(request.environ, settings.max_dataset, retention.room())
        name, source = read_form(receive(body, request.mimetype_params.get("boundary", ""), sent, FILES))
        import_dataset(source, folder, settings)
        shutil.rmtree(sent)
        retention.check_room()
        one, new = _datasets().add(name, folder)
    logger.info("dataset %s: %s, %d bytes", one.name, one.sha256, one.bytes)
    response = codec.respond(_document(one), 201 if new else 200)
    response.headers["Location"] = f"{request.script_root}/datasets/{one.name}"
    return response


@blueprint.get("/datasets")
def list_datasets() -> Response:
    """List datasets in the order of their names."""
    asked = query(DATASETS_QUERY)
    limit = asked["limit"]
    # One more than is shown tells whether there is a next page.
    found = _datasets().page(asked.get("cursor", ""), limit + 1)
    cursor = found[limit - 1].name if len(found) > limit else None
    return codec.respond({"datasets": DATASET_SUMMARY.dump(found[:limit], many=True), "next": cursor})


@blueprint.get("/datasets/<name>")
def show(name: str) -> Response:
    """Show what a dataset holds: rows, columns, classes, first rows, and a recipe to begin with."""
    return codec.respond(_document(_datasets().get(name)))


@blueprint.get(f"/datasets/<name>/{SHEET}")
def show_sheet(name: str) -> Response:
    """Show the first pictures of each class on one picture."""
    one = _datasets().get(name)
    dataset = _datasets().load(one)
    if dataset.picture is None:
        raise NotFound(f"The dataset {name!r} holds no pictures.")
    return Response(png(class_sheet(dataset)), content_type="image/png")


@blueprint.delete("/datasets/<name>")
def delete(name: str) -> Response:
    """Delete a dataset that no job and no version needs."""
    _datasets().delete(name)
    return Response(status=204)


def _document(one: Named) -> Any:
    found = _datasets().describe(one)
    recipe = found.about["recipe"]
    document = found.about | dataclasses.asdict(one)
    document["reading"] = shown_options(recipe["dataset"])
    document["recipe"] = recipe | {"dataset": one.name}
    if found.picture is not None:
        document[SHEET] = f"/datasets/{one.name}/{SHEET}"
    if found.note:
        document["note"] = found.note
    return DATASET_DETAIL.dump(document)


@contextmanager
def _seat() -> Iterator[None]:
    seats: threading.Semaphore = current_app.extensions["dataset_seats"]
    if not seats.acquire(blocking=False):
        raise Busy(f"This worker takes in {UPLOADS_AT_ONCE} datasets already; try again.")
    try:
        yield
    finally:
        seats.release()


def _datasets() -> Datasets:
    datasets: Datasets = current_app.extensions["datasets"]
    return datasets
