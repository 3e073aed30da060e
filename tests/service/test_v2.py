"""The Open Inference Protocol, as far as the conformance folder does not go: what is our own in it."""

import json
import os
import signal
import struct

import numpy as np
import pytest
from serving import JSON, NEWEST, wait_for

from nncore.explaining import activations, saliency
from nncore.predictor import load
from nncore.publishing import MODEL_FILE
from service.store import Store

XOR = {"name": "input", "shape": [2, 2], "datatype": "FP32", "data": [0, 1, 1, 1]}
HEADER_LENGTH = "Inference-Header-Content-Length"


def infer(service, model, document, **headers):
    return service.ask("POST", f"/v2/models/{model}/infer", json.dumps(document).encode(), headers)


def binary(document, *parts):
    """Return a body of JSON with bytes behind it, and its header."""
    header = json.dumps(document).encode()
    return b"".join([header, *parts]), {HEADER_LENGTH: str(len(header))}


def outputs(answer):
    assert answer.status == 200, answer.body
    return {output["name"]: output for output in answer.json["outputs"]}


def test_ready_has_both_live_and_ready(service):
    answer = service.ask("GET", "/v2/health/ready")

    assert answer.json == {"live": True, "ready": True}
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"")])
def test_the_server_tells_of_itself_at_either_address_by_either_method(service, path, method, body):
    answer = service.ask(method, path, body)

    assert answer.json["name"] == "nnserve"
    assert service.ask("POST", path, b"{}").status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/none", 404),
        ("GET", "/v2/models/xor/versions/99", 404),
        ("GET", "/v2/models/xor/versions/nolabel/stats", 404),
        ("GET", "/v2/models/none/stats", 404),
        ("DELETE", "/v2/models/xor", 405),
        ("POST", "/v2/repository/models/xor/unload", 400),
        ("POST", "/v2/repository/models/none/load", 404),
    ],
)
def test_errors_have_the_form_of_the_protocol(service, method, path, status):
    answer = service.ask(method, path)

    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    assert ("allow" in answer.headers) == (status == 405)


def test_a_body_over_its_cap_is_an_error_in_that_form_too(service):
    answer = service.ask("POST", "/v2/models/xor/infer", b" " * ((2 << 20) + 1))

    assert (answer.status, list(answer.json)) == (413, ["error"])
    assert answer.headers["content-type"] == "application/json"


def test_the_answers_are_those_of_predict(service, digits):
    pixels = np.array([digit.pixels for digit in digits])
    said = service.predict(model="digits", inputs=pixels.tolist()).json["predictions"]
    tensor = {"name": "input", "shape": [*pixels.shape], "datatype": "UINT8", "data": pixels.tolist()}

    answer = infer(service, "digits", {"id": "a", "inputs": [tensor]}, **{"Content-Type": "text/plain"})

    found = outputs(answer)
    assert found["label"]["data"] == [prediction["label"] for prediction in said]
    probabilities = np.reshape(found["probabilities"]["data"], found["probabilities"]["shape"])
    assert np.allclose(probabilities, [prediction["probabilities"] for prediction in said], atol=1e-6)
    assert answer.json["id"] == "a"
    assert answer.json["model_version"] == str(NEWEST["digits"])


def test_a_regression_gives_values(service):
    tensor = {"name": "input", "shape": [2, 1], "datatype": "FP64", "data": [1.5, -1]}

    (value,) = infer(service, "line", {"inputs": [tensor]}).json["outputs"]

    assert value["name"] == "value"
    assert value["shape"] == [2, 1]
    assert np.allclose(value["data"], [4, -1], atol=0.02)


@pytest.mark.parametrize("version", ["1", "stable"])
def test_a_version_is_named_by_its_number_or_a_label(service, version):
    path = f"/v2/models/xor/versions/{version}"

    answer = service.ask("POST", f"{path}/infer", json.dumps({"inputs": [XOR]}).encode())

    assert answer.json["model_version"] == "1"
    assert service.ask("GET", path).json["parameters"]["version"] == "1"


def test_what_lies_behind_an_answer_is_given_on_request(service, digits):
    pixels = np.array([digit.pixels for digit in digits])
    document = {
        "inputs": [{"name": "input", "shape": [*pixels.shape], "datatype": "UINT8", "data": pixels.tolist()}],
        "outputs": [{"name": name} for name in ("saliency", "activations.2", "label", "activations.0")],
    }

    found = outputs(infer(service, "digits", document))

    predictor = load(service.store / "digits" / str(NEWEST["digits"]) / MODEL_FILE)
    network, steps = predictor.network, predictor.card.input.steps
    classes = predictor.predict(pixels).argmax(axis=1)
    expected = saliency(network, steps, pixels, "classes", classes)
    assert list(found) == ["saliency", "activations.2", "label", "activations.0"]
    assert found["saliency"]["shape"] == [*pixels.shape]
    assert np.allclose(found["saliency"]["data"], expected.ravel(), rtol=1e-3, atol=1e-6)
    for name, given in zip(
        ("activations.0", "activations.2"), activations(network, steps, pixels, [0, 2]), strict=True
    ):
        assert found[name]["shape"] == [*given.shape]
        assert np.allclose(found[name]["data"], given.ravel(), rtol=1e-3, atol=1e-5)


def ask_behind(service, rows, *names):
    size = {"parameters": {"binary_data_size": rows * 784}}
    tensor = {"name": "input", "shape": [rows, 784], "datatype": "UINT8"} | size
    document = {"inputs": [tensor], "outputs": [{"name": name} for name in names]}
    body, headers = binary(document, bytes([255]) * (rows * 784))
    return service.ask("POST", "/v2/models/digits/infer", body, headers)


def test_outputs_larger_than_an_upload_are_refused_before_they_are_worked_out(service):
    answer = ask_behind(service, 500, "activations.0")

    assert answer.status == 400
    assert "send fewer examples" in answer.json["error"]
    assert answer.seconds < 5


@pytest.mark.parametrize("name", ["saliency", "activations.0"])
def test_what_lies_behind_answers_is_given_for_fewer_examples_than_answers_are(service, name):
    answer = ask_behind(service, 501, "label", name)

    assert answer.status == 400
    assert answer.json["error"] == f"{name} is given for at most 500 examples a request, not 501."
    assert ask_behind(service, 501, "label").status == 200


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "INT64", "UINT8", "UINT64", "FP16", "FP32", "FP64"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_numbers_of_every_datatype_are_taken(service, datatype, as_bytes):
    values = np.array([[0, 1], [1, 1]]).astype(datatype.lower().replace("fp", "float"))
    tensor = {"name": "input", "shape": [2, 2], "datatype": datatype}
    if as_bytes:
        tensor["parameters"] = {"binary_data_size": values.nbytes}
        body, headers = binary({"inputs": [tensor]}, values.tobytes())
    else:
        body, headers = json.dumps({"inputs": [tensor | {"data": values.tolist()}]}).encode(), JSON

    found = outputs(service.ask("POST", "/v2/models/xor/infer", body, headers))

    assert found["label"]["data"] == ["1", "0"]


def test_texts_in_bytes_stand_after_their_lengths(service):
    wanted = {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]}

    answer = infer(service, "xor", {"inputs": [XOR]} | wanted)

    length = int(answer.headers["inference-header-content-length"])
    assert answer.body[length:] == struct.pack("<I", 1) + b"1" + struct.pack("<I", 1) + b"0"


def test_the_index_tells_what_cannot_be_served_and_load_says_why(make_app, xor_file, tmp_path):
    for number, content in ((1, xor_file(1)), (2, b"nothing")):
        folder = tmp_path / "store" / "xor" / str(number)
        folder.mkdir(parents=True)
        (folder / MODEL_FILE).write_bytes(content)
    client = make_app().test_client()

    states = [item["state"] for item in client.post("/v2/repository/index").json]
    ready = client.post("/v2/repository/index", json={"ready": True}).json
    loaded = client.post("/v2/repository/models/xor/load")

    assert states == ["READY", "UNAVAILABLE"]
    assert [item["version"] for item in ready] == ["1"]
    assert loaded.status_code == 503
    assert "2: truncated" in loaded.json["error"]
    assert client.get("/v2/models/xor/versions/2/ready").status_code == 503
    assert client.get("/v2/health/ready").json["ready"] is True


def test_load_reads_a_version_from_the_disk_anew(xor_file, tmp_path):
    file = tmp_path / "xor" / "1" / MODEL_FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(xor_file(1))
    store = Store(tmp_path)
    before = store.get("xor")

    assert store.reload("xor").stable is not before
    file.write_bytes(b"nothing")
    assert "1" in store.reload("xor").complaints()
    assert store.get("xor").sha256 == before.sha256
    file.write_bytes(xor_file(1))
    assert store.reload("xor").complaints() == {}


@pytest.mark.parametrize("parameters", [{"config": "{}"}, False, []])
def test_load_takes_no_parameters(service, parameters):
    body = json.dumps({"parameters": parameters}).encode()

    assert service.ask("POST", "/v2/repository/models/xor/load", body).status == 400
    assert service.ask("POST", "/v2/repository/models/xor/load", b"{}").status == 200


def test_statistics_are_those_of_all_workers_and_outlive_one(start):
    service = start(workers=2)

    def succeeded():
        (stats,) = service.ask("GET", "/v2/models/xor/versions/1/stats").json["model_stats"]
        return stats["inference_stats"]["success"]["count"], stats["inference_count"]

    for _ in range(20):
        assert infer(service, "xor", {"inputs": [XOR]}).status == 200
    assert infer(service, "xor", {"inputs": []}).status == 400
    assert [succeeded() for _ in range(8)] == [(20, 40)] * 8

    first = service.workers()[0].pid
    os.kill(first, signal.SIGKILL)
    wait_for(
        lambda: len(service.workers()) == 2 and first not in [worker.pid for worker in service.workers()],
        "another worker",
        service,
    )
    assert infer(service, "xor", {"inputs": [XOR]}).status == 200
    assert [succeeded() for _ in range(8)] == [(21, 42)] * 8
    (stats,) = service.ask("GET", "/v2/models/stats").json["model_stats"]
    assert stats["inference_stats"]["fail"]["count"] == 1
    parts = stats["inference_stats"]
    assert 0 < parts["compute_infer"]["ns"] < parts["success"]["ns"]
