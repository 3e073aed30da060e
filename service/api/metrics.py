"""GET /metrics for Prometheus, and GET /models/<m>/monitoring for people."""

from flask import Blueprint, Response, current_app
from prometheus_client import CONTENT_TYPE_LATEST

from service import codec
from service.labels import STABLE
from service.monitoring_schemas import MONITORING_QUERY, MONITORING_REPORT
from service.queries import query
from service.report import report

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Tell everything that is counted, in Prometheus's text format."""
    return Response(current_app.extensions["exposition"].text(), content_type=CONTENT_TYPE_LATEST)


@blueprint.get("/models/<model>/monitoring")
def monitoring(model: str) -> Response:
    """Show what a version is asked and answers, and how far that is from what it was made from."""
    served = current_app.extensions["store"].get(model, query(MONITORING_QUERY).get("version", STABLE))
    return codec.respond(MONITORING_REPORT.dump(report(current_app.extensions["monitoring"], served)))
