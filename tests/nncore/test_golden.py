"""Files that were written once and stay: every later version of nncore loads them and answers the same."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nncore.network import LAYERS
from nncore.predictor import load
from nncore.preprocessing import STEPS

GOLDEN = Path(__file__).parents[1] / "golden"
ANSWERS = json.loads((GOLDEN / "answers.json").read_text())
every_file = pytest.mark.parametrize("name", sorted(ANSWERS))


def test_every_golden_file_has_its_answers_on_record():
    assert {path.name for path in GOLDEN.glob("*.safetensors")} == ANSWERS.keys()


@every_file
def test_a_golden_file_is_the_one_that_was_written(name):
    assert hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest() == ANSWERS[name]["sha256"]


@every_file
def test_a_golden_file_loads_and_answers_as_it_did(name):
    predictor = load(GOLDEN / name)
    inputs, outputs = (np.array(ANSWERS[name][part], np.float32) for part in ("inputs", "outputs"))
    # Kinds of CPU differ in the last bits of a float32.
    assert_allclose(predictor.predict(inputs), outputs, rtol=1e-4, atol=1e-5)


def test_the_golden_files_of_format_1_show_every_kind_of_layer_step_and_output():
    cards = [load(GOLDEN / name).card for name in ANSWERS if name.startswith("format-1")]
    layers = {type(layer) for card in cards for layer in card.architecture.layers}
    kinds = ("dense", "dropout", "flatten", "relu", "sigmoid", "tanh")
    assert {LAYERS[kind] for kind in kinds} <= layers
    assert {STEPS[kind] for kind in ("scale", "standardize")} <= {
        type(s) for card in cards for s in card.input.steps
    }
    assert {card.output.kind for card in cards} == {"binary", "classes", "regression"}
    assert {card.format for card in cards} == {1}
