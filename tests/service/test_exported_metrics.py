"""GET /metrics: right over several workers, after kills and reloads, and whatever is asked."""

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.values import MutexValue
from scraping import Scrape, parse, scrape
from serving import JSON, Service, ask, wait_for

from nncore.publishing import MODEL_FILE, publish
from service.database import Database, clock, parse_url
from service.jobs import figures
from service.jobs.figures import Reader
from service.metrics import MOST_CHILDREN, Metrics
from service.schema import TRAINERS
from service.tally import PREFIX, Tally

XOR = b'{"model": "xor", "inputs": [[0, 1], [1, 1], [0, 0]]}'


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this module's own, whose workers are killed and whose store is changed."""
    folder = tmp_path_factory.mktemp("counted")
    (folder / "tmp").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "tmp"))
        service = Service(folder, workers=2)
    yield service
    service.stop()
    print(service.log)


def counts_folder(service: Service) -> Path:
    [folder] = (service.log_file.parent / "tmp").glob(f"{PREFIX}*")
    return folder


@contextlib.contextmanager
def both_workers(service: Service) -> Iterator[list[http.client.HTTPConnection]]:
    """Give a connection to each of two workers."""
    found: dict[int | None, http.client.HTTPConnection] = {}

    def look() -> bool:
        connection = http.client.HTTPConnection(service.host, service.port, timeout=20)
        ask(connection, "GET", "/healthz")
        if found.setdefault(service.worker_of(connection), connection) is not connection:
            connection.close()
        return len(found) == 2

    wait_for(look, "connection to each worker", service)
    yield list(found.values())
    for connection in found.values():
        connection.close()


def predicted(service: Service) -> float:
    return scrape(service).get("nnserve_requests_total", route="/predict", model="xor", status="200")


def test_counts_add_up_over_workers_whichever_is_asked(counted: Service) -> None:
    before = scrape(counted)

    with both_workers(counted) as connections:
        for connection in connections:
            for _ in range(5):
                assert ask(connection, "POST", "/predict", XOR, JSON).status == 200
        said = [parse(ask(connection, "GET", "/metrics").body.decode()) for connection in connections]

    for after in said:
        more = {name: after.get(name, model="xor") - before.get(name, model="xor") for name in after.names}
        assert more["nnserve_requests_total"] == 10
        assert more["nnserve_request_seconds_count"] == 10
        assert more["nnserve_inference_seconds_count"] == more["nnserve_parsing_seconds_count"] == 10
        assert more["nnserve_batch_rows_sum"] == more["nnserve_answers_total"] == 30
        assert more["nnserve_confidence_count"] == 30
        assert 0 < more["nnserve_inference_seconds_sum"] < more["nnserve_request_seconds_sum"]
        assert after.values("nnserve_versions_loaded", "pid") == {"0", "1"}


def test_what_a_killed_worker_counted_stays_and_its_process_is_no_longer_told_of(counted: Service) -> None:
    counted.ask("POST", "/predict", XOR, JSON)
    before, files = scrape(counted), sorted(counts_folder(counted).iterdir())
    for victim in counted.workers():
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
    wait_for(lambda: len(counted.workers()) == 2, "new workers", counted)
    wait_for(lambda: counted.ask("GET", "/healthz").status == 200, "an answer", counted)

    after = scrape(counted)

    assert predicted(counted) == before.get("nnserve_requests_total", route="/predict")
    assert after.get("nnserve_answers_total") == before.get("nnserve_answers_total") > 0
    pids = after.values("nnserve_process_resident_bytes", "pid")
    assert pids == {str(pid) for pid in (counted.process.pid, *(worker.pid for worker in counted.workers()))}
    assert sorted(counts_folder(counted).iterdir()) == files


def test_counts_outlive_a_reload_of_all_workers(counted: Service) -> None:
    counted.ask("POST", "/predict", XOR, JSON)
    before, old = predicted(counted), {worker.pid for worker in counted.workers()}

    counted.signal(signal.SIGHUP)
    wait_for(
        lambda: len(new := {worker.pid for worker in counted.workers()}) == 2 and not new & old,
        "new workers",
        counted,
    )
    counted.ask("POST", "/predict", XOR, JSON)

    told = scrape(counted)
    assert predicted(counted) == before + 1
    assert told.get("nnserve_versions_loaded", model="digits") == 2
    assert len(told.values("nnserve_versions_loaded", "pid")) == 2


def test_every_process_is_told_of_with_its_memory(counted: Service) -> None:
    told = scrape(counted)

    for process in counted.workers():
        resident = told.get("nnserve_process_resident_bytes", pid=str(process.pid), role="worker")
        assert resident == pytest.approx(process.memory_info().rss, rel=0.2)
    assert told.get("nnserve_process_resident_bytes", role="master") > 1e6


def test_strangers_make_no_labels(counted: Service) -> None:
    counted.predict(model="stranger-1", inputs=[[1]])
    counted.predict(model="xor", version="stranger-2", inputs=[[1, 1]])
    counted.ask("GET", "/stranger-3")
    counted.ask("GET", "/models/stranger-4")
    counted.ask("STRANGER5", "/predict")

    told = scrape(counted)

    assert "stranger" not in told.text.lower()
    assert told.get("nnserve_requests_total", route="unmatched", status="404") >= 1
    assert told.get("nnserve_requests_total", route="/models/<model>", status="404") >= 1
    assert told.get("nnserve_requests_total", route="/predict", model="", status="404") >= 2
    assert told.get("nnserve_requests_total", method="other", status="405") == 1


def test_a_reload_and_a_version_that_does_not_load_are_counted(
    counted: Service, xor_file: Callable[[int], bytes]
) -> None:
    before = scrape(counted)
    publish(counted.store / "xor", xor_file(1))
    (counted.store / "xor" / "labels.json").write_text('{"stable": 2}')
    wait_for(lambda: counted.ask("POST", "/predict", XOR, JSON).json["version"] == 2, "version 2", counted)
    publish(counted.store / "xor", xor_file(2))
    (counted.store / "xor" / "3" / MODEL_FILE).write_bytes(b"damaged")

    def told() -> Scrape:
        counted.ask("POST", "/predict", XOR, JSON)
        return scrape(counted)

    wait_for(lambda: told().get("nnserve_load_failures_total", model="xor") >= 1, "a failure", counted)
    after = told()
    reloads = after.get("nnserve_reloads_total", model="xor") - before.get(
        "nnserve_reloads_total", model="xor"
    )
    assert 1 <= reloads <= 2
    assert 1 <= after.get("nnserve_load_failures_total", model="xor") <= 2
    assert after.get("nnserve_model_failing_versions", model="xor") == 1
    assert after.get("nnserve_model_stable_version", model="xor") == 2
    assert after.get("nnserve_model_versions", model="xor") == 3
    assert after.get("nnserve_requests_total", model="xor", version="2") >= 1


def test_jobs_and_trainers_are_told_of_and_a_database_that_is_away_breaks_no_scrape(counted: Service) -> None:
    body = b'{"model": "mine", "recipe": "line"}'
    assert counted.ask("POST", "/train", body, JSON).status == 202
    url = str(counted.settings["database_url"])
    me = f"{socket.gethostname()}/{os.getpid()}"
    database = Database(parse_url(url))
    with database.writing() as connection:
        connection.execute(TRAINERS.insert().values(name=me, heartbeat=7, seen=clock()))
        gone = {"name": "elsewhere/1", "heartbeat": 9, "seen": clock() - 4000}
        connection.execute(TRAINERS.insert().values(gone))
    database.close()

    told = scrape(counted)

    assert told.get("nnserve_jobs", state="queued") == 1
    assert told.values("nnserve_jobs", "state") == {"queued", "running", "succeeded", "failed", "cancelled"}
    assert 0 < told.get("nnserve_queue_oldest_seconds") < 20
    assert told.values("nnserve_trainer_heartbeats_total", "trainer") == {me}
    assert told.get("nnserve_trainer_heartbeats_total", trainer=me) == 7
    assert 0 <= told.get("nnserve_trainer_silence_seconds", trainer=me) < 20
    assert told.get("nnserve_process_resident_bytes", role="trainer", pid=str(os.getpid())) > 1e6
    assert told.get("nnserve_database_up") == 1

    file = Path(url.removeprefix("sqlite:///"))
    file.rename(file.with_suffix(".away"))
    away = scrape(counted)
    file.with_suffix(".away").rename(file)

    assert away.get("nnserve_database_up") == 0
    assert "nnserve_jobs" not in away.names
    assert away.get("nnserve_model_ready", model="digits") == 1
    assert scrape(counted).get("nnserve_database_up") == 1


def test_a_database_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PATIENCE_SECONDS", 0.02)
    answering, asked = threading.Event(), []

    def slow(database: object) -> figures.Figures:
        asked.append(database)
        answering.wait(20)
        return figures.Figures({}, 0.0, ())

    monkeypatch.setattr(figures, "_figures", slow)
    reader = Reader(None)  # type: ignore[arg-type]

    assert reader.read() is None
    assert reader.read() is None
    assert len(asked) == 1
    answering.set()
    wait_for(lambda: reader.read() is not None, "figures")


def test_what_is_told_passes_promtool(counted: Service) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed: it comes with Debian's prometheus")
    counted.ask("POST", "/predict", XOR, JSON)
    text = counted.ask("GET", "/metrics").body

    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def request_of(method: str, route: str, **more: Any) -> dict[str, Any]:
    rule = SimpleNamespace(rule=route) if route else None
    return {"REQUEST_METHOD": method, "werkzeug.request": SimpleNamespace(url_rule=rule), **more}


def test_labels_are_of_a_bounded_number() -> None:
    metrics = Metrics()

    for version in range(2 * MOST_CHILDREN):
        metrics.answered(request_of("POST", "/predict", **{"nnserve.served": ("m", version)}), "200 OK", 0.1)
        metrics.answered(request_of(f"M{version}", ""), "405 NO", 0.1)
        metrics.predicted("m", version, 1, 0.1, 0.1)

    found = [sample for family in metrics.registry.collect() for sample in family.samples]
    series = [sample.labels for sample in found if sample.name == "nnserve_request_seconds_count"]
    # And one each for other versions, and other methods.
    assert len(series) == MOST_CHILDREN + 2
    assert {of["version"] for of in series} >= {"0", "other", ""}
    assert sum(sample.name == "nnserve_batch_rows_count" for sample in found) == MOST_CHILDREN + 1


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    return tmp_path


def test_a_worker_takes_the_place_of_one_that_has_gone(folders: Path) -> None:
    first = Tally()
    first.prepare()
    others = [Tally(), Tally()]
    for other in others:
        other.path = first.path
        other.take_place()
    assert [other.place for other in others] == ["0", "1"]

    os.close(others[0]._held.pop())
    successor = Tally()
    successor.path = first.path
    successor.take_place()

    assert successor.place == "0"
    first.remove()
    assert list(folders.iterdir()) == []


def test_the_gauges_of_a_place_that_nobody_took_again_go(folders: Path) -> None:
    tally = Tally()
    tally.prepare()
    assert tally.path is not None
    tally.take_place()
    held = tally._held.pop()
    tally.clear_free_places()
    assert (tally.path / "gauge_liveall_0.db").exists()

    os.close(held)
    tally.clear_free_places()

    assert not (tally.path / "gauge_liveall_0.db").exists()
    assert (tally.path / "counter_0.db").exists()


@pytest.mark.parametrize("call", ["tempfile.mkdtemp", "os.posix_fallocate"])
def test_a_full_disk_keeps_no_worker_from_starting(
    folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("prometheus_client.values.ValueClass", MutexValue)
    monkeypatch.setattr(call, full)
    tally, metrics = Tally(), Metrics()

    tally.prepare()
    tally.take_place()
    metrics.predicted("m", 1, 1, 0.1, 0.1)

    assert "No space left" in caplog.text


def test_a_folder_that_a_crash_left_is_removed_at_the_next_start_and_no_other(folders: Path) -> None:
    crashed, running, others = Tally(), Tally(), folders / f"{PREFIX}somebody"
    others.mkdir()
    crashed.prepare()
    running.prepare()
    for held in crashed._held:
        os.close(held)

    Tally().prepare()

    assert crashed.path is not None
    assert running.path is not None
    assert not crashed.path.exists()
    assert running.path.exists()
    assert others.exists()


def test_the_folder_goes_with_the_service(
    start: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    service = start(workers=1)
    assert counts_folder(service).is_dir()

    assert service.stop() == 0

    assert not list((tmp_path / "tmp").glob(f"{PREFIX}*"))
