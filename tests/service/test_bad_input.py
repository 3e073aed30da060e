"""What bad input gets: the table of badinput.py, sent to the running service."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from badinput import NO_HTTP, TABLE, Bad, Send, check, check_problem, names
from serving import Service
from sketches import Digit

from service import front

SECOND = 1.0
MOST_GROWTH = 10 << 20
ROUNDS = 2
DEFAULTS = {name.lower(): value for name, value in front.DEFAULTS}


@pytest.fixture(scope="module")
def warm(running: Service, digits: list[Digit]) -> Service:
    """The service after ordinary work, every thread of every worker awake."""

    def work(number: int) -> None:
        for digit in digits[:3]:
            assert running.upload([("a.png", digit.png)], model="digits").status == 200
            rows = [digit.pixels.ravel().tolist()] * 200
            assert running.predict(model="digits", inputs=rows).status == 200

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(16)))
    return running


@pytest.fixture
def steady(service: Service, warm: Service) -> Iterator[Service]:
    """The running service, whose workers must live on and not have grown by the end of the test."""
    before = memory(service)
    yield service
    assert_not_grown(before, memory(service))


def assert_not_grown(before: dict[int, int], after: dict[int, int]) -> None:
    assert after.keys() == before.keys(), "a worker died"
    grown = {worker: after[worker] - before[worker] for worker in before}
    assert max(grown.values()) <= MOST_GROWTH, grown


def memory(service: Service) -> dict[int, int]:
    return {worker.pid: psutil.Process(worker.pid).memory_info().rss for worker in service.workers()}


def alive(service: Service) -> bool:
    return service.predict(model="xor", inputs=[[0, 1]]).status == 200


@pytest.mark.parametrize("bad", TABLE, ids=names(TABLE))
def test_bad_input_gets_its_status_and_words_within_a_second(steady: Service, bad: Bad) -> None:
    answer = bad.send(steady)

    check(bad, answer)
    assert answer.seconds < SECOND
    assert alive(steady)


@pytest.mark.parametrize("send", NO_HTTP.values(), ids=NO_HTTP.keys())
def test_what_is_no_http_is_refused_or_cut_off(steady: Service, send: Send) -> None:
    answer = send(steady)

    assert answer.status in (0, 400, 414, 417, 431, 501)
    if answer.status:
        check_problem(answer)
        assert DEFAULTS.items() <= answer.headers.items()
    assert answer.seconds < SECOND
    assert alive(steady)


def test_the_whole_table_again_and_again_leaves_the_workers_as_they_were(
    service: Service, warm: Service
) -> None:
    send_everything(service)
    before = memory(service)
    for _ in range(ROUNDS):
        send_everything(service)

    assert_not_grown(before, memory(service))


def send_everything(service: Service) -> None:
    for bad in TABLE:
        assert bad.send(service).status == bad.status, bad.name
    for send in NO_HTTP.values():
        send(service)
