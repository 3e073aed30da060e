"""Calls of a service one after the other, each answer held to what the document says of it."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from serving import JSON, ROOT, Answer, Service, multipart

from service.openapi_examples import PARTS
from service.openapi_words import HEADERS

KEY = "a-key-for-administrators-of-a-test"
KEYED = {"Authorization": f"Bearer {KEY}"}
TRACED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
BINARY = {"Content-Type": "application/octet-stream"}
NOBODY: dict[str, str] = {}
IRIS = ROOT / "docs" / "iris.csv"
SEVEN = ROOT / "docs" / "seven.png"
VERSION = "/models/{model}/versions/{version}"
LABEL = "/models/{model}/labels/{label}"


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def check(document: dict[str, Any], path: str, method: str, answer: Answer) -> None:
    """Fail where an answer is not what the document says of it."""
    response = document["paths"][path][method.lower()]["responses"].get(str(answer.status))
    assert response is not None, (path, method, answer.status, answer.body)
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    headers = response.get("headers", {})
    for name in HEADERS:
        if name.lower() in answer.headers:
            assert name in headers, (path, method, answer.status, name)
        elif name in headers:
            assert not document["components"]["headers"][name]["required"], (path, method, name)
    media = answer.headers.get("content-type", "").partition(";")[0]
    if "content" not in response:
        assert answer.body == b""
        return
    schema = response["content"][media]["schema"]
    if media.endswith("json"):
        whole = schema | {"components": document["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json)


class Asked:
    """Asks a service; `seen` are the operations that were asked."""

    def __init__(self, service: Service, document: dict[str, Any]) -> None:
        self.service, self.document = service, document
        self.seen: set[str] = set()

    def __call__(
        self,
        status: int,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] = KEYED,
        **parts: str,
    ) -> Answer:
        """Ask, and fail where the status is another one or the answer not as described."""
        where = path.format(**{**PARTS, **parts})
        content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        kind = JSON if content else {}
        answer = self.service.ask(method, where, content, {**kind, **headers})
        assert answer.status == status, (where, answer.status, answer.body)
        template = path.partition("?")[0]
        check(self.document, template, method, answer)
        self.seen.add(self.document["paths"][template][method.lower()]["operationId"])
        return answer


def pages(ask: Asked) -> None:
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/openapi.json"):
        ask(200, "GET", path, headers=NOBODY)
    etag = ask(200, "GET", "/docs", headers=NOBODY).headers["etag"]
    ask(304, "GET", "/docs", headers={"If-None-Match": etag})
    ask(302, "GET", "/", headers=NOBODY)
    for file in ("swagger-ui.css", "swagger-ui-bundle.js", "draw.js", "favicon-32x32.png"):
        etag = ask(200, "GET", "/docs/{file}", headers=NOBODY, file=file).headers["etag"]
        ask(304, "GET", "/docs/{file}", headers={"If-None-Match": etag}, file=file)
    ask(404, "GET", "/docs/{file}", file="package.json")


def refusals(ask: Asked) -> None:
    assert "www-authenticate" in ask(401, "GET", "/models", headers=NOBODY).headers
    ask(401, "GET", "/v2", headers=NOBODY)
    ask(403, "GET", "/models", headers={"Origin": "https://elsewhere.example"})
    ask(400, "POST", "/predict", b"{")
    ask(404, "POST", "/predict", {"model": "none", "inputs": [[1]]})
    ask(413, "POST", "/predict", b" " * ((2 << 20) + 1))
    ask(415, "POST", "/predict", b"<x/>", {"Content-Type": "text/xml"} | KEYED)
    ask(422, "POST", "/predict", {"model": "xor"})
    for path in ("/models", "/v2"):
        ask(414, "GET", f"{path}?{'x' * 5000}")
        ask(431, "GET", path, headers={"X": "x" * 9000})


def predictions(ask: Asked) -> None:
    ask(200, "POST", "/predict", *form({"model": "digits"}, "image", SEVEN))
    ask(200, "POST", "/predict", {"model": "line", "inputs": [[1]]})
    for model in ("digits", "exam", "line", "xor"):
        ask(200, "GET", "/models/{model}/monitoring", model=model)
    ask(404, "GET", "/models/{model}/monitoring", model="none")
    ask(200, "GET", "/metrics")


def models(ask: Asked) -> None:
    assert "traceresponse" in ask(200, "GET", "/models", headers=KEYED | TRACED).headers
    ask(200, "GET", "/models/{model}")
    for model in ("digits", "exam", "line", "xor"):
        ask(200, "GET", VERSION, model=model)
    ask(404, "GET", VERSION, version="none")


def labels(ask: Asked) -> None:
    ask(200, "PUT", LABEL, {"version": 1}, label="candidate")
    ask(200, "GET", LABEL, label="candidate")
    ask(204, "DELETE", LABEL, label="candidate")
    ask(409, "DELETE", LABEL)
    ask(404, "GET", LABEL, label="none")
    ask(422, "GET", f"{LABEL}?limit=0")


def files(ask: Asked, xor_file: Callable[[int], bytes]) -> None:
    versions, model, binary = "/models/{model}/versions", {"model": "sent"}, BINARY | KEYED
    ask(201, "POST", versions, xor_file(1), binary, **model)
    ask(200, "POST", versions, xor_file(1), binary, **model)
    ask(201, "POST", f"{versions}?promote=never", xor_file(2), binary, **model)
    ask(422, "POST", versions, b"nothing", binary, **model)
    etag = ask(200, "GET", f"{VERSION}/file", **model).headers["etag"]
    ask(304, "GET", f"{VERSION}/file", headers={"If-None-Match": etag} | KEYED, **model)
    ask(409, "DELETE", VERSION, **model)
    ask(204, "DELETE", VERSION, **model, version="2")
    ask(404, "GET", VERSION, **model, version="2")


def monitored(ask: Asked, exam_file: bytes) -> None:
    """A version with a reference to compare with; those that came with nnserve have none."""
    model = {"model": "exam-again"}
    ask(201, "POST", "/models/{model}/versions", exam_file, BINARY | KEYED, **model)
    ask(200, "POST", "/predict", model | {"inputs": [[n / 100] for n in range(1, 1000)]})
    answer = ask(200, "GET", "/models/{model}/monitoring", **model).json
    assert answer["labels"]["reference"] is not None


def datasets(ask: Asked) -> None:
    sent = form({"name": "iris", "target": "species"}, "file", IRIS)
    ask(201, "POST", "/datasets", *sent)
    ask(200, "POST", "/datasets", *sent)
    ask(422, "POST", "/datasets", *form({"name": "iris"}, "file", SEVEN))
    ask(200, "GET", "/datasets")
    ask(422, "GET", "/datasets?limit=0")
    ask(200, "GET", "/datasets/{name}")
    ask(404, "GET", "/datasets/{name}/sheet")
    ask(204, "DELETE", "/datasets/{name}")
    ask(404, "GET", "/datasets/{name}")


def jobs(ask: Asked) -> None:
    key = {"Idempotency-Key": "a"} | KEYED
    job = {"job_id": ask(202, "POST", "/train", {"model": "xor", "recipe": "xor"}, key).json["id"]}
    ask(409, "POST", "/train", {"model": "xor", "recipe": "line"}, key)
    ask(422, "POST", "/train", {"model": "xor", "recipe": "none"})
    ask(200, "GET", "/train?limit=1&state=queued")
    ask(422, "GET", "/train?limit=x")
    ask(200, "GET", "/train/{job_id}", **job)
    ask(404, "GET", "/train/{job_id}")
    ask(200, "POST", "/train/{job_id}/cancel", **job)
    ask(200, "GET", "/train/{job_id}/events", **job)
    ask(204, "GET", "/train/{job_id}/events", headers={"Last-Event-ID": "9"} | KEYED, **job)
    ask(422, "GET", "/train/{job_id}/events", headers={"Last-Event-ID": "x"} | KEYED, **job)
    ask(202, "POST", "/train/{job_id}/retry", **job)
    ask(409, "POST", "/train/{job_id}/retry", **job)
    ask(200, "POST", "/train/{job_id}/cancel", **job)


def protocol(ask: Asked) -> None:
    asked = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [0, 1]}]}
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        ask(200, "POST", f"{path}/infer", asked)
        ask(400, "POST", f"{path}/infer", {"inputs": []})
        for below in ("", "/ready", "/config", "/stats"):
            ask(200, "GET", f"{path}{below}")
            ask(404, "GET", f"{path}{below}", model="none")
    in_bytes = asked | {"parameters": {"binary_data_output": True}}
    answer = ask(200, "POST", "/v2/models/{model}/infer", in_bytes)
    assert answer.headers["content-type"] == BINARY["Content-Type"]
    for method, path in (("GET", "/v2"), ("POST", "/v2"), ("GET", "/v2/models/stats")):
        ask(200, method, path)
    ask(200, "POST", "/v2/repository/index")
    ask(200, "POST", "/v2/repository/models/{model}/load")
    ask(400, "POST", "/v2/repository/models/{model}/unload")


def form(fields: Mapping[str, str], field: str, file: Path) -> tuple[bytes, dict[str, str]]:
    body, headers = multipart(fields.items(), [(field, file.name, file.read_bytes())])
    return body, headers | KEYED
