"""When the client makes a call again, and when it must not: against a server that fails as it is told."""

import json
from collections.abc import Callable

import pytest
from scripted import Script, Step, answering
from serving import free_port

from service.client import Client, ProblemError, Unreachable
from service.remote import streams

PREDICTED = Step(json.dumps({"model": "xor", "version": 1, "sha256": "0", "predictions": []}).encode())
MODEL = Step(json.dumps({"model": "xor", "labels": {"stable": 1}, "versions": [1]}).encode())
JOB = Step(json.dumps({"id": "a", "model": "xor", "state": "queued", "created": "now"}).encode())
LABEL = Step(json.dumps({"model": "xor", "label": "stable", "version": 1, "history": []}).encode())
NOTHING = Step(b"", 204)
DROPPED = Step(b"", drop=True)
BUSY = Step(b'{"title": "Service Unavailable"}', 503, {"Retry-After": "2"})
FULL = Step(b'{"title": "Too Many Requests"}', 429, {"Retry-After": "5"})
GONE = Step(b"<h1>Bad Gateway</h1>", 502)

# Every call that may be done twice, and one that may not; each with an answer that suits it.
REPEATABLE: dict[str, tuple[Callable[[Client], object], Step]] = {
    "predict": (lambda client: client.predict("xor", [[0, 1]]), PREDICTED),
    "model": (lambda client: client.model("xor"), MODEL),
    "train": (lambda client: client.train("xor"), JOB),
    "cancel": (lambda client: client.cancel("a"), JOB),
    "promote": (lambda client: client.promote("xor", 1), LABEL),
}
ONCE: dict[str, tuple[Callable[[Client], object], Step]] = {
    "retry": (lambda client: client.retry("a"), JOB),
    "delete_version": (lambda client: client.delete_version("xor", 1), NOTHING),
    "delete_dataset": (lambda client: client.delete_dataset("xor"), NOTHING),
}
ALL = REPEATABLE | ONCE


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have waited; nothing is."""
    waited: list[float] = []
    monkeypatch.setattr("service.remote.transport.time.sleep", waited.append)
    return waited


@pytest.mark.parametrize("name", REPEATABLE)
def test_what_may_be_done_twice_is_asked_again_when_the_connection_broke(
    name: str, pauses: list[float]
) -> None:
    call, answer = REPEATABLE[name]
    with answering(DROPPED, GONE, answer) as script, Client(script.url) as client:
        call(client)

    assert len(script.requests) == 3
    assert len({(method, path, body) for method, path, _, body in script.requests}) == 1
    assert 0.05 <= pauses[0] <= 0.1 <= pauses[1] <= 0.2


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize(("failure", "error"), [(DROPPED, Unreachable), (GONE, ProblemError)])
def test_what_must_not_be_done_twice_is_not(
    name: str, failure: Step, error: type[Exception], pauses: list[float]
) -> None:
    with answering(failure) as script, Client(script.url) as client, pytest.raises(error):
        ONCE[name][0](client)

    assert (len(script.requests), pauses) == (1, [])


@pytest.mark.parametrize("name", ALL)
def test_who_is_told_when_to_come_again_comes_then(name: str, pauses: list[float]) -> None:
    call, answer = ALL[name]
    with answering(BUSY, FULL, answer) as script, Client(script.url) as client:
        call(client)

    assert (len(script.requests), pauses) == (3, [2, 5])


@pytest.mark.parametrize(
    "refusal",
    [
        Step(b'{"title": "no"}', 503),
        Step(b'{"title": "no"}', 503, {"Retry-After": "31"}),
        Step(b'{"title": "no"}', 503, {"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}),
        Step(b'{"title": "no"}', 500),
        Step(b'{"title": "no"}', 507),
        Step(b'{"title": "no"}', 409),
    ],
)
def test_a_refusal_that_waiting_does_not_change_is_told_at_once(refusal: Step, pauses: list[float]) -> None:
    with answering(refusal) as script, Client(script.url) as client, pytest.raises(ProblemError):
        client.predict("xor", [[0, 1]])

    assert (len(script.requests), pauses) == (1, [])


def test_after_three_repetitions_the_last_failure_is_told(pauses: list[float]) -> None:
    with answering(*[BUSY] * 4) as script, Client(script.url) as client, pytest.raises(ProblemError):
        client.model("xor")
    assert (len(script.requests), pauses) == (4, [2, 2, 2])

    pauses.clear()
    with answering(*[DROPPED] * 4) as script, Client(script.url) as client, pytest.raises(Unreachable):
        client.model("xor")
    assert (len(script.requests), len(pauses)) == (4, 3)


def test_who_wants_no_repetitions_has_none(pauses: list[float]) -> None:
    with answering(BUSY) as script, Client(script.url, retries=0) as client, pytest.raises(ProblemError):
        client.model("xor")

    assert (len(script.requests), pauses) == (1, [])


@pytest.mark.parametrize("name", ["train", "retry"])
def test_what_never_reached_anybody_is_sent_again(name: str, pauses: list[float]) -> None:
    with Client(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Unreachable):
        ALL[name][0](client)

    assert len(pauses) == 3


@pytest.mark.parametrize("begun", [False, True], ids=["no answer", "half an answer"])
def test_an_answer_that_was_waited_for_in_vain_is_not_waited_for_again(
    begun: bool, pauses: list[float]
) -> None:
    answer = Step(b"{", headers={"Content-Length": "2"}) if begun else Step(delay=0.3)
    with (
        answering(answer) as script,
        Client(script.url, timeout=0.1) as client,
        pytest.raises(Unreachable, match="in time"),
    ):
        client.model("xor")

    assert (len(script.requests), pauses) == (1, [])


def keys(script: Script) -> list[str]:
    return [headers["Idempotency-Key"] for _, _, headers, _ in script.requests]


def test_a_training_has_one_key_in_all_its_repetitions_and_each_call_another(pauses: list[float]) -> None:
    with answering(DROPPED, JOB, BUSY, JOB, JOB) as script, Client(script.url) as client:
        client.train("xor")
        client.train("xor")
        client.train("xor", idempotency_key="mine")

    first, again, second, again_too, mine = keys(script)
    assert first == again != second == again_too
    assert len(first) == 32
    assert mine == "mine"


def event(number: int, kind: str = "epoch") -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {{}}\n\n".encode()


STREAM = {"Content-Type": "text/event-stream"}


def test_a_broken_stream_is_taken_up_after_the_last_whole_event(pauses: list[float]) -> None:
    steps = [
        Step(event(1) + event(2) + b"id: 3\nevent: ep", headers=STREAM, drop=True),
        DROPPED,
        Step(event(3), headers=STREAM),
        NOTHING,
    ]
    with answering(*steps) as script, Client(script.url) as client:
        assert [one.number for one in client.events("a")] == [1, 2, 3]

    assert [headers["Last-Event-ID"] for _, _, headers, _ in script.requests] == ["0", "2", "2", "3"]


def test_who_finds_no_seat_for_a_stream_waits_for_one(pauses: list[float]) -> None:
    with (
        answering(*[BUSY] * 6, Step(event(1), headers=STREAM), NOTHING) as script,
        Client(script.url) as client,
    ):
        assert [one.number for one in client.events("a")] == [1]
    assert len(script.requests) == 8


def test_who_finds_no_seat_for_long_is_told_so(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PATIENCE", -1.0)
    with (
        answering(*[BUSY] * 4) as script,
        Client(script.url) as client,
        pytest.raises(ProblemError, match="503"),
    ):
        list(client.events("a"))


def test_streams_that_end_without_a_word_are_not_asked_for_in_a_rush(pauses: list[float]) -> None:
    with answering(*[Step(b"", headers=STREAM)] * 4, NOTHING) as script, Client(script.url) as client:
        assert list(client.events("a")) == []

    assert len(script.requests) == 5
    assert all(pause >= 0.05 for pause in pauses)


def test_a_stream_that_is_none_is_noticed(pauses: list[float]) -> None:
    with (
        answering(Step()) as script,
        Client(script.url) as client,
        pytest.raises(ProblemError, match="as nnserve"),
    ):
        list(client.events("a"))
