"""Rate limits: counted across workers and worker deaths, told in headers, and absent where none is set."""

import multiprocessing
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from serving import Service, wait_for

from service.counters import Counters
from service.database import Database, parse_url
from service.keys import Keys
from service.ratelimit import counted_together
from service.schema import migrate
from service.scopes import PREDICT


def ask(service: Service, key: str | None = None) -> int:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return service.ask("GET", "/models", headers=headers).status


def test_a_limit_holds_across_workers_and_their_deaths_for_each_caller(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/keys.db"
    database = Database(parse_url(url))
    migrate(database)
    alice, bob = (Keys(database).create(name, (PREDICT,)) for name in ("alice", "bob"))
    database.close()
    service = start(workers=2, database_url=url, rate_limit="12/hour", allow_anonymous="predict")

    assert [ask(service, alice) for _ in range(8)] == [200] * 8
    before = {worker.pid for worker in service.workers()}
    next(iter(service.workers())).kill()
    wait_for(lambda: len({w.pid for w in service.workers()} - before) == 1, "new worker", service)
    wait_for(lambda: len(service.workers()) == 2, "two workers", service)
    assert [ask(service, alice) for _ in range(8)] == [200] * 4 + [429] * 4
    # Others have counts of their own, and health none.
    assert ask(service, bob) == 200
    assert [ask(service) for _ in range(13)] == [200] * 12 + [429]
    assert service.ask("GET", "/readyz").status == 200

    logged = len(service.log)
    refused = service.ask("GET", "/models", headers={"Authorization": f"Bearer {alice}"})
    assert re.fullmatch(r"\S+ INFO \[\w+\] GET /models 429 [\d.]+ ms by alice\n", service.log[logged:])
    assert refused.json["detail"] == "alice may ask 12 per 1 hour, and has asked more often than that."
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("12", "0")
    assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
    assert 3000 < int(refused.headers["retry-after"]) <= 3601
    answered = service.ask("GET", "/models", headers={"Authorization": f"Bearer {bob}"})
    assert answered.headers["ratelimit-remaining"] == "10"
    assert "retry-after" not in answered.headers


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_addresses_that_one_machine_may_choose_from_are_counted_together(address: str, counted: str) -> None:
    with Flask("x").test_request_context(environ_base={"REMOTE_ADDR": address}):
        assert counted_together() == counted


def test_without_a_limit_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from service import create_app;"
        "from service.settings import Settings;"
        f"create_app(Settings(model_store=Path('store'), database_url='sqlite:///{tmp_path}/n.db'));"
        "sys.exit(any(name.split('.')[0] in ('limits', 'flask_limiter') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0


def count(counters: Counters, times: int) -> None:
    for _ in range(times):
        counters.incr("everybody", 60)


def test_processes_that_count_at_once_lose_nothing() -> None:
    counters = Counters()
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=count, args=(counters, 500)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert counters.get("everybody") == 2000


def test_a_count_begins_anew_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    counters = Counters()
    now = [1000.0]
    monkeypatch.setattr("service.counters.time.time", lambda: now[0])
    assert [counters.incr("a", 10) for _ in range(3)] == [1, 2, 3]
    assert counters.get_expiry("a") == 1010.0
    now[0] = 1010.5
    assert counters.get("a") == 0
    assert counters.incr("a", 10) == 1
    counters.clear("a")
    assert counters.get("a") == 0


def test_a_full_table_forgets_those_that_end_first_and_never_mixes_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.counters._SLOTS", 16)
    counters = Counters()
    for number in range(200):
        assert counters.incr(f"key {number}", 60 + number) == 1
    left = [number for number in range(200) if counters.get(f"key {number}")]

    assert 8 < len(left) <= 16
    assert min(left) > 100
