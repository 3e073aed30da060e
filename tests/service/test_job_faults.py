"""What befalls real processes in the middle of a job: nothing is lost, doubled or half-written by it."""

import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kills import Campaign, unbroken
from postgresql import start_server
from serving import Service, faulty, wait_for
from training import (
    ENDLESS,
    QUICK,
    SLOW,
    Trainer,
    freeze,
    is_running,
    job,
    post_job,
    read_events,
    submit,
    thaw,
    versions_on_disk,
    wait_for_epoch,
    wait_until,
)

ENDED = ("succeeded", "failed", "cancelled")
# Takes its time by being paced, with little work.
PACED = SLOW | {"batch_size": 16}
SETTINGS = {"workers": 1, "lease_seconds": 1, "checkpoint_seconds": 0.3}


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The web service that no test ends; the trainers are those of a test."""
    service = Service(tmp_path_factory.mktemp("lasting"), **SETTINGS)
    yield service
    service.stop()


@pytest.fixture
def web(lasting: Service) -> Iterator[Service]:
    """The web service; no job is left for the next test's trainers."""
    before = len(lasting.log)
    yield lasting
    for state in ("queued", "running"):
        for left in lasting.ask("GET", f"/train?state={state}").json["jobs"]:
            lasting.ask("POST", f"/train/{left['id']}/cancel")
    print(lasting.log[before:])


@pytest.fixture
def train(web: Service, tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    """Start trainers for the service: `train(fault="crash_in_training", alone=True, lease_seconds=1)`."""
    started: list[Trainer] = []

    def train(fault: str = "", alone: bool = False, **settings: Any) -> Trainer:
        started.append(Trainer(tmp_path, web.settings | settings, faulty(fault, tmp_path), alone=alone))
        return started[-1]

    yield train
    for trainer in started:
        trainer.stop()
        print(trainer.log)


def check_unbroken(service: Service, job_id: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Check that a job ended as if nothing had been: once, with one version, of the same bytes."""
    ended = wait_until(service, job_id, *ENDED)
    assert ended["state"] == "succeeded", ended["error"]
    events = read_events(service, job_id)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [data["epoch"] for _, kind, data in events if kind == "epoch"] == list(
        range(1, recipe["epochs"] + 1)
    )
    assert [data["state"] for _, kind, data in events if kind == "state"].count("succeeded") == 1
    published = versions_on_disk(service, ended["model"]).values()
    mine = [facts for facts in published if facts.get("job") == job_id]
    assert [facts["version"] for facts in mine] == [ended["result"]["version"]]
    assert mine[0]["sha256"] == ended["result"]["sha256"] == unbroken(recipe)
    return ended


def attempts(service: Service, job_id: str) -> int:
    return [data.get("state") for _, _, data in read_events(service, job_id)].count("running")


def test_a_child_that_is_killed_is_replaced_and_the_job_goes_on(web: Service, train) -> None:
    trainer = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    wait_for_epoch(web, job_id, 20)

    trainer.child().kill()

    check_unbroken(web, job_id, PACED)
    assert attempts(web, job_id) == 2
    assert trainer.process.poll() is None


def test_a_child_whose_parent_is_killed_hands_its_job_back_and_leaves(web: Service, train) -> None:
    trainer = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    wait_for_epoch(web, job_id, 20)
    child = trainer.child()

    trainer.process.kill()

    wait_for(lambda: not is_running(child), "end of the child", web)
    assert job(web, job_id)["state"] == "queued"
    train()
    check_unbroken(web, job_id, PACED)


def test_both_killed_at_once_lose_nothing(web: Service, train) -> None:
    trainer = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    wait_for_epoch(web, job_id, 20)

    child = trainer.child()
    trainer.process.kill()
    child.kill()
    train()

    check_unbroken(web, job_id, PACED)


def test_random_kills_lose_nothing_and_change_no_byte(tmp_path: Path) -> None:
    """`make kills` does 200 on each database; these are two."""
    outcome = Campaign(tmp_path, f"sqlite:///{tmp_path}/kills.db", 0).run(kills=2)

    assert outcome.faults == []
    assert outcome.jobs >= 5


def test_a_web_service_that_is_killed_before_it_sends_a_job_loses_none(
    start: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty("die_before_sending", tmp_path).items():
        monkeypatch.setenv(name, value)
    service = start(workers=1)
    with pytest.raises(OSError, match=r"."):
        post_job(service, recipe=QUICK, key="once")
    monkeypatch.undo()
    wait_for(lambda: service.ask("GET", "/readyz").status == 200, "another worker", service)
    trainer = Trainer(tmp_path, service.settings, alone=True)
    try:
        jobs = service.ask("GET", "/train").json["jobs"]
        assert len(jobs) == 1
        assert wait_until(service, jobs[0]["id"], *ENDED)["state"] == "succeeded"
    finally:
        trainer.stop()


def test_a_trainer_told_to_stop_hands_its_job_back_within_seconds(web: Service, train) -> None:
    first = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    wait_for_epoch(web, job_id, 20)

    began = time.monotonic()
    assert first.stop() == 0
    assert time.monotonic() - began < 5
    handed_back = job(web, job_id)
    assert (handed_back["state"], handed_back["attempts"]) == ("queued", 0)
    epoch = handed_back["epoch"]

    train()
    check_unbroken(web, job_id, PACED)
    assert epoch >= 20


def test_a_web_service_told_to_stop_leaves_the_job_running(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    web = start(**SETTINGS)
    trainer = Trainer(tmp_path, web.settings, faulty("pacing", tmp_path), alone=True)
    try:
        job_id = submit(web, recipe=PACED)
        wait_for_epoch(web, job_id, 5)

        assert web.stop() == 0
        again = start(**web.settings)

        check_unbroken(again, job_id, PACED)
        assert attempts(again, job_id) == 1
    finally:
        trainer.stop()
        print(trainer.log)


def test_two_trainers_and_one_job(web: Service, train) -> None:
    train(alone=True), train(alone=True)
    ids = [submit(web, "of-two", recipe=QUICK) for _ in range(10)]

    for job_id in ids:
        wait_until(web, job_id, *ENDED)

    assert [attempts(web, job_id) for job_id in ids] == [1] * 10
    assert sorted(facts["job"] for facts in versions_on_disk(web, "of-two").values()) == sorted(ids)


def test_an_owner_that_wakes_up_after_its_lease_publishes_nothing(web: Service, train) -> None:
    sleeper = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    wait_for_epoch(web, job_id, 20)
    child = sleeper.child()
    freeze(child, web)
    train()
    check_unbroken(web, job_id, PACED)
    before = versions_on_disk(web, "line")

    thaw(child)

    wait_for(lambda: f"job {job_id}: left" in sleeper.log, "end of the late attempt", web)
    assert versions_on_disk(web, "line") == before
    check_unbroken(web, job_id, PACED)


def test_an_attempt_killed_between_rename_and_commit_leaves_one_version(web: Service, train) -> None:
    train(fault="die_after_placing")
    job_id = submit(web, "placed", recipe=QUICK)

    ended = check_unbroken(web, job_id, QUICK)

    assert attempts(web, job_id) == 2
    assert sorted(versions_on_disk(web, "placed")) == [1]
    assert ended["result"]["version"] == 1


def test_a_recipe_that_crashes_every_time_ends_as_failed(web: Service, train) -> None:
    trainer = train(fault="crash_in_training", alone=True, max_attempts=2)
    job_id = submit(web, recipe=QUICK)

    ended = wait_until(web, job_id, *ENDED)

    assert ended["state"] == "failed"
    assert ended["error"] == "ZeroDivisionError: a fault that was made for a test"
    assert attempts(web, job_id) == 2
    assert trainer.log.count("Traceback (most recent call last)") == 2
    assert "sitecustomize.py" in trainer.log


def test_a_job_that_kills_its_trainer_every_time_ends_as_failed(web: Service, train) -> None:
    train(fault="die_in_training", max_attempts=2, lease_seconds=1)
    job_id = submit(web, recipe=QUICK)

    ended = wait_until(web, job_id, *ENDED)

    assert ended["state"] == "failed"
    assert "begun 2 times in a row" in ended["error"]


def test_a_job_that_wants_more_memory_than_it_may_have_fails_and_its_trainer_lives(
    web: Service, train
) -> None:
    trainer = train(fault="hunger_in_training", max_job_memory=500_000_000)
    child = trainer.child()
    job_id = submit(web, recipe=QUICK)

    ended = wait_until(web, job_id, *ENDED)

    assert ended["state"] == "failed"
    assert ended["error"] == "It needs more than the 500,000,000 bytes of memory that a job may take."
    assert attempts(web, job_id) == 1
    assert is_running(child)


def test_a_cancelled_job_that_never_looks_up_is_gone_within_two_seconds(web: Service, train) -> None:
    trainer = train(fault="deafness_in_training")
    job_id = submit(web, recipe=QUICK)
    wait_until(web, job_id, "running")
    child = trainer.child()

    cancelled = time.monotonic()
    web.ask("POST", f"/train/{job_id}/cancel")

    wait_for(lambda: not is_running(child), "end of the child", web)
    assert time.monotonic() - cancelled < 2.5
    wait_for(lambda: trainer.child().pid != child.pid, "another child", web)
    assert job(web, job_id)["state"] == "cancelled"


def test_a_job_that_never_looks_up_fails_when_its_time_is_over(web: Service, train) -> None:
    train(fault="deafness_in_training", max_job_seconds=1)
    job_id = submit(web, recipe=QUICK)

    ended = wait_until(web, job_id, *ENDED)

    assert ended["state"] == "failed"
    assert ended["error"] == "It took more than the 1 seconds that a job may take."


def test_a_trainer_whose_run_never_looks_up_still_stops(web: Service, train) -> None:
    trainer = train(fault="deafness_in_training")
    job_id = submit(web, recipe=QUICK)
    wait_until(web, job_id, "running")

    assert trainer.stop() == 0

    assert job(web, job_id)["state"] == "queued"


def test_a_job_cancelled_between_its_publishing_and_its_end_leaves_no_version(
    web: Service, train, tmp_path: Path
) -> None:
    trainer = train(fault="pause_after_placing", alone=True)
    job_id = submit(web, "withdrawn", recipe=QUICK)
    wait_for((tmp_path / "mark").exists, "published version", web)

    web.ask("POST", f"/train/{job_id}/cancel")

    wait_for(lambda: f"job {job_id}: left" in trainer.log, "end of the run", web)
    wait_for(lambda: not versions_on_disk(web, "withdrawn"), "withdrawal of the version", web)
    assert job(web, job_id)["state"] == "cancelled"
    assert web.ask("POST", f"/train/{job_id}/retry").status == 202
    assert check_unbroken(web, job_id, QUICK)["result"]["version"] == 2


def test_a_database_file_that_is_moved_away_is_said_and_put_back_nothing_is_lost(web: Service, train) -> None:
    train(alone=True)
    wait_until(web, submit(web, recipe=QUICK), *ENDED)
    path = Path(web.settings["database_url"].removeprefix("sqlite:///"))
    elsewhere = path.with_suffix(".away")

    path.rename(elsewhere)
    answer = post_job(web, recipe=QUICK)
    elsewhere.rename(path)

    assert answer.status == 503
    assert f"{path} is not the file that was opened" in web.log
    check_unbroken(web, submit(web, recipe=QUICK), QUICK)


def test_a_clock_that_jumps_takes_no_job_from_its_trainer(web: Service, train) -> None:
    train("pacing jumping_clock", alone=True), train("pacing jumping_clock", alone=True)
    job_id = submit(web, recipe=PACED)

    check_unbroken(web, job_id, PACED)
    assert attempts(web, job_id) == 1


def test_a_database_that_is_locked_for_ten_seconds_loses_nothing(web: Service, train) -> None:
    train(fault="pacing", alone=True)
    running = submit(web, recipe=PACED)
    wait_for_epoch(web, running, 20)
    path = web.settings["database_url"].removeprefix("sqlite:///")
    answers: list[Any] = []

    with sqlite3.connect(path, isolation_level=None) as holder:
        holder.execute("begin immediate")
        asking = threading.Thread(target=lambda: answers.append(post_job(web, recipe=QUICK)))
        asking.start()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert web.predict(model="xor", inputs=[[0, 1]]).status == 200
            assert job(web, running)["state"] == "running"
            time.sleep(0.1)
        holder.execute("rollback")
    holder.close()
    asking.join()

    assert answers[0].status == 202
    check_unbroken(web, running, PACED)
    check_unbroken(web, answers[0].json["id"], QUICK)


def test_a_postgresql_that_crashes_and_comes_back_loses_nothing(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    server = start_server()
    service = start(**SETTINGS, database_url=server.new_database())
    trainer = Trainer(tmp_path, service.settings, faulty("pacing", tmp_path), alone=True)
    try:
        running, waiting = submit(service, recipe=PACED), submit(service, recipe=QUICK)
        wait_for_epoch(service, running, 20)

        server.restart()

        check_unbroken(service, running, PACED)
        check_unbroken(service, waiting, QUICK)
    finally:
        trainer.stop()
        service.stop()
        print(trainer.log)
        server.stop()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be filled."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("only root may mount a file system to fill")
    mounted = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mounted, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte on the file system of a folder; the file that takes them is to be removed."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


def test_a_full_disk_costs_checkpoints_and_no_job(
    start: Callable[..., Service], small_disk: Path, tmp_path: Path
) -> None:
    service = start(**SETTINGS, model_store=small_disk)
    trainer = Trainer(tmp_path, service.settings, faulty("pacing", tmp_path), alone=True)
    try:
        job_id = submit(service, recipe=PACED)
        wait_for_epoch(service, job_id, 10)
        ballast = fill(small_disk)
        wait_for(lambda: "no checkpoint could be written" in trainer.log, "full disk", service)
        assert job(service, job_id)["state"] == "running"
        ballast.unlink()

        check_unbroken(service, job_id, PACED)
        assert attempts(service, job_id) == 1
    finally:
        trainer.stop()
        service.stop()


def test_a_disk_that_is_full_when_a_version_is_published_fails_the_job_until_it_is_retried(
    start: Callable[..., Service], small_disk: Path, tmp_path: Path
) -> None:
    service = start(workers=1, model_store=small_disk, lease_seconds=1, max_attempts=2)
    before = versions_on_disk(service, "line")
    ballast = fill(small_disk)
    trainer = Trainer(tmp_path, service.settings, alone=True)
    try:
        job_id = submit(service, recipe=QUICK)
        ended = wait_until(service, job_id, *ENDED)
        assert ended["state"] == "failed"
        assert "No space left on device" in ended["error"]
        assert versions_on_disk(service, "line") == before
        assert service.predict(model="line", inputs=[[1]]).status == 200

        ballast.unlink()
        assert service.ask("POST", f"/train/{job_id}/retry").status == 202
        check_unbroken(service, job_id, QUICK)
    finally:
        trainer.stop()
        service.stop()


def test_a_checkpoint_that_is_cut_short_is_passed_over(web: Service, train) -> None:
    trainer = train(fault="pacing")
    job_id = submit(web, recipe=PACED)
    folder = web.store / ".checkpoints" / job_id
    wait_for(lambda: len(list(folder.glob("checkpoint-*"))) == 2, "two checkpoints", web)
    freeze(trainer.child(), web)
    newest = max(folder.glob("checkpoint-*"))
    os.truncate(newest, newest.stat().st_size // 2)
    trainer.child().send_signal(signal.SIGKILL)

    check_unbroken(web, job_id, PACED)
    assert f"the checkpoint {newest} is not used" in trainer.log


def test_cancelling_while_the_trainer_is_gone_needs_none(web: Service, train) -> None:
    trainer, before = train(), versions_on_disk(web, "line")
    job_id = submit(web, recipe=ENDLESS)
    wait_for_epoch(web, job_id, 1)
    freeze(trainer.child(), web)

    assert web.ask("POST", f"/train/{job_id}/cancel").json["state"] == "cancelled"

    child = trainer.child()
    thaw(child)
    wait_for(lambda: f"job {job_id}: left" in trainer.log, "end of the cancelled run", web)
    assert job(web, job_id)["state"] == "cancelled"
    assert versions_on_disk(web, "line") == before
