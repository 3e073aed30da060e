"""Versions over HTTP: sent, given back, tried, promoted, rolled back, deleted."""

import hashlib
import http.client
import itertools
import json
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from candidates import BEST, FAIR, GOOD, changed, damaged, exam, silent
from postgresql import Server
from serving import DEADLINE, JSON, ROOT, Answer, Service, ask, environment, free_port, wait_for

from nncore.artifact import from_bytes
from nncore.publishing import MODEL_FILE, publish, read_facts, remove, versions
from service.labels import LABELS_FILE, read_labels

MOST_BYTES = 100_000
BINARY = {"Content-Type": "application/octet-stream"}
NAMES = (f"exam-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that these tests may change; each has a model of its own there."""
    running = Service(tmp_path_factory.mktemp("versions"), workers=2, max_model=MOST_BYTES)
    yield running
    running.stop()


@pytest.fixture
def name() -> str:
    return next(NAMES)


def send(service: Service, name: str, data: bytes, promote: str | None = None) -> Answer:
    query = "" if promote is None else f"?promote={promote}"
    return service.ask("POST", f"/models/{name}/versions{query}", data, BINARY)


def sent(service: Service, name: str, data: bytes, promote: str | None = None) -> dict[str, Any]:
    """Return the answer to a model file that is taken."""
    answer = send(service, name, data, promote)
    assert answer.status == 201, answer.body
    document: dict[str, Any] = answer.json
    return document


def put(service: Service, name: str, label: str, version: Any) -> Answer:
    body = json.dumps({"version": version}).encode()
    return service.ask("PUT", f"/models/{name}/labels/{label}", body, JSON)


def answering(service: Service, name: str, **more: Any) -> int:
    answer = service.predict(model=name, inputs=[[6.5]], **more)
    assert answer.status == 200, answer.body
    version: int = answer.json["version"]
    return version


def refused(answer: Answer, status: int, said: str) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert said in answer.json["detail"]


class TestAModelFileThatIsSent:
    def test_is_published_promoted_and_answers(self, service: Service, name: str) -> None:
        answer = send(service, name, exam(GOOD))
        sha256 = hashlib.sha256(exam(GOOD)).hexdigest()

        assert (answer.status, answer.headers["location"]) == (201, f"/models/{name}/versions/1")
        assert answer.json == {
            "model": name,
            "version": 1,
            "sha256": sha256,
            "bytes": len(exam(GOOD)),
            "promotion": {
                "promoted": True,
                "reason": "no version was stable before",
                "metric": "accuracy",
                "candidate": 0.85625,
                "stable": None,
                "stable_version": None,
            },
        }
        predicted = service.predict(model=name, inputs=[[6.5]]).json
        assert (predicted["version"], predicted["sha256"]) == (1, sha256)
        shown = service.ask("GET", f"/models/{name}/versions/1").json
        assert (shown["sha256"], shown["origin"]) == (sha256, "uploaded")

    def test_takes_the_place_of_a_worse_one_and_not_of_a_better_one(
        self, service: Service, name: str
    ) -> None:
        decisions = [sent(service, name, exam(quality))["promotion"] for quality in (GOOD, BEST, FAIR)]

        assert [decision["promoted"] for decision in decisions] == [True, True, False]
        assert decisions[2]["reason"] == "accuracy 0.7625 is worse than version 2's 0.9375"
        assert answering(service, name) == 2
        assert answering(service, name, version=3) == 3

    @pytest.mark.parametrize(("promote", "stable"), [("always", 2), ("never", 1)])
    def test_may_be_promoted_always_or_never(
        self, service: Service, name: str, promote: str, stable: int
    ) -> None:
        sent(service, name, exam(GOOD))
        sent(service, name, exam(FAIR), promote)

        assert answering(service, name) == stable

    def test_that_nobody_promoted_is_tried_by_its_number_and_then_promoted(
        self, service: Service, name: str
    ) -> None:
        sent(service, name, exam(GOOD), "never")

        refused(service.predict(model=name, inputs=[[1]]), 404, f"PUT /models/{name}/labels/stable")
        assert answering(service, name, version=1) == 1
        assert service.ask("GET", "/readyz").json["models"][name]["ready"]
        assert put(service, name, "stable", 1).status == 200
        wait_for(lambda: service.predict(model=name, inputs=[[1]]).status == 200, "answer", service, 1)

    def test_is_there_only_once_however_often_it_is_sent(self, service: Service, name: str) -> None:
        first = send(service, name, exam(GOOD))
        second = send(service, name, exam(GOOD))

        assert (first.status, second.status) == (201, 200)
        promotion = second.json.pop("promotion")
        assert {**second.json, "promotion": first.json["promotion"]} == first.json
        assert (promotion["promoted"], promotion["stable_version"]) == (False, 1)
        assert promotion["reason"] == "it is the stable version already"
        assert second.headers["location"] == first.headers["location"]
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: send(service, name, exam(BEST)), range(8)))
        assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
        assert len({answer.json["version"] for answer in answers}) == 1
        assert len(versions(service.store / name)) == 2

    def test_that_is_there_but_damaged_comes_in_anew(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        (service.store / name / "1" / MODEL_FILE).write_bytes(damaged(exam(GOOD)))

        assert sent(service, name, exam(GOOD))["version"] == 2

    def test_never_gets_a_number_again(self, service: Service, name: str) -> None:
        for quality in (GOOD, FAIR):
            sent(service, name, exam(quality), "never")
        assert service.ask("DELETE", f"/models/{name}/versions/2").status == 204

        assert sent(service, name, exam(BEST), "never")["version"] == 3

    def test_at_the_same_time_as_others_gets_a_number_of_its_own(self, service: Service, name: str) -> None:
        files = [exam(GOOD, 1 + number / 10) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            numbers = list(pool.map(lambda data: sent(service, name, data)["version"], files))

        assert sorted(numbers) == versions(service.store / name)
        for number, data in zip(numbers, files, strict=True):
            assert (service.store / name / str(number) / MODEL_FILE).read_bytes() == data

    def test_is_not_published_while_the_labels_cannot_be_read(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        (service.store / name / LABELS_FILE).write_text("{")
        before = (
            sorted((service.store / name).iterdir()),
            (service.store / name / ".last-version").read_text(),
        )

        refused(send(service, name, exam(BEST)), 409, 'Write {"stable": N} into it')
        assert before == (
            sorted((service.store / name).iterdir()),
            (service.store / name / ".last-version").read_text(),
        )
        (service.store / name / LABELS_FILE).write_text('{"stable": 1}')
        assert sent(service, name, exam(BEST))["version"] == 2

    def test_under_the_name_of_a_file_in_the_store_is_refused(self, service: Service, name: str) -> None:
        (service.store / name).write_text("words")
        refused(send(service, name, exam(GOOD)), 409, f"'{name}' can have no versions: a file stands in its")
        assert (service.store / name).read_text() == "words"
        (service.store / f"{name}-link").symlink_to("nowhere")
        refused(send(service, f"{name}-link", exam(GOOD)), 409, "can have no versions")

    def test_takes_the_number_after_one_that_a_file_has(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        (service.store / name / "2").write_text("words")

        assert sent(service, name, exam(BEST))["version"] == 3
        assert service.ask("GET", f"/models/{name}").json["versions"] == [1, 3]
        refused(service.ask("DELETE", f"/models/{name}/versions/2"), 404, "has no version 2, only 1, 3")

    def test_makes_nothing_stable_by_itself_in_a_folder_without_labels(
        self, service: Service, name: str
    ) -> None:
        publish(service.store / name, exam(GOOD))
        sent(service, name, exam(FAIR))

        assert read_labels(service.store / name) == {"stable": 1}
        assert answering(service, name) == 1


def huge_header() -> bytes:
    return (1 << 40).to_bytes(8, "little") + b"{" * 1000


def other_tensors() -> bytes:
    return exam(GOOD).replace(b"0.weight", b"0.weighs")


def wrong_answers() -> bytes:
    card = from_bytes(exam(GOOD)).card
    known = card.known_answers
    return changed(exam(GOOD), known_answers=type(known)(known.inputs, known.outputs[::-1], known.tolerance))


HOSTILE: list[tuple[str, Callable[[], bytes], str]] = [
    ("nothing", lambda: b"", "truncated: 0 bytes"),
    ("a truncated file", lambda: exam(GOOD)[:-1], "truncated: the tensors need"),
    ("half a file", lambda: exam(GOOD)[:100], "truncated: the header claims"),
    ("a lengthened file", lambda: exam(GOOD) + b"\0", "oversized"),
    ("a pickle", lambda: pickle.dumps({"weights": [1.0] * 100}), "the header claims"),
    ("a picture", lambda: b"\x89PNG\r\n\x1a\n" + bytes(100), "the header claims"),
    ("a huge header", huge_header, "the header claims 1,099,511,627,776 bytes"),
    ("a header that is not JSON", lambda: (4).to_bytes(8, "little") + b"nope", "the header is not JSON"),
    ("no card", lambda: (2).to_bytes(8, "little") + b"{}", "no card"),
    ("a card of another format", lambda: changed(exam(GOOD), format=99), "format 99"),
    ("other tensors", other_tensors, "the card's layers and the file's tensors differ"),
    ("a flipped bit", lambda: damaged(exam(GOOD)), "known answer"),
    ("wrong known answers", wrong_answers, "known answer"),
    ("a wrong recipe", lambda: changed(exam(GOOD), recipe={"dataset": "nobody"}), "the card is wrong"),
]


class TestAHostileFile:
    @pytest.mark.parametrize(("make", "said"), [c[1:] for c in HOSTILE], ids=[c[0] for c in HOSTILE])
    def test_is_refused_with_the_check_that_it_failed(
        self, service: Service, name: str, make: Callable[[], bytes], said: str
    ) -> None:
        refused(send(service, name, make()), 422, said)
        assert not (service.store / name).exists()
        assert service.ask("GET", f"/models/{name}").status == 404

    @pytest.mark.parametrize("chunked", [False, True], ids=["at once", "chunked"])
    def test_that_is_too_large_is_refused(self, service: Service, name: str, chunked: bool) -> None:
        data = bytes(MOST_BYTES + 1)
        body = iter([data[:5000], data[5000:]]) if chunked else data
        answer = service.ask("POST", f"/models/{name}/versions", body, BINARY)

        refused(answer, 413, "at most 100,000 bytes")

    def test_of_half_a_gigabyte_is_refused_before_it_is_read(self, service: Service, name: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=5)
        connection.putrequest("POST", f"/models/{name}/versions")
        for header, value in (BINARY | {"Content-Length": str(1 << 29)}).items():
            connection.putheader(header, value)
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 413
        connection.close()

    @pytest.mark.parametrize("media_type", ["application/json", "multipart/form-data", "text/plain", None])
    def test_as_something_else_is_refused(self, service: Service, name: str, media_type: str | None) -> None:
        headers = {} if media_type is None else {"Content-Type": media_type}
        answer = service.ask("POST", f"/models/{name}/versions", exam(GOOD), headers)

        refused(answer, 415, "A model file is sent as application/octet-stream")

    @pytest.mark.parametrize("model", ["Exam", "a.b", "%2e%2e", ".hidden", "x" * 65, "a%20b", "%C3%A4", "-x"])
    def test_under_a_name_that_is_none_is_refused(self, service: Service, model: str) -> None:
        refused(send(service, model, exam(GOOD)), 422, "the model's name must be 1 to 64 lower-case letters")

    @pytest.mark.parametrize("query", ["promote=maybe", "promote=", "promot=never"])
    def test_with_a_wrong_query_is_refused(self, service: Service, name: str, query: str) -> None:
        answer = service.ask("POST", f"/models/{name}/versions?{query}", exam(GOOD), BINARY)

        assert answer.status == 422
        assert answer.json["errors"][0]["pointer"] == f"#/{query.partition('=')[0]}"

    def test_with_two_rules_is_refused(self, service: Service, name: str) -> None:
        refused(send(service, name, exam(GOOD), "never&promote=always"), 422, "must be given once")
        assert not (service.store / name).exists()


class TestAFileThatIsGivenBack:
    def test_is_the_one_that_was_sent(self, service: Service, name: str) -> None:
        sha256 = sent(service, name, exam(GOOD))["sha256"]
        answer = service.ask("GET", f"/models/{name}/versions/stable/file")

        assert (answer.status, answer.body) == (200, exam(GOOD))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"] == f"attachment; filename={name}-1.safetensors"
        assert answer.headers["etag"] == f'"{sha256}"'
        assert hashlib.sha256(answer.body).hexdigest() == sha256

    def test_is_not_sent_again_to_who_has_it(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        path = f"/models/{name}/versions/1/file"
        tag = service.ask("GET", path).headers["etag"]
        again = service.ask("GET", path, headers={"If-None-Match": tag})

        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
        assert service.ask("GET", path, headers={"If-None-Match": '"another"'}).status == 200

    def test_is_not_given_where_there_is_none_or_it_is_damaged(self, service: Service, name: str) -> None:
        refused(service.ask("GET", f"/models/{name}/versions/1/file"), 404, "There is no model")
        sent(service, name, exam(GOOD))
        publish(service.store / name, damaged(exam(BEST)))
        refused(service.ask("GET", f"/models/{name}/versions/9/file"), 404, "has no version 9, only 1")
        refused(service.ask("GET", f"/models/{name}/versions/2/file"), 503, "known answer")

    def test_to_clients_that_take_nothing_holds_nobody_up_for_ever(self, tmp_path: Path) -> None:
        publish(tmp_path / "store" / "large", silent(3000))
        with impatient_service(tmp_path) as address, ExitStack() as opened:
            sleeper = opened.enter_context(socket.create_connection(address, timeout=DEADLINE))
            sleeper.sendall(b"GET /models/large/versions/1/file HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert sleeper.recv(12) == b"HTTP/1.1 200"
            waiting = opened.enter_context(closing(http.client.HTTPConnection(*address, timeout=DEADLINE)))
            # It is the one request that may be in flight.
            assert ask(waiting, "GET", "/models").status == 503
            wait_for(lambda: ask(waiting, "GET", "/models").status == 200, "end of the sleeper's patience")


@contextmanager
def impatient_service(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a service of one request at a time that gives a silent client a second instead of ten."""
    conf = folder / "gunicorn.conf.py"
    patience = "import service.connection\nservice.connection.SILENCE_SECONDS = 1\n"
    conf.write_text(patience + (ROOT / "gunicorn.conf.py").read_text())
    settings = {
        "port": free_port(),
        "workers": 1,
        "threads": 1,
        "streams": 1,
        "model_store": folder / "store",
    }
    command = [sys.executable, "-m", "gunicorn", "-c", conf, "--pythonpath", ROOT]
    with subprocess.Popen(
        command, env=environment(settings), cwd=folder, stderr=subprocess.DEVNULL
    ) as process:
        address = ("127.0.0.1", settings["port"])
        try:
            wait_for(lambda: is_listening(address), "service")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(40)
            finally:
                process.kill()


def is_listening(address: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(address):
        return True
    return False


class TestALabel:
    def test_is_moved_forward_and_back(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        for version in (2, 1):
            answer = put(service, name, "stable", version)
            assert (answer.status, answer.json["version"]) == (200, version)
            wait_for(lambda v=version: answering(service, name) == v, f"version {version}", service, 1)

        history = service.ask("GET", f"/models/{name}/labels/stable").json["history"]
        assert [(move["from"], move["to"], move["who"]) for move in history] == [
            (2, 1, "127.0.0.1"),
            (1, 2, "127.0.0.1"),
            (None, 1, "127.0.0.1"),
        ]
        assert all(move["time"].startswith("20") and move["why"] for move in history)

    def test_of_ones_own_names_a_candidate(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        assert put(service, name, "candidate", 2).json["version"] == 2
        assert answering(service, name, version="candidate") == 2
        assert answering(service, name) == 1
        assert put(service, name, "stable", "candidate").json["version"] == 2

        assert service.ask("DELETE", f"/models/{name}/labels/candidate").status == 204
        gone = service.ask("GET", f"/models/{name}/labels/candidate").json
        assert (gone["version"], [move["to"] for move in gone["history"]]) == (None, [None, 2])
        assert service.predict(model=name, inputs=[[1]], version="candidate").status == 404

    def test_is_not_pointed_at_what_does_not_load_or_is_not_there(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        publish(service.store / name, damaged(exam(BEST)))

        refused(put(service, name, "stable", 2), 409, f"Version 2 of '{name}' does not load: known answer")
        refused(put(service, name, "stable", 9), 404, "has no version 9")
        refused(put(service, name, "stable", "nobody"), 404, "has no label 'nobody'")
        refused(put(service, f"{name}-x", "stable", 1), 404, "There is no model")
        assert answering(service, name) == 1
        assert len(service.ask("GET", f"/models/{name}/labels/stable").json["history"]) == 1

    @pytest.mark.parametrize(
        ("body", "headers", "status", "said"),
        [
            (b'{"version": 1}', {}, 415, "takes application/json"),
            (b'{"version": 1', JSON, 400, "not JSON"),
            (b"[1]", JSON, 422, "must be an object"),
            (b"{}", JSON, 422, "is missing"),
            (b'{"version": null}', JSON, 422, "must be a version's number or a label"),
            (b'{"version": true}', JSON, 422, "must be a version's number or a label"),
            (b'{"version": 0}', JSON, 422, "1 or more"),
            (b'{"version": 1, "why": "x"}', JSON, 422, "is not known here; known is version"),
        ],
    )
    def test_is_not_moved_by_a_wrong_request(
        self, service: Service, name: str, body: bytes, headers: dict[str, str], status: int, said: str
    ) -> None:
        sent(service, name, exam(GOOD))
        refused(service.ask("PUT", f"/models/{name}/labels/canary", body, headers), status, said)
        assert service.ask("GET", f"/models/{name}").json["labels"] == {"stable": 1}

    @pytest.mark.parametrize("label", ["Stable", "7", "a%20b", "%C3%A4", "x" * 65])
    def test_has_a_name_that_is_no_number(self, service: Service, name: str, label: str) -> None:
        sent(service, name, exam(GOOD))
        refused(put(service, name, label, 1), 422, "the label must be 1 to 64 lower-case letters")

    def test_stable_cannot_be_taken_away(self, service: Service, name: str) -> None:
        sent(service, name, exam(GOOD))
        refused(service.ask("DELETE", f"/models/{name}/labels/stable"), 409, "can be moved")
        refused(service.ask("DELETE", f"/models/{name}/labels/nobody"), 404, "has no label 'nobody'")

    def test_that_was_moved_by_hand_has_that_in_its_history(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        (service.store / name / LABELS_FILE).write_text('{"stable": 2}')
        put(service, name, "stable", 1)

        history = service.ask("GET", f"/models/{name}/labels/stable").json["history"]
        assert [(move["from"], move["to"], move["who"]) for move in history[:2]] == [
            (2, 1, "127.0.0.1"),
            (1, 2, "outside of the API"),
        ]

    def test_has_a_history_of_many_pages(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        for version in (2, 1, 2, 1):
            put(service, name, "stable", version)
        path = f"/models/{name}/labels/stable?limit=2"
        first = service.ask("GET", path).json
        second = service.ask("GET", f"{path}&cursor={first['next']}").json
        third = service.ask("GET", f"{path}&cursor={second['next']}").json

        pages = [[move["to"] for move in page["history"]] for page in (first, second, third)]
        assert pages == [[1, 2], [1, 2], [1]]
        assert third["next"] is None
        assert service.ask("GET", f"{path}&page=2").status == 422

    @pytest.mark.parametrize(
        ("query", "pointer", "said"),
        [
            ("limit=1_0", "#/limit", "must be a whole number"),
            ("limit=%D9%A1", "#/limit", "must be a whole number"),
            ("limit=+1", "#/limit", "must be a whole number"),
            ("limit=", "#/limit", "must be a whole number"),
            ("limit=-1", "#/limit", "must be from 1 to 100"),
            ("limit=101", "#/limit", "must be from 1 to 100"),
            ("cursor=1_0", "#/cursor", "must be taken from `next`"),
            ("limit=2&limit=3", "#/limit", "must be given once"),
            ("limit=2&a~b/c=1&a~b/c=1", "#/a~0b~1c", "must be given once"),
        ],
    )
    def test_has_no_page_for_a_wrong_query(
        self, service: Service, query: str, pointer: str, said: str
    ) -> None:
        answer = service.ask("GET", f"/models/line/labels/stable?{query}")

        refused(answer, 422, said)
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]

    def test_of_a_shipped_model_came_with_nnserve(self, service: Service) -> None:
        shown = service.ask("GET", "/models/line/labels/stable").json

        assert shown["version"] == 1
        assert [(move["to"], move["who"]) for move in shown["history"]] == [(1, "shipped")]


def test_a_version_says_which_job_made_it(service: Service, name: str) -> None:
    publish(service.store / name, exam(GOOD), job="0123")

    assert service.ask("GET", f"/models/{name}/versions/1").json["job"] == "0123"


class TestDeleting:
    def test_leaves_nothing_of_a_version(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        assert answering(service, name, version=2) == 2
        assert service.ask("DELETE", f"/models/{name}/versions/2").status == 204

        assert service.ask("GET", f"/models/{name}").json["versions"] == [1]
        refused(service.ask("DELETE", f"/models/{name}/versions/2"), 404, "has no version 2")
        wait_for(
            lambda: all(
                service.predict(model=name, inputs=[[1]], version=2).status == 404 for _ in range(20)
            ),
            "404 by every worker",
            service,
            1,
        )
        assert sorted(path.name for path in (service.store / name).iterdir()) == [
            ".last-version",
            "1",
            LABELS_FILE,
        ]

    def test_is_refused_for_what_a_label_points_to(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        put(service, name, "canary", 2)

        for version, label in ((1, "stable"), (2, "canary"), ("canary", "canary")):
            answer = service.ask("DELETE", f"/models/{name}/versions/{version}")
            refused(answer, 409, f"the label {label} points to it")
        assert versions(service.store / name) == [1, 2]

    def test_is_refused_for_the_newest_where_nothing_is_labelled(self, service: Service, name: str) -> None:
        for quality in (FAIR, GOOD):
            publish(service.store / name, exam(quality))

        refused(service.ask("DELETE", f"/models/{name}/versions/2"), 409, "the label stable points to it")
        assert service.ask("DELETE", f"/models/{name}/versions/1").status == 204

    def test_is_refused_for_what_a_job_starts_from(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        asked = {"model": name, "recipe": "exam", "start_from": 2}
        # Nobody trains here, so that the job waits.
        recipe = from_bytes(exam(FAIR)).card.recipe
        job = service.ask("POST", "/train", json.dumps(asked | {"recipe": recipe}).encode(), JSON)
        assert job.status == 202, job.body

        refused(
            service.ask("DELETE", f"/models/{name}/versions/2"), 409, f"job {job.json['id']} starts from it"
        )
        service.ask("POST", f"/train/{job.json['id']}/cancel")
        assert service.ask("DELETE", f"/models/{name}/versions/2").status == 204

    def test_is_refused_while_the_labels_cannot_be_read(self, service: Service, name: str) -> None:
        for quality in (BEST, FAIR):
            sent(service, name, exam(quality))
        (service.store / name / LABELS_FILE).write_text("{")

        refused(service.ask("DELETE", f"/models/{name}/versions/2"), 409, "labels.json cannot be read")
        assert versions(service.store / name) == [1, 2]


NUL = [
    (method, path)
    for path in ("xor/labels/%00", "xor/labels/a%00", "%00/labels/a", "xor%00/labels/a")
    for method in ("GET", "DELETE")
] + [
    ("GET", "%00"),
    ("GET", "%00/versions/1"),
    ("GET", "xor/versions/%00"),
    ("GET", "xor/versions/%00/file"),
    ("DELETE", "%00/versions/1"),
    ("DELETE", "xor/versions/%00"),
    ("PUT", "%00/labels/a"),
]


def test_a_nul_in_an_address_is_in_no_name_on_postgresql_either(
    start: Callable[..., Service], postgresql: Server
) -> None:
    service = start(workers=1, database_url=postgresql.new_database())

    for method, path in NUL:
        body = b'{"version": 1}' if method == "PUT" else None
        answer = service.ask(method, f"/models/{path}", body, JSON if body else None)
        assert (method, path, answer.status) == (method, path, 404)
    assert put(service, "xor", "%00", 1).status == 422
    assert put(service, "xor", "a", "\0").status == 404
    assert send(service, "%00", exam(GOOD)).status == 422


def test_a_damaged_labels_file_makes_nothing_stable_at_the_next_start(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(workers=1)
    sent(service, "exam-x", exam(GOOD))
    sent(service, "exam-x", exam(BEST), "never")
    assert answering(service, "exam-x") == 1
    (service.store / "exam-x" / LABELS_FILE).write_text("{")
    wait_for(lambda: service.ask("GET", "/models/exam-x").json["failures"], "a failure", service, 1)
    assert answering(service, "exam-x") == 1
    assert service.ask("GET", "/readyz").status == 200
    service.stop()
    again = start(workers=1, model_store=service.store)

    ready = again.ask("GET", "/readyz")
    assert (ready.status, ready.json["models"]["xor"]["ready"]) == (503, True)
    assert ready.json["models"]["exam-x"]["ready"] is False
    assert "cannot be read" in ready.json["models"]["exam-x"]["failures"][LABELS_FILE]
    refused(again.predict(model="exam-x", inputs=[[1]]), 503, "is stable: exam-x/labels.json cannot be read")
    assert answering(again, "exam-x", version=2) == 2
    (service.store / "exam-x" / LABELS_FILE).write_text('{"stable": 1}')
    wait_for(lambda: again.ask("GET", "/readyz").status == 200, "readiness", again, 1)
    assert answering(again, "exam-x") == 1


def test_a_version_never_changes(service: Service, name: str) -> None:
    sent(service, name, exam(GOOD))
    folder = service.store / name / "1"
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    for quality in (BEST, FAIR):
        sent(service, name, exam(quality), "always")
    send(service, name, exam(GOOD))
    put(service, name, "stable", 1)
    service.ask("DELETE", f"/models/{name}/versions/2")

    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before


def test_a_number_is_not_given_again_by_a_service_that_was_started_anew(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(workers=1)
    for quality in (BEST, FAIR, GOOD):
        sent(service, "exam-x", exam(quality))
    for number in (2, 3):
        assert service.ask("DELETE", f"/models/exam-x/versions/{number}").status == 204
    service.stop()
    again = start(workers=1, model_store=service.store)

    assert sent(again, "exam-x", exam(FAIR))["version"] == 4
    assert read_facts(again.store / "exam-x" / "4")["version"] == 4


def test_a_file_that_is_taken_away_by_hand_is_not_given_again_either(service: Service, name: str) -> None:
    sent(service, name, exam(GOOD))
    sent(service, name, exam(FAIR))
    remove(service.store / name, 2)

    assert sent(service, name, exam(BEST))["version"] == 3


def test_where_the_disk_is_full_nothing_is_taken(start: Callable[..., Service]) -> None:
    service = start(workers=1, max_disk=10_000)

    answer = send(service, "exam-x", exam(GOOD))
    refused(answer, 507, "may have 10,000")
    assert answer.json["title"] == "Insufficient Storage"
    assert not (service.store / "exam-x").exists()
