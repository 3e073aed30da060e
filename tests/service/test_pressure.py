"""More than a worker takes on: who is one too many is told at once, and health is always answered."""

import http.client
import select
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from serving import DEADLINE, JSON, Answer, Service, wait_for
from training import ENDLESS, submit

XOR = b'{"model": "xor", "inputs": [[0, 1]]}'
HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n" % len(XOR)
)
AT_ONCE = 0.05


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("pressure"), workers=1, threads=1)
    yield service
    service.stop()
    print(service.log)


@pytest.fixture
def narrow(lasting: Service) -> Service:
    """A service with one thread, which is free."""
    wait_for(lambda: lasting.predict(model="xor", inputs=[[0, 1]]).status == 200, "free thread", lasting)
    return lasting


@pytest.fixture(scope="module")
def open_to_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service in which predictions need no key, and all else does."""
    folder = tmp_path_factory.mktemp("open")
    service = Service(folder, workers=1, threads=4, allow_anonymous="predict")
    yield service
    service.stop()
    print(service.log)


@contextmanager
def open_connections(service: Service, *sent: bytes) -> Iterator[list[socket.socket]]:
    """Open a connection for each text, and send it."""
    with ExitStack() as opened:
        connections = []
        for text in sent:
            address = ("127.0.0.1", service.port)
            connections.append(opened.enter_context(socket.create_connection(address, timeout=DEADLINE)))
            connections[-1].sendall(text)
        yield connections


@contextmanager
def open_streams(service: Service, job: str, count: int) -> Iterator[None]:
    with ExitStack() as opened:
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
            opened.callback(connection.close)
            connection.request("GET", f"/train/{job}/events")
            assert connection.getresponse().status == 200
        yield


def many(ask: Callable[[], Answer]) -> tuple[set[int], float]:
    """Ask often; return the statuses, and how long the middle one took."""
    answers = [ask() for _ in range(15)]
    return {answer.status for answer in answers}, statistics.median(answer.seconds for answer in answers)


@contextmanager
def filled(service: Service, seats: int) -> Iterator[list[socket.socket]]:
    """Take all seats of a worker, with requests whose bodies have begun."""
    connections: dict[int, socket.socket] = {}
    with ExitStack() as opened:

        def fill() -> bool:
            for seat in range(seats):
                # One that came while we looked was one too many, and has its answer.
                if seat not in connections or select.select([connections[seat]], [], [], 0)[0]:
                    connections[seat] = opened.enter_context(begun(service))
            return service.ask("GET", "/models").status == 503

        wait_for(fill, "full worker", service)
        yield list(connections.values())


def begun(service: Service) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=DEADLINE)
    connection.sendall(HEAD + XOR[:5])
    return connection


def test_with_all_streams_and_all_threads_taken_one_more_is_told_at_once_and_health_is_answered(
    start: Callable[..., Service],
) -> None:
    service = start(workers=1, threads=8)
    job = submit(service, recipe=ENDLESS)
    # Eight bodies drip in, a byte at a time.
    with open_streams(service, job, 4), filled(service, 8) as dripping:
        for place, byte in enumerate(XOR[5:15]):
            for connection in dripping:
                connection.sendall(bytes([byte]))
            if place == 5:
                refused = service.predict(model="xor", inputs=[[0, 1]])
                assert refused.status == 503
                assert refused.headers["retry-after"] == "1"
                assert refused.headers["content-type"] == "application/problem+json"
                assert refused.json["request_id"] == refused.headers["x-request-id"]
                assert refused.json["detail"].startswith("This worker is answering 8 requests already")
        statuses, seconds = many(lambda: service.predict(model="xor", inputs=[[0, 1]]))
        assert statuses == {503}
        assert seconds < AT_ONCE
        for path in ("/healthz", "/readyz", "/v2/health/ready"):
            statuses, seconds = many(lambda path=path: service.ask("GET", path))
            assert statuses == {200}
            assert seconds < AT_ONCE
        assert service.ask("POST", "/v2/models/xor/infer", b"{}").json.keys() == {"error"}

        # Those that were let in are answered, and their seats are free again.
        for connection in dripping:
            connection.sendall(XOR[15:])
        assert {connection.recv(12) for connection in dripping} == {b"HTTP/1.1 200"}
    assert service.predict(model="xor", inputs=[[0, 1]]).status == 200


def test_a_client_that_asks_one_thing_after_the_other_is_never_one_too_many(narrow: Service) -> None:
    statuses = [narrow.predict(model="xor", inputs=[[0, 1]]).status for _ in range(100)]
    assert set(statuses) == {200}


@pytest.mark.parametrize("sent", [b"", HEAD[:40]], ids=["nothing", "half a head"])
def test_connections_on_which_no_whole_head_comes_take_no_thread_from_anybody(
    narrow: Service, sent: bytes
) -> None:
    with open_connections(narrow, *[sent] * 40):
        for ask in (
            lambda: narrow.ask("GET", "/healthz"),
            lambda: narrow.predict(model="xor", inputs=[[0, 1]]),
        ):
            statuses, seconds = many(ask)
            assert statuses == {200}
            assert seconds < AT_ONCE


def test_refused_bodies_that_never_come_hold_up_neither_refusals_nor_health(narrow: Service) -> None:
    with filled(narrow, 1):
        unfinished = [HEAD + XOR[:5]] * 10 + [HEAD.replace(b"POST /predict", b"GET /healthz") + XOR[:5]] * 10
        with open_connections(narrow, *unfinished):
            began = time.monotonic()
            assert narrow.ask("GET", "/healthz").status == 200
            assert narrow.predict(model="xor", inputs=[[0, 1]]).status == 503
            # A moment for each of twenty, and not the seconds of a silence.
            assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace(b"/predict", b"/train"),
        HEAD.replace(b"Host: localhost", b"Host: elsewhere.example"),
        HEAD.replace(b"/predict", b"/nowhere"),
        HEAD.replace(b"/predict", b"/readyz/"),
    ],
    ids=["without a key", "to a foreign host", "to no address", "almost to one"],
)
def test_callers_who_are_turned_away_keep_nobody_out_with_bodies_that_never_come(
    open_to_all: Service, head: bytes
) -> None:
    with open_connections(open_to_all, *[head + XOR[:5]] * 20) as waiting:
        began = time.monotonic()
        wait_for(lambda: len(select.select(waiting, [], [], 0)[0]) >= 18, "answers to most", open_to_all)
        # Not the seconds of a silence.
        assert time.monotonic() - began < 5
        assert open_to_all.predict(model="xor", inputs=[[0, 1]]).status == 200


def test_bodies_that_nobody_asked_for_and_that_never_come_hold_nobody_up(narrow: Service) -> None:
    head = HEAD.replace(b"POST /predict", b"GET /models")
    with open_connections(narrow, *[head + XOR[:5]] * 20):
        began = time.monotonic()
        assert narrow.ask("GET", "/healthz").status == 200
        assert narrow.predict(model="xor", inputs=[[0, 1]]).status == 200
        # A moment for each of twenty, and not the seconds of a silence.
        assert time.monotonic() - began < 1.5


def test_what_comes_of_a_body_after_it_was_given_up_is_no_request(narrow: Service) -> None:
    body = b"GET /models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with open_connections(narrow, head) as [connection]:
        answers = connection.recv(12)
        connection.sendall(body)
        while piece := connection.recv(1 << 16):
            answers += piece
    assert answers.startswith(b"HTTP/1.1 404")
    assert answers.count(b"HTTP/1.1 ") == 1


def test_a_refused_client_that_sent_its_body_may_use_its_connection_again(narrow: Service) -> None:
    with filled(narrow, 1) as [held]:
        kept = http.client.HTTPConnection("127.0.0.1", narrow.port, timeout=DEADLINE)
        kept.request("POST", "/predict", XOR, JSON)
        response = kept.getresponse()
        assert (response.status, response.getheader("Connection")) == (503, "keep-alive")
        response.read()
        before = kept.sock.getsockname()
        held.sendall(XOR[5:])
        assert held.recv(12) == b"HTTP/1.1 200"

        def answered() -> bool:
            kept.request("POST", "/predict", XOR, JSON)
            response = kept.getresponse()
            response.read()
            return response.status == 200

        wait_for(answered, "answer", narrow)
        assert kept.sock.getsockname() == before
        kept.close()


def test_a_body_that_takes_too_long_is_given_up_however_steadily_it_comes(
    start: Callable[..., Service],
) -> None:
    service = start(workers=1, body_seconds=1)
    with open_connections(service, HEAD) as [connection]:
        began = time.monotonic()
        connection.settimeout(0.1)
        answer = b""
        for byte in XOR * 2:
            connection.sendall(bytes([byte]))
            try:
                answer = connection.recv(12)
                break
            except TimeoutError:
                continue
        assert answer == b"HTTP/1.1 400"
        assert 0.9 < time.monotonic() - began < 3
