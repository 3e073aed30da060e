"""The gate: which version becomes stable, by which rule, and what is said of it."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from candidates import BEST, FAIR, GOOD, changed, damaged, exam, file_of, line, model_of

from nncore.artifact import Architecture, KnownAnswers, Model, Output, to_bytes
from nncore.datasets import DATASETS, Split
from nncore.layers import Dense
from nncore.network import Network
from nncore.publishing import publish
from service.database import Database, parse_url
from service.labels import LABELS_FILE, read_labels, write_labels
from service.problems import Conflict, NotFound
from service.promotion import Decision, Promotions
from service.schema import migrate


def xor_with_the_labels_of_the_exam() -> bytes:
    weights = [np.zeros((2, 8)), np.zeros(8), np.zeros((8, 1)), np.zeros(1)]
    return changed(file_of("xor", lambda _: weights), output=Output("binary", ("fail", "pass")))


def exam_as_a_regression() -> bytes:
    return file_of("exam", lambda _: [[[0.2]], [-0.5]], input=[], loss="mean_squared_error")


def line_with_two_values() -> bytes:
    return another_line(2, [[1.0]], [[0.0, 0.0]], weight=0.0)


def line_that_overflows() -> bytes:
    """Return a model that answers for what it is asked when it is loaded, and not for all held-out rows."""
    return another_line(1, [[0.0]], [[0.0]], weight=3e38)


def another_line(units: int, inputs: list[Any], outputs: list[Any], weight: float) -> bytes:
    layers = (Dense(units),)
    card = dataclasses.replace(
        model_of("line", lambda _: [[[2.0]], [1.0]]).card,
        architecture=Architecture((1,), layers),
        known_answers=KnownAnswers(inputs, outputs, 1e-4),
    )
    network = Network(layers, (1,))
    network.parameters["0.weight"][...] = weight
    return to_bytes(Model(card, network))


def from_elsewhere(dataset: Any) -> bytes:
    return changed(exam(BEST), provenance={"dataset": dataset})


@pytest.fixture
def promotions(tmp_path: Path) -> Promotions:
    database = Database(parse_url(f"sqlite:///{tmp_path}/nnserve.db"))
    migrate(database)
    return Promotions(database, tmp_path / "store")


@pytest.fixture
def model(promotions: Promotions) -> Path:
    return promotions.root / "a-model"


def settle(promotions: Promotions, number: int, rule: str = "if_better") -> Decision:
    return promotions.settle("a-model", number, rule, who="a test")


COMPARED: list[tuple[str, Callable[[], bytes], Callable[[], bytes], bool, str]] = [
    (
        "better",
        lambda: exam(GOOD),
        lambda: exam(BEST),
        True,
        "accuracy 0.9375 is better than version 1's 0.85625",
    ),
    (
        "equal",
        lambda: exam(GOOD),
        lambda: exam(GOOD, 2.0),
        False,
        "0.85625 is no better than version 1's 0.85625",
    ),
    ("worse", lambda: exam(GOOD), lambda: exam(FAIR), False, "0.7625 is worse than version 1's 0.85625"),
    (
        "a better line",
        lambda: line(1.5),
        lambda: line(2.0),
        True,
        "r2 0.999147 is better than version 1's 0.93",
    ),
    (
        "a worse line",
        lambda: line(2.0),
        lambda: line(1.5),
        False,
        "r2 0.933814 is worse than version 1's 0.99",
    ),
]


@pytest.mark.parametrize(
    ("stable", "candidate", "promoted", "said"),
    [case[1:] for case in COMPARED],
    ids=[case[0] for case in COMPARED],
)
def test_a_version_that_is_better_is_promoted_and_no_other(
    promotions: Promotions,
    model: Path,
    stable: Callable[[], bytes],
    candidate: Callable[[], bytes],
    promoted: bool,
    said: str,
) -> None:
    publish(model, stable())
    write_labels(model, {"stable": 1})
    publish(model, candidate())
    decision = settle(promotions, 2)

    assert decision.promoted is promoted
    assert said in decision.reason
    assert read_labels(model) == {"stable": 2 if promoted else 1}
    assert decision.metric is not None
    assert decision.candidate is not None
    assert decision.stable is not None
    assert decision.stable_version == 1
    assert promoted == (decision.candidate > decision.stable)


def test_both_figures_are_told(promotions: Promotions, model: Path) -> None:
    publish(model, exam(GOOD))
    write_labels(model, {"stable": 1})
    publish(model, exam(BEST))

    assert settle(promotions, 2) == Decision(
        promoted=True,
        reason="accuracy 0.9375 is better than version 1's 0.85625",
        metric="accuracy",
        candidate=0.9375,
        stable=0.85625,
        stable_version=1,
    )


INCOMPARABLE: list[tuple[str, Callable[[], bytes], Callable[[], bytes], str]] = [
    (
        "other labels",
        lambda: changed(exam(GOOD), output=Output("binary", ("no", "yes"))),
        lambda: exam(BEST),
        "it tells the labels fail, pass, the stable version the labels no, yes",
    ),
    (
        "the same labels in another order",
        lambda: changed(exam(GOOD), output=Output("binary", ("pass", "fail"))),
        lambda: exam(BEST),
        "it tells the labels fail, pass, the stable version the labels pass, fail",
    ),
    (
        "labels that look alike when listed",
        lambda: changed(exam(GOOD), output=Output("binary", ("fail, pass", ""))),
        lambda: exam(BEST),
        "the stable version the labels fail, pass, ",
    ),
    (
        "a candidate with other labels than its dataset",
        lambda: exam(GOOD),
        lambda: changed(exam(BEST), output=Output("binary", ("pass", "fail"))),
        "it tells the labels pass, fail, and the dataset 'exam' has other labels",
    ),
    (
        "values against classes",
        lambda: exam(GOOD),
        lambda: line(2.0),
        "it tells values, the stable version the labels fail, pass",
    ),
    (
        "classes against values",
        lambda: line(2.0),
        lambda: exam(BEST),
        "it tells the labels fail, pass, the stable version values",
    ),
    (
        "values of another dataset",
        exam_as_a_regression,
        lambda: line(2.0),
        "its values are those of 'line', the stable version's of 'exam'",
    ),
    ("values of another width", line_with_two_values, lambda: line(2.0), "gives 2 values, the dataset has 1"),
    (
        "a candidate of another width than its dataset",
        lambda: line(2.0),
        line_with_two_values,
        "gives 2 values, the dataset has 1",
    ),
    (
        "inputs of another shape",
        xor_with_the_labels_of_the_exam,
        lambda: exam(BEST),
        "it takes inputs of shape (1,), the stable version (2,)",
    ),
    (
        "a stable version that overflows",
        line_that_overflows,
        lambda: line(2.0),
        "cannot answer for the held-out",
    ),
    (
        "another dataset",
        lambda: exam(GOOD),
        lambda: from_elsewhere({"sha256": "0" * 64}),
        "not trained on the",
    ),
    ("no dataset", lambda: exam(GOOD), lambda: from_elsewhere(None), "not trained on the dataset 'exam'"),
    ("a dataset that is none", lambda: exam(GOOD), lambda: from_elsewhere(["exam"]), "not trained on the"),
    (
        "a damaged stable version",
        lambda: damaged(exam(GOOD)),
        lambda: exam(BEST),
        "does not load: known answer",
    ),
]


@pytest.mark.parametrize(
    ("stable", "candidate", "said"),
    [case[1:] for case in INCOMPARABLE],
    ids=[case[0] for case in INCOMPARABLE],
)
def test_what_cannot_be_compared_is_not_promoted_and_the_reason_said(
    promotions: Promotions,
    model: Path,
    stable: Callable[[], bytes],
    candidate: Callable[[], bytes],
    said: str,
) -> None:
    publish(model, stable())
    write_labels(model, {"stable": 1})
    publish(model, candidate())
    decision = settle(promotions, 2)

    assert not decision.promoted
    assert decision.reason.startswith("it cannot be compared with version 1: ")
    assert said in decision.reason
    assert (decision.stable, decision.stable_version) == (None, 1)
    assert read_labels(model) == {"stable": 1}


def test_a_stable_version_that_is_not_there_is_no_yardstick(promotions: Promotions, model: Path) -> None:
    publish(model, exam(BEST))
    write_labels(model, {"stable": 9})
    decision = settle(promotions, 1)

    assert not decision.promoted
    assert "has no version 9, only 1" in decision.reason


@pytest.mark.parametrize(
    "candidate", [lambda: exam(FAIR), lambda: from_elsewhere(None)], ids=["known", "foreign"]
)
def test_the_first_version_becomes_stable(
    promotions: Promotions, model: Path, candidate: Callable[[], bytes]
) -> None:
    publish(model, candidate())
    write_labels(model, {})
    decision = settle(promotions, 1)

    assert (decision.promoted, decision.reason) == (True, "no version was stable before")
    assert (decision.stable, decision.stable_version) == (None, None)
    assert read_labels(model) == {"stable": 1}


def test_the_test_set_is_never_looked_at(
    promotions: Promotions, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = DATASETS["exam"]
    nothing = Split(np.zeros((0, 1)), np.zeros(0))
    monkeypatch.setitem(DATASETS, "exam", lambda: dataclasses.replace(make(), train=nothing, test=nothing))
    publish(model, exam(GOOD))
    write_labels(model, {"stable": 1})
    publish(model, exam(BEST))

    assert settle(promotions, 2).candidate == 0.9375


@pytest.mark.parametrize(("rule", "promoted"), [("always", True), ("never", False)], ids=["always", "never"])
@pytest.mark.parametrize(
    "candidate",
    [lambda: exam(FAIR), lambda: exam(BEST), lambda: line(2.0)],
    ids=["worse", "better", "another kind"],
)
def test_a_rule_of_its_own_asks_for_no_figures_but_tells_them(
    promotions: Promotions, model: Path, rule: str, promoted: bool, candidate: Callable[[], bytes]
) -> None:
    publish(model, exam(GOOD))
    write_labels(model, {"stable": 1})
    publish(model, candidate())
    decision = settle(promotions, 2, rule)

    assert decision.promoted is promoted
    assert decision.reason == f"as asked: promote is {rule}"
    assert read_labels(model) == {"stable": 2 if promoted else 1}
    assert decision.candidate is not None


def test_a_first_version_that_is_never_to_be_promoted_is_not_served(
    promotions: Promotions, model: Path
) -> None:
    publish(model, exam(GOOD))
    write_labels(model, {})

    assert not settle(promotions, 1, "never").promoted
    assert read_labels(model) == {}


@pytest.mark.parametrize("rule", ["if_better", "always", "never"])
def test_a_damaged_candidate_is_never_promoted(promotions: Promotions, model: Path, rule: str) -> None:
    publish(model, exam(GOOD))
    write_labels(model, {"stable": 1})
    publish(model, damaged(exam(BEST)))
    decision = settle(promotions, 2, rule)

    assert not decision.promoted
    assert "Version 2 of 'a-model' does not load: known answer" in decision.reason
    assert read_labels(model) == {"stable": 1}


def test_a_candidate_that_has_gone_is_an_error(promotions: Promotions, model: Path) -> None:
    publish(model, exam(GOOD))

    with pytest.raises(NotFound, match="has no version 2, only 1"):
        settle(promotions, 2)


def test_labels_that_cannot_be_read_are_an_error_and_stay(promotions: Promotions, model: Path) -> None:
    publish(model, exam(GOOD))
    (model / LABELS_FILE).write_text("{")

    with pytest.raises(Conflict, match=r"a-model/labels\.json cannot be read"):
        settle(promotions, 1)
    assert (model / LABELS_FILE).read_text() == "{"


def test_other_labels_stay_where_they_are(promotions: Promotions, model: Path) -> None:
    publish(model, exam(GOOD))
    write_labels(model, {"stable": 1, "Hand Made": 1})
    publish(model, exam(BEST))
    settle(promotions, 2)

    assert read_labels(model) == {"stable": 2, "Hand Made": 1}
