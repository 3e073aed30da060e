"""Requests that lie, overflow or unpack to too much: each refused in words, none of them dear."""

import gzip
import json
import struct
import zlib

import pytest
from test_v2 import HEADER_LENGTH, XOR, binary

PATH = "/v2/models/xor/infer"
# Without the time, which would be in the tests' names, and differ from one process of pytest to the next.
PACKED = gzip.compress(b"{}", mtime=0)


def changed(**changes):
    return {"inputs": [XOR | changes]}


WRONG = {
    "a shape past 64 bits": (
        changed(shape=[1 << 32, 1 << 32]),
        "has 4,294,967,296 examples; one request takes at most 10,000",
    ),
    "a shape whose product is 0 in 64 bits": (changed(shape=[2, 1 << 63]), "has 9223372036854775808 numbers"),
    "a negative shape": (changed(shape=[-2, -2]), "whole numbers, 0 or more"),
    "a shape of booleans": (changed(shape=[True, 4]), "whole numbers, 0 or more"),
    "a shape of fractions": (changed(shape=[2.0, 2]), "whole numbers, 0 or more"),
    "no shape": (changed(shape=[]), "1 to 6 whole numbers"),
    "a thousand axes": (changed(shape=[1] * 1000), "1 to 6 whole numbers"),
    "no examples": (changed(shape=[0, 2], data=[]), "at least one example"),
    "no examples of a size past 64 bits": (changed(shape=[0, 1 << 62], data=[]), "at least one example"),
    "more values than the shape": (changed(data=[0] * 5), "data has 5 values, and the shape [2, 2] 4"),
    "nesting unlike the shape": (changed(data=[[0, 1], [1]]), "nested as the shape [2, 2] says"),
    "nesting too deep": (changed(data=[[[0], [1]], [[1], [1]]]), "must be FP32"),
    "a text among numbers": (changed(data=[0, 1, "1", 1]), "value 2 of data must be FP32, a finite number"),
    "null among numbers": (changed(data=[0, None, 1, 1]), "value 1 of data"),
    "true among numbers": (changed(data=[0, 1, 1, True]), "value 3 of data must be FP32"),
    "a number past 32 bits": (changed(data=[0, 1, 1, 1e39]), "value 3 of data must be FP32"),
    "a double past 32 bits": (
        changed(datatype="FP64", data=[0, 1, 1e39, 1]),
        "input[1, 0]: must be a finite",
    ),
    "a fraction among whole numbers": (changed(datatype="INT8", data=[0, 1, 0.5, 1]), "value 2 of data"),
    "a byte too large": (changed(datatype="UINT8", data=[0, 256, 1, 1]), "value 1 of data must be UINT8"),
    "a number for a boolean": (changed(datatype="BOOL", data=[True, 1, 1, 1]), "must be true or false"),
    "texts for numbers": (changed(datatype="BYTES"), "takes numbers, and no texts"),
    "an unknown datatype": (changed(datatype="BF16"), "datatype must be one of"),
    "a datatype that is a list": (changed(datatype=["FP32"]), "datatype must be one of"),
    "another name": (changed(name="x"), "takes one tensor input; sent were x"),
    "the same name twice": ({"inputs": [XOR, XOR]}, "inputs has 'input' twice"),
    "an id that is a number": (changed() | {"id": 7}, "id must be a text, not 7"),
    "an id that is a list": (changed() | {"id": ["a"]}, "id must be a text"),
    "inputs that are no objects": ({"inputs": [1]}, "must hold objects"),
    "inputs without end": ({"inputs": [{}] * 5001}, "at most 5,000"),
    "parameters that are a list": (changed(parameters=[]), "parameters must be an object"),
    "shared memory": (changed(parameters={"shared_memory_region": "a"}), "is not offered here"),
    "the same output twice": (changed() | {"outputs": [{"name": "label"}] * 2}, "'label' twice"),
    "a layer that is not there": (
        changed() | {"outputs": [{"name": "activations.9"}]},
        "no output 'activations.9'; it has probabilities, label, saliency, activations.0",
    ),
    "classification": (
        changed() | {"outputs": [{"name": "label", "parameters": {"classification": 2}}]},
        "classification is not offered",
    ),
    "a flag that is a number": (changed() | {"parameters": {"binary_data_output": 1}}, "true or false"),
    "bytes without the header": (
        {"inputs": [{**changed(parameters={"binary_data_size": 16})["inputs"][0]}]},
        "both data and the parameter",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_request_that_is_wrong_is_told_what_is_wrong(service, case):
    document, says = WRONG[case]

    answer = service.ask("POST", PATH, json.dumps(document).encode())

    assert answer.status == 400, answer.body
    assert says in answer.json["error"]
    assert answer.seconds < 2


def tensor(size, **changes):
    without = {key: value for key, value in XOR.items() if key != "data"}
    return {"inputs": [without | {"parameters": {"binary_data_size": size}} | changes]}


BYTES = {
    "a size past the body": (tensor(1 << 62), bytes(16), "only 16 bytes are left"),
    "a size that is negative": (tensor(-16), bytes(16), "0 or more, not -16"),
    "a size that is a text": (tensor("16"), bytes(16), "0 or more, not '16'"),
    "a size that is true": (tensor(True), bytes(16), "0 or more, not true"),
    "bytes left behind": (tensor(16), bytes(17), "1 bytes are left behind the tensors"),
    "too few bytes for the shape": (tensor(12), bytes(12), "FP32 [2, 2] 16 bytes"),
    "a shape past 64 bits": (tensor(0, shape=[1 << 63, 1 << 63]), b"", "at most 10,000"),
    "NaN": (tensor(16), struct.pack("<4f", 0, 1, 1, float("nan")), "input[1, 1]: must be a finite number"),
    "infinity in 16 bits": (
        tensor(8, datatype="FP16"),
        struct.pack("<4e", 0, 1, float("inf"), 1),
        "input[1, 0]: must be a finite number",
    ),
    "a boolean of 2": (tensor(4, datatype="BOOL"), b"\0\1\2\1", "must be a byte of 0 or 1"),
    "texts for numbers, before one is read": (
        tensor(16, datatype="BYTES"),
        b"\xff" * 16,
        "takes numbers, and no texts",
    ),
    "too many examples, before there are any": (tensor(0, shape=[10_001, 2]), b"", "has 10,001 examples"),
}


@pytest.mark.parametrize("case", BYTES)
def test_bytes_that_are_wrong_are_told_what_is_wrong(service, case):
    document, behind, says = BYTES[case]
    body, headers = binary(document, behind)

    answer = service.ask("POST", PATH, body, headers)

    assert answer.status == 400, answer.body
    assert says in answer.json["error"]


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "", " ", "99999999999999999999", "1_0", "٣"])
def test_a_header_length_that_is_no_number_is_refused(service, length):
    body, _ = binary(tensor(16), bytes(16))

    answer = service.ask("POST", PATH, body, {HEADER_LENGTH: length.encode()})

    assert answer.status == 400
    assert "must be a whole number" in answer.json["error"]


@pytest.mark.parametrize(
    ("length", "says"),
    [("9999", "and the body has"), ("99999999", "and the body has"), ("0", "not JSON"), ("9", "not JSON")],
)
def test_a_header_length_that_is_wrong_is_refused(service, length, says):
    body, _ = binary(tensor(16), bytes(16))

    answer = service.ask("POST", PATH, body, {HEADER_LENGTH: length})

    assert answer.status == 400
    assert says in answer.json["error"]


def test_the_json_before_tensors_is_no_larger_than_json_without(service):
    body = b" " * ((2 << 20) + 1)

    answer = service.ask("POST", PATH, body, {HEADER_LENGTH: str(len(body))})

    assert answer.status == 413
    assert "JSON before the tensors may have at most 2,097,152 bytes" in answer.json["error"]


def test_bytes_need_the_header_that_tells_where_they_begin(service):
    answer = service.ask("POST", PATH, json.dumps(tensor(0)).encode())

    assert answer.status == 400
    assert f"needs the header {HEADER_LENGTH}" in answer.json["error"]


@pytest.mark.parametrize("header", [None, "10"])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_body_that_unpacks_to_too_much_is_refused_without_being_unpacked(service, encoding, header):
    packed = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](b" " * (17 << 20))
    headers = {"Content-Encoding": encoding} | ({HEADER_LENGTH: header} if header else {})

    answer = service.ask("POST", PATH, packed, headers)

    assert answer.status == 413
    assert "when it is unpacked" in answer.json["error"]
    assert answer.seconds < 2


@pytest.mark.parametrize(
    ("body", "encoding", "status", "says"),
    [
        (b"{}", "gzip", 400, "The body is not gzip"),
        (PACKED[:-1], "gzip", 400, "not one whole gzip stream"),
        (PACKED + b"x", "gzip", 400, "not one whole gzip stream"),
        (b"{}", "br", 415, "must be gzip or deflate, not br"),
        (gzip.compress(PACKED, mtime=0), "gzip, gzip", 415, "must be gzip or deflate"),
    ],
)
def test_a_body_that_is_not_packed_as_it_says_is_refused(service, body, encoding, status, says):
    answer = service.ask("POST", PATH, body, {"Content-Encoding": encoding})

    assert answer.status == status
    assert says in answer.json["error"]


def test_json_nested_without_end_is_refused(service):
    answer = service.ask("POST", PATH, b'{"inputs":' + b"[" * 100_000)

    assert answer.status == 400


def test_pixels_scaled_to_one_are_told_to_be_so(service):
    body, headers = binary(
        {"inputs": [tensor(784 * 4)["inputs"][0] | {"shape": [1, 784]}]}, struct.pack("<f", 0.5) * 784
    )

    answer = service.ask("POST", "/v2/models/digits/infer", body, headers)

    assert answer.status == 400
    assert answer.json["error"].startswith("input[0]: has no number above 0.5, and this model takes 0 to 255")
