"""The table of jobs, on SQLite and on PostgreSQL: who may write what, and when."""

import threading
from collections.abc import Iterator

import pytest

from service.database import Database, parse_url
from service.jobs.job import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED
from service.jobs.leases import LeaseLost, Leases, Observer
from service.jobs.ledger import Ledger, Request
from service.problems import Conflict, NotFound, TooMany
from service.schema import migrate

PLAN = {"recipe": {}, "promote": "never"}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(parse_url(database_url))
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database, most_queued=5, most_queued_by_one=3)


@pytest.fixture
def leases(database: Database) -> Leases:
    return Leases(database, most_attempts=2)


def request(client: str = "me", key: str | None = None, sha256: str = "a") -> Request:
    return Request(client, sha256, key)


def add(ledger: Ledger, **asked: str) -> str:
    return ledger.add("xor", PLAN, 10, request(**asked))[0].id


def epochs(*numbers: int) -> list[dict[str, int]]:
    return [{"epoch": number} for number in numbers]


def kinds(ledger: Ledger, job_id: str) -> list[object]:
    """Return a job's events: states by name, epochs by number."""
    _, events = ledger.events(ledger.get(job_id), 0)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    return [event.data.get("state") or event.data["epoch"] for event in events]


def test_a_job_is_queued_claimed_and_ended_by_one_trainer(database, ledger, leases) -> None:
    job_id = add(ledger)
    assert ledger.get(job_id).state == QUEUED

    job = leases.claim(job_id, "trainer")
    assert job.state == RUNNING
    assert leases.claim(job_id, "another") is None
    leases.progress(job, epochs(1, 2), seconds=1.5, seconds_left=3)
    with database.writing() as connection:
        leases.succeed(connection, job, {"version": 1})

    ended = ledger.get(job_id)
    assert (ended.state, ended.result, ended.epoch, ended.trainer) == (
        SUCCEEDED,
        {"version": 1},
        2,
        "trainer",
    )
    assert ended.created <= ended.started <= ended.ended
    assert kinds(ledger, job_id) == [QUEUED, RUNNING, 1, 2, SUCCEEDED]


def test_one_of_many_trainers_gets_a_job(ledger, leases) -> None:
    job_id = add(ledger)
    won = []
    begin = threading.Barrier(8)

    def claim(name: str) -> None:
        begin.wait()
        if leases.claim(job_id, name):
            won.append(name)

    threads = [threading.Thread(target=claim, args=(f"trainer {n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert ledger.get(job_id).trainer == won[0]


def test_an_epoch_that_is_trained_again_after_a_resume_is_written_once(ledger, leases) -> None:
    job_id = add(ledger)
    leases.progress(leases.claim(job_id, "first"), epochs(1, 2, 3), seconds=1, seconds_left=None)
    leases.hand_back(ledger.get(job_id), "stopped")
    leases.progress(leases.claim(job_id, "second"), epochs(2, 3, 4), seconds=2, seconds_left=None)

    assert kinds(ledger, job_id) == [QUEUED, RUNNING, 1, 2, 3, QUEUED, RUNNING, 4]
    assert [figures["epoch"] for figures in ledger.history(ledger.get(job_id), 2)] == [3, 4]


@pytest.mark.parametrize(
    "write", ["beat", "progress", "came_further", "hand_back", "stumble", "fail", "succeed"]
)
def test_who_has_lost_the_lease_writes_nothing(database, ledger, leases, write: str) -> None:
    job_id = add(ledger)
    stale = leases.claim(job_id, "sleeper")
    leases.hand_back(stale, "taken away")
    leases.claim(job_id, "other")
    before = ledger.get(job_id)
    writes = {
        "beat": lambda: leases.beat(stale),
        "progress": lambda: leases.progress(stale, epochs(1), seconds=1, seconds_left=None),
        "came_further": lambda: leases.came_further(stale),
        "hand_back": lambda: leases.hand_back(stale, ""),
        "stumble": lambda: leases.stumble(stale, ""),
        "fail": lambda: leases.fail(stale, ""),
        "succeed": lambda: succeed(stale),
    }

    def succeed(job) -> None:
        with database.writing() as connection:
            leases.succeed(connection, job, {})

    with pytest.raises(LeaseLost):
        writes[write]()
    assert ledger.get(job_id) == before


def test_a_queued_and_a_running_job_are_cancelled_at_once(ledger, leases) -> None:
    queued, running = add(ledger), add(ledger)
    job = leases.claim(running, "trainer")

    assert ledger.cancel(queued).state == ledger.cancel(running).state == CANCELLED
    assert leases.claim(queued, "trainer") is None
    with pytest.raises(LeaseLost):
        leases.beat(job)
    assert ledger.cancel(running).state == CANCELLED
    assert kinds(ledger, running) == [QUEUED, RUNNING, CANCELLED]


def test_a_job_that_has_ended_is_neither_cancelled_nor_retried(database, ledger, leases) -> None:
    job = leases.claim(add(ledger), "trainer")
    with database.writing() as connection:
        leases.succeed(connection, job, {})

    with pytest.raises(Conflict, match="has succeeded already"):
        ledger.cancel(job.id)
    with pytest.raises(Conflict, match="only failed and cancelled"):
        ledger.retry(job.id)


def test_an_attempt_that_goes_wrong_is_made_again_until_there_were_enough(ledger, leases) -> None:
    job_id = add(ledger)
    assert leases.stumble(leases.claim(job_id, "t"), "ValueError: no") is True
    assert ledger.get(job_id).error == "ValueError: no"
    assert leases.stumble(leases.claim(job_id, "t"), "ValueError: no") is False

    assert ledger.get(job_id).state == FAILED
    assert kinds(ledger, job_id) == [QUEUED, RUNNING, QUEUED, RUNNING, FAILED]


def test_attempts_that_came_further_do_not_count(ledger, leases) -> None:
    job_id = add(ledger)
    for _ in range(5):
        job = leases.claim(job_id, "t")
        leases.came_further(job)
        assert leases.stumble(job, "killed") is True


def test_being_handed_back_does_not_count_as_an_attempt(ledger, leases) -> None:
    job_id = add(ledger)
    for _ in range(5):
        job = leases.claim(job_id, "t")
        leases.hand_back(job, "stopped")
    job = leases.claim(job_id, "t")
    leases.came_further(job)
    leases.hand_back(job, "stopped")

    assert ledger.get(job_id).attempts == 0


def test_a_job_whose_trainers_died_too_often_ends_as_failed(database, ledger, leases) -> None:
    job_id = add(ledger)
    observer = Observer(database, lease_seconds=0)
    for _ in range(2):
        assert leases.claim(job_id, "t")
        observer.expire()
        assert observer.expire() == [job_id]

    assert leases.claim(job_id, "t") is None
    job = ledger.get(job_id)
    assert job.state == FAILED
    assert "2 times in a row" in job.error


def test_a_retried_job_is_queued_again_with_all_its_attempts(ledger, leases) -> None:
    job_id = add(ledger)
    leases.fail(leases.claim(job_id, "t"), "diverged")

    again = ledger.retry(job_id)

    assert (again.state, again.attempts, again.error, again.ended) == (QUEUED, 0, None, None)
    assert leases.claim(job_id, "t")


def test_only_a_heartbeat_that_stands_still_is_taken_for_dead(database, ledger, leases, monkeypatch) -> None:
    now = 1000.0
    monkeypatch.setattr("service.jobs.leases.time.monotonic", lambda: now)
    observer = Observer(database, lease_seconds=10)
    job = leases.claim(add(ledger), "t")

    assert observer.expire() == []
    now += 9
    leases.beat(job)
    assert observer.expire() == []
    now += 9
    assert observer.expire() == []
    now += 2
    assert observer.expire() == [job.id]
    assert ledger.get(job.id).state == QUEUED
    with pytest.raises(LeaseLost):
        leases.beat(job)


def test_clocks_that_jump_expire_nothing(database, ledger, leases, monkeypatch) -> None:
    observer = Observer(database, lease_seconds=10)
    job = leases.claim(add(ledger), "t")
    observer.expire()
    for jump in (-1e6, 1e6):
        monkeypatch.setattr("time.time", lambda jump=jump: 1.7e9 + jump)
        assert observer.expire() == []
    leases.beat(job)


def test_the_same_key_and_body_give_the_same_job(ledger) -> None:
    first, new = ledger.add("xor", PLAN, 10, request(key="k"))
    second, new_again = ledger.add("xor", PLAN, 10, request(key="k"))

    assert (new, new_again) == (True, False)
    assert second.id == first.id
    assert ledger.again(request(key="k")).id == first.id
    assert add(ledger, key="k", client="another") != first.id
    with pytest.raises(Conflict, match="with another body"):
        ledger.add("xor", PLAN, 10, request(key="k", sha256="b"))


def test_the_same_key_sent_many_times_at_once_gives_one_job(ledger) -> None:
    ids = []
    begin = threading.Barrier(6)

    def send() -> None:
        begin.wait()
        ids.append(add(ledger, key="k"))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_the_queue_has_room_for_so_many_jobs_of_one_and_of_all(ledger, leases) -> None:
    mine = [add(ledger) for _ in range(3)]
    with pytest.raises(TooMany, match="no more than 3 of one client"):
        add(ledger)
    add(ledger, client="a"), add(ledger, client="b")
    with pytest.raises(TooMany, match="no more than 5 may be"):
        add(ledger, client="c")

    leases.claim(mine[0], "t")
    add(ledger)


def test_jobs_are_listed_newest_first_page_by_page(ledger, leases) -> None:
    ids = [add(ledger, client=str(n)) for n in range(5)]
    leases.claim(ids[2], "t")

    first = ledger.page(None, None, None, 2)
    rest = ledger.page(None, None, first[-1].number, 10)

    assert [job.id for job in first + rest] == ids[::-1]
    assert [job.id for job in ledger.page(RUNNING, None, None, 10)] == [ids[2]]
    assert ledger.page(None, "digits", None, 10) == []


def test_an_unknown_job_is_not_found(ledger, leases) -> None:
    with pytest.raises(NotFound, match="no job 'nope'"):
        ledger.get("nope")
    assert leases.claim("nope", "t") is None
