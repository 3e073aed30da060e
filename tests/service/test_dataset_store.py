"""Names and contents of datasets, with the database and without a service; on SQLite and on PostgreSQL."""

import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from candidates import GOOD, changed, exam, silent
from sqlalchemy import func, select, update

from nncore.artifact import from_bytes
from nncore.contact_sheet import class_sheet
from nncore.datasets.arrays import dataset_of
from nncore.datasets.stored import write_stored
from nncore.datasets.summary import summarize
from nncore.publishing import VERSION_FILE, publish
from service.contents import CONTENTS, drafted
from service.database import Database, parse_url
from service.datasets import Datasets, Named
from service.jobs.job import FAILED, QUEUED, RUNNING, SUCCEEDED
from service.jobs.ledger import Ledger, Request
from service.jobs.plans import check_data
from service.problems import Conflict, NotFound
from service.provenance import dataset_in
from service.provenance import dataset_of as dataset_of_version
from service.retention import Retention
from service.schema import DATASETS, JOBS, migrate
from service.settings import Settings

HOUR = 3600.0


class House:
    """A store and a database without anything else."""

    def __init__(self, url: str, folder: Path) -> None:
        self.store = folder / "store"
        self.store.mkdir()
        self.database = Database(parse_url(url))
        migrate(self.database)
        self.datasets = Datasets(self.database, self.store)
        self.ledger = Ledger(self.database, most_queued=100, most_queued_by_one=100)
        self.settings = Settings(database_url=url, model_store=self.store)

    def add(self, name: str, sha256: str = "a" * 64) -> tuple[Named, bool]:
        rng = np.random.default_rng(int(sha256[:4], 16))
        dataset = dataset_of(
            name,
            sha256,
            rng.normal(size=(40, 2)),
            np.arange(40) % 2,
            task=None,
            validation=0.2,
            test=0.2,
        )
        with drafted(self.store) as draft:
            folder = draft / "content"
            folder.mkdir()
            write_stored(dataset, folder, summarize(dataset))
            return self.datasets.add(name, folder)

    def contents(self) -> list[str]:
        return sorted(path.name[:1] for path in (self.store / CONTENTS).iterdir())

    def job(self, state: str, sha256: str) -> str:
        plan = {
            "recipe": {"dataset": {"type": "stored", "name": "x", "sha256": sha256}},
            "dataset": {"name": "x", "sha256": sha256},
        }
        job, _ = self.ledger.add("exam", plan, 10, Request("me", "a"))
        with self.database.writing() as connection:
            connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(state=state))
        return job.id

    def age(self) -> None:
        for folder in (self.store / CONTENTS).iterdir():
            os.utime(folder, (time.time() - HOUR, time.time() - HOUR))

    def tidy(self) -> None:
        Retention(self.database, self.settings).tidy()


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(database_url, tmp_path)
    yield house
    house.database.close()


A, B = "a" * 64, "b" * 64


def test_a_name_stands_for_its_last_content(house: House) -> None:
    first, new = house.add("x", A)
    again, same = house.add("x", A)
    second, newer = house.add("x", B)

    assert (new, same, newer) == (True, False, True)
    assert again == first
    assert (first.sha256, second.sha256) == (A, B)
    assert house.datasets.get("x") == second
    assert second.parts == {"train": 24, "validation": 8, "test": 8}
    assert house.datasets.page("", 9) == [second]
    assert house.datasets.load(second).train.inputs.shape == (24, 2)


def test_a_content_without_a_name_goes_when_nothing_needs_it_and_not_before(house: House) -> None:
    for sha256 in (A, B, "c" * 64, "d" * 64, "e" * 64):
        house.add("x", sha256)
    jobs = [house.job(QUEUED, A), house.job(RUNNING, B), house.job(SUCCEEDED, "d" * 64)]
    publish(house.store / "exam", silent(2), dataset="c" * 64)
    house.tidy()
    # What has just come or gone may be needed in a moment.
    assert house.contents() == ["a", "b", "c", "d", "e"]

    house.age()
    house.tidy()
    assert house.contents() == ["a", "b", "c", "e"]

    with house.database.writing() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id.in_(jobs)).values(state=FAILED))
    house.tidy()
    assert house.contents() == ["c", "e"]
    assert house.datasets.get("x").sha256 == "e" * 64


def test_drafts_that_were_left_behind_go(house: House) -> None:
    house.add("x", A)
    for name in (".draft-1", ".trash-1"):
        (house.store / CONTENTS / name).mkdir()
        (house.store / CONTENTS / name / "a").write_bytes(b"x")
    house.tidy()
    assert house.contents() == [".", ".", "a"]
    house.age()
    (house.store / CONTENTS / ".draft-2").mkdir()
    house.tidy()

    assert [path.name for path in (house.store / CONTENTS).iterdir() if path.name[0] == "."] == [".draft-2"]


def test_contents_count_into_the_disk(house: House) -> None:
    retention = Retention(house.database, house.settings)
    before = retention.used()
    one, _ = house.add("x", A)

    assert retention.used() - before >= one.bytes


def test_a_name_that_is_deleted_takes_its_content_along(house: House) -> None:
    house.add("x", A)
    house.add("y", A)
    house.datasets.delete("x")
    assert house.contents() == ["a"]
    house.datasets.delete("y")

    assert house.contents() == []
    for name in ("x", "a\0b"):
        with pytest.raises(NotFound, match="There is no dataset"):
            house.datasets.delete(name)


def test_a_name_that_something_needs_stays(house: House) -> None:
    house.add("x", A)
    job = house.job(RUNNING, A)
    with pytest.raises(Conflict, match=f"not deleted: job {job}, which is running, needs it"):
        house.datasets.delete("x")

    assert house.datasets.get("x").sha256 == A
    assert house.contents() == ["a"]


def test_no_job_is_accepted_without_its_data_however_close_the_race(house: House) -> None:
    """Jobs are accepted and the dataset is deleted and sent again, all at once and many times."""
    plan = {
        "recipe": {"dataset": {"type": "stored", "name": "x", "sha256": A}},
        "dataset": {"name": "x", "sha256": A},
    }
    accepted, refused, stop = [], [], threading.Event()

    def accept() -> None:
        for _ in range(30):
            try:
                job, _ = house.ledger.add(
                    "exam", plan, 1, Request("me", "a"), lambda: check_data(house.store, plan)
                )
            except Conflict:
                refused.append(1)
                continue
            accepted.append((house.store / CONTENTS / A).is_dir())
            house.ledger.cancel(job.id)

    def remove() -> None:
        while not stop.is_set():
            house.add("x", A)
            try:
                house.datasets.delete("x")
            except Conflict:
                continue

    threads = [threading.Thread(target=accept), threading.Thread(target=accept)]
    remover = threading.Thread(target=remove)
    remover.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    remover.join()

    assert len(accepted) + len(refused) == 60
    assert all(accepted)


def test_many_that_send_the_same_at_once_make_one_dataset(house: House) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(house.add("x", A)[1])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == [False, False, False, True]
    assert house.contents() == ["a"]
    with house.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(DATASETS)) == 1


def test_the_dataset_of_a_version_is_known_from_its_facts_or_from_its_file(tmp_path: Path) -> None:
    told = publish(tmp_path / "a", b"no model file", dataset=A)
    card = from_bytes(exam(GOOD)).card
    untold = publish(tmp_path / "a", exam(GOOD))
    broken = publish(tmp_path / "a", b"no model file")

    assert dataset_of_version(tmp_path / "a" / str(told)) == A
    assert dataset_of_version(tmp_path / "a" / str(untold)) == card.provenance["dataset"]["sha256"]
    assert dataset_of_version(tmp_path / "a" / str(broken)) is None
    assert dataset_of_version(tmp_path / "a" / "9") is None
    assert dataset_in(changed(exam(GOOD), provenance={"dataset": 7})) is None
    assert dataset_in(changed(exam(GOOD), provenance={"dataset": {"sha256": 7}})) is None


def test_facts_of_another_kind_are_none(tmp_path: Path) -> None:
    number = publish(tmp_path / "a", exam(GOOD), dataset=A)
    file = tmp_path / "a" / str(number) / VERSION_FILE
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dataset": 7}))

    assert dataset_of_version(file.parent) == dataset_in(exam(GOOD))


@pytest.mark.parametrize(("side", "shown"), [(8, 8), (96, 96), (97, 49), (400, 80)])
def test_a_sheet_shows_the_first_pictures_of_each_class_and_large_ones_smaller(side: int, shown: int) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (12, side, side, 3), np.uint8)
    labels = np.arange(12) % 2
    dataset = dataset_of("x", A, pictures, labels, task="classification", validation=0.1, test=0.1)
    sheet = class_sheet(dataset)

    assert sheet.shape == (2 * (shown + 2) - 2, 10 * (shown + 2) - 2, 3)
    step = -(-side // 96)
    for number in (0, 1):
        first = dataset.train.inputs[dataset.train.targets == number][0]
        corner = sheet[number * (shown + 2) :][:shown, :shown]
        assert (corner == first[::step, ::step]).all()
    # Where a class has no more pictures it is grey.
    assert (sheet[:shown, -shown:] == 128).all()
