"""Request ids, and the one log line that each request leaves."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from serving import JSON, NNSERVE, ROOT, Service, environment, free_port, wait_for

XOR = b'{"model": "xor", "inputs": [[0, 1]]}'


def documented_fields() -> set[str]:
    text = (ROOT / "docs" / "deployment.md").read_text()
    section = text.partition("\n## The log\n")[2].partition("\n## ")[0]
    return set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE))))


def lines_with(service: Service, text: str) -> list[str]:
    return [line for line in service.log.splitlines() if text in line]


def send(service: Service, raw: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port), timeout=5) as connection:
        connection.sendall(raw)
        return connection.makefile("rb").read()


@pytest.mark.parametrize("sent", ["a", "7", "order-66_a.b", "x" * 128])
def test_a_well_formed_request_id_is_taken_over(service: Service, sent: str) -> None:
    answer = service.ask("GET", "/healthz", headers={"X-Request-ID": sent})

    assert answer.headers["x-request-id"] == sent


@pytest.mark.parametrize(
    "sent", ["", "a b", "x" * 129, "a/b", "<script>", "\xe9", "a,b", "$(id)", "a\tb", "\x85"]
)
def test_another_request_id_is_replaced_by_a_new_one(service: Service, sent: str) -> None:
    answer = service.ask("GET", "/healthz", headers={"X-Request-ID": sent})

    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["x-request-id"])


def test_requests_without_an_id_get_one_each(service: Service) -> None:
    ids = {service.ask("GET", "/healthz").headers["x-request-id"] for _ in range(20)}

    assert len(ids) == 20


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/predict", 400),
        ("GET", "/nothing", 404),
        ("PUT", "/models", 405),
        ("GET", "/models/no", 404),
    ],
)
def test_an_error_carries_the_id_in_its_header_and_its_body(
    service: Service, method: str, path: str, status: int
) -> None:
    answer = service.ask(method, path, b"", JSON | {"X-Request-ID": "mine"})

    assert answer.status == status
    assert (answer.headers["x-request-id"], answer.json["request_id"]) == ("mine", "mine")


def test_a_request_leaves_one_line_of_text(service: Service) -> None:
    service.ask("POST", "/predict?token=secret", XOR, JSON | {"X-Request-ID": "one-line-of-text"})

    [line] = lines_with(service, "one-line-of-text")
    when, number = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"[\d.]+"
    took = rf"{number} ms \(parsing {number}, inference {number}\)"
    assert re.fullmatch(rf"{when} INFO \[one-line-of-text\] POST /predict 200 {took} xor/1", line)
    assert "secret" not in service.log


def test_a_refused_request_leaves_one_line_too(service: Service) -> None:
    service.ask("POST", "/predict", b"{", JSON | {"X-Request-ID": "refused"})

    [line] = lines_with(service, "[refused]")
    assert " POST /predict 400 " in line


def test_every_line_is_an_object_where_the_log_is_json(start: Callable[..., Service]) -> None:
    secret, trace = "s" * 40, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    service = start(workers=1, log_format="json", admin_key=secret)
    sent = {"X-Request-ID": "as-json", "Authorization": f"Bearer {secret}", "traceparent": trace}
    service.ask("POST", "/predict", XOR, JSON | sent)
    service.ask("GET", "/nothing%0Ahere", headers={"X-Request-ID": "not-there"})
    service.stop()

    lines = [json.loads(line) for line in service.log.splitlines()]
    assert all({"time", "level", "logger", "request_id", "message"} <= line.keys() for line in lines)
    [line] = [line for line in lines if line["request_id"] == "as-json"]
    facts = {"method": "POST", "path": "/predict", "status": 200, "model": "xor", "version": 1}
    assert facts.items() <= line.items()
    assert 0 < line["parsing_ms"] + line["inference_ms"] < line["duration_ms"] < 1000
    assert line.keys() == documented_fields() - {"traceback"}
    [missed] = [line for line in lines if line["request_id"] == "not-there"]
    assert (missed["status"], missed["path"]) == (404, "/nothing%0Ahere")


@pytest.mark.parametrize(
    "path",
    [
        "/a%0Ab",
        "/a%0D%0Ab",
        "/models/x%0A2026-01-01T00:00:00Z%20INFO%20[evil]%20GET",
        "/%E2%80%A8",
        "/%C2%85",
    ],
)
def test_no_line_break_gets_into_the_log_through_a_path(service: Service, path: str) -> None:
    before = len(service.log.splitlines())
    service.ask("GET", path, headers={"X-Request-ID": "line-break"})

    added = service.log.splitlines()[before:]
    assert len(added) == 1
    assert "[line-break] GET " in added[0]


@pytest.mark.parametrize("byte", [b"\x0b", b"\x0c", b"\r", b"\x1b", b"\x7f", b"\x85", b"\xff", b"\0", b'"'])
def test_nothing_but_printable_text_gets_into_the_log(service: Service, byte: bytes) -> None:
    before = len(service.log)
    raw = b"GET /healthz/%s HTTP/1.1\r\nHost: a%s\r\nX-A: b%s\r\nConnection: close\r\n\r\n" % ((byte,) * 3)
    answer = send(service, raw)

    assert re.match(rb"HTTP/1.1 (400|403|404) ", answer)
    wait_for(lambda: len(service.log) > before, "line in the log", service)
    assert service.log[before:].replace("\n", "").isprintable()
    assert service.log[before:].count("\n") == 1


def test_what_is_no_http_leaves_one_line_under_the_id_that_is_answered(service: Service) -> None:
    answer = send(service, b"GET /models?secret HTTP/1.1\r\nA Bearer: secret\r\n\r\n").decode()

    assert "\r\nConnection: close\r\n" in answer
    request_id = re.search(r"X-Request-ID: ([0-9a-f]{16})\r\n", answer)[1]
    [line] = lines_with(service, request_id)
    assert re.fullmatch(rf"\S+ INFO \[{request_id}\] - - 400 [\d.]+ ms", line)
    assert "secret" not in service.log


def test_a_request_below_the_set_level_leaves_no_line(start: Callable[..., Service]) -> None:
    service = start(workers=1, log_level="WARNING")
    assert service.ask("GET", "/healthz").status == 200
    assert service.stop() == 0

    assert service.log == ""


def test_a_log_that_nobody_reads_any_more_keeps_no_answer_back(tmp_path: Path) -> None:
    settings = {"port": free_port(), "workers": 1, "model_store": tmp_path / "store"}
    with subprocess.Popen(
        [NNSERVE, "web"],
        env=environment(settings),
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            while b"Booting worker" not in process.stderr.readline():
                pass
            process.stderr.close()
            url = f"http://127.0.0.1:{settings['port']}"
            for path in ("/healthz", "/nothing", "/models/nobody"):
                assert requests.get(url + path, timeout=5).headers["X-Request-ID"]
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_after_a_reload_each_line_is_still_there_once(start: Callable[..., Service]) -> None:
    service = start(workers=1)
    [old] = service.workers()

    service.signal(signal.SIGHUP)
    wait_for(lambda: old.pid not in {worker.pid for worker in service.workers()}, "a new worker", service)

    assert len(lines_with(service, "Booting worker with pid")) == 2
