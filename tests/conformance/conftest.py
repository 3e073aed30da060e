"""What the conformance tests ask: any server of the Open Inference Protocol, or without --base-url our own.

The folder stands alone: it needs pytest and Python's own library, and with --base-url nothing of nnserve.
"""

import http.client
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

DEADLINE = 20.0
# A value of each datatype that any model should take, and how many bytes it has behind the JSON.
VALUES: dict[str, tuple[Any, int]] = {
    "BOOL": (False, 1),
    "BYTES": ("a", 5),
    **{f"{sign}INT{bits}": (0, bits // 8) for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": (0.0, bits // 8) for bits in (16, 32, 64)},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--base-url", help="server to ask, http://127.0.0.1:8000 say; by default our own")
    parser.addoption("--model", help="model to ask, whose inputs take zeros")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """A server and one of its models."""

    def __init__(self, base_url: str, model: str) -> None:
        self.url, self.model = urllib.parse.urlsplit(base_url), model

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(self.url.hostname or "", self.url.port, timeout=DEADLINE)
        try:
            connection.request(method, self.url.path.rstrip("/") + path, body, headers or {})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def infer(self, request: Any, headers: dict[str, str] | None = None, behind: bytes = b"") -> Answer:
        """Ask the model; bytes of tensors stand behind the JSON."""
        body = json.dumps(request).encode()
        extra = {"Inference-Header-Content-Length": str(len(body))} if behind else {}
        path = f"/v2/models/{urllib.parse.quote(self.model)}/infer"
        kind = "application/octet-stream" if behind else "application/json"
        return self.ask("POST", path, body + behind, {"Content-Type": kind, **extra, **(headers or {})})


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server that is asked."""
    base_url, model = (request.config.getoption(name, default=None) for name in ("--base-url", "--model"))
    if base_url:
        if not model:
            pytest.fail("--base-url needs --model, the name of a model to ask")
        yield Server(base_url, model)
        return
    from serving import Service

    folder = request.getfixturevalue("tmp_path_factory").mktemp("conformance")
    service = Service(folder, workers=1)
    yield Server(service.url, model or "xor")
    service.stop()
    print(service.log)


@pytest.fixture(scope="session")
def metadata(server: Server) -> Any:
    """What the model says of its tensors."""
    return server.get(f"/v2/models/{server.model}").json


@pytest.fixture(scope="session")
def extensions(server: Server) -> list[str]:
    return list(server.get("/v2").json["extensions"])


@pytest.fixture
def request_of_zeros(metadata: Any) -> dict[str, Any]:
    """A request that the model can answer: one example of zeros, flat."""
    return {"inputs": [zeros(tensor) for tensor in metadata["inputs"]]}


def zeros(tensor: Any) -> dict[str, Any]:
    shape = [1 if size < 0 else size for size in tensor["shape"]]
    value, _ = VALUES[tensor["datatype"]]
    data = [value] * size_of(shape)
    return {"name": tensor["name"], "shape": shape, "datatype": tensor["datatype"], "data": data}


def size_of(shape: list[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
