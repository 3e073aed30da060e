"""The line: requests that are there are answered by one thread at a time, and none holds up the rest."""

import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from service import line as line_module
from service.line import Line

SECONDS = 10


@dataclass
class Conn:
    """A connection, and the other end of it."""

    name: str
    sock: socket.socket
    client: socket.socket
    back: "queue.Queue[Any]" = field(default_factory=queue.Queue)

    def ask(self, text: bytes = b"?") -> None:
        self.client.sendall(text)


@dataclass
class Bench:
    """A line whose answers are noted: who was answered, by which thread, and who came back with what."""

    answered: "queue.Queue[tuple[str, int]]" = field(default_factory=queue.Queue)
    returned: "queue.Queue[tuple[str, Any]]" = field(default_factory=queue.Queue)
    answer: Callable[[Conn], Any] = lambda conn: True
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.threads = ThreadPoolExecutor(8)
        self.conns: list[Conn] = []
        self.line = Line(self._answer, self._take_back, self.threads.submit)

    def connect(self, name: str) -> Conn:
        here, there = socket.socketpair()
        self.conns.append(Conn(name, here, there))
        return self.conns[-1]

    def _answer(self, conn: Conn) -> Any:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        conn.sock.recv(100)
        self.answered.put((conn.name, threading.get_ident()))
        try:
            return self.answer(conn)
        finally:
            self.at_once -= 1

    def _take_back(self, conn: Conn, result: Any) -> None:
        self.returned.put((conn.name, result))
        conn.back.put(result)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    # Long enough that no slow machine lets go of the line in the middle of a test.
    monkeypatch.setattr(line_module, "QUIET_SECONDS", 0.2)
    bench = Bench()
    yield bench
    bench.threads.shutdown()
    for conn in bench.conns:
        conn.sock.close()
        conn.client.close()


def test_requests_on_many_connections_are_answered_by_one_thread_one_after_the_other(bench: Bench) -> None:
    conns = [bench.connect(str(n)) for n in range(10)]
    for conn in conns:
        conn.ask()
        bench.line.add(conn)
    first = [bench.answered.get(timeout=SECONDS) for _ in conns]
    for conn in conns:
        conn.ask()
    second = [bench.answered.get(timeout=SECONDS) for _ in conns]
    assert sorted(name for name, _ in first) == sorted(name for name, _ in second) == list("0123456789")
    assert len({thread for _, thread in first + second}) == 1
    assert bench.most_at_once == 1


def test_beside_a_request_that_takes_long_another_thread_answers_the_others(bench: Bench) -> None:
    done = threading.Event()
    bench.answer = lambda conn: conn.name != "slow" or done.wait(SECONDS)
    slow, quick = bench.connect("slow"), bench.connect("quick")
    slow.ask()
    bench.line.add(slow)
    name, first = bench.answered.get(timeout=SECONDS)
    assert name == "slow"
    quick.ask()
    bench.line.add(quick)
    deadline = time.monotonic() + SECONDS
    while bench.answered.empty() and time.monotonic() < deadline:
        bench.line.watch()
    name, second = bench.answered.get(timeout=SECONDS)
    assert (name, first != second) == ("quick", True)
    done.set()
    # What it was at is no longer in line, and goes back by itself.
    assert bench.returned.get(timeout=SECONDS) == ("slow", True)


def test_a_request_that_takes_no_time_is_not_taken_for_one_that_does(bench: Bench) -> None:
    conn = bench.connect("a")
    conn.ask()
    bench.line.add(conn)
    _, first = bench.answered.get(timeout=SECONDS)
    bench.line.watch()
    conn.ask()
    assert bench.answered.get(timeout=SECONDS) == ("a", first)


@pytest.mark.parametrize("result", [False, "not yet"])
def test_a_connection_that_is_of_no_more_use_leaves_with_what_came_of_it(bench: Bench, result: Any) -> None:
    bench.answer = lambda conn: True if conn.name == "kept" else result
    for conn in (bench.connect("kept"), bench.connect("left")):
        conn.ask()
        bench.line.add(conn)
    assert bench.returned.get(timeout=SECONDS) == ("left", result)
    # And then, since nothing comes any more, the other one, to be kept.
    assert bench.returned.get(timeout=SECONDS) == ("kept", True)
    assert bench.returned.empty()
    assert not bench.line.moves


def test_who_is_quiet_goes_back_though_others_are_not(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SWEEP_SECONDS", 0.05)
    quiet, busy = bench.connect("quiet"), bench.connect("busy")
    for conn in (quiet, busy):
        conn.ask()
        bench.line.add(conn)
        bench.answered.get(timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while bench.returned.empty() and time.monotonic() < deadline:
        busy.ask()
        bench.answered.get(timeout=SECONDS)
    assert bench.returned.get(timeout=SECONDS) == ("quiet", True)
    assert bench.line.moves


def test_who_waits_for_an_answer_is_not_taken_for_quiet_however_many_come_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "SWEEP_SECONDS", 0)
    before, after = bench.connect("before"), bench.connect("after")

    def answer(conn: Conn) -> bool:
        if conn is before and len(bench.conns) == 2:
            bench.connect("added")
            after.ask()
            bench.line.add(after)
        return True

    bench.answer = answer
    before.ask()
    bench.line.add(before)
    # Whoever goes back has been answered.
    assert bench.returned.get(timeout=SECONDS) == ("before", True)
    assert bench.returned.get(timeout=SECONDS) == ("after", True)
    assert [bench.answered.get_nowait()[0] for _ in range(2)] == ["before", "after"]


def test_a_connection_that_is_closed_while_it_is_answered_goes_back_and_the_line_goes_on(
    bench: Bench,
) -> None:
    late = bench.connect("late")

    def answer(conn: Conn) -> bool:
        if conn.name != "closed":
            return True
        descriptor = conn.sock.fileno()
        conn.sock.close()
        # Its descriptor is the next connection's at once.
        os.dup2(late.sock.detach(), descriptor)
        late.sock = socket.socket(fileno=descriptor)
        late.ask()
        bench.line.add(late)
        return False

    bench.answer = answer
    other, closed = bench.connect("other"), bench.connect("closed")
    for conn in (other, closed):
        conn.ask()
        bench.line.add(conn)
    assert bench.returned.get(timeout=SECONDS) == ("closed", False)
    assert {bench.answered.get(timeout=SECONDS)[0] for _ in range(3)} == {"other", "closed", "late"}


def test_a_fault_costs_its_own_connection_and_not_the_line(bench: Bench) -> None:
    def fail(conn: Conn) -> bool:
        if conn.name == "faulty":
            raise RuntimeError("a fault")
        return True

    bench.answer = fail
    faulty, other = bench.connect("faulty"), bench.connect("other")
    for conn in (faulty, other):
        conn.ask()
        bench.line.add(conn)
    assert bench.returned.get(timeout=SECONDS) == ("faulty", False)
    assert {bench.answered.get(timeout=SECONDS)[0] for _ in range(2)} == {"faulty", "other"}
    other.ask()
    assert bench.answered.get(timeout=SECONDS)[0] == "other"


def test_a_line_that_was_given_up_begins_again(bench: Bench) -> None:
    for turn in range(3):
        conn = bench.connect(str(turn))
        conn.ask()
        bench.line.add(conn)
        assert bench.returned.get(timeout=SECONDS) == (str(turn), True)
        assert not bench.line.moves


def test_who_has_just_been_added_is_answered_before_it_goes_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line_module, "QUIET_SECONDS", 0)

    def come_and_go(conn: Conn) -> None:
        for _ in range(500):
            conn.ask()
            bench.line.add(conn)
            assert conn.back.get(timeout=SECONDS) is True

    with ThreadPoolExecutor(4) as clients:
        list(clients.map(come_and_go, [bench.connect(str(n)) for n in range(4)]))
    assert bench.answered.qsize() == 4 * 500
