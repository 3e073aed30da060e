"""/openapi.json describes the service to programs, /docs to people; / leads there."""

import hashlib
from importlib.resources import files
from pathlib import Path

from flask import Blueprint, Response, current_app, request, send_file

from service import codec
from service.problems import NotFound
from service.settings import Settings

blueprint = Blueprint("web", __name__)

PAGE = Path(__file__).parent.parent / "page"
# What the page is made of: ours, and of swagger-ui what is needed to draw.
OURS = ("draw.js",)
THEIRS = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
# Nothing but these files; swagger-ui's icons are data in its style sheet.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECONDS_KEPT = 3600


@blueprint.get("/")
def start() -> Response:
    """Lead to the page that describes the service."""
    return Response(status=302, headers={"Location": f"{_settings().path_prefix}/docs"})


@blueprint.get("/docs")
def page() -> Response:
    """Describe the service to people: a page that draws this document."""
    response = send_file(PAGE / "docs.html", mimetype="text/html", max_age=0)
    response.headers["Content-Security-Policy"] = POLICY
    return response


@blueprint.get("/docs/<file>")
def asset(file: str) -> Response:
    """Give a file of the page."""
    if file in OURS:
        return send_file(PAGE / file, max_age=SECONDS_KEPT)
    if file not in THEIRS:
        raise NotFound("The page has no such file.")
    return send_file(str(files("flask_swagger_ui") / "dist" / file), max_age=SECONDS_KEPT)


@blueprint.get("/openapi.json")
def document() -> Response:
    """Describe the service to programs: this document."""
    body, tag = _document()
    response = Response(body, content_type="application/json")
    response.set_etag(tag)
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response


def _document() -> tuple[bytes, str]:
    """Return the document and its ETag, made when it is asked for first."""
    made: tuple[bytes, str] | None = current_app.extensions.get("openapi")
    if made is None:
        from service import openapi

        body = codec.dumps(openapi.document(current_app, _settings().path_prefix))
        made = current_app.extensions["openapi"] = body, hashlib.sha256(body).hexdigest()
    return made


def _settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings
