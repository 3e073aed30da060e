"""`nnserve up`: the web service and a trainer as one, however one of them or all are ended."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from serving import DEADLINE, Service, nnserve, wait_for
from training import ENDLESS, QUICK, is_running, job, submit, wait_for_epoch, wait_until

ENDED = ("succeeded", "failed", "cancelled")


SETTINGS = {"command": "up", "workers": 1, "lease_seconds": 1}


@pytest.fixture
def up(start: Callable[..., Service]) -> Service:
    return start(**SETTINGS)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whose parts may be killed, and which no test ends."""
    service = Service(tmp_path_factory.mktemp("up"), **SETTINGS)
    yield service
    service.stop()
    print(service.log)


def part(service: Service, word: str) -> psutil.Process | None:
    """Return the process of a part by a word of its command."""
    for child in psutil.Process(service.process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word in argument for argument in child.cmdline()):
                return child
    return None


def answers(service: Service) -> bool:
    try:
        return service.ask("GET", "/readyz").status == 200
    except OSError:
        return False


def test_a_trainer_that_is_killed_is_started_again_and_finishes_its_job(lasting: Service) -> None:
    job_id = submit(lasting, recipe=QUICK | {"epochs": 200})
    wait_for_epoch(lasting, job_id, 1)
    first = part(lasting, "service.jobs.trainer")

    first.kill()

    ended = wait_until(lasting, job_id, *ENDED)
    assert ended["state"] == "succeeded"
    assert not ended["trainer"].endswith(f"/{first.pid}")
    assert "trainer 1 has ended (signal 9)" in lasting.log


def test_a_web_service_that_is_killed_is_started_again(lasting: Service) -> None:
    first = part(lasting, "gunicorn")

    first.kill()

    wait_for(
        lambda: (now := part(lasting, "gunicorn")) and now.pid != first.pid, "another web service", lasting
    )
    wait_for(lambda: answers(lasting), "answer", lasting)


@pytest.mark.parametrize("group", [False, True], ids=["SIGTERM", "Ctrl-C"])
def test_a_stop_hands_the_job_back_and_leaves_nothing_behind(up: Service, group: bool) -> None:
    job_id = submit(up, recipe=ENDLESS)
    wait_for_epoch(up, job_id, 1)
    below = psutil.Process(up.process.pid).children(recursive=True)

    began = time.monotonic()
    up.signal(signal.SIGINT if group else signal.SIGTERM, group=group)
    assert up.process.wait(DEADLINE) == 0

    assert time.monotonic() - began < 6
    assert not any(map(is_running, below))
    assert "Traceback" not in up.log


def test_a_job_that_was_handed_back_is_gone_on_with_after_a_restart(
    up: Service, start: Callable[..., Service]
) -> None:
    job_id = submit(up, recipe=QUICK | {"epochs": 400})
    wait_for_epoch(up, job_id, 1)
    up.stop()

    again = start(**{"command": "up"} | up.settings)

    assert wait_until(again, job_id, *ENDED)["state"] == "succeeded"


def test_whoever_kills_up_itself_leaves_nothing_behind(up: Service) -> None:
    job_id = submit(up, recipe=ENDLESS)
    wait_for_epoch(up, job_id, 1)
    below = psutil.Process(up.process.pid).children(recursive=True)

    os.kill(up.process.pid, signal.SIGKILL)

    wait_for(lambda: not any(map(is_running, below)), "end of its processes")


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = nnserve("up", folder=tmp_path, port=taken.getsockname()[1])

    assert done.returncode == 1
    assert "cannot listen on 127.0.0.1" in done.stderr
    assert "started" not in done.stderr


def test_several_trainers_run_several_jobs_at_once(start: Callable[..., Service]) -> None:
    service = start(command="up", workers=1, trainers=2)
    ids = [submit(service, recipe=ENDLESS) for _ in range(2)]

    for job_id in ids:
        wait_for_epoch(service, job_id, 1)

    assert {job(service, job_id)["state"] for job_id in ids} == {"running"}


def test_trainers_give_way_to_the_web_service(lasting: Service) -> None:
    mine = os.nice(0)
    wait_for(
        lambda: part(lasting, "service.jobs.trainer").nice() == min(mine + 10, 19),
        "trainer's niceness",
        lasting,
    )
    assert part(lasting, "gunicorn").nice() == mine
