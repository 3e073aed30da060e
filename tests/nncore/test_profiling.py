import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncore import stopwatch as module
from nncore.artifact import Model
from nncore.augmentation import Augmentation
from nncore.cli import main
from nncore.convolution import Conv2D, pair
from nncore.datasets import Split
from nncore.descent import Descent
from nncore.ensemble import Ensemble
from nncore.layers import Dense, Flatten, ReLU, Tanh
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.optimizers import Adam
from nncore.pooling import MaxPool2D
from nncore.predictor import read_model
from nncore.profiles import Line, Profile, profile_text
from nncore.profiling import (
    _options,
    _products,
    _watch_step,
    profile_model,
    profile_predictions,
    profile_step,
)
from nncore.program import Program
from nncore.publishing import MODEL_FILE
from nncore.recipe import Recipe
from nncore.stopwatch import Stopwatch, peak

SHIPPED = sorted((Path(__file__).parents[2] / "models").glob(f"*/1/{MODEL_FILE}"))
sides = st.integers(1, 3)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(module, "PEAK_SECONDS", 0.01)


def products_of(network):
    return [stage.multiply_adds for stage in Program(network).stages]


@given(st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_the_multiply_adds_of_a_dense_layer_are_those_of_naive_loops(inputs, units, biased):
    count = sum(1 for _ in itertools.product(range(inputs), range(units)))
    assert products_of(Network([Dense(units, biased)], (inputs,))) == [count]


@given(
    st.tuples(st.integers(3, 5), st.integers(3, 5), sides),
    sides,
    sides,
    sides,
    st.sampled_from(["same", "valid"]),
)
def test_the_multiply_adds_of_a_convolution_are_those_of_naive_loops(shape, filters, kernel, stride, padding):
    network = Network([Conv2D(filters, kernel, stride, padding)], shape)
    count = 0
    for _ in np.ndindex(network.output_shape):
        for _ in np.ndindex(*pair(kernel), shape[2]):
            count += 1
    assert products_of(network) == [count]


def test_other_layers_have_none():
    assert products_of(Network([BatchNorm(), MaxPool2D(), ReLU(), Flatten()], (4, 4, 1))) == [0, 0, 0]


def test_the_way_back_takes_as_many_again_for_the_inputs_but_those_of_the_first_layers():
    deep = [Flatten(), Dense(3), ReLU(), Dense(5), Dense(7)]
    assert _products(Network(deep, (2,))) == [(0, 0), (6, 6), (0, 0), (15, 30), (35, 70)]
    members = ((Tanh(), Dense(3)), (Dense(5), ReLU(), Dense(3)))
    begins, ends = Network([Ensemble(members), Dense(1)], (2,)), Network([Dense(1), Ensemble(members)], (2,))
    assert _products(begins) == [(6 + 10 + 15, 6 + 10 + 30), (3, 6)]
    assert _products(ends) == [(2, 2), (3 + 5 + 15, 6 + 10 + 30)]


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parts[-3])
def test_every_shipped_model_has_a_profile_whose_shares_add_up(file):
    one, several = profile_model(file, [1, 300], 0).split("\n\n")
    assert one.startswith("1 row: ")
    assert several.startswith("300 rows, 128 at a time: ")
    for text in (one, several):
        parts = [float(share) for share in re.findall(r" (\d+\.\d)%", text)]
        assert parts.pop() == 100
        assert sum(parts) == pytest.approx(100, abs=0.05 * len(parts) + 1e-6)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parts[-3])
def test_every_shipped_models_training_has_a_profile(file):
    model = read_model(file)
    before = model.network.flat.copy()
    profile = profile_step(model, 0)
    assert profile.rows == min(model.card.recipe["batch_size"], profile.rows)
    names = [line.name for line in profile.lines]
    # What stands before the first weights is not gone back through.
    assert [name for name in names if name.endswith("backward")][-1].endswith("dense backward")
    assert names[-2:] == ["optimizer", "batch, calls"]
    assert sum(line.seconds for line in profile.lines) == pytest.approx(profile.total.seconds)
    assert np.array_equal(model.network.flat, before)


def test_all_that_a_step_does_is_named_in_its_turn():
    layers = (Conv2D(2, 3), BatchNorm(), ReLU(), Flatten(), Dense(3))
    network = Network(layers, (5, 5))
    network.initialize(np.random.default_rng(0))
    recipe = Recipe(
        "digits",
        layers,
        "softmax_cross_entropy",
        Adam(),
        epochs=1,
        weight_average=0.9,
        augmentation=Augmentation(shift=1),
    )
    rows = np.arange(4)
    descent = Descent(network, Split(np.ones((4, 5, 5), np.float32), rows % 3), _options(recipe))
    watch = Stopwatch()
    facts = _watch_step(watch, descent)
    spent = watch.measure(lambda: descent.step(rows, 1, 0), 0)
    kinds = ["0 conv2d", "1 batch_norm", "2 relu", "3 flatten", "4 dense"]
    assert list(spent) == [
        "augmentation",
        *(f"{kind} forward" for kind in kinds),
        "loss",
        *(f"{kind} backward" for kind in reversed(kinds)),
        "running statistics",
        "optimizer",
        "average",
        "rest",
    ]
    assert facts["0 conv2d forward"] == ("3×3×2", 9 * 9 * 2)
    assert facts["4 dense backward"] == ("", 2 * 18 * 3)


def test_a_profile_shows_what_is_served(showcase):
    layers = (Flatten(), Dense(4, bias=False), BatchNorm(), ReLU(), Dense(3))
    network = Network(layers, (2, 3))
    network.initialize(np.random.default_rng(0))
    profile = profile_predictions(Model(showcase.card, network), 2, 0)
    assert [line.name for line in profile.lines] == ["1 dense", "2 relu", "3 dense", "input, answer, calls"]
    assert [line.output for line in profile.lines] == ["4", "4", "3", ""]
    assert profile.total.multiply_adds == 6 * 4 + 4 * 3


def test_a_table_tells_speed_from_time_and_multiply_adds():
    lines = (Line("0 dense", "10", 2_000_000, 0.0001), Line("rest", "", 0, 0.0003))
    assert profile_text(Profile("4 rows", 4, lines, 5e10)).splitlines() == [
        "4 rows: 1.600 ms, 2,500 rows a second; a large matrix product: 100.0 GFLOP/s",
        "         output  multiply-adds  µs a row   share  GFLOP/s  of peak",
        "0 dense      10      2,000,000    100.00   25.0%     40.0      40%",
        "rest                              300.00   75.0%",
        "total                2,000,000    400.00  100.0%     10.0      10%",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "0"], "--rows: must be from 1 to 10,000, not 0"),
        (["--rows", "1", "--rows", "10001"], "--rows: must be from 1 to 10,000, not 10001"),
        (["--seconds", "-1"], "--seconds: must be from 0 to 3,600, not -1"),
        (["--seconds", "nan"], "--seconds: must be from 0 to 3,600, not nan"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_line(arguments, said, capsys):
    assert main(["profile", str(SHIPPED[-1]), *arguments]) == 1
    assert capsys.readouterr().err == f"nncore: {said}\n"


def test_a_model_that_is_not_there_is_refused_in_a_line(tmp_path, capsys):
    assert main(["profile", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err == f"nncore: {tmp_path / 'none'}: No such file or directory\n"


class Clock:
    """A clock that stands still but when it is told to go on."""

    def __init__(self):
        self.now = 0.0

    def work(self, seconds):
        self.now += seconds


def test_a_stopwatch_tells_the_median_of_each_part_and_of_what_nobody_watched(monkeypatch):
    clock, watch = Clock(), Stopwatch()
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock.now)
    first, second = watch.timed("first", clock.work), watch.timed("second", clock.work)
    slow = itertools.chain([90, 50], itertools.repeat(1))

    def whole():
        second(2)
        first(next(slow))
        second(4)
        clock.work(0.5)

    assert watch.measure(whole, 100, "between") == {"second": 6, "first": 1, "between": 0.5}


def test_a_machine_has_a_peak():
    assert math.isfinite(peak())
    assert peak() > 1e8
