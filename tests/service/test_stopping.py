"""How the service stops: nothing that was accepted is lost, and nobody is shown a traceback."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hammering import XOR, Hammer, hammering
from serving import DEADLINE, Service, faulty, wait_for

HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(XOR)
)


def answer_on(connection: socket.socket) -> bytes:
    return connection.makefile("rb").read()


@pytest.mark.parametrize("keep", [True, False], ids=["kept connections", "a connection a request"])
def test_a_stop_under_load_loses_no_request_that_was_accepted(
    start: Callable[..., Service], keep: bool
) -> None:
    service = start(command="web", workers=2, log_level="WARNING")
    with hammering([Hammer(service, keep=keep) for _ in range(8)]) as hammers:
        wait_for(lambda: sum(len(hammer.shots) for hammer in hammers) > 400, "load", service)
        asked_to_stop = time.monotonic()
        service.signal(signal.SIGTERM)
        assert service.process.wait(DEADLINE) == 0
        for hammer in hammers:
            hammer.join(DEADLINE)

    shots = [shot for hammer in hammers for shot in hammer.shots]
    # After the signal a client may still get into the queue of a listener that is just being closed.
    assert [shot for shot in shots if shot.failure and shot.sent < asked_to_stop] == []
    assert [shot for shot in shots if "Incomplete" in shot.failure] == []
    assert {shot.status for shot in shots if not shot.failure} == {200}
    assert all(hammer.refused_at for hammer in hammers)
    assert "Traceback" not in service.log


def test_a_request_half_sent_when_the_stop_comes_is_answered(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    with ExitStack() as opened:
        address = ("127.0.0.1", service.port)
        connections = [
            opened.enter_context(socket.create_connection(address, timeout=DEADLINE)) for _ in range(6)
        ]
        for connection in connections:
            connection.sendall(HEAD + XOR[:10])
        wait_for(lambda: held(service) == 6, "connections in the workers' hands", service)
        service.signal(signal.SIGTERM)
        wait_for(lambda: "Handling signal: term" in service.log, "stop", service)
        for connection in connections:
            connection.sendall(XOR[10:])
        answers = [answer_on(connection) for connection in connections]

    assert all(answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"}") for answer in answers), answers
    assert service.process.wait(DEADLINE) == 0


def held(service: Service) -> int:
    """Count the connections that the workers have taken over from the listener."""
    return sum(
        there.status == "ESTABLISHED"
        for worker in service.workers()
        for there in worker.net_connections("tcp")
    )


def test_an_idle_connection_does_not_keep_the_service_from_stopping(start: Callable[..., Service]) -> None:
    service = start(workers=1)
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as connection:
        connection.sendall(HEAD + XOR)
        connection.recv(10)
        service.signal(signal.SIGTERM)

        assert service.process.wait(5) == 0


def test_a_request_that_never_ends_is_given_up_after_the_graceful_timeout(
    start: Callable[..., Service],
) -> None:
    service = start(workers=1, graceful_timeout=1)
    with socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE) as connection:
        connection.sendall(HEAD + XOR[:10])
        wait_for(lambda: held(service) == 1, "the connection", service)
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        service.process.wait(DEADLINE)

        assert 0.9 < time.monotonic() - began < 6


@pytest.mark.parametrize("load", [False, True], ids=["idle", "busy"])
def test_ctrl_c_stops_cleanly(start: Callable[..., Service], load: bool) -> None:
    service = start(command="web", workers=2)
    with hammering([Hammer(service) for _ in range(4 if load else 0)]):
        # A terminal sends it to the workers too.
        service.signal(signal.SIGINT, group=True)

        assert service.process.wait(DEADLINE) == 0
    assert "Traceback" not in service.log
    assert "Error" not in service.log


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker, which everybody meets; it is not stopped before the end."""
    service = Service(tmp_path_factory.mktemp("lasting"), workers=1, threads=4)
    yield service
    service.stop()
    print(service.log)


def test_a_client_that_leaves_its_connection_open_holds_nobody_up(lasting: Service) -> None:
    request = HEAD.replace(b"Host: localhost", b"Host: localhost\r\nConnection: close") + XOR
    with socket.create_connection(("127.0.0.1", lasting.port), timeout=DEADLINE) as connection:
        connection.sendall(request)
        assert answer_on(connection).startswith(b"HTTP/1.1 200 ")

        # Only now does the service wait for the other end to be closed.
        assert lasting.predict(model="xor", inputs=[[0, 1]]).seconds < 0.5


def test_clients_that_send_slowly_hold_nobody_up(lasting: Service) -> None:
    wait_for(lambda: held(lasting) == 0, "end of all connections", lasting)
    with ExitStack() as opened:
        for _ in range(3):
            address = ("127.0.0.1", lasting.port)
            slow = opened.enter_context(socket.create_connection(address, timeout=DEADLINE))
            slow.sendall(HEAD + XOR[:10])
        wait_for(lambda: held(lasting) == 3, "slow connections", lasting)

        assert lasting.predict(model="xor", inputs=[[0, 1]]).seconds < 0.5


def test_clients_that_fall_silent_in_a_request_are_given_up(
    start: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty("impatience", tmp_path).items():
        monkeypatch.setenv(name, value)
    service = start(workers=1, threads=2)
    address = ("127.0.0.1", service.port)
    with (
        socket.create_connection(address, timeout=DEADLINE) as in_its_header,
        socket.create_connection(address, timeout=DEADLINE) as in_its_body,
    ):
        in_its_header.sendall(HEAD[:20])
        in_its_body.sendall(HEAD + XOR[:10])
        wait_for(lambda: held(service) == 2, "silent connections", service)

        # No thread is left until they are.
        assert service.ask("GET", "/healthz").status == 200
        assert in_its_header.recv(100) == b""
        assert answer_on(in_its_body).startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in service.log


def test_the_port_is_free_again_after_a_stop(start: Callable[..., Service]) -> None:
    first = start(workers=1)
    assert first.stop() == 0
    second = start(workers=1, port=first.port)

    assert second.predict(model="xor", inputs=[[0, 1]]).status == 200


def test_a_worker_that_dies_is_replaced(start: Callable[..., Service]) -> None:
    service = start(workers=2)
    before = {worker.pid for worker in service.workers()}
    next(iter(service.workers())).kill()

    wait_for(lambda: len({w.pid for w in service.workers()} - before) == 1, "new worker", service)
    wait_for(lambda: len(service.workers()) == 2, "two workers", service)
    for _ in range(20):
        assert service.predict(model="xor", inputs=[[0, 1]]).status == 200


def test_the_service_is_ready_within_seconds(running: Service) -> None:
    print(f"ready after {running.seconds_to_start:.2f} s")

    assert running.seconds_to_start < 10
