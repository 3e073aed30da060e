"""Kept connections: requests that follow closely, and answers in one piece."""

import http.client
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from serving import DEADLINE, Service

from service.pressure import SPARE_THREADS

BODY = b'{"model": "xor", "inputs": [[0, 1]]}'
REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
)


def connect(service: Service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE)


def ask(connection: socket.socket) -> bytes:
    """Return what comes first of an answer."""
    connection.sendall(REQUEST)
    return connection.recv(1 << 16)


def read_answers(connection: socket.socket, count: int) -> None:
    come = b""
    while come.count(b"HTTP/1.1 200") < count or not come.endswith(b"}"):
        come += connection.recv(1 << 16)


def test_the_head_and_the_body_of_an_answer_are_sent_together(service: Service) -> None:
    with connect(service) as connection:
        assert all(ask(connection).endswith(b"}") for _ in range(20))


def test_an_answer_without_a_body_is_sent_at_once(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=2)
    for _ in range(3):
        connection.request("HEAD", "/models")
        assert connection.getresponse().read() == b""
    connection.close()


def test_those_who_were_just_answered_keep_no_thread_from_others(start: Callable[..., Service]) -> None:
    service = start(workers=1, threads=8, streams=2)
    took = []
    with ExitStack() as opened:
        kept = [opened.enter_context(connect(service)) for _ in range(8 + 2 + SPARE_THREADS)]
        for _ in range(5):
            for connection in kept:
                assert b" 200 " in ask(connection)
            began = time.perf_counter()
            assert service.ask("GET", "/models").status == 200
            took.append(time.perf_counter() - began)
    assert max(took) < 0.25


def test_heads_without_an_end_keep_no_thread_from_others(start: Callable[..., Service]) -> None:
    service = start(workers=1, threads=4, streams=2)
    took = []
    with ExitStack() as opened:
        for _ in range(3 * (4 + 2 + SPARE_THREADS)):
            endless = opened.enter_context(connect(service))
            endless.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + 70_000 * b"a")
        for _ in range(5):
            began = time.perf_counter()
            assert service.ask("GET", "/healthz").status == 200
            took.append(time.perf_counter() - began)
        # Nor from requests that have come together.
        began = time.perf_counter()
        with connect(service) as connection:
            connection.sendall(3 * REQUEST)
            read_answers(connection, 3)
        took.append(time.perf_counter() - began)
    assert statistics.median(took) < 0.25
    assert took[-1] < 2


def test_a_body_that_nobody_reads_and_is_none_gets_no_second_answer(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(
            b"GET /models HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        )
        answer = connection.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1


def test_more_clients_than_threads_are_answered_one_after_the_other(start: Callable[..., Service]) -> None:
    service = start(workers=1, threads=2, streams=1)
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(service)) for _ in range(40)]
        for _ in range(3):
            for client in clients:
                client.sendall(REQUEST)
            assert all(b" 200 OK" in client.recv(1 << 16) for client in clients)


def test_those_who_ask_all_the_time_keep_no_connection_from_others(
    start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--worker-connections 12")
    service = start(workers=1, threads=2, streams=1)
    with ExitStack() as opened:
        asking = [opened.enter_context(connect(service)) for _ in range(12)]
        waiting = opened.enter_context(connect(service))
        for connection in (*asking, waiting):
            connection.sendall(REQUEST)
        for connection in asking:
            if b"Connection: close" in connection.recv(1 << 16):
                connection.close()
        assert any(connection.fileno() < 0 for connection in asking)
        assert b" 200 OK" in waiting.recv(1 << 16)


def test_more_clients_than_a_process_may_usually_open_files_are_answered(
    start: Callable[..., Service],
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    try:
        service = start(workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(service)) for _ in range(70)]
        assert all(b" 200 OK" in ask(client) for client in clients)


def test_where_few_files_may_be_opened_there_are_fewer_connections() -> None:
    program = (
        "from resource import RLIMIT_NOFILE, getrlimit, setrlimit; setrlimit(RLIMIT_NOFILE, (300, 500));"
        "from service.descriptors import make_room; print(make_room(), getrlimit(RLIMIT_NOFILE))"
    )
    told = subprocess.check_output([sys.executable, "-c", program], text=True)
    assert told == "300 (500, 500)\n"


def test_a_request_of_which_a_part_comes_behind_another_is_answered_too(service: Service) -> None:
    for part in (1, 40, len(REQUEST) - 3):
        with connect(service) as connection:
            connection.sendall(REQUEST + REQUEST[:part])
            assert b" 200 OK" in connection.recv(1 << 16)
            connection.sendall(REQUEST[part:])
            assert b" 200 OK" in connection.recv(1 << 16)


def test_a_request_that_is_sent_behind_another_is_answered_too(service: Service) -> None:
    with connect(service) as connection:
        connection.sendall(3 * REQUEST)
        read_answers(connection, 3)
