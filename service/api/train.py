"""/train: ask for a training run, watch it, cancel it, try it again."""

import dataclasses
import hashlib
import logging
import re
import threading
from functools import partial
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from service import bodies, codec, tracing
from service.callers import caller
from service.datasets import Datasets
from service.job_schemas import JOBS_QUERY, TRAIN_REQUEST, JobDetail, JobSummary, Plan
from service.jobs.job import Job
from service.jobs.ledger import Ledger, Request, is_over
from service.jobs.plans import check_data, make_plan, read_start
from service.jobs.queue import Queue
from service.pressure import STREAM
from service.problems import BadBody, Busy, FieldError, Invalid
from service.queries import query
from service.schemas import load
from service.settings import Settings
from service.streams import stream

blueprint = Blueprint("train", __name__)

# Epochs of GET /train/<id>; all of them are in its events.
HISTORY = 20
KEY = re.compile(r"[\x21-\x7e]{1,200}")

logger = logging.getLogger(__name__)


@blueprint.post("/train")
def start() -> Response:
    """Check a training run and queue it; a dry run only checks."""
    sent = bodies.read_object('{"model": "xor"}')
    asked = load(TRAIN_REQUEST, sent)
    wanted = Request(caller(), _digest(sent), _key())
    ledger = _ledger()
    job = None if asked["dry_run"] else ledger.again(wanted)
    if job is None:
        settings: Settings = current_app.extensions["settings"]
        datasets: Datasets = current_app.extensions["datasets"]
        plan = make_plan(asked, current_app.extensions["store"], datasets, settings)
        if asked["dry_run"]:
            checked = {"model": asked["model"]} | dataclasses.asdict(plan)
            return codec.respond({"dry_run": True} | Plan().dump(checked))
        current_app.extensions["retention"].check_room()
        document = dataclasses.asdict(plan) | _trace()
        check = partial(check_data, datasets.root, document)
        job, new = ledger.add(asked["model"], document, plan.recipe["epochs"], wanted, check)
        if new:
            _send(job)
    return _respond(job, 202)


@blueprint.get("/train")
def list_jobs() -> Response:
    """List jobs, newest first."""
    asked = query(JOBS_QUERY)
    limit = asked["limit"]
    # One more than is shown tells whether there is a next page.
    jobs = _ledger().page(asked.get("state"), asked.get("model"), asked.get("cursor"), limit + 1)
    shown = jobs[:limit]
    cursor = str(shown[-1].number) if len(jobs) > limit else None
    return codec.respond({"jobs": JobSummary().dump(shown, many=True), "next": cursor})


@blueprint.get("/train/<job_id>")
def show(job_id: str) -> Response:
    """Show a job: its state, progress, last epochs, and result or error."""
    return _respond(_ledger().get(job_id))


@blueprint.get("/train/<job_id>/events")
def events(job_id: str) -> Response:
    """Stream a job's events, from the one after Last-Event-ID on."""
    ledger = _ledger()
    job = ledger.get(job_id)
    after = _last_event_id()
    if is_over(job) and after >= job.events:
        # A browser that has seen the end comes again, until it is told that there is no more.
        return Response(status=204)
    seats: threading.Semaphore = current_app.extensions["stream_seats"]
    if not seats.acquire(blocking=False):
        raise Busy("All event streams of this worker are taken; try again, or ask GET /train/<id>.")
    response = Response(stream(ledger, job, after), content_type="text/event-stream; charset=utf-8")
    request.environ[STREAM] = True
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(seats.release)
    return response


@blueprint.post("/train/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """End a job that is queued or running."""
    return _respond(_ledger().cancel(job_id))


@blueprint.post("/train/<job_id>/retry")
def retry(job_id: str) -> Response:
    """Queue a job again that failed or was cancelled."""
    current_app.extensions["retention"].check_room()
    ledger = _ledger()
    before = ledger.get(job_id)
    settings: Settings = current_app.extensions["settings"]
    if before.plan["start_from"]:
        read_start(settings.model_store / before.model, before.plan["start_from"])
    job = ledger.retry(job_id, partial(check_data, settings.model_store, before.plan))
    _send(job)
    return _respond(job, 202)


def _trace() -> dict[str, str]:
    """Return the trace that the request is part of, for the log lines of whoever trains."""
    return {"trace_id": tracing.trace_id()} if tracing.trace_id() else {}


def _respond(job: Job, status: int = 200) -> Response:
    document = dataclasses.asdict(job) | {"history": _ledger().history(job, HISTORY)}
    response = codec.respond(JobDetail().dump(document), status)
    if status == 202:
        response.headers["Location"] = f"{request.script_root}/train/{job.id}"
    return response


def _send(job: Job) -> None:
    queue: Queue = current_app.extensions["queue"]
    try:
        queue.send(job.id)
    except Exception:
        # The row is there, and a trainer that finds it without a message sends one.
        logger.exception("job %s was queued, and its message could not be sent", job.id)


def _key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        raise BadBody("The Idempotency-Key must have 1 to 200 visible ASCII characters.")
    return key


def _last_event_id() -> int:
    sent = request.headers.get("Last-Event-ID", "0")
    if not re.fullmatch(r"[0-9]{1,9}", sent):
        raise Invalid([FieldError("#", "Last-Event-ID must be the id of an event: a whole number")])
    return int(sent)


def _digest(sent: Any) -> str:
    try:
        return hashlib.sha256(orjson.dumps(sent, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except TypeError:
        raise BadBody("The body is nested more than 250 deep.") from None


def _ledger() -> Ledger:
    ledger: Ledger = current_app.extensions["ledger"]
    return ledger
