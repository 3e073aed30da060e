"""The protocol with JSON: health, metadata, inference, and errors in its form."""

import json
import math

import pytest

JSON = {"Content-Type": "application/json"}


def is_an_error(answer):
    """Whether an answer is an error in the protocol's form."""
    kind = answer.headers["content-type"].partition(";")[0]
    return answer.status >= 400 and kind == "application/json" and isinstance(answer.json.get("error"), str)


def flat(data):
    return [value for item in data for value in flat(item)] if isinstance(data, list) else [data]


def nested(data, shape):
    if len(shape) < 2:
        return data
    step = len(data) // shape[0]
    return [nested(data[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def test_the_server_tells_its_name_version_and_extensions(server):
    answer = server.get("/v2")

    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] == "application/json"
    assert isinstance(answer.json["name"], str)
    assert isinstance(answer.json["version"], str)
    assert all(isinstance(name, str) for name in answer.json["extensions"])


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_the_server_is_live_and_ready(server, path):
    assert server.get(path).status == 200


def test_the_model_is_ready(server):
    assert server.get(f"/v2/models/{server.model}/ready").status == 200


def test_the_model_tells_its_tensors(server, metadata):
    assert metadata["name"] == server.model
    assert isinstance(metadata["platform"], str)
    for tensor in [*metadata["inputs"], *metadata["outputs"]]:
        assert isinstance(tensor["name"], str)
        assert isinstance(tensor["datatype"], str)
        assert all(isinstance(size, int) and size >= -1 for size in tensor["shape"])


def test_each_version_that_is_told_of_can_be_asked_for(server, metadata):
    for version in metadata.get("versions", []):
        path = f"/v2/models/{server.model}/versions/{version}"
        assert server.get(path).json["name"] == server.model
        assert server.get(f"{path}/ready").status == 200


def test_an_answer_has_every_output_of_the_metadata_with_as_many_values_as_its_shape(
    server, metadata, request_of_zeros
):
    answer = server.infer(request_of_zeros)

    assert answer.status == 200
    assert answer.json["model_name"] == server.model
    outputs = {output["name"]: output for output in answer.json["outputs"]}
    assert outputs.keys() == {tensor["name"] for tensor in metadata["outputs"]}
    for tensor in metadata["outputs"]:
        output = outputs[tensor["name"]]
        assert output["datatype"] == tensor["datatype"]
        assert len(flat(output["data"])) == math.prod(output["shape"])


def test_a_version_can_be_asked_by_name(server, metadata, request_of_zeros):
    for version in metadata.get("versions", []):
        path = f"/v2/models/{server.model}/versions/{version}/infer"
        answer = server.ask("POST", path, json.dumps(request_of_zeros).encode(), JSON)
        assert answer.status == 200
        # It need not be told; but what is told must be so.
        assert answer.json.get("model_version", version) == version


@pytest.mark.parametrize("name", ["42", "the id ✓"])
def test_the_id_of_a_request_comes_back(server, request_of_zeros, name):
    assert server.infer(request_of_zeros | {"id": name}).json["id"] == name


def test_nested_data_is_the_same_as_flat_data(server, request_of_zeros):
    flat = server.infer(request_of_zeros).json["outputs"]
    inputs = [item | {"data": nested(item["data"], item["shape"])} for item in request_of_zeros["inputs"]]

    assert server.infer({"inputs": inputs}).json["outputs"] == flat


def test_the_outputs_that_are_asked_for_come_and_no_others(server, metadata, request_of_zeros):
    for tensor in metadata["outputs"]:
        answer = server.infer(request_of_zeros | {"outputs": [{"name": tensor["name"]}]})
        assert [output["name"] for output in answer.json["outputs"]] == [tensor["name"]]


@pytest.mark.parametrize("path", ["", "/ready", "/infer"])
def test_a_model_that_is_not_there_is_an_error(server, path):
    method = "POST" if path == "/infer" else "GET"
    answer = server.ask(method, f"/v2/models/there-is-no-such-model{path}", b'{"inputs": []}')

    assert answer.status in (400, 404)
    if path != "/ready":
        assert is_an_error(answer)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1 << 62, 4]},
        {"shape": "1"},
        {"shape": None},
        {"datatype": "FP33"},
        {"datatype": None},
        {"data": None},
        {"data": []},
        {"data": {}},
        {"name": "there is no such input"},
        {"name": 1},
    ],
    ids=str,
)
def test_an_input_that_is_wrong_is_an_error(server, request_of_zeros, change):
    first, *others = request_of_zeros["inputs"]

    assert is_an_error(server.infer({"inputs": [first | change, *others]}))


def test_a_size_below_zero_is_an_error_where_it_is_not_taken(server, request_of_zeros):
    # A client must not send it; that a server must not take it is said nowhere.
    first, *others = request_of_zeros["inputs"]
    answer = server.infer({"inputs": [first | {"shape": [-1, *first["shape"][1:]]}, *others]})

    assert answer.status == 200 or is_an_error(answer)


def test_more_values_than_the_shape_has_are_an_error(server, request_of_zeros):
    first, *others = request_of_zeros["inputs"]
    too_many = first | {"data": first["data"] * 2}

    assert is_an_error(server.infer({"inputs": [too_many, *others]}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"1", b"\xff", b'{"inputs": 1}', b"{}"])
def test_a_body_that_is_no_request_is_an_error(server, body):
    path = f"/v2/models/{server.model}/infer"

    assert is_an_error(server.ask("POST", path, body, JSON))


def test_an_output_that_is_not_there_is_an_error(server, request_of_zeros):
    wanted = {"outputs": [{"name": "there is no such output"}]}

    assert is_an_error(server.infer(request_of_zeros | wanted))


def test_the_server_goes_on_after_all_that(server, request_of_zeros):
    assert server.infer(request_of_zeros).status == 200
