"""What a prediction asks, as it is read from its body."""

import json
from typing import Any

import pytest

from service import schemas
from service.problems import Invalid


@pytest.mark.parametrize(
    "document",
    [
        {"model": "xor", "inputs": [[0, 1]]},
        {"model": "xor", "version": 3, "inputs": [[0, 255], [7, 7]]},
        {"model": "xor", "version": "2", "inputs": [[0, 1]]},
        {"model": "xor", "version": "stable", "inputs": [[0, 1]]},
        {"model": "xor", "version": 2.0, "inputs": [[0, 1]]},
        {"model": "xor", "inputs": [[0.5, 1]]},
        {"model": "xor", "inputs": [[0, 256]]},
        {"model": "", "inputs": [[0, 1]]},
        {"model": None, "inputs": [[0, 1]]},
        {"inputs": [[0, 1]]},
        {"model": "xor", "version": None, "inputs": [[0, 1]]},
        {"model": "xor", "version": 0, "inputs": [[0, 1]]},
        {"model": "xor", "version": 10**9, "inputs": [[0, 1]]},
        {"model": "xor", "version": True, "inputs": [[0, 1]]},
        {"model": "xor", "inputs": [[0, True]]},
        {"model": "xor", "inputs": [[0, "1"]]},
        {"model": "xor", "inputs": [[0, 1], [0]]},
        {"model": "xor", "inputs": []},
        {"model": "xor", "inputs": [[]]},
        {"model": "xor", "inputs": [[0, 1]], "images": ["aGk="]},
        {"model": "xor", "inputs": [[0, 1]], "other": 1},
        {"model": "xor"},
    ],
    ids=str,
)
def test_the_common_request_is_read_as_the_schema_reads_it(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps(document).encode()
    found = read_request(body)
    monkeypatch.setattr(schemas, "_common", lambda data: None)
    assert found == read_request(body)


def read_request(body: bytes) -> Any:
    try:
        request = schemas.load_predict(body)
    except Invalid as error:
        return error.errors
    inputs = request["inputs"]
    return request | {"inputs": (inputs.dtype, inputs.tolist())}
