"""The description of the service, OpenAPI 3.1, from its routes, schemas and the tables beside this file.

Format: https://spec.openapis.org/oas/v3.1.0
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from apispec import APISpec

from nncore import __version__
from nncore.publishing import NAME
from service import openapi_headers, scopes
from service.openapi_answers import Problem
from service.openapi_calls import CALLS, EVENTS, JSON, LINKS, WATCHED
from service.openapi_examples import EXAMPLES, PARTS, Example
from service.openapi_fields import BINARY, EVENT, LABEL, NUMBER_OR_LABEL, Plugin
from service.openapi_headers import UNREAD
from service.openapi_v2 import V2Error
from service.openapi_words import ABOUT, HEADERS, PARAMETERS, STATUSES, TAGS

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.routing import Rule

OPENAPI = "3.1.0"
PROBLEM = "application/problem+json"
_NAME = f"^{NAME.pattern}$"
PATTERNS = {
    "model": _NAME,
    "version": NUMBER_OR_LABEL,
    "label": LABEL,
    "job_id": "^[0-9a-f]{16}$",
    "name": _NAME,
    "file": "^[A-Za-z0-9.-]+$",
    "Idempotency-Key": "^[!-~]{1,200}$",
    "Last-Event-ID": "^[0-9]{1,9}$",
    "Inference-Header-Content-Length": "^[0-9]{1,12}$",
}


_FLASKS_OWN = ("HEAD", "OPTIONS")
_PLAIN: dict[str, dict[str, Any]] = {JSON: {"type": "object"}, EVENTS: EVENT}


def document(app: "Flask", prefix: str = "") -> dict[str, Any]:
    """Return the document of an application whose paths stand under a prefix."""
    spec = APISpec(
        title="nnserve",
        version=__version__,
        openapi_version=OPENAPI,
        info={"description": ABOUT, "license": {"name": "MIT", "identifier": "MIT"}},
        servers=[{"url": prefix or "/"}],
        tags=[{"name": tag, "description": words} for tag, words in TAGS.items()],
        plugins=[Plugin()],
    )
    rates = openapi_headers.RATES if app.extensions["settings"].rate_limit else ()
    _add_components(spec, rates)
    paths: dict[str, dict[str, Any]] = {}
    for path, method, operation in _operations(app, rates):
        paths.setdefault(path, {})[method] = operation
    for path, operations in paths.items():
        spec.path(path, parameters=re.findall(r"{(\w+)}", path), operations=operations)
    # A reader looks for it first.
    return {"openapi": OPENAPI} | spec.to_dict()


def path_of(rule: "Rule") -> str:
    """Return a route's path as the document has it; with and without a slash at its end it is one."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).rstrip("/") or "/"


def _add_components(spec: APISpec, rates: tuple[str, ...]) -> None:
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    for name in HEADERS:
        if name in rates or name not in openapi_headers.RATES:
            spec.components.header(name, openapi_headers.described(name))
    for name, words in PARAMETERS.items():
        place = "path" if name in PARTS else "header"
        schema = {"type": "string"} | ({"pattern": PATTERNS[name]} if name in PATTERNS else {})
        found = {"description": words, "schema": schema}
        spec.components.parameter(name, place, found | ({"example": PARTS[name]} if name in PARTS else {}))
    forms = (("Problem", PROBLEM, Problem), ("V2Problem", JSON, V2Error))
    for status, words in STATUSES.items():
        if status < 400:
            continue
        for prefix, media, told in forms[:1] if status in UNREAD else forms:
            content: dict[str, Any] = {media: {"schema": told}}
            response: dict[str, Any] = {
                "description": words,
                "headers": openapi_headers.of_problem(status, rates),
                "content": content,
            }
            spec.components.response(f"{prefix}{status}", response)


def _operations(app: "Flask", rates: tuple[str, ...]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield path, method and operation of every route, each once, in the order of the table."""
    ids: set[str] = set()
    for endpoint in CALLS:
        rules = sorted(app.url_map.iter_rules(endpoint), key=lambda rule: len(rule.rule))
        # Flask itself answers the others.
        routes = [(path_of(r), m) for r in rules for m in sorted(r.methods or ()) if m not in _FLASKS_OWN]
        name = endpoint.replace(".", "_")
        for path, method in dict.fromkeys(routes):
            about = inspect.getdoc(app.view_functions[endpoint]) or ""
            operation = _operation(endpoint, about, rates if scopes.needed(endpoint) else ())
            names = (name, f"{name}_{method.lower()}", f"{name}_of_version")
            operation["operationId"] = next(name for name in names if name not in ids)
            ids.add(operation["operationId"])
            yield path, method.lower(), operation


def _operation(endpoint: str, about: str, rates: tuple[str, ...]) -> dict[str, Any]:
    call, scope, examples = CALLS[endpoint], scopes.needed(endpoint), EXAMPLES.get(endpoint, ())
    problem = "V2Problem" if endpoint.startswith("v2") else "Problem"
    refused = {*call.refuses, 500, *((401, 403, 429) if scope else ()), *_anybody(endpoint)}
    responses: dict[str, Any] = {str(status): f"{problem}{status}" for status in refused - call.gives.keys()}
    responses |= {str(status): f"Problem{status}" for status in UNREAD}
    for status, given in call.gives.items():
        responses[str(status)] = _answer(endpoint, status, given, examples)
        responses[str(status)]["headers"] = openapi_headers.of_answer(status, call.tells, rates)
    operation: dict[str, Any] = {
        "tags": [call.tag],
        "summary": about.partition("\n")[0],
        "description": _key(scope),
        "parameters": [*call.asks, *([{"in": "query", "schema": call.query}] if call.query else [])],
        "responses": {status: responses[status] for status in sorted(responses)},
        "security": [{"key": [scope]}] if scope else [],
    }
    if call.takes:
        content = {media: _content(media, schema) for media, schema in call.takes.items()}
        if JSON in content and examples:
            content[JSON]["examples"] = _shown(examples, "body")
        operation["requestBody"] = {"required": not call.optional, "content": content}
    return operation


def _key(scope: str) -> str:
    return f"Needs a key with the scope `{scope}`, where keys are in use." if scope else "Needs no key."


def _anybody(endpoint: str) -> tuple[int, ...]:
    """Return how anybody may be refused: a foreign name or page, and where too much is asked at once."""
    foreign = () if endpoint == "health.healthz" else (403,)
    return foreign if endpoint in WATCHED else (*foreign, 503)


def _answer(endpoint: str, status: int, given: Any, examples: tuple[Example, ...]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": STATUSES[status]}
    kinds = () if given is None else given if isinstance(given, tuple) else (given,)
    if kinds:
        medias = [(kind if isinstance(kind, str) else JSON, kind) for kind in kinds]
        answer["content"] = {media: _content(media, kind) for media, kind in medias}
    shown = [example for example in examples if example.status == status]
    if shown:
        answer["content"][JSON]["examples"] = _shown(shown, "answer")
    links = LINKS.get((endpoint, status), {})
    if links:
        answer["links"] = {
            name.replace(".", "_"): {"operationId": name.replace(".", "_"), "parameters": parameters}
            for name, parameters in links.items()
        }
    return answer


def _content(media: str, schema: Any) -> dict[str, Any]:
    if not isinstance(schema, str):
        return {"schema": schema}
    return {"schema": _PLAIN.get(media, {"type": "string"} if media.startswith("text/") else BINARY)}


def _shown(examples: Any, what: str) -> Mapping[str, Any]:
    return {example.name: {"summary": example.about, "value": getattr(example, what)} for example in examples}
