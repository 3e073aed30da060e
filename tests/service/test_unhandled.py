"""A fault of the service: a document for the caller, all of it in the log."""

import json
import socket
from collections.abc import Callable

import pytest
from flask import Flask
from gunicorn.http.errors import InvalidResponseHeader


@pytest.fixture
def failing(make_app: Callable[..., Flask]) -> Callable[..., Flask]:
    def make(**settings: str) -> Flask:
        app = make_app(**settings)

        @app.get("/fail")
        def fail() -> str:
            raise RuntimeError("the password is tiger")

        return app

    return make


def test_the_caller_gets_a_document_with_an_id_and_nothing_of_the_inside(
    failing: Callable[..., Flask], capfd: pytest.CaptureFixture[str]
) -> None:
    answer = failing().test_client().get("/fail", headers={"X-Request-ID": "unlucky"})

    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert answer.headers["X-Request-ID"] == "unlucky"
    document = json.loads(answer.data)
    assert document.keys() == {"type", "title", "status", "detail", "request_id"}
    assert (document["status"], document["title"]) == (500, "Internal Server Error")
    assert document["request_id"] == "unlucky"
    for inside in (b"tiger", b"RuntimeError", b"Traceback", b"test_unhandled"):
        assert inside not in answer.data
    capfd.readouterr()


def test_the_log_has_the_traceback_under_that_id(
    failing: Callable[..., Flask], capfd: pytest.CaptureFixture[str]
) -> None:
    failing().test_client().get("/fail", headers={"X-Request-ID": "unlucky"})

    lines = capfd.readouterr().err.splitlines()
    [first] = [number for number, line in enumerate(lines) if "ERROR [unlucky]" in line]
    assert lines[first + 1].startswith("Traceback")
    assert "RuntimeError: the password is tiger" in lines
    assert " INFO [unlucky] GET /fail 500 " in lines[-1]


def test_the_json_log_has_the_traceback_in_one_line(
    failing: Callable[..., Flask], capfd: pytest.CaptureFixture[str]
) -> None:
    failing(log_format="json").test_client().get("/fail", headers={"X-Request-ID": "unlucky"})

    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    [error] = [line for line in lines if line["level"] == "ERROR"]
    assert error["request_id"] == "unlucky"
    assert "RuntimeError: the password is tiger" in error["traceback"]
    assert [line["status"] for line in lines if "status" in line] == [500]


def test_a_fault_below_the_application_is_answered_and_logged_too(
    make_app: Callable[..., Flask], capfd: pytest.CaptureFixture[str]
) -> None:
    refusals = make_app().extensions["refusals"]
    ours, theirs = socket.socketpair()
    with ours, theirs:
        refusals.refuse(ours, InvalidResponseHeader("the password is tiger"), None)
        answer = theirs.recv(1 << 16).decode()

    assert answer.startswith("HTTP/1.1 500 Internal Server Error\r\n")
    assert "tiger" not in answer
    request_id = json.loads(answer.partition("\r\n\r\n")[2])["request_id"]
    error, *_, last, line = capfd.readouterr().err.splitlines()
    assert f" ERROR [{request_id}] unhandled error" in error
    assert last.endswith("from the application: the password is tiger")
    assert f" INFO [{request_id}] - - 500 " in line
