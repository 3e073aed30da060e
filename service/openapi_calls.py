"""What each view takes and gives: the one table of the document, by the name of the view, like scopes.NEEDED.

The rest is known elsewhere: paths and methods from the routes, what a call is for from the view's docstring,
its scope from service.scopes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus as Status
from typing import Any

from service import openapi_answers as answers
from service import openapi_v2 as v2
from service.dataset_schemas import DatasetDetail, DatasetsQuery
from service.job_schemas import JobDetail, JobsQuery, TrainRequest
from service.monitoring_schemas import MonitoringQuery, MonitoringReport
from service.schemas import ModelSummary, PageQuery, PredictForm, PredictRequest, VersionDetail
from service.version_schemas import Label, LabelMove, Uploaded, UploadQuery

JSON, FORM, BYTES = "application/json", "multipart/form-data", "application/octet-stream"
EVENTS, PNG, HTML, TEXT = "text/event-stream", "image/png", "text/html", "text/plain"
CSS, SCRIPT = "text/css", "text/javascript"

# Of a call that reads a body.
BODY = (Status.BAD_REQUEST, Status.REQUEST_ENTITY_TOO_LARGE, Status.UNSUPPORTED_MEDIA_TYPE)
CONTENT = (*BODY, Status.UNPROCESSABLE_ENTITY)
MISSING, WRONG = (Status.NOT_FOUND,), (Status.UNPROCESSABLE_ENTITY,)
CLASH, BUSY, FULL = (Status.CONFLICT,), (Status.TOO_MANY_REQUESTS,), (Status.INSUFFICIENT_STORAGE,)


@dataclass(frozen=True)
class Call:
    """One view. What it takes and gives are schemas, or names of media types for what no schema describes."""

    tag: str
    gives: Mapping[int, Any]
    refuses: tuple[int, ...] = ()
    takes: Mapping[str, Any] = field(default_factory=dict)
    query: Any = None
    # Request headers, and those of its good answers, that are this call's own.
    asks: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    # A body may be left out.
    optional: bool = False


# Asked by whoever watches over the service, and always answered.
WATCHED = ("health.healthz", "health.readyz", "metrics.metrics", "v2.live", "v2.ready")

PREDICT, MODELS, JOBS, DATA, V2, OPERATION, PAGES = (
    "Predictions",
    "Models",
    "Training jobs",
    "Datasets",
    "Open Inference Protocol",
    "Operation",
    "This description",
)
DELETED = {204: None}
LOCATION = ("Location",)

CALLS = {
    "predict.predict": Call(
        PREDICT,
        {200: answers.Predictions},
        (*CONTENT, *MISSING),
        {JSON: PredictRequest, FORM: PredictForm},
    ),
    "models.list_models": Call(MODELS, {200: answers.Models}),
    "models.show_model": Call(MODELS, {200: ModelSummary}, MISSING),
    "models.show_version": Call(MODELS, {200: VersionDetail}, MISSING),
    "metrics.monitoring": Call(MODELS, {200: MonitoringReport}, (*MISSING, *WRONG), query=MonitoringQuery),
    "versions.upload": Call(
        MODELS,
        {200: Uploaded, 201: Uploaded},
        (*CONTENT, *CLASH, *FULL),
        {BYTES: BYTES},
        query=UploadQuery,
        tells=LOCATION,
    ),
    "versions.download": Call(
        MODELS, {200: BYTES, 304: None}, MISSING, asks=("If-None-Match",), tells=("ETag",)
    ),
    "versions.delete": Call(MODELS, DELETED, (*MISSING, *CLASH)),
    "versions.show_label": Call(MODELS, {200: Label}, (*MISSING, *WRONG, *CLASH), query=PageQuery),
    "versions.move_label": Call(MODELS, {200: Label}, (*CONTENT, *MISSING, *CLASH), {JSON: LabelMove}),
    "versions.drop_label": Call(MODELS, DELETED, (*MISSING, *CLASH)),
    "train.start": Call(
        JOBS,
        {200: answers.DryRun, 202: JobDetail},
        (*CONTENT, *MISSING, *CLASH, *BUSY, *FULL),
        {JSON: TrainRequest},
        asks=("Idempotency-Key",),
    ),
    "train.list_jobs": Call(JOBS, {200: answers.Jobs}, WRONG, query=JobsQuery),
    "train.show": Call(JOBS, {200: JobDetail}, MISSING),
    "train.events": Call(JOBS, {200: EVENTS, 204: None}, (*MISSING, *WRONG), asks=("Last-Event-ID",)),
    "train.cancel": Call(JOBS, {200: JobDetail}, (*MISSING, *CLASH)),
    "train.retry": Call(JOBS, {202: JobDetail}, (*MISSING, *CLASH, *BUSY, *FULL)),
    "datasets.upload": Call(
        DATA,
        {200: DatasetDetail, 201: DatasetDetail},
        (*CONTENT, *CLASH, *FULL),
        {FORM: answers.DatasetForm},
        tells=LOCATION,
    ),
    "datasets.list_datasets": Call(DATA, {200: answers.Datasets}, WRONG, query=DatasetsQuery),
    "datasets.show": Call(DATA, {200: DatasetDetail}, (*MISSING, *CLASH)),
    "datasets.show_sheet": Call(DATA, {200: PNG}, (*MISSING, *CLASH)),
    "datasets.delete": Call(DATA, DELETED, (*MISSING, *CLASH)),
    "v2.server": Call(V2, {200: v2.V2Server}, BODY),
    "v2.live": Call(V2, {200: v2.V2Live}),
    "v2.ready": Call(V2, {200: v2.V2Ready, 503: v2.V2Ready}),
    "v2.show": Call(V2, {200: v2.V2Model}, MISSING),
    "v2.model_ready": Call(V2, {200: v2.V2ModelReady, 503: v2.V2ModelReady}, MISSING),
    "v2.config": Call(V2, {200: v2.V2Config}, MISSING),
    "v2.all_stats": Call(V2, {200: v2.V2Stats}),
    "v2.stats": Call(V2, {200: v2.V2Stats}, MISSING),
    "v2.infer": Call(
        V2,
        {200: (v2.V2InferAnswer, BYTES)},
        (*BODY, *MISSING),
        {JSON: v2.V2InferRequest, BYTES: BYTES},
        asks=("Inference-Header-Content-Length",),
    ),
    "v2_repository.index": Call(
        V2, {200: v2.V2IndexItem(many=True)}, BODY, {JSON: v2.V2IndexRequest}, optional=True
    ),
    "v2_repository.load": Call(
        V2, {200: v2.V2Loaded}, (*BODY, *MISSING), {JSON: v2.V2LoadRequest}, optional=True
    ),
    "v2_repository.unload": Call(V2, {}, (400, *MISSING)),
    "health.healthz": Call(OPERATION, {200: answers.Alive}),
    "health.readyz": Call(OPERATION, {200: answers.Readiness, 503: answers.Readiness}),
    "metrics.metrics": Call(OPERATION, {200: TEXT}),
    "web.start": Call(PAGES, {302: None}, tells=LOCATION),
    "web.page": Call(PAGES, {200: HTML, 304: None}, asks=("If-None-Match",), tells=("ETag",)),
    "web.asset": Call(
        PAGES, {200: (CSS, SCRIPT, PNG), 304: None}, MISSING, asks=("If-None-Match",), tells=("ETag",)
    ),
    "web.document": Call(PAGES, {200: JSON, 304: None}, asks=("If-None-Match",), tells=("ETag",)),
}

# Fields that an answer may lack; all others are always there.
MAYBE = {
    "Problem": {"errors"},
    "Predictions": {"labels"},
    "VersionDetail": {
        *("sha256", "bytes", "published", "origin", "job", "failure", "note"),
        *("input", "output", "architecture", "metrics", "recipe", "provenance"),
    },
    "DatasetDetail": {"classes", "target", "first", "note", "sheet"},
    "MonitoringReport": {"why_no_drift", "labels", "confidence", "outputs"},
    "FeatureReport": {"shares", "reference", "psi", "chance", "fewest", "edges"},
    "Known": {"mean", "deviation"},
    "V2Ready": {"error"},
    "V2ModelReady": {"error"},
    "V2OutputTensor": {"data", "parameters"},
    "V2InferAnswer": {"id"},
}

# For those who go from one call to the next: view, status, then the view that the answer leads to and where
# in the answer the parts of its path stand.
_JOB = {"job_id": "$response.body#/id"}
_VERSION = {"model": "$response.body#/model", "version": "$response.body#/version"}
_LABEL = {"model": "$response.body#/model", "label": "$response.body#/label"}
_DATASET = {"name": "$response.body#/name"}


def _to(parts: Mapping[str, str], *views: str) -> Mapping[str, Mapping[str, str]]:
    return dict.fromkeys(views, parts)


LINKS = {
    ("train.start", 202): _to(_JOB, "train.show", "train.events", "train.cancel", "train.retry"),
    ("train.cancel", 200): _to(_JOB, "train.show", "train.retry"),
    ("versions.upload", 201): _to(_VERSION, "models.show_version", "versions.download", "versions.delete"),
    ("versions.move_label", 200): _to(_LABEL, "versions.show_label", "versions.drop_label"),
    ("datasets.upload", 201): _to(_DATASET, "datasets.show", "datasets.show_sheet", "datasets.delete"),
}
