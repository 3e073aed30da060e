import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nncore.checkpoints import Checkpoints
from nncore.config import from_json
from nncore.datasets import DATASETS, Split
from nncore.errors import RecipeError
from nncore.network import Network
from nncore.randomness import stream
from nncore.recipe import Recipe, StartFrom, check, run
from nncore.target_scale import scale_of
from nncore.training import Callback

VALUES = {
    "dataset": "line",
    "network": [{"type": "dense", "units": 8}, {"type": "tanh"}, {"type": "dense", "units": 1}],
    "loss": "mean_squared_error",
    "optimizer": {"type": "adam", "learning_rate": 0.02},
    "epochs": 20,
    "standardize_targets": True,
}


def recipe(**changes):
    return from_json(Recipe, VALUES | changes)


@pytest.fixture
def prices(monkeypatch):
    """Have the line's values be prices: 200,000 and more."""
    line = DATASETS["line"]()
    parts = {
        name: Split(part.inputs, (part.targets * 50_000 + 200_000).astype(np.float32))
        for name, part in (("train", line.train), ("validation", line.validation), ("test", line.test))
    }
    dataset = dataclasses.replace(line, **parts)
    monkeypatch.setitem(DATASETS, "line", lambda: dataset)
    return dataset


def test_large_values_are_learned_as_quickly_as_small_ones(prices):
    assert run(recipe()).metrics["test"]["r2"] > 0.99
    assert run(recipe(standardize_targets=False)).metrics["test"]["r2"] < 0


def test_the_network_that_is_kept_answers_in_the_units_of_the_data(prices):
    trained = run(recipe())
    outputs = trained.network.forward(prices.test.inputs)[0]

    mean_squared = float(np.mean(np.square(outputs - prices.test.targets)))
    assert trained.metrics["test"]["loss"] == pytest.approx(mean_squared, rel=1e-4)
    assert outputs.dtype == np.float32
    # What was made small meanwhile is the loss of the standardised values.
    assert trained.history.epochs[-1].validation["loss"] < 0.05


def test_folding_a_scale_is_scaling_what_the_network_says():
    rng = np.random.default_rng(1)
    scale = scale_of(rng.normal([3.0, -70.0], [0.1, 20.0], (50, 2)))
    network = Network(recipe(network=[{"type": "dense", "units": 2}]).network, (3,))
    network.initialize(stream(0, "init"))
    x = rng.normal(size=(5, 3)).astype(np.float32)
    before = network.forward(x)[0].copy()

    scale.fold(network)
    assert_allclose(network.forward(x)[0], before * scale.deviation + scale.mean, rtol=1e-5)
    scale.unfold(network)
    assert_allclose(network.forward(x)[0], before, rtol=1e-4, atol=1e-5)


def test_standardised_targets_have_mean_0_and_deviation_1_column_by_column():
    targets = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]], np.float32)
    scaled = scale_of(targets).apply(Split(np.zeros((3, 1)), targets)).targets

    assert_allclose(scaled.mean(axis=0), [0, 0], atol=1e-6)
    assert_allclose(scaled.std(axis=0), [1, 0], atol=1e-6)
    assert scaled.dtype == np.float32


def test_a_run_goes_on_from_a_model_that_answers_in_the_units_of_the_data(prices):
    first = run(recipe())
    further = run(recipe(epochs=1), start_from=StartFrom(first.network, "0" * 64))

    assert further.history.epochs[0].train["r2"] > 0.99


def test_a_killed_run_ends_with_the_bytes_of_an_unbroken_one(prices, tmp_path):
    class Killed(Exception):
        pass

    class Killer(Callback):
        def on_epoch(self, epoch):
            if epoch.number == 7:
                raise Killed

    with pytest.raises(Killed):
        run(recipe(), [Killer()], checkpoints=Checkpoints(tmp_path, every=0))
    resumed = run(recipe(), checkpoints=Checkpoints(tmp_path, every=0))

    assert resumed.network.flat.tobytes() == run(recipe()).network.flat.tobytes()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"dataset": "exam", "loss": "binary_cross_entropy"}, "classes have no scale"),
        (
            {"network": [{"type": "dense", "units": 1, "bias": False}]},
            "needs a dense layer with a bias at the end of the network",
        ),
        (
            {"network": [{"type": "dense", "units": 1}, {"type": "tanh"}]},
            "needs a dense layer with a bias at the end of the network",
        ),
    ],
)
def test_what_has_no_scale_is_refused_before_the_first_batch(changes, problem):
    wrong = recipe(**changes)

    with pytest.raises(RecipeError) as caught:
        check(wrong, DATASETS[wrong.dataset]())
    assert problem in caught.value.problems["standardize_targets"]
