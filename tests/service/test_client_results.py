"""What the client takes and gives: arrays, pictures, threads, and answers of newer services."""

import dataclasses
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from scripted import Step, answering
from serving import Service
from sketches import Digit

from service.client import Client, Job, Label, Model, Move, ProblemError, Version
from service.remote import tensors

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (4, 28, 28)).astype(np.uint8)
ARRAYS = {
    "digits as bytes": ("digits", PIXELS.reshape(4, 784)),
    "digits as pictures": ("digits", PIXELS),
    "digits, float32": ("digits", RNG.uniform(0, 255, (4, 784)).astype(np.float32)),
    "digits, float64": ("digits", RNG.uniform(0, 255, (4, 784))),
    "digits, float16": ("digits", PIXELS.reshape(4, 784).astype(np.float16)),
    "digits, big-endian": ("digits", PIXELS.reshape(4, 784).astype(">f4")),
    "digits as pictures, int64": ("digits", PIXELS.astype(np.int64)),
    "digits, int16": ("digits", PIXELS.reshape(4, 784).astype(np.int16)),
    "digits, Fortran": ("digits", np.asfortranarray(PIXELS.reshape(4, 784))),
    "digits, every other": ("digits", np.repeat(PIXELS.reshape(4, 784), 2, axis=0)[::2]),
    "a regression": ("line", RNG.normal(size=(300, 1)).astype(np.float32)),
    "a regression, large": ("line", RNG.normal(size=(300, 1)) * 1e6),
    "a table of truth, int64": ("xor", RNG.integers(0, 2, (200, 2))),
    "a table of truth, uint32": ("xor", RNG.integers(0, 2, (200, 2)).astype(np.uint32)),
}
REFUSED = {
    "out of range": ("digits", PIXELS.reshape(4, 784) * 2.0, "#/inputs/0/"),
    "too faint": ("digits", PIXELS.reshape(4, 784) / 255.0, "#/inputs/0 has no number above"),
    "another shape": ("digits", np.zeros((4, 100)), "#/inputs/0 has 100 numbers"),
    "no float32": ("line", np.full((300, 1), 1e300), "#/inputs/0/0 must be a number that fits"),
    "an unknown model": ("nobody", np.zeros((300, 1)), "404 Not Found: There is no model 'nobody'"),
    "booleans": ("xor", np.zeros((200, 2), bool), "#/inputs/0/0 must be a number, not false"),
}


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with Client(service.url) as client:
        yield client


@pytest.fixture
def paths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are asked for."""
    seen: list[str] = []
    send = requests.Session.request

    def noting(self: requests.Session, method: str, url: str, **how: Any) -> requests.Response:
        seen.append(url.split("/", 3)[3])
        return send(self, method, url, **how)

    monkeypatch.setattr(requests.Session, "request", noting)
    return seen


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_as_bytes_is_answered_to_the_last_digit_as_by_json(
    client: Client, paths: list[str], name: str
) -> None:
    model, array = ARRAYS[name]
    by_bytes = client.predict(model, array)
    assert paths[0] == f"v2/models/{model}/versions/stable/infer"
    assert "predict" not in paths
    paths.clear()
    by_json = client.predict(model, array.tolist())

    assert paths == ["predict"]
    assert by_bytes == by_json
    assert len(by_bytes.predictions) == len(array)


def test_what_an_array_s_version_is_called_is_asked_for_once(client: Client, paths: list[str]) -> None:
    for _ in range(3):
        client.predict("digits", PIXELS, version=1)

    assert paths.count("models/digits/versions/1") == 1
    assert len(paths) == 4


@pytest.mark.parametrize("array", [np.zeros((1, 2)), np.zeros((100, 2)), [[0.0, 1.0]] * 200])
def test_few_numbers_and_lists_go_as_json(client: Client, paths: list[str], array: Any) -> None:
    client.predict("xor", array)

    assert paths == ["predict"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_of_an_array_is_told_as_of_a_list(client: Client, name: str) -> None:
    model, array, said = REFUSED[name]
    with pytest.raises(ProblemError) as caught:
        client.predict(model, array)
    with pytest.raises(ProblemError) as by_json:
        client.predict(model, array.tolist())

    assert said in str(caught.value)
    assert str(caught.value) == str(by_json.value)
    assert caught.value.problem["request_id"]


def test_an_array_may_be_larger_than_a_json_body(client: Client) -> None:
    pictures = RNG.uniform(0, 255, (400, 784)).astype(np.float32)
    assert len(json.dumps(pictures.tolist())) > 2 << 20
    assert len(client.predict("digits", pictures).predictions) == 400


def test_an_array_that_is_too_large_and_wrong_is_still_told_what_is_wrong(client: Client) -> None:
    with pytest.raises(ProblemError, match=r"400 .*input\[0, 0\]: must be from 0 to 255") as caught:
        client.predict("digits", RNG.uniform(300, 400, (400, 784)).astype(np.float32))

    assert caught.value.problem["request_id"]


def test_nan_in_an_array_is_not_even_sent(client: Client, paths: list[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        client.predict("line", np.full((300, 1), np.nan))

    assert paths == []


def test_somebody_else_s_answer_to_bytes_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    for body in (b"", b"[]", b'{"outputs": []}', b"\xff"):
        headers = {tensors.HEADER_LENGTH: str(len(body))}
        with (
            answering(Step(body, headers=headers)) as script,
            Client(script.url) as client,
            pytest.raises(ProblemError, match="as nnserve does"),
        ):
            client.predict("digits", PIXELS)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "image", "several"])
def test_pictures_may_be_paths_images_and_bytes(
    client: Client, digits: list[Digit], tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "digit.png"
    path.write_bytes(digits[0].png)
    image = Image.open(io.BytesIO(digits[0].png))
    pictures: Any = {
        "path": path,
        "text": str(path),
        "bytes": digits[0].png,
        "image": image,
        "several": [path, str(path), digits[0].png, image],
    }[kind]
    expected = client.predict("digits", pictures=[path]).predictions[0]

    answer = client.predict("digits", pictures=pictures)
    assert answer.predictions == (expected,) * (4 if kind == "several" else 1)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "F", "I"])
def test_images_of_every_mode_are_sent(client: Client, digits: list[Digit], mode: str) -> None:
    with Image.open(io.BytesIO(digits[0].png)) as opened:
        image = opened.convert("RGB").convert(mode) if mode in ("YCbCr", "HSV") else opened.convert(mode)
        assert len(client.predict("digits", pictures=image).predictions) == 1


def test_eight_threads_share_a_client(service: Service) -> None:
    barrier = threading.Barrier(8)
    table = [[0, 0], [0, 1], [1, 0], [1, 1]]

    def ask(number: int) -> list[str]:
        barrier.wait(10)
        found = []
        for turn in range(20):
            row = table[(number + turn) % 4]
            big = np.array([row] * 150)
            found.append(client.predict("xor", [row]).predictions[0].label)
            found.append(client.predict("xor", big).predictions[149].label)
        return found

    with Client(service.url) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
        # A connection for each that called at the same time, and no more.
        assert 1 <= len(client.transport._idle) <= 8

    right = {0: "0", 1: "1", 2: "1", 3: "0"}
    assert answers == [
        [label for turn in range(20) for label in [right[(number + turn) % 4]] * 2] for number in range(8)
    ]


def test_a_connection_is_kept_for_the_next_call_and_closed_with_the_client(client: Client) -> None:
    for _ in range(3):
        client.models()
    assert len(client.transport._idle) == 1
    client.close()
    assert client.transport._idle == []


def test_a_key_that_cannot_be_sent_is_not_shown() -> None:
    for key in ("", "two words", "line\nbreak", "schlüssel"):
        with pytest.raises(ValueError, match="visible ASCII") as caught:
            Client("http://127.0.0.1:1", api_key=key)
        assert not key or key not in str(caught.value)


def test_an_address_without_its_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with http"):
        Client("localhost:8000")


def test_results_are_typed_and_frozen(client: Client) -> None:
    model, version = client.model("xor"), client.version("xor")

    assert isinstance(model, Model)
    assert isinstance(version, Version)
    assert (model.labels, model.versions, model.stable) == ({"stable": 1}, (1,), 1)
    assert (version.labels, version.origin, version.output["labels"]) == (("stable",), "shipped", ["0", "1"])
    assert model.document == {
        "model": "xor",
        "stable": 1,
        "labels": {"stable": 1},
        "versions": [1],
        "failures": {},
    }
    for result in (model, version):
        with pytest.raises(dataclasses.FrozenInstanceError):
            result.model = "another"
    [move] = client.label_history("xor")
    assert isinstance(move, Move)
    assert (move.from_version, move.to_version, move.who) == (None, 1, "shipped")
    assert client.ready().ready is True


def test_what_a_newer_service_says_besides_does_no_harm() -> None:
    more = {"new": {"deep": [1]}, "from": None, "to": 2, "who": "a", "why": "b", "time": "c"}
    promotion = {"promoted": True, "reason": "new", "more": 1}
    result = {"version": 3, "sha256": "0", "metrics": {}, "promotion": promotion, "more": 1}
    plan = {"recipe": {}, "dataset": {}, "promote": "always", "parameters": 1, "memory": 1, "more": 1}
    job = {"id": "a", "model": "m", "state": "succeeded", "created": "now", "result": result, "plan": plan}
    label = {"model": "m", "label": "stable", "version": 2, "history": [more], "next": None}
    bodies = [json.dumps(one | {"more": 1}).encode() for one in (job, label)]
    with answering(*map(Step, bodies)) as script, Client(script.url) as client:
        told, moved = client.job("a"), client.promote("m", 2)

    assert isinstance(told, Job)
    assert told.result is not None
    assert (told.result.version, told.result.promotion.promoted, told.document["more"]) == (3, True, 1)
    assert isinstance(moved, Label)
    assert (moved.history[0].to_version, moved.history[0].document["new"]) == (2, {"deep": [1]})


def test_a_client_without_numpy_and_pillow_loads_neither(service: Service) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from service.client import Client\n"
        f"with Client({service.url!r}) as client: client.predict('xor', [[0, 1]] * 300)\n"
        "print(*{'numpy', 'PIL', 'tqdm', 'flask', 'nncore'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
