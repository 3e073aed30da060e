"""GET /models and below, and the two health addresses."""

import hashlib
import json

import pytest
from serving import NEWEST, SHIPPED, Service

from nncore.publishing import MODEL_FILE

MODELS = list(NEWEST)


def test_the_process_says_that_it_is_alive(service: Service) -> None:
    answer = service.ask("GET", "/healthz")

    assert (answer.status, answer.json) == (200, {"status": "alive"})


def test_readiness_names_the_version_that_each_model_serves(service: Service) -> None:
    answer = service.ask("GET", "/readyz")

    assert answer.status == 200
    served = {model: {"ready": True, "version": version, "failures": {}} for model, version in NEWEST.items()}
    assert answer.json == {"ready": True, "models": served}


def test_every_model_is_listed(service: Service) -> None:
    answer = service.ask("GET", "/models")

    assert answer.status == 200
    facts = [
        {"model": model, "stable": newest, "labels": {"stable": newest}, "versions": [*range(1, newest + 1)]}
        for model, newest in NEWEST.items()
    ]
    assert answer.json == {"models": [one | {"failures": {}} for one in facts]}


def test_one_model_is_shown_as_in_the_list(service: Service) -> None:
    listed = service.ask("GET", "/models").json["models"]

    assert service.ask("GET", "/models/xor").json == listed[MODELS.index("xor")]


@pytest.mark.parametrize("model", MODELS)
def test_a_version_says_what_its_card_says(service: Service, model: str) -> None:
    newest = NEWEST[model]
    data = (SHIPPED / model / str(newest) / MODEL_FILE).read_bytes()
    answer = service.ask("GET", f"/models/{model}/versions/{newest}")
    shown = answer.json

    assert answer.status == 200
    assert (shown["model"], shown["version"], shown["labels"]) == (model, newest, ["stable"])
    assert (shown["sha256"], shown["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
    assert shown["published"]
    assert shown["architecture"]["layers"][-1]["type"] == "dense"
    assert shown["provenance"]["dataset"]["name"] == model
    assert "validation" in shown["metrics"]
    assert shown["recipe"]["dataset"] == model
    assert "failure" not in shown


def test_a_version_is_found_by_a_label_too(service: Service) -> None:
    names = NEWEST["digits"], "stable"
    by_number, by_label = (service.ask("GET", f"/models/digits/versions/{name}") for name in names)

    assert by_number.json == by_label.json
    assert by_number.json["input"]["range"] == [0, 255]
    assert by_number.json["output"] == {"kind": "classes", "labels": list("0123456789")}


def test_known_answers_are_never_shown(service: Service) -> None:
    shown = service.ask("GET", "/models/digits/versions/1").json

    assert "known_answers" not in json.dumps(shown)
    assert len(json.dumps(shown)) < 10_000


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/models/xor",
        "/models/xor/versions/1",
        "/models/xor/versions/stable",
        "/healthz",
        "/readyz",
    ],
)
def test_an_address_can_be_asked_for_its_head_alone(service: Service, path: str) -> None:
    answer = service.ask("HEAD", path)

    assert (answer.status, answer.body) == (200, b"")
