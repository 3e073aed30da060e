"""service.client, against the running service and against others that misbehave."""

import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from serving import Service, free_port
from sketches import Digit

from service.client import Client, ClientError, Prediction, ProblemError, Unreachable

TABLE = [[0, 0], [0, 1], [1, 0], [1, 1]]


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


@pytest.fixture
def picture_files(tmp_path: Path, digits: list[Digit]) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(len(digits))]
    for path, digit in zip(paths, digits, strict=True):
        path.write_bytes(digit.png)
    return paths


def answering(content: bytes, status: int = 200, media_type: str = "text/html") -> Callable[[], HTTPServer]:
    """Make a server that is no nnserve."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    return lambda: HTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def other(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server made by `answering`."""
    with request.param() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "inputs",
    [
        TABLE,
        tuple(map(tuple, TABLE)),
        np.array(TABLE),
        np.array(TABLE, np.float32),
        np.array(TABLE, np.uint8),
        np.array(TABLE, order="F"),
        list(np.array(TABLE)),
        [[np.float32(a), np.int64(b)] for a, b in TABLE],
    ],
    ids=["lists", "tuples", "int64", "float32", "uint8", "Fortran", "list of arrays", "lists of scalars"],
)
def test_inputs_may_be_lists_and_arrays_of_any_kind(client: Client, inputs: Any) -> None:
    answer = client.predict("xor", inputs)

    assert [one.label for one in answer.predictions] == ["0", "1", "1", "0"]


def test_an_answer_is_typed_and_frozen(client: Client) -> None:
    answer = client.predict("xor", [[0, 1]], version="stable")

    assert (answer.model, answer.version, answer.labels) == ("xor", 1, ("0", "1"))
    assert len(answer.sha256) == 64
    [one] = answer.predictions
    assert isinstance(one, Prediction)
    assert (one.label, one.value) == ("1", None)
    assert one.confidence == max(one.probabilities)
    for frozen in (answer, one):
        with pytest.raises(dataclasses.FrozenInstanceError):
            frozen.model = "another"  # type: ignore[union-attr]


def test_a_regression_answers_a_value(client: Client) -> None:
    [one] = client.predict("line", [[1.0]]).predictions

    assert isinstance(one.value, float)
    assert (one.label, one.confidence, one.probabilities) == (None, None, ())


def test_pictures_are_sent_by_their_paths(
    client: Client, picture_files: list[Path], digits: list[Digit]
) -> None:
    for paths in (picture_files, [str(path) for path in picture_files]):
        answer = client.predict("digits", pictures=paths)
        assert [one.label for one in answer.predictions] == [digit.label for digit in digits]


def test_pictures_may_ask_for_a_version(client: Client, picture_files: list[Path]) -> None:
    assert client.predict("digits", pictures=picture_files[:1], version=1).version == 1
    with pytest.raises(ProblemError, match=r"404 Not Found: .*no version 9"):
        client.predict("digits", pictures=picture_files[:1], version=9)


def test_models_and_versions_are_listed(client: Client) -> None:
    assert [model.model for model in client.models()] == ["digits", "exam", "line", "xor"]
    assert client.model("xor").versions == (1,)
    assert client.version("xor").version == 1
    assert client.version("xor", 1) == client.version("xor", "stable")


@pytest.mark.parametrize("name", ["no/body", "../models", "no?body", "no#body", "nobödy", "%2e%2e"])
def test_a_name_cannot_lead_to_another_address(client: Client, name: str) -> None:
    for call in (client.model, client.version):
        with pytest.raises(ProblemError) as caught:
            call(name)
        assert caught.value.status == 404


def test_a_refusal_carries_the_problem_document(client: Client) -> None:
    with pytest.raises(ProblemError) as caught:
        client.predict("xor", [[0, 1], [0]])

    error = caught.value
    assert isinstance(error, ClientError)
    assert error.status == 422
    assert error.problem["request_id"]
    assert error.problem["errors"][0]["pointer"] == "#/inputs/1"
    assert "#/inputs/1 has 1 entries" in str(error)
    assert "\n" not in str(error)


def test_either_inputs_or_pictures_must_be_given(client: Client) -> None:
    with pytest.raises(ValueError, match="either inputs or pictures"):
        client.predict("xor")
    with pytest.raises(ValueError, match="either inputs or pictures"):
        client.predict("xor", [[0, 1]], pictures=[])


@pytest.mark.parametrize(
    ("inputs", "error"), [([[float("nan"), 1]], ValueError), ([[object(), 1]], TypeError)]
)
def test_what_is_no_number_is_not_even_sent(client: Client, inputs: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        client.predict("xor", inputs)


def test_a_picture_that_is_not_there_is_the_callers_error(client: Client, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        client.predict("digits", pictures=[tmp_path / "none.png"])


def test_a_service_that_is_not_there_is_unreachable() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url) as client, pytest.raises(Unreachable, match=f"no answer from {url}") as caught:
        client.models()

    assert isinstance(caught.value, ClientError)


def test_a_service_that_does_not_answer_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # Ends the wait of a client that would wait for ever.
        end = threading.Timer(5, listener.shutdown, [socket.SHUT_RDWR])
        end.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        with Client(url, timeout=0.2) as client, pytest.raises(Unreachable):
            client.predict("xor", [[0, 1]])
        end.cancel()

    assert time.monotonic() - began < 4


def test_every_call_has_a_timeout(
    service: Service, picture_files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = []
    send = requests.Session.request

    def noting(self: requests.Session, *args: Any, **kwargs: Any) -> requests.Response:
        timeouts.append(kwargs.get("timeout"))
        return send(self, *args, **kwargs)

    monkeypatch.setattr(requests.Session, "request", noting)
    with Client(service.url + "/") as client:
        client.predict("xor", [[0, 1]])
        client.predict("digits", pictures=picture_files)
        client.models()
        client.model("xor")
        client.version("xor")

    assert len(timeouts) >= 5
    assert set(timeouts) == {(3.05, 30.0)}


@pytest.mark.parametrize(
    "other", [answering(b"<h1>Bad Gateway</h1>", 502), answering(b'["no", "object"]', 502)], indirect=True
)
def test_an_error_that_is_no_problem_document_is_still_a_problem(other: str) -> None:
    with Client(other) as client, pytest.raises(ProblemError, match="502 Bad Gateway") as caught:
        client.predict("xor", [[0, 1]])

    assert caught.value.status == 502


@pytest.mark.parametrize(
    "other",
    [answering(b"<h1>Welcome</h1>"), answering(b"[]"), answering(b'{"hello": 1}'), answering(b"null")],
    indirect=True,
)
def test_somebody_else_at_the_address_is_noticed(other: str) -> None:
    with Client(other) as client:
        for call in (client.models, lambda: client.model("xor"), lambda: client.predict("xor", [[0, 1]])):
            with pytest.raises(ProblemError, match="does not answer as nnserve does"):
                call()
