"""The client and the shell against a running service with a trainer."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serving import Service, faulty, free_port, nnserve
from training import ENDLESS, QUICK, Trainer, wait_for_epoch

from service.client import Client, ProblemError, Unreachable


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("client"), "up", workers=1)
    yield service
    service.stop()
    print(service.log)


@pytest.fixture
def client(up: Service) -> Iterator[Client]:
    with Client(up.url) as client:
        yield client


def test_a_job_is_asked_for_watched_and_its_version_asked(client: Client) -> None:
    job = client.train("line-up", QUICK, promote="always", idempotency_key="one")
    assert client.train("line-up", QUICK, promote="always", idempotency_key="one").id == job.id

    events = list(client.events(job.id))

    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.data["epoch"] for event in events if event.kind == "epoch"] == [1, 2, 3]
    assert events[-1].data["state"] == "succeeded"
    assert list(client.events(job.id, after=len(events) - 1)) == events[-1:]
    assert list(client.events(job.id, after=len(events))) == []
    assert client.predict("line-up", [[1.0]]).sha256 == client.job(job.id).result.sha256


def test_waiting_returns_the_job_as_it_ended(client: Client) -> None:
    ended = client.wait(client.train("waited", QUICK).id)

    assert ended.state == "succeeded"


def test_a_dry_run_gives_no_job(client: Client) -> None:
    assert client.train("xor", dry_run=True).parameters == 33


def test_a_job_is_cancelled_and_retried(client: Client, up: Service) -> None:
    job = client.train("endless", ENDLESS)
    wait_for_epoch(up, job.id, 1)

    assert client.cancel(job.id).state == "cancelled"
    assert client.retry(job.id).state == "queued"
    assert client.cancel(job.id).state == "cancelled"


def test_all_jobs_are_gone_through_page_by_page(client: Client) -> None:
    ids = [client.train("paged", QUICK, promote="never").id for _ in range(5)]
    for job_id in ids:
        client.wait(job_id)

    assert [job.id for job in client.jobs(model="paged", limit=2)] == ids[::-1]
    assert list(client.jobs(model="paged", state="failed")) == []


def test_what_is_refused_is_an_error_with_its_problem(client: Client) -> None:
    with pytest.raises(ProblemError, match="#/recipe/epochs must be ≥ 1") as caught:
        client.train("line", QUICK | {"epochs": 0})
    assert caught.value.status == 422
    with pytest.raises(ProblemError) as caught:
        list(client.events("nope"))
    assert caught.value.status == 404


def test_events_go_on_where_the_service_was_killed(
    start: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that streams is killed; the client takes the stream up from another, and misses nothing."""
    service = start(workers=1)
    trainer = Trainer(tmp_path, service.settings, alone=True)
    try:
        with Client(service.url) as client:
            job = client.train("line", QUICK | {"epochs": 200})
            numbers = []
            for event in client.events(job.id):
                numbers.append(event.number)
                if len(numbers) == 50:
                    service.workers()[0].kill()
            assert client.job(job.id).state == "succeeded"
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == 203
    finally:
        trainer.stop()


def test_a_health_check_tells_whether_the_web_service_answers(up: Service, tmp_path: Path) -> None:
    assert nnserve("health", "web", folder=tmp_path, **up.settings).returncode == 0

    nobody = nnserve("health", "web", folder=tmp_path, **up.settings | {"port": 1})
    assert nobody.returncode == 1
    assert "no answer from http://127.0.0.1:1" in nobody.stderr


def test_a_health_check_tells_whether_a_trainer_shows_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"model_store": tmp_path / "store", "database_url": f"sqlite:///{tmp_path}/nnserve.db"}

    def check(fault: str = "") -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as here:
            for name, value in faulty(fault, tmp_path).items():
                here.setenv(name, value)
            return nnserve("health", "trainer", folder=tmp_path, **settings)

    # Where nobody is, a busy one need not be waited for.
    assert check("impatience").returncode == 1

    trainer = Trainer(tmp_path, settings)
    assert check().returncode == 0

    trainer.stop()
    gone = check("impatience")
    assert gone.returncode == 1
    assert "no trainer on this machine shows life" in gone.stderr


def test_a_health_check_makes_no_database(tmp_path: Path) -> None:
    done = nnserve("health", "trainer", folder=tmp_path)

    assert done.returncode == 1
    assert "no trainer on this machine shows life" in done.stderr
    assert not (tmp_path / "var" / "nnserve.db").exists()


def test_a_file_that_is_no_database_is_said_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "nnserve.db").write_bytes(os.urandom(8192))
    done = nnserve("web", folder=tmp_path, port=free_port(), database_url=f"sqlite:///{tmp_path}/nnserve.db")

    assert done.returncode != 0
    assert "nnserve: the database does not answer: file is not a database" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_does_not_answer_is_said_at_the_start(tmp_path: Path) -> None:
    began = time.monotonic()
    for command in ("up", "web"):
        nowhere = {"port": free_port(), "database_url": "postgresql://nobody@127.0.0.1:1/nothing"}
        done = nnserve(command, folder=tmp_path, **nowhere)
        assert done.returncode != 0
        assert "nnserve: the database does not answer" in done.stderr
        assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 20


def test_nobody_at_the_address_is_unreachable() -> None:
    with Client("http://127.0.0.1:1") as client, pytest.raises(Unreachable):
        client.train("xor")
