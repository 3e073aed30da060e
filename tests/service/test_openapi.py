"""The description of the service: complete, valid, and true of the answers that a real service gives."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from described import (
    KEY,
    KEYED,
    Asked,
    check,
    datasets,
    files,
    jobs,
    labels,
    models,
    monitored,
    operations,
    pages,
    predictions,
    protocol,
    refusals,
)
from openapi_spec_validator import validate
from serving import JSON, ROOT, Service

from nncore.artifact import describe, to_bytes
from nncore.recipe import override, read_recipe, run
from service import openapi, openapi_answers
from service.dataset_forms import FILES, KINDS, options_of
from service.openapi_calls import CALLS, MAYBE, WATCHED
from service.openapi_examples import EXAMPLES, PARTS, Example
from service.openapi_words import FIELDS, HEADERS, PARAMETERS, STATUSES
from service.pressure import ALWAYS_ANSWERED
from service.scopes import needed

# Of all models there are more than the example shows.
OF_ALL_MODELS = ("health.readyz", "v2_repository.index")
QUERIES = [call.query for call in CALLS.values() if call.query]
SHOWN = [(view, example) for view, examples in EXAMPLES.items() for example in examples]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that may be changed, with a key and a rate, and without a trainer."""
    service = Service(
        tmp_path_factory.mktemp("described"), workers=1, admin_key=KEY, rate_limit="100000/hour"
    )
    yield service
    service.stop()
    print(service.log)


@pytest.fixture(scope="module")
def document(described: Service) -> dict[str, Any]:
    found: dict[str, Any] = described.ask("GET", "/openapi.json").json
    return found


@pytest.fixture(scope="module")
def strict(document: dict[str, Any]) -> dict[str, Any]:
    """The document, in which no answer may have a field that is not described."""
    closed: dict[str, Any] = json.loads(json.dumps(document))
    for schema in closed["components"]["schemas"].values():
        schema.setdefault("additionalProperties", False)
    return closed


@pytest.fixture
def app(make_app: Any) -> Any:
    return make_app()


def test_it_is_valid_openapi(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"] == "3.1.0"


def test_every_route_is_described_and_nothing_else(app: Any) -> None:
    rules = list(app.url_map.iter_rules())
    routes = [(openapi.path_of(rule), method) for rule in rules for method in rule.methods]
    wanted = {(path, method.lower()) for path, method in routes if method not in ("HEAD", "OPTIONS")}

    assert {(path, method) for path, method, _ in operations(openapi.document(app))} == wanted
    assert set(CALLS) == {rule.endpoint for rule in rules}


def test_every_field_parameter_and_status_has_words(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    fields = [(name, *field) for name, schema in schemas.items() for field in schema["properties"].items()]

    assert [(name, field) for name, field, said in fields if not said.get("description")] == []
    # None is left over of a field that has gone.
    there = {f"{name}.{field}" for name, field, _ in fields} | {field for _, field, _ in fields}
    queries = {f"{query.__name__}.{field}" for query in QUERIES for field in query().fields}
    assert set(FIELDS) <= there | queries | {field.partition(".")[2] for field in queries}
    assert set(MAYBE) <= set(schemas)
    used = json.dumps(document)
    for kind, words in (("parameters", PARAMETERS), ("headers", HEADERS)):
        assert [name for name in words if f'#/components/{kind}/{name}"' not in used] == []
    statuses = {status for _, _, found in operations(document) for status in found["responses"]}
    assert statuses == {str(status) for status in STATUSES}


def test_without_a_rate_nothing_is_said_of_one(app: Any, document: dict[str, Any]) -> None:
    assert "RateLimit-" in json.dumps(document)
    assert "RateLimit-" not in json.dumps(openapi.document(app))


def test_every_parameter_of_a_query_has_words(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert parameter.get("description") or "$ref" in parameter, operation["operationId"]


def test_each_call_says_which_scope_its_key_needs(document: dict[str, Any]) -> None:
    said = {found["operationId"]: found["security"] for _, _, found in operations(document)}

    for view in CALLS:
        scope = needed(view)
        assert said[view.replace(".", "_")] == ([{"key": [scope]}] if scope else []), view


def test_only_what_is_always_answered_is_never_busy(app: Any) -> None:
    rules = {rule.endpoint: openapi.path_of(rule) for rule in app.url_map.iter_rules()}

    assert {rules[view] for view in WATCHED} == ALWAYS_ANSWERED


def test_a_dataset_may_be_sent_with_all_that_its_form_reads(document: dict[str, Any]) -> None:
    form = document["components"]["schemas"]["DatasetForm"]

    options = {option for kind in KINDS for option in options_of(kind)}
    assert form["properties"].keys() == {"name", *FILES, *options}
    assert form["properties"].keys() - {FILES[0]} == openapi_answers.DatasetForm().fields.keys()


def test_every_call_that_takes_json_shows_an_example() -> None:
    taking = {view for view, call in CALLS.items() if "application/json" in call.takes}

    assert taking <= {view for view, example in SHOWN if example.body is not None}


@pytest.mark.parametrize(("view", "example"), SHOWN, ids=[f"{v}: {e.about}" for v, e in SHOWN])
def test_an_example_is_answered_as_it_says(
    described: Service, strict: dict[str, Any], view: str, example: Example
) -> None:
    name = view.replace(".", "_")
    path, method = next((p, m) for p, m, found in operations(strict) if found["operationId"] == name)
    where = re.sub(r"{(\w+)}", lambda part: {**PARTS, **example.path}[part[1]], path)
    body = None if example.body is None else json.dumps(example.body).encode()

    answer = described.ask(method.upper(), where, body, JSON | KEYED)

    assert answer.status == example.status, answer.body
    check(strict, path, method, answer)
    if view in ("predict.predict", "v2.infer"):
        assert close(example.answer, answer.json)
    elif view not in OF_ALL_MODELS:
        assert shape(example.answer) == shape(answer.json)


def shape(value: Any) -> Any:
    """Return what a value is made of, without what it says; a recipe comes back with all that it left out."""
    if isinstance(value, Mapping):
        return {name: "recipe" if name == "recipe" else shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value)


def close(shown: Any, real: Any) -> bool:
    """Tell whether values are the same but for the last digits of numbers."""
    if isinstance(shown, dict):
        return shown.keys() == real.keys() and all(close(shown[name], real[name]) for name in shown)
    if isinstance(shown, list):
        return len(shown) == len(real) and all(map(close, shown, real))
    return bool(shown == pytest.approx(real, abs=1e-4))


def test_answers_are_what_the_document_says(
    described: Service, strict: dict[str, Any], xor_file: Callable[[int], bytes]
) -> None:
    asked = Asked(described, strict)
    recipe = override(read_recipe((ROOT / "recipes" / "exam.json").read_bytes()), {"epochs": 2})
    for walk in (pages, refusals, predictions, models, labels, datasets, jobs, protocol):
        walk(asked)
    files(asked, xor_file)
    monitored(asked, to_bytes(describe(run(recipe))))

    # Nothing was left out.
    assert {found["operationId"] for _, _, found in operations(strict)} == asked.seen


def test_it_is_made_once_and_not_sent_to_who_has_it(described: Service) -> None:
    first = described.ask("GET", "/openapi.json")
    again = described.ask("GET", "/openapi.json", headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status, again.body) == (304, b"")


def test_paths_stand_under_the_prefix(make_app: Any) -> None:
    client = make_app(path_prefix="/nn").test_client()

    assert client.get("/openapi.json").json["servers"] == [{"url": "/nn"}]
    assert client.get("/").headers["Location"] == "/nn/docs"


def test_nothing_of_it_is_made_before_it_is_asked_for() -> None:
    script = "import service.api.web, sys; print('apispec' in sys.modules, 'service.openapi' in sys.modules)"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["False", "False"]
