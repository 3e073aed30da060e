"""What versions are asked and answer: a sketch against naive counts, the index, and what is shown of both."""

import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from numpy.testing import assert_allclose
from scraping import scrape
from serving import JSON, Service, wait_for

from nncore.artifact import Card, describe, from_bytes, to_bytes
from nncore.datasets import load_dataset
from nncore.predictor import Predictor
from nncore.publishing import publish
from nncore.recipe import read_recipe, run
from nncore.reference import features, refer
from service import monitoring
from service.drift import chance, fewest_rows, level, psi
from service.layout import CONFIDENCE, LOOKED_AT, REQUESTS, ROWS, Layout
from service.loading import Served
from service.monitoring import Monitoring
from service.report import NO_REFERENCE, indices, report
from service.sketch import RECENT_SECONDS, Sketch, recent_of
from service.tally import Tally

RNG = np.random.default_rng(0)
RECIPE = (
    b'{"dataset": "%s", "network": [{"type": "dense", "units": 1}], "loss": "%s",'
    b'"optimizer": {"type": "adam", "learning_rate": 0.1}, "epochs": 3}'
)
SHAPES = [(1,), (3,), (64,), (65,), (5, 30)]


def trained(dataset: bytes = b"exam", loss: bytes = b"binary_cross_entropy") -> bytes:
    return to_bytes(describe(run(read_recipe(RECIPE % (dataset, loss)))))


@pytest.fixture(scope="module")
def exam() -> bytes:
    return trained()


@pytest.fixture(scope="module")
def line() -> bytes:
    return trained(b"line", b"mean_squared_error")


def served(file: bytes, name: str = "watched", version: int = 1) -> Served:
    return Served(name, version, "ab" * 32, Predictor(from_bytes(file)), (0, 0))


def card_of(exam: bytes, shape: tuple[int, ...], classes: int, rows: int = 400) -> Card:
    """Return a card for inputs of a shape; its layers are another's, which a sketch does not look at."""
    card = from_bytes(exam).card
    known = refer(RNG.normal(size=(rows, *shape)), answers(rows, classes), "classes") if rows else None
    return dataclasses.replace(
        card,
        architecture=dataclasses.replace(card.architecture, input_shape=shape),
        output=dataclasses.replace(card.output, kind="classes", labels=tuple(map(str, range(classes)))),
        reference=known,
    )


def answers(rows: int, classes: int) -> Any:
    outputs = RNG.dirichlet(np.ones(classes), rows).astype(np.float32)
    outputs[0] = 0
    outputs[0, -1] = 1
    return outputs


def counted(layout: Layout, *requests: tuple[Any, Any]) -> Any:
    sketch = Sketch(layout, 0.0)
    for x, outputs in requests:
        sketch.add(x, outputs, 1.0)
    return recent_of(sketch.copy(), 1.0)[1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("known", [0, 400])
def test_counts_are_the_naive_ones_one_by_one_or_together(
    exam: bytes, shape: tuple[int, ...], known: int
) -> None:
    card = card_of(exam, shape, 4, known)
    layout, x, outputs = Layout(card), RNG.normal(1, 2, size=(50, *shape)), answers(50, 4)

    together = counted(layout, (x, outputs))
    apart = counted(layout, *((x[i : i + 1], outputs[i : i + 1]) for i in range(50)))

    assert (together[REQUESTS], together[ROWS], together[LOOKED_AT]) == (1, 50, 50)
    assert apart[REQUESTS] == 50
    assert_allclose(apart[1:], together[1:], rtol=1e-5, atol=1e-9)
    assert_allclose(together[layout.labels : layout.confidence], np.bincount(outputs.argmax(1), minlength=4))
    tenths = np.histogram(outputs.max(1), bins=np.arange(11, dtype=np.float32) / np.float32(10))[0]
    assert_allclose(together[layout.confidence :], tenths)
    seen, means = features(x), np.array(layout.inputs.means)
    assert_allclose(together[layout.inputs.sums : layout.inputs.squares], (seen - means).sum(0))
    for place, one in enumerate(card.reference.inputs if card.reference else ()):
        start = layout.inputs.start + 10 * place
        edges = [-np.inf, *one.edges, np.inf]
        found = together[start : start + len(one.shares)]
        assert_allclose(found, np.histogram(seen[:, place], bins=edges)[0])


def test_of_a_large_request_64_inputs_are_looked_at_and_all_answers_counted(exam: bytes) -> None:
    layout = Layout(card_of(exam, (2,), 3))

    counts = counted(layout, (np.zeros((1000, 2)), answers(1000, 3)))

    assert counts[ROWS] == counts[layout.labels : layout.confidence].sum() == 1000
    assert 60 <= counts[LOOKED_AT] <= 64


@pytest.mark.parametrize("rows", [1, 50])
def test_after_a_thousand_inputs_a_hundred_requests_a_second_are_looked_at(exam: bytes, rows: int) -> None:
    sketch = Sketch(Layout(card_of(exam, (2,), 3)), 0.0)
    times = [*([1.0] * (1000 // rows + 5)), *(1.0 + np.arange(1, 500) / 500)]

    for now in times:
        sketch.add(np.zeros((rows, 2)), answers(rows, 3), now)

    counts = recent_of(sketch.copy(), 2.0)[1]
    assert counts[ROWS] == rows * len(times)
    assert 1000 + 90 * rows <= counts[LOOKED_AT] <= 1000 + 101 * rows


@pytest.mark.parametrize("odd", [1e300, np.inf, np.nan])
@pytest.mark.parametrize("rows", [1, 2])
def test_numbers_beyond_reason_spoil_no_mean(exam: bytes, odd: float, rows: int) -> None:
    layout = Layout(card_of(exam, (2,), 3))

    counts = counted(layout, (np.full((rows, 2), odd), answers(rows, 3)), (np.ones((1, 2)), answers(1, 3)))

    assert np.isfinite(counts).all()
    assert (counts[ROWS], counts[LOOKED_AT]) == (rows + 1, 1)


def test_threads_lose_no_count(exam: bytes) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    layout = Layout(card_of(exam, (3,), 2))
    sketch, x, outputs = Sketch(layout, 0.0), np.zeros((2, 3)), np.full((2, 2), 0.5, np.float32)
    threads = [
        threading.Thread(target=lambda: [sketch.add(x, outputs, 1.0) for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    counts = recent_of(sketch.copy(), 1.0)[1]
    assert (counts[ROWS], counts[CONFIDENCE]) == (4000, 2000)


def test_recent_is_a_day_at_least_and_the_past_goes_out_of_it(exam: bytes) -> None:
    sketch, one = Sketch(Layout(card_of(exam, (1,), 2)), 0.0), (np.zeros((1, 1)), answers(1, 2))

    def recent(days: float) -> tuple[float, float, float]:
        since, counts, total = recent_of(sketch.copy(), days * RECENT_SECONDS)
        return since / RECENT_SECONDS, counts[ROWS], total[ROWS]

    for day in (0.5, 0.9, 1.5, 2.4):
        sketch.add(*one, day * RECENT_SECONDS)
    assert recent(2.4) == (0, 4, 4)
    sketch.add(*one, 2.6 * RECENT_SECONDS)

    assert recent(2.7) == (1.5, 3, 5)
    assert recent(4.0) == (2.6, 1, 5)
    assert recent(9.0) == (9, 0, 5)
    sketch.add(*one, 9 * RECENT_SECONDS)
    assert recent(9.5) == (9, 1, 6)


def test_the_index_is_the_textbook_sum() -> None:
    now, then = np.array([30.0, 70, 100]), (0.25, 0.25, 0.5)

    a, e = (now + 0.5) / 201.5, (np.array(then) * 1000 + 0.5) / 1001.5
    naive = sum((x - y) * np.log(x / y) for x, y in zip(a, e, strict=True))
    assert psi(now, then, 1000) == pytest.approx(naive)
    assert psi(np.array([500.0, 500, 1000]), then, 10_000) == pytest.approx(0, abs=1e-6)


def test_an_empty_bin_makes_no_infinity_and_too_few_rows_no_index() -> None:
    index = psi(np.array([0.0, 1000]), (1.0, 0.0), 1000)
    assert index is not None
    assert 5 < index < 20
    assert psi(np.zeros(2), (0.5, 0.5), 1000) is None
    assert fewest_rows((0.1,) * 10, 100) is None
    assert psi(np.full(10, 1e9), (0.1,) * 10, 100) is None


@pytest.mark.parametrize("bins", [2, 5, 10])
def test_chance_is_what_one_of_a_thousand_samples_is_above(bins: int) -> None:
    shares, n, m = np.full(bins, 1 / bins), 400, 1000
    then = RNG.multinomial(m, shares, size=10_000) / m
    now = RNG.multinomial(n, shares, size=10_000).astype(float)

    found = np.array([psi(a, tuple(b), m) for a, b in zip(now, then, strict=True)])

    assert np.mean(found > chance(tuple(shares), m, n)) == pytest.approx(0.001, abs=0.0015)


def test_an_index_is_little_some_or_much() -> None:
    said = [level(index, 0.03) for index in (0.0, 0.0999, 0.1, 0.2499, 0.25, 3)]
    assert said == ["little", "little", "some", "some", "much", "much"]
    assert level(0.15, 0.2) == "little"


def test_drift_rises_as_inputs_are_shifted(exam: bytes) -> None:
    inputs, found = RNG.uniform(0, 10, size=(600, 1)), []
    for shift in (0, 1, 2, 4):
        watch, of = Monitoring(Tally()), served(exam)
        for part in np.split((inputs + shift).astype(np.float32), 10):
            watch.record(of, part, of.predictor.predict(part))
        found.append(report(watch, of)["drift"])

    indices = [one["psi"] for one in found]
    assert indices == sorted(indices)
    assert (found[0]["level"], found[-1]["level"]) == ("little", "much")


def test_of_a_regression_the_values_are_compared(line: bytes) -> None:
    watch, of = Monitoring(Tally()), served(line)
    x = RNG.uniform(1, 3, size=(600, 1)).astype(np.float32)
    said = of.predictor.predict(x)
    for part in range(0, 600, 60):
        watch.record(of, x[part : part + 60], said[part : part + 60])

    shown = report(watch, of)

    [value], [column] = shown["outputs"], shown["inputs"]["features"]
    assert_allclose((value["mean"], value["deviation"]), (said.mean(), said.std()), rtol=1e-4)
    assert_allclose((column["mean"], column["deviation"]), (x.mean(), x.std()), rtol=1e-4)
    assert value["psi"] > 0.25
    assert shown["drift"]["level"] == "much"
    assert not {"labels", "confidence"} & shown.keys()


def test_a_worker_keeps_so_many_sketches_and_drops_the_idlest(
    exam: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monitoring, "MOST_SKETCHES", 2)
    times = iter(range(1, 100))
    monkeypatch.setattr(monitoring.time, "time", lambda: float(next(times)))
    tally = Tally()
    tally.path, tally.place = tmp_path, "0"
    watch, x = Monitoring(tally), np.ones((1, 1), np.float32)

    for version in (1, 2, 1, 3):
        watch.record(served(exam, version=version), x, np.array([[0.5, 0.5]], np.float32))

    kept = {file.parent.name.partition("-")[0] for file in tmp_path.glob("sketches/*/*/*")}
    assert kept == {"1", "3"}
    assert watch.counts(served(exam, version=1))[1][REQUESTS] == 2


def test_a_full_disk_costs_what_other_workers_see_and_no_answer(
    exam: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    tally = Tally()
    tally.path, tally.place = tmp_path, "0"
    watch, of = Monitoring(tally), served(exam)

    watch.record(of, np.ones((1, 1), np.float32), np.array([[0.5, 0.5]], np.float32))

    assert watch.counts(of)[1][ROWS] == 1
    assert "No space left" in caplog.text


# Of a running service.


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, exam: bytes) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("watched")
    publish(folder / "store" / "watched", exam)
    service = Service(folder, workers=2)
    yield service
    service.stop()
    print(service.log)


def look(service: Service, query: str = "") -> Any:
    answer = service.ask("GET", f"/models/watched/monitoring{query}")
    assert answer.status == 200, answer.body
    return answer.json


def test_what_is_shown_is_what_was_sent_to_any_worker_killed_or_not(watched: Service, exam: bytes) -> None:
    inputs = RNG.uniform(0, 10, size=(300, 1)).round(3)
    assert look(watched)["drift"] is None
    assert "takes" in look(watched)["why_no_drift"]

    for part in np.split(inputs, 15):
        assert watched.predict(model="watched", inputs=part.tolist()).status == 200
    before = look(watched)
    for victim in watched.workers():
        victim.send_signal(signal.SIGKILL)
        victim.wait(20)
    wait_for(lambda: len(watched.workers()) == 2, "new workers", watched)
    wait_for(lambda: watched.ask("GET", "/healthz").status == 200, "an answer", watched)
    shown = look(watched)

    assert shown == before
    said = Predictor(from_bytes(exam)).predict(inputs.astype(np.float32))
    assert (shown["requests"], shown["rows"], shown["inputs"]["rows"]) == (15, 300, 300)
    assert_allclose(shown["labels"]["shares"], np.bincount(said.argmax(1), minlength=2) / 300, atol=1e-6)
    assert_allclose(shown["confidence"]["mean"], said.max(1).mean(), rtol=1e-4)
    assert shown["labels"]["names"] == ["fail", "pass"]
    [column] = shown["inputs"]["features"]
    assert_allclose((column["mean"], column["deviation"]), (inputs.mean(), inputs.std()), rtol=1e-4)
    bins = np.histogram(inputs, bins=[-np.inf, *column["edges"], np.inf])[0]
    assert_allclose(column["shares"], bins / 300, atol=1e-6)
    assert column["psi"] == pytest.approx(psi(bins, column["reference"]["shares"], 640), abs=1e-5)
    assert shown["drift"]["level"] == "little"


def test_shifted_inputs_show_in_the_answer_and_in_the_metrics(watched: Service) -> None:
    body = json.dumps({"model": "watched", "inputs": [[9.5 + i / 60] for i in range(60)]}).encode()
    before = scrape(watched)
    for _ in range(10):
        assert watched.ask("POST", "/predict", body, JSON).status == 200

    shown, told = look(watched, "?version=1"), scrape(watched)

    assert shown["drift"] == {"psi": pytest.approx(shown["drift"]["psi"]), "of": "inputs", "level": "much"}
    assert told.get("nnserve_drift_psi", model="watched", version="1", of="inputs") == shown["drift"]["psi"]
    answered = told.get("nnserve_answers_total", model="watched", label="pass")
    assert answered - before.get("nnserve_answers_total", model="watched", label="pass") == 600
    assert told.get("nnserve_confidence_count", model="watched") == shown["rows"]


def test_real_digits_are_little_drift_of_the_shipped_model_and_inverted_ones_much(watched: Service) -> None:
    pictures = load_dataset("digits").test.inputs[::25]

    def send(part: Any) -> tuple[Any, dict[str, tuple[float, float]]]:
        for some in np.split(part, 8):
            assert watched.predict(model="digits", inputs=some.tolist()).status == 200
        shown, told = watched.ask("GET", "/models/digits/monitoring").json, scrape(watched)
        return shown["drift"], {
            of: (index, told.get("nnserve_drift_psi", model="digits", version=str(shown["version"]), of=of))
            for of, (index, _) in indices(shown).items()
        }

    before, real = send(pictures)
    after, inverted = send(255 - pictures)

    assert real.keys() == inverted.keys() == {"inputs", "labels", "confidence"}
    assert all(shown == told < 0.1 for shown, told in real.values())
    assert all(shown == told > 0.25 for shown, told in inverted.values())
    assert (before["level"], after["level"]) == ("little", "much")


def test_predictions_by_the_open_inference_protocol_are_watched_too(watched: Service) -> None:
    before = look(watched)["rows"]
    tensor = {"name": "input", "shape": [3, 1], "datatype": "FP32", "data": [1, 2, 3]}

    answer = watched.ask("POST", "/v2/models/watched/infer", json.dumps({"inputs": [tensor]}).encode(), JSON)

    assert answer.status == 200, answer.body
    assert look(watched)["rows"] == before + 3


def test_a_version_without_a_reference_says_why_it_has_no_drift(watched: Service) -> None:
    watched.predict(model="xor", inputs=[[1, 0]])
    shown = watched.ask("GET", "/models/xor/monitoring").json

    assert shown["drift"] is None
    assert shown["why_no_drift"] == NO_REFERENCE
    assert shown["labels"]["reference"] is None
    assert [one["mean"] for one in shown["inputs"]["features"]] == [1, 0]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/models/nobody/monitoring", 404),
        ("/models/watched/monitoring?version=9", 404),
        ("/models/watched/monitoring?days=9", 422),
        ("/models/watched/monitoring?version=0", 422),
    ],
)
def test_what_cannot_be_shown_is_refused(watched: Service, path: str, status: int) -> None:
    assert watched.ask("GET", path).status == status


def test_without_workers_an_application_counts_in_memory(
    make_app: Callable[..., Flask], exam: bytes, tmp_path: Path
) -> None:
    publish(tmp_path / "store" / "watched", exam)
    client = make_app().test_client()

    for _ in range(3):
        assert client.post("/predict", json={"model": "watched", "inputs": [[1]]}).status_code == 200

    shown = client.get("/models/watched/monitoring").json
    assert shown is not None
    assert shown["rows"] == 3
    text = client.get("/metrics").text
    assert 'nnserve_requests_total{method="POST",model="watched",route="/predict"' in text
