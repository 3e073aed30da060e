"""An ensemble is a model like any other: one file, one name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from serving import SHIPPED, Service

from nncore.artifact import to_bytes
from nncore.merging import merge
from nncore.predictor import load
from nncore.publishing import MODEL_FILE

BINARY = {"Content-Type": "application/octet-stream"}


def test_an_ensemble_that_is_sent_passes_the_gate_and_answers_with_the_mean_of_its_members(
    start: Callable[..., Service], tmp_path: Path, xor_file: Callable[[int], bytes]
) -> None:
    members = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    for seed, member in enumerate(members, 1):
        member.write_bytes(xor_file(seed))
    members.append(SHIPPED / "xor" / "1" / MODEL_FILE)
    data = to_bytes(merge(members))
    service = start(workers=1)

    sent = service.ask("POST", "/models/together/versions", data, BINARY)
    assert (sent.status, sent.json["promotion"]["promoted"]) == (201, True), sent.body
    answer = service.predict(model="together", inputs=[[0, 1], [1, 1]])

    assert answer.status == 200, answer.body
    x = np.array([[0, 1], [1, 1]], np.float32)
    mean = np.mean([load(member).predict(x) for member in members], axis=0)
    for prediction, expected in zip(answer.json["predictions"], mean.tolist(), strict=True):
        assert prediction["probabilities"] == pytest.approx(expected, abs=1e-6)
    card = service.ask("GET", "/models/together/versions/1").json
    assert len(card["provenance"]["members"]) == 3
