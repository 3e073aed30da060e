"""The extensions, where a server says that it has them: binary tensors, configuration, statistics, index."""

import json

import pytest
from test_conformance_json import is_an_error

BYTES_OF_A = b"\x01\x00\x00\x00a"


@pytest.fixture
def binary(extensions):
    if "binary_tensor_data" not in extensions:
        pytest.skip("the server does not have the extension binary_tensor_data")


def in_bytes(request):
    """Return a request of zeros with its tensors as bytes, and the bytes."""
    inputs, parts = [], []
    for item in request["inputs"]:
        bits = {"BOOL": 8}.get(item["datatype"]) or int("".join(filter(str.isdigit, item["datatype"])) or 0)
        one = bytes(bits // 8) if item["datatype"] != "BYTES" else BYTES_OF_A
        parts.append(one * len(item["data"]))
        without = {key: value for key, value in item.items() if key != "data"}
        inputs.append(without | {"parameters": {"binary_data_size": len(parts[-1])}})
    return request | {"inputs": inputs}, b"".join(parts)


def test_tensors_in_bytes_are_answered_as_those_in_json(server, binary, request_of_zeros):
    request, behind = in_bytes(request_of_zeros)

    assert (
        server.infer(request, behind=behind).json["outputs"] == server.infer(request_of_zeros).json["outputs"]
    )


def test_outputs_come_in_bytes_when_all_are_asked_for_so(server, binary, request_of_zeros):
    answer = server.infer(request_of_zeros | {"parameters": {"binary_data_output": True}})

    length = int(answer.headers["inference-header-content-length"])
    outputs = json.loads(answer.body[:length])["outputs"]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert all("data" not in output for output in outputs)
    assert length + sum(sizes) == len(answer.body)


def test_one_output_comes_in_bytes_when_it_is_asked_for_so(server, binary, metadata, request_of_zeros):
    name = metadata["outputs"][0]["name"]
    answer = server.infer(
        request_of_zeros | {"outputs": [{"name": name, "parameters": {"binary_data": True}}]}
    )

    length = int(answer.headers["inference-header-content-length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer.body) - length


@pytest.mark.parametrize("change", [-1, 1, 1 << 40], ids=["too few", "too many", "far too many"])
def test_a_size_that_is_not_that_of_the_bytes_is_an_error(server, binary, request_of_zeros, change):
    request, behind = in_bytes(request_of_zeros)
    request["inputs"][0]["parameters"]["binary_data_size"] += change

    assert is_an_error(server.infer(request, behind=behind))


@pytest.mark.parametrize("length", ["-1", "x", "99999999", ""])
def test_a_header_length_that_is_wrong_is_an_error(server, binary, request_of_zeros, length):
    request, behind = in_bytes(request_of_zeros)

    headers = {"Inference-Header-Content-Length": length}
    assert is_an_error(server.infer(request, headers, behind=behind))


def test_the_configuration_names_the_tensors_of_the_metadata(server, extensions, metadata):
    if "model_configuration" not in extensions:
        pytest.skip("the server does not have the extension model_configuration")
    config = server.get(f"/v2/models/{server.model}/config").json

    assert config["name"] == server.model
    for mine, theirs in (("input", "inputs"), ("output", "outputs")):
        assert {t["name"] for t in config[mine]} == {t["name"] for t in metadata[theirs]}
        assert all(t["data_type"].startswith("TYPE_") and t["dims"] for t in config[mine])


def test_statistics_count_an_inference_and_a_failure(server, extensions, request_of_zeros):
    if "statistics" not in extensions:
        pytest.skip("the server does not have the extension statistics")

    def counts():
        stats = server.get(f"/v2/models/{server.model}/stats").json["model_stats"]
        parts = [version["inference_stats"] for version in stats if version["name"] == server.model]
        return [sum(part[name]["count"] for part in parts) for name in ("success", "fail")]

    server.infer(request_of_zeros)
    successes, failures = counts()
    server.infer(request_of_zeros)
    server.infer({"inputs": [request_of_zeros["inputs"][0] | {"name": "there is no such input"}]})

    assert counts()[0] == successes + 1
    assert counts()[1] >= failures


def test_the_index_lists_the_model(server, extensions):
    if "model_repository" not in extensions:
        pytest.skip("the server does not have the extension model_repository")
    index = server.ask("POST", "/v2/repository/index", b"").json

    assert any(item["name"] == server.model and item["state"] == "READY" for item in index)
