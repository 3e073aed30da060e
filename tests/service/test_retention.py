"""What is kept, for how long, and on how much disk; on SQLite and on PostgreSQL."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from candidates import silent
from sqlalchemy import func, select, update

from nncore.publishing import VERSION_FILE, publish, versions
from service.database import Database, parse_url
from service.jobs.job import CANCELLED, CHECKPOINTS, FAILED, QUEUED, RUNNING, SUCCEEDED
from service.jobs.ledger import Ledger, Request
from service.labels import LABELS_FILE, write_labels
from service.problems import NotFound, OutOfSpace
from service.retention import Retention
from service.schema import EVENTS, JOBS, migrate
from service.settings import Settings

HOUR = 3600.0


class House:
    """A store and a database, in which everything but what a test says is old."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.store = url, folder / "store"
        self.database = Database(parse_url(url))
        migrate(self.database)
        self.ledger = Ledger(self.database, most_queued=10_000, most_queued_by_one=10_000)
        self.store.mkdir()

    def publish(self, model: str = "exam", hours: float = 5, **about: Any) -> int:
        number = publish(self.store / model, silent(100), **about)
        age(self.store / model / str(number) / VERSION_FILE, hours)
        return number

    def job(self, state: str, hours: float = 5, checkpoint: int = 0, **plan: Any) -> str:
        """Make a job that ended so long ago, with a checkpoint of so many bytes."""
        job, _ = self.ledger.add("exam", plan, 10, Request("me", "a"))
        ended = None if state in (QUEUED, RUNNING) else time.time() - hours * HOUR
        with self.database.writing() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(state=state, ended=ended))
        if checkpoint:
            self.checkpoint(job.id, hours, checkpoint)
        return job.id

    def checkpoint(self, job_id: str, hours: float = 5, size: int = 100) -> None:
        folder = self.store / CHECKPOINTS / job_id
        folder.mkdir(parents=True)
        (folder / "epoch-1").write_bytes(bytes(size))
        age(folder, hours)

    def checkpoints(self) -> set[str]:
        return {folder.name for folder in (self.store / CHECKPOINTS).iterdir()}

    def retention(self, **settings: Any) -> Retention:
        return Retention(self.database, Settings(database_url=self.url, model_store=self.store, **settings))

    def tidy(self, **settings: Any) -> None:
        self.retention(**settings).tidy()


def age(path: Path, hours: float) -> None:
    then = time.time() - hours * HOUR
    os.utime(path, (then, then))


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(database_url, tmp_path)
    yield house
    house.database.close()


class TestVersions:
    def test_without_a_label_are_kept_up_to_a_number_the_newest(self, house: House) -> None:
        for _ in range(6):
            house.publish()
            house.publish("another")
        for model in ("exam", "another"):
            write_labels(house.store / model, {"stable": 6})
        house.tidy(keep_versions=2)

        assert versions(house.store / "exam") == [4, 5, 6]
        assert versions(house.store / "another") == [4, 5, 6]

    def test_with_a_label_are_kept_however_old(self, house: House) -> None:
        for _ in range(4):
            house.publish()
        write_labels(house.store / "exam", {"stable": 1, "canary": 3})
        house.tidy(keep_versions=0)

        assert versions(house.store / "exam") == [1, 3]

    def test_that_are_served_without_labels_are_kept(self, house: House) -> None:
        for _ in range(3):
            house.publish()
        house.tidy(keep_versions=0)

        assert versions(house.store / "exam") == [3]

    def test_whose_labels_cannot_be_read_are_kept(self, house: House) -> None:
        for _ in range(3):
            house.publish()
        (house.store / "exam" / LABELS_FILE).write_text("{")
        house.tidy(keep_versions=0)

        assert versions(house.store / "exam") == [1, 2, 3]

    def test_that_came_with_nnserve_are_kept(self, house: House) -> None:
        for origin in ("shipped", "uploaded", "shipped"):
            house.publish(origin=origin)
        write_labels(house.store / "exam", {})
        house.tidy(keep_versions=0, max_disk=1)

        assert versions(house.store / "exam") == [1, 3]

    def test_that_were_just_published_are_kept(self, house: House) -> None:
        house.publish()
        house.publish(hours=0.5 / 60)
        write_labels(house.store / "exam", {})
        house.tidy(keep_versions=0, max_disk=1)

        assert versions(house.store / "exam") == [2]

    @pytest.mark.parametrize("state", [QUEUED, RUNNING])
    def test_that_a_job_starts_from_or_publishes_are_kept(self, house: House, state: str) -> None:
        for _ in range(4):
            house.publish()
        write_labels(house.store / "exam", {})
        house.job(state, start_from={"version": 1, "sha256": "x"})
        publishing = house.job(state)
        house.job(SUCCEEDED, start_from={"version": 4, "sha256": "x"})
        with house.database.writing() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == publishing).values(version=3))
        house.tidy(keep_versions=0, max_disk=1)

        assert versions(house.store / "exam") == [1, 3]

    def test_that_are_labelled_at_the_last_moment_are_kept(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):
            house.publish()
        write_labels(house.store / "exam", {})
        remove = Retention._remove

        def slow(self: Retention, item: Any) -> int:
            write_labels(house.store / "exam", {"stable": 1})
            return remove(self, item)

        monkeypatch.setattr(Retention, "_remove", slow)
        house.tidy(keep_versions=0)

        assert versions(house.store / "exam") == [1]

    def test_get_no_number_again(self, house: House) -> None:
        for _ in range(3):
            house.publish()
        write_labels(house.store / "exam", {})
        house.tidy(keep_versions=0)

        assert house.publish() == 4


class TestJobs:
    def test_that_ended_are_kept_up_to_a_number_the_last_ones(self, house: House) -> None:
        ids = [house.job(state, hours) for hours, state in enumerate([SUCCEEDED, FAILED, CANCELLED])]
        waiting = [house.job(state) for state in (QUEUED, RUNNING)]
        house.tidy(keep_jobs=2)

        for kept in (*ids[:2], *waiting):
            assert house.ledger.get(kept)
        with pytest.raises(NotFound):
            house.ledger.get(ids[2])
        with house.database.reading() as connection:
            jobs = connection.scalars(select(EVENTS.c.job).distinct()).all()
        assert len(jobs) == 4

    def test_lose_their_events_but_for_the_last_ones(self, house: House) -> None:
        ids = [house.job(SUCCEEDED, hours) for hours in range(3)]
        running = house.job(RUNNING)
        house.tidy(keep_events=1)

        counts = [len(house.ledger.events(house.ledger.get(one), 0)[1]) for one in (*ids, running)]
        assert counts == [1, 0, 0, 1]

    def test_are_all_kept_where_there_are_few(self, house: House) -> None:
        for state in (SUCCEEDED, FAILED, RUNNING):
            house.job(state, checkpoint=1)
        house.publish()
        house.tidy()

        with house.database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(EVENTS)) == 3
        assert versions(house.store / "exam") == [1]


class TestCheckpoints:
    def test_of_jobs_that_can_be_tried_again_are_kept_up_to_a_number(self, house: House) -> None:
        ids = [house.job(state, hours, 10) for hours, state in ((3, FAILED), (2, CANCELLED), (1, FAILED))]
        live = [house.job(state, checkpoint=10) for state in (QUEUED, RUNNING)]
        house.job(SUCCEEDED, checkpoint=10)
        house.tidy(keep_checkpoints=2)

        assert house.checkpoints() == {*ids[1:], *live}

    @pytest.mark.parametrize("state", [SUCCEEDED, FAILED, CANCELLED])
    def test_of_a_job_that_has_just_ended_are_kept_for_the_moment(self, house: House, state: str) -> None:
        job_id = house.job(state, hours=0.5 / 60, checkpoint=10)
        house.tidy(keep_checkpoints=0)

        assert house.checkpoints() == {job_id}

    def test_of_an_unknown_job_go_after_an_hour(self, house: House) -> None:
        house.checkpoint("old", hours=1.1)
        house.checkpoint("new", hours=0.9)
        house.tidy()

        assert house.checkpoints() == {"new"}

    def test_of_a_job_that_is_tried_again_at_the_last_moment_are_kept(
        self, house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job_id = house.job(FAILED, checkpoint=10)
        remove = Retention._remove

        def slow(self: Retention, item: Any) -> int:
            house.ledger.retry(job_id)
            return remove(self, item)

        monkeypatch.setattr(Retention, "_remove", slow)
        house.tidy(keep_checkpoints=0)

        assert house.checkpoints() == {job_id}


class TestTheDisk:
    def test_is_kept_below_its_cap_by_removing_the_oldest(self, house: House) -> None:
        write_labels_of(house, stable=house.publish(hours=9))
        for hours in (8, 6, 4):
            house.publish(hours=hours)
        house.job(FAILED, hours=7, checkpoint=100_000)
        newer = house.job(FAILED, hours=3, checkpoint=100_000)
        used = house.retention().used()

        # A version has 40,000 bytes.
        house.tidy(max_disk=used - 120_000)
        assert house.checkpoints() == {newer}
        assert versions(house.store / "exam") == [1, 3, 4]
        house.tidy(max_disk=used - 170_000)
        assert house.checkpoints() == {newer}
        assert versions(house.store / "exam") == [1, 4]
        house.tidy(max_disk=1)
        assert house.checkpoints() == set()
        assert versions(house.store / "exam") == [1]

    def test_loses_what_is_more_than_is_kept_before_what_is_older(self, house: House) -> None:
        house.publish("old", hours=100)
        write_labels(house.store / "old", {})
        for _ in range(3):
            house.publish("exam")
        write_labels(house.store / "exam", {})
        used = house.retention().used()
        house.tidy(keep_versions=1, max_disk=used - 50_000)

        assert versions(house.store / "old") == [1]
        assert versions(house.store / "exam") == [3]

    def test_that_is_over_its_cap_even_so_takes_nothing_more(self, house: House) -> None:
        write_labels_of(house, stable=house.publish())
        retention = house.retention(max_disk=house.retention().used())
        retention.check_room()

        with pytest.raises(OutOfSpace, match=r"would have .* bytes on the disk, and may have"):
            retention.check_room(1)
        (house.store / "exam" / "1" / "more").write_bytes(b"x")
        retention.tidy()
        with pytest.raises(OutOfSpace, match="NNSERVE_MAX_DISK"):
            retention.check_room()

    def test_holds_models_checkpoints_and_the_database_together(self, house: House) -> None:
        house.publish()
        house.checkpoint("one", size=5000)
        stored = sum(path.stat().st_size for path in house.store.rglob("*") if path.is_file())
        files = list(house.store.parent.glob("nnserve.db*"))

        assert house.retention().used() == stored + sum(path.stat().st_size for path in files)
        assert bool(files) == house.database.is_sqlite

    def test_is_not_searched_through_links(self, house: House) -> None:
        (house.store / "exam").mkdir()
        (house.store / "exam" / "loop").symlink_to(house.store)

        assert house.retention().used() < 10_000_000


def write_labels_of(house: House, **labels: int) -> None:
    write_labels(house.store / "exam", labels)


def test_what_a_kill_left_behind_goes_after_an_hour(house: House) -> None:
    house.publish()
    for hours, name in ((1.1, "old"), (0.9, "new")):
        for place in (house.store / "exam", house.store / CHECKPOINTS, house.store):
            for folder in (place / f".draft-{name}", place / f".trash-{name}"):
                folder.mkdir(parents=True)
                (folder / "file").write_bytes(b"x")
                age(folder, hours)
        draft = house.store / "exam" / f".draft-labels.json-{name}"
        draft.write_text("{")
        age(draft, hours)
    house.tidy()

    left = {path.name for path in house.store.rglob(".*")}
    assert left == {CHECKPOINTS, ".draft-new", ".trash-new", ".draft-labels.json-new", ".last-version"}


def test_a_store_that_is_not_there_yet_is_tidy(house: House) -> None:
    house.store.rmdir()
    house.tidy()

    assert house.retention().used() >= 0


def test_several_tidy_at_the_same_time(house: House) -> None:
    for _ in range(20):
        house.publish()
    for _ in range(10):
        house.job(SUCCEEDED, checkpoint=10)
    write_labels(house.store / "exam", {})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: house.tidy(keep_versions=3, keep_jobs=2), range(4)))

    assert versions(house.store / "exam") == [18, 19, 20]
    assert house.checkpoints() == set()
