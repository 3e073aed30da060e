"""/train on a running service with a trainer: jobs from the call to the version that answers."""

import http.client
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql import Server
from serving import DEADLINE, JSON, ROOT, Service, faulty, wait_for
from training import (
    ENDLESS,
    QUICK,
    SLOW,
    Trainer,
    job,
    post_job,
    read_events,
    submit,
    versions_on_disk,
    wait_for_epoch,
    wait_until,
)

ENDED = ("succeeded", "failed", "cancelled")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The web service and a trainer, as `nnserve up` starts them; every test has models of its own."""
    service = Service(tmp_path_factory.mktemp("up"), "up", workers=2)
    yield service
    service.stop()
    print(service.log)


@pytest.fixture(scope="module")
def without_trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("web"), workers=1, max_queued=3, max_queued_by_client=2)
    yield service
    service.stop()
    print(service.log)


@pytest.fixture
def web(without_trainer: Service) -> Iterator[Service]:
    """The web service without any trainer; a test leaves nothing queued there."""
    yield without_trainer
    for queued in without_trainer.ask("GET", "/train?state=queued").json["jobs"]:
        without_trainer.ask("POST", f"/train/{queued['id']}/cancel")


@pytest.fixture(scope="module")
def on_postgresql(tmp_path_factory: pytest.TempPathFactory, postgresql: Server) -> Iterator[Service]:
    """The web service on PostgreSQL, which no test changes."""
    folder = tmp_path_factory.mktemp("postgresql")
    service = Service(folder, workers=1, database_url=postgresql.new_database())
    yield service
    service.stop()
    print(service.log)


def finish(service: Service, model: str, **asked: object) -> dict:
    """Return a new job once it has ended."""
    return wait_until(service, submit(service, model, **asked), *ENDED)


def test_a_job_becomes_a_version_that_answers(up: Service) -> None:
    answer = post_job(up, "quick", recipe=QUICK)
    assert answer.status == 202
    assert answer.headers["location"] == f"/train/{answer.json['id']}"
    assert answer.json["state"] == "queued"

    ended = wait_until(up, answer.json["id"], *ENDED)

    assert ended["state"] == "succeeded"
    assert (ended["epoch"], ended["epochs"], ended["seconds_left"]) == (3, 3, 0)
    assert ended["created"] <= ended["started"] <= ended["ended"]
    assert [figures["epoch"] for figures in ended["history"]] == [1, 2, 3]
    assert ended["history"][0].keys() == {"epoch", "learning_rate", "loss", "train", "validation"}
    result = ended["result"]
    assert result["promotion"]["promoted"] is True
    assert versions_on_disk(up, "quick")[1]["job"] == ended["id"]
    predicted = up.predict(model="quick", inputs=[[0.5]])
    assert (predicted.status, predicted.json["version"]) == (200, result["version"])
    assert predicted.json["sha256"] == result["sha256"] == versions_on_disk(up, "quick")[1]["sha256"]


def test_the_bytes_are_those_of_the_command_line(up: Service) -> None:
    from kills import unbroken

    assert finish(up, "bytes", recipe=QUICK)["result"]["sha256"] == unbroken(QUICK)


def test_a_shipped_model_is_trained_again_by_its_name_alone(up: Service) -> None:
    ended = finish(up, "xor", promote="never")

    assert ended["plan"]["recipe"]["epochs"] == 600
    # The same recipe gives the same network: not better, so not promoted either.
    assert ended["result"]["promotion"]["promoted"] is False


def test_a_version_with_promote_always_is_served_at_once(up: Service) -> None:
    ended = finish(up, "xor-always", recipe="xor", promote="always")

    assert up.predict(model="xor-always", inputs=[[0, 1]]).json["version"] == ended["result"]["version"]


def test_a_candidate_answers_by_its_number_before_it_is_promoted(up: Service) -> None:
    finish(up, "candidate", recipe=QUICK)
    second = finish(up, "candidate", recipe=SLOW | {"epochs": 1}, promote="never")

    version = second["result"]["version"]
    assert up.predict(model="candidate", inputs=[[1]], version=version).json["version"] == version
    assert up.predict(model="candidate", inputs=[[1]], version="stable").json["version"] == 1
    assert up.predict(model="candidate", inputs=[[1]]).json["version"] == 1


def test_a_worse_version_is_not_promoted_and_both_figures_are_told(up: Service) -> None:
    finish(up, "gate", recipe=QUICK | {"epochs": 30})
    worse = finish(up, "gate", recipe=QUICK | {"epochs": 1})
    better = finish(up, "gate", recipe=QUICK | {"epochs": 100})

    promotion = worse["result"]["promotion"]
    assert promotion["promoted"] is False
    assert (promotion["metric"], promotion["stable_version"]) == ("r2", 1)
    assert promotion["candidate"] < promotion["stable"]
    assert better["result"]["promotion"]["promoted"] is True
    assert up.predict(model="gate", inputs=[[1]]).json["version"] == 3


def test_training_goes_on_from_a_version(up: Service) -> None:
    first = finish(up, "tuned", recipe=QUICK)
    second = finish(up, "tuned", recipe=QUICK | {"seed": 5}, start_from="stable", promote="always")

    start = {"version": 1, "sha256": first["result"]["sha256"]}
    assert second["plan"]["start_from"] == start
    card = up.ask("GET", "/models/tuned/versions/2").json
    assert card["provenance"]["start_from"]["sha256"] == start["sha256"]
    assert second["history"][0]["loss"] < first["history"][0]["loss"]


def test_a_changed_output_layer_begins_anew_and_it_is_said(up: Service) -> None:
    finish(up, "heads", recipe="exam", promote="always")
    wider = json.loads((ROOT / "recipes" / "exam.json").read_text())
    wider["network"][0]["units"] = 2
    wider["loss"] = "softmax_cross_entropy"

    ended = finish(up, "heads", recipe=wider, start_from=1)

    assert ended["state"] == "succeeded", ended["error"]
    assert ended["result"]["reinitialized"] == ["0.weight", "0.bias"]


def test_another_hidden_layer_is_refused_with_its_place(up: Service) -> None:
    finish(up, "hidden", recipe=QUICK)
    other = QUICK | {"network": [{"type": "dense", "units": 7}, *QUICK["network"][1:]]}

    answer = post_job(up, "hidden", recipe=other, start_from=1)

    assert answer.status == 422
    assert answer.json["errors"][0]["pointer"] == "#/recipe/network/0"


def test_events_tell_every_epoch_and_state_and_end_with_the_job(up: Service) -> None:
    job_id = submit(up, "events", recipe=QUICK | {"epochs": 40})
    events = read_events(up, job_id)

    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [data["epoch"] for _, kind, data in events if kind == "epoch"] == list(range(1, 41))
    assert [data["state"] for _, kind, data in events if kind == "state"] == [
        "queued",
        "running",
        "succeeded",
    ]
    assert events[-1][2]["result"] == job(up, job_id)["result"]


def test_a_stream_is_taken_up_again_after_any_event(up: Service) -> None:
    job_id = submit(up, "resumed", recipe=QUICK)
    events = read_events(up, job_id)

    for after in range(len(events)):
        assert read_events(up, job_id, after) == events[after:]
    assert up.ask("GET", f"/train/{job_id}/events", headers={"Last-Event-ID": str(len(events))}).status == 204


def test_a_stream_shows_epochs_as_they_happen(up: Service) -> None:
    job_id = submit(up, "live", recipe=ENDLESS)
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=DEADLINE)
    connection.request("GET", f"/train/{job_id}/events")
    response = connection.getresponse()
    assert response.getheader("Content-Type") == "text/event-stream; charset=utf-8"
    seen = b""
    while b"event: epoch" not in seen:
        seen += response.read1()
    assert job(up, job_id)["state"] == "running"

    assert up.ask("POST", f"/train/{job_id}/cancel").json["state"] == "cancelled"

    while b'"state":"cancelled"' not in seen:
        seen += response.read1()
    assert response.read() == b""
    connection.close()


def test_a_running_job_stops_within_two_seconds_of_being_cancelled(up: Service) -> None:
    job_id = submit(up, "cancelled", recipe=ENDLESS)
    wait_for_epoch(up, job_id, 1)

    cancelled = time.monotonic()
    answer = up.ask("POST", f"/train/{job_id}/cancel")
    waiting = submit(up, "cancelled", recipe=QUICK)

    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    # The only trainer takes the next job as soon as it has left this one.
    wait_for(lambda: f"job {job_id}: left" in up.log, "end of the cancelled job", up)
    assert time.monotonic() - cancelled < 2
    assert wait_until(up, waiting, *ENDED)["state"] == "succeeded"
    assert job(up, job_id)["state"] == "cancelled"
    assert read_events(up, job_id)[-1][2]["state"] == "cancelled"


def test_a_cancelled_job_that_is_retried_goes_on_from_its_checkpoint(
    start: Callable[..., Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in faulty("pacing", tmp_path).items():
        monkeypatch.setenv(name, value)
    service = start(command="up", workers=1, checkpoint_seconds=0.3)
    job_id = submit(service, "again", recipe=SLOW | {"epochs": 200, "batch_size": 16})
    wait_for(lambda: list((service.store / ".checkpoints" / job_id).glob("*")), "checkpoint", service)
    service.ask("POST", f"/train/{job_id}/cancel")

    answer = service.ask("POST", f"/train/{job_id}/retry")

    assert answer.status == 202
    ended = wait_until(service, job_id, *ENDED)
    assert ended["state"] == "succeeded"
    epochs = [data["epoch"] for _, kind, data in read_events(service, job_id) if kind == "epoch"]
    assert epochs == list(range(1, 201))
    assert not (service.store / ".checkpoints" / job_id).exists()


def test_a_run_that_diverges_fails_at_once_and_says_why(up: Service) -> None:
    recipe = QUICK | {"optimizer": {"type": "sgd", "learning_rate": 1000}, "schedule": {"type": "constant"}}
    ended = finish(up, "diverges", recipe=recipe)

    assert ended["state"] == "failed"
    assert "learning rate 1000 is likely too large" in ended["error"]
    assert [d["state"] for _, k, d in read_events(up, ended["id"]) if k == "state"] == [
        "queued",
        "running",
        "failed",
    ]
    assert up.ask("POST", f"/train/{ended['id']}/cancel").status == 409


def test_a_hundred_jobs_a_page_are_followed_by_the_others(start: Callable[..., Service]) -> None:
    service = start(workers=1, max_queued=1000, max_queued_by_client=1000)
    ids = [submit(service, "xor") for _ in range(103)]

    first = service.ask("GET", "/train?limit=100").json
    second = service.ask("GET", f"/train?limit=100&cursor={first['next']}").json

    assert [one["id"] for one in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next"] is None


def test_jobs_are_listed_newest_first_by_state_and_model(up: Service) -> None:
    ids = [finish(up, "listed", recipe=QUICK, promote="never")["id"] for _ in range(3)]

    first = up.ask("GET", "/train?model=listed&limit=2").json
    second = up.ask("GET", f"/train?model=listed&limit=2&cursor={first['next']}").json

    assert [one["id"] for one in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next"] is None
    assert up.ask("GET", "/train?model=listed&state=failed").json == {"jobs": [], "next": None}
    assert len(up.ask("GET", "/train?model=listed&state=succeeded").json["jobs"]) == 3


def test_a_dry_run_checks_everything_and_queues_nothing(web: Service) -> None:
    answer = post_job(web, "xor", dry_run=True, promote="never", start_from=1)

    assert answer.status == 200
    assert (answer.json["dry_run"], answer.json["parameters"]) == (True, 33)
    assert answer.json["start_from"]["version"] == 1
    assert post_job(web, "xor", recipe={}, dry_run=True).status == 422
    assert web.ask("GET", "/train?state=queued").json["jobs"] == []


def test_the_same_idempotency_key_gives_the_same_job(web: Service) -> None:
    before = {job["id"] for job in web.ask("GET", "/train").json["jobs"]}
    first = post_job(web, "xor", key="once")
    again = post_job(web, "xor", key="once")

    assert (again.status, again.json["id"]) == (202, first.json["id"])
    other = post_job(web, "xor", key="once", promote="never")
    assert other.status == 409
    assert first.json["id"] in other.json["detail"]
    assert {job["id"] for job in web.ask("GET", "/train").json["jobs"]} - before == {first.json["id"]}


def test_a_dry_run_leaves_a_key_alone(web: Service) -> None:
    assert post_job(web, "xor", key="checked", dry_run=True).status == 200
    assert post_job(web, "xor", key="checked").status == 202
    assert post_job(web, "xor", key="checked", dry_run=True).status == 200


def test_a_job_is_not_retried_once_the_version_that_it_starts_from_has_gone(
    up: Service,
) -> None:
    finish(up, "gone", recipe=QUICK)
    finish(up, "gone", recipe=QUICK, promote="never")
    job_id = submit(up, "gone", recipe=ENDLESS | {"batch_size": 4}, start_from=2)
    up.ask("POST", f"/train/{job_id}/cancel")
    assert up.ask("DELETE", "/models/gone/versions/2").status == 204

    answer = up.ask("POST", f"/train/{job_id}/retry")

    assert answer.status == 409
    assert "Version 2 of 'gone', to start from, has been deleted" in answer.json["detail"]


@pytest.mark.parametrize("depth", [200, 260, 1000, 5000])
def test_a_deep_body_is_refused_with_words(up: Service, depth: int) -> None:
    body = b'{"model": "m", "recipe": {"a": ' + b"[" * depth + b"]" * depth + b"}}"

    assert up.ask("POST", "/train", body, JSON).status in (400, 422)


@pytest.mark.parametrize("path", ["/train/%00", "/train/%00/events", "/train?model=%00"])
def test_no_text_in_an_address_is_a_fault_of_the_service(on_postgresql: Service, path: str) -> None:
    assert on_postgresql.ask("GET", path).status in (404, 422)


def test_a_malformed_idempotency_key_is_refused(web: Service) -> None:
    assert post_job(web, "xor", key="k" * 201).status == 400
    assert post_job(web, "xor", key="with space").status == 400


def test_a_full_queue_is_said_and_when_to_come_again(web: Service) -> None:
    submit(web, "xor"), submit(web, "xor")

    answer = post_job(web, "xor")

    assert answer.status == 429
    assert "no more than 2 of one client" in answer.json["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_queued_job_is_cancelled_with_no_trainer_up(web: Service) -> None:
    job_id = submit(web, "xor")

    assert web.ask("POST", f"/train/{job_id}/cancel").json["state"] == "cancelled"
    assert web.ask("POST", f"/train/{job_id}/cancel").json["state"] == "cancelled"
    assert [data["state"] for _, _, data in read_events(web, job_id)] == ["queued", "cancelled"]


WRONG = {
    "a number for a truth": ({"dry_run": 0}, "#/dry_run", "must be true or false"),
    "no model": ({"model": None}, "#/model", "must be a text"),
    "an odd name": ({"model": "../etc"}, "#/model", "1 to 64 lower-case letters"),
    "an unknown field": ({"out": "/tmp"}, "#/out", "is not known here"),
    "an unknown field of the recipe": (
        {"recipe": QUICK | {"path": "/"}},
        "#/recipe/path",
        "is not known here",
    ),
    "no recipe to repeat": ({"model": "nobody"}, "#/recipe", "no stable version whose recipe"),
    "an unknown recipe": ({"recipe": "../xor"}, "#/recipe", "digits, digits_cnn, exam, line, xor"),
    "a recipe that is a list": ({"recipe": []}, "#/recipe", "must be a recipe"),
    "units": (
        {"recipe": QUICK | {"network": [{"type": "dense", "units": 0}]}},
        "#/recipe/network/0/units",
        "must be ≥ 1",
    ),
    "outputs": (
        {"recipe": QUICK | {"network": [{"type": "dense", "units": 3}]}},
        "#/recipe/network/0",
        "(1,)",
    ),
    "a loss": ({"recipe": QUICK | {"loss": "softmax_cross_entropy"}}, "#/recipe/loss", "mean_squared_error"),
    "too many epochs": ({"recipe": QUICK | {"epochs": 10_001}}, "#/recipe/epochs", "at most 10,000"),
    "too many parameters": (
        {
            "recipe": QUICK
            | {"network": [{"type": "dense", "units": 60_000}] * 2 + [{"type": "dense", "units": 1}]}
        },
        "#/recipe/network/1",
        "parameters",
    ),
    "promote": ({"promote": "maybe"}, "#/promote", "if_better, always, never"),
    "dry_run null": ({"dry_run": None}, "#/dry_run", "true or false"),
    "recipe null": ({"recipe": None}, "#/recipe", "must be a recipe"),
    "dry_run": ({"dry_run": "yes"}, "#/dry_run", "true or false"),
    "start_from": ({"start_from": True}, "#/start_from", "a version's number or a label"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_request_is_said_where_it_is(up: Service, wrong: str) -> None:
    asked, pointer, detail = WRONG[wrong]

    answer = post_job(up, **{"model": "xor"} | asked)

    assert answer.status == 422, answer.body
    found = [(error["pointer"], error["detail"]) for error in answer.json["errors"]]
    assert any(where == pointer and detail in what for where, what in found), found


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=failed&state=queued", "#/state"),
        ("state=done", "#/state"),
        ("limit=0", "#/limit"),
        ("cursor=x", "#/cursor"),
        ("model=xor!", "#/model"),
        ("page=2", "#/page"),
    ],
)
def test_a_wrong_query_is_said(up: Service, query: str, pointer: str) -> None:
    answer = up.ask("GET", f"/train?{query}")

    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, pointer)


def test_limits_on_a_job_are_settings(start: Callable[..., Service]) -> None:
    service = start(workers=1, max_parameters=40, max_epochs=700, max_job_memory=900_000)

    assert post_job(service, "xor", dry_run=True).status == 200
    parameters = post_job(service, "line", recipe=QUICK)
    assert "49 parameters; a job may have at most 40" in parameters.json["detail"]
    memory = post_job(service, "digits")
    assert memory.status == 422
    epochs = post_job(service, "line", recipe=QUICK | {"epochs": 701})
    assert "701 epochs; a job may have at most 700" in epochs.json["detail"]


def test_a_job_that_takes_too_long_fails_and_says_so(
    start: Callable[..., Service],
) -> None:
    service = start(command="up", workers=1, max_job_seconds=1)
    ended = finish(service, "long", recipe=ENDLESS)

    assert ended["state"] == "failed"
    assert "more than the 1 seconds that a job may take" in ended["error"]
    assert ended["seconds_left"] is None


@pytest.mark.parametrize("path", ["/train/nope", "/train/nope/events"])
def test_an_unknown_job_is_not_found(up: Service, path: str) -> None:
    assert up.ask("GET", path).status == 404
    assert up.ask("POST", "/train/nope/cancel").status == 404
    assert up.ask("POST", "/train/nope/retry").status == 404


def test_another_media_type_is_refused(up: Service) -> None:
    answer = up.ask("POST", "/train", b"model=xor", {"Content-Type": "application/x-www-form-urlencoded"})

    assert answer.status == 415


def test_streams_leave_threads_for_everything_else(web: Service) -> None:
    """Four streams, all that a worker has: the fifth is told so, and predictions go on."""
    job_id = submit(web, "xor")
    connections = [http.client.HTTPConnection("127.0.0.1", web.port, timeout=DEADLINE) for _ in range(4)]
    for connection in connections:
        connection.request("GET", f"/train/{job_id}/events")
        assert connection.getresponse().status == 200

    answer = web.ask("GET", f"/train/{job_id}/events")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert web.predict(model="xor", inputs=[[0, 1]]).status == 200

    connections[0].close()
    web.ask("POST", f"/train/{job_id}/cancel")
    wait_for(lambda: web.ask("GET", f"/train/{job_id}/events").status == 200, "seat for a stream", web)
    for connection in connections[1:]:
        connection.close()


def test_open_streams_do_not_hold_up_a_stop(start: Callable[..., Service]) -> None:
    web = start(workers=1)
    job_id = submit(web, "xor")
    connection = http.client.HTTPConnection("127.0.0.1", web.port, timeout=DEADLINE)
    connection.request("GET", f"/train/{job_id}/events")
    response = connection.getresponse()
    response.read1()

    began = time.monotonic()
    assert web.stop() == 0
    assert time.monotonic() - began < 5
    response.read()
    connection.close()


def test_a_job_waits_for_a_trainer_and_two_trainers_share_the_work(
    start: Callable[..., Service], tmp_path
) -> None:
    service = start(workers=1)
    recipe = SLOW | {"epochs": 150, "batch_size": 16}
    ids = [submit(service, "shared", recipe=recipe) for _ in range(4)]
    trainers = [Trainer(tmp_path, service.settings, faulty("pacing", tmp_path), alone=True) for _ in range(2)]
    try:
        ended = [wait_until(service, job_id, *ENDED) for job_id in ids]
    finally:
        for trainer in trainers:
            trainer.stop()

    assert {one["state"] for one in ended} == {"succeeded"}
    assert len({one["trainer"] for one in ended}) == 2
    assert sorted(versions_on_disk(service, "shared")) == [1, 2, 3, 4]
