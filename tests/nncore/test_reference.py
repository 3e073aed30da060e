"""The reference in a card: what the training inputs looked like, and the answers to rows held out."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from nncore.artifact import describe, from_bytes, reference, to_bytes
from nncore.errors import ArtifactError
from nncore.merging import merge
from nncore.origin import own_dataset
from nncore.predictor import Predictor, read_model
from nncore.publishing import MODEL_FILE, publish
from nncore.recipe import override, read_recipe, run
from nncore.reference import BINS, bins_of, edges_of, features, refer, spread, tenth

MODELS = Path(__file__).parents[2] / "models"
RNG = np.random.default_rng(0)
ANSWERS = np.full((50, 2), 0.5, np.float32)


def distribution(values):
    """Return the reference's distribution of one column."""
    return refer(np.asarray(values).reshape(-1, 1), ANSWERS, "classes").inputs[0]


def test_numbers_fall_into_ten_bins_of_equal_shares():
    values = RNG.normal(5, 2, 1000)

    found = distribution(values)

    assert_allclose(found.edges, np.quantile(values, np.arange(1, 10) / 10), atol=0.005)
    assert_allclose(found.shares, 0.1, atol=0.005)
    assert_allclose((found.mean, found.deviation), (values.mean(), values.std()), rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "edges", "shares"),
    [
        pytest.param([0] * 90 + [1] * 10, (0.5,), (0.9, 0.1), id="a category as 0 and 1"),
        pytest.param([3] * 100, (2.997, 3.003), (0, 1, 0), id="a constant"),
        pytest.param([1, 2] * 24 + [5] * 2, (2.0,), (0.48, 0.52), id="few rows have few bins"),
        pytest.param([1e6 + i % 100 for i in range(50)], (1000024.5,), (0.5, 0.5), id="far from zero"),
    ],
)
def test_bins_follow_what_the_values_are(values, edges, shares):
    found = distribution(values)

    assert_allclose(found.edges, edges)
    assert_allclose(found.shares, shares)


def test_edges_are_rounded_so_that_they_are_nobodys_own_value():
    assert all(len(f"{edge:g}") <= 6 for edge in distribution(RNG.normal(0, 1, 500)).edges)


@pytest.mark.parametrize("scale", [1e-30, 1, 3e38])
def test_values_of_any_size_have_rising_edges(scale):
    found = distribution((RNG.uniform(-1, 1, 300) * scale).astype(np.float32))

    assert np.isfinite(found.edges).all()
    assert (np.diff(found.edges) > 0).all()


def test_too_few_rows_are_no_reference():
    assert refer(np.zeros((49, 1)), ANSWERS, "classes") is None
    assert refer(np.zeros((50, 1)), ANSWERS[:49], "classes").held_out == 0


def test_pictures_and_wide_tables_are_told_by_four_figures_an_example():
    pictures = RNG.integers(0, 256, (7, 28, 28)).astype(np.uint8)
    pictures[0] = 9
    flat = pictures.reshape(7, -1).astype(float)

    found = features(pictures)

    naive = np.stack([flat.mean(1), flat.std(1), (flat == 0).mean(1), flat.max(1)], axis=1)
    assert_allclose(found, naive, rtol=1e-12, atol=1e-6)
    assert features(np.zeros((2, 65))).shape == (2, 4)
    assert_array_equal(features(np.ones((2, 8, 8), np.float32)), np.ones((2, 64)))


def test_a_value_lies_where_the_distribution_counted_it():
    values = np.stack([RNG.normal(size=400), RNG.integers(0, 3, 400)], axis=1)
    inputs = refer(values, ANSWERS, "classes").inputs

    bins = bins_of(values, edges_of(inputs))

    for column, one in zip(bins.T, inputs, strict=True):
        assert_allclose(np.bincount(column, minlength=len(one.shares)) / 400, one.shares, atol=1e-6)


def test_a_confidence_of_one_lies_in_the_last_tenth():
    assert_array_equal(tenth(np.array([0, 0.0999, 0.1, 0.95, 1], np.float32)), [0, 0, 1, 9, 9])


def test_rows_are_taken_from_all_over_a_large_dataset():
    rows = spread(np.arange(25_000))

    assert len(rows) <= 10_000
    assert rows[-1] > 24_990
    assert len(spread(np.zeros((500, 100)), most_numbers=1000)) <= 10


def test_a_card_has_the_answers_to_the_rows_held_out(line, showcase):
    assert line.card.reference.rows == 256
    assert len(line.card.reference.values) == 1
    assert not line.card.reference.labels

    known = showcase.card.reference
    assert (known.rows, known.held_out, len(known.inputs)) == (400, 100, 6)
    assert len(known.labels) == 3
    assert len(known.confidence) == BINS
    assert sum(known.labels) == pytest.approx(1)


def test_the_answers_are_those_that_a_caller_gets():
    trained = run(
        read_recipe(
            b'{"dataset": "exam", "network": [{"type": "dense", "units": 1}],'
            b'"loss": "binary_cross_entropy", "optimizer": {"type": "adam"}, "epochs": 2}'
        )
    )
    model = describe(trained)

    said = Predictor(model).predict(trained.dataset.validation.inputs)

    shares = np.bincount(said.argmax(1), minlength=2) / len(said)
    assert_allclose(model.card.reference.labels, shares, atol=0.01)


def figures(known):
    spreads = [(*one.edges, *one.shares, one.mean, one.deviation) for one in (*known.inputs, *known.values)]
    return np.concatenate([(known.rows, known.held_out), *spreads, known.labels, known.confidence])


@pytest.mark.parametrize("name", ["digits", "exam", "line"])
def test_a_shipped_model_has_the_reference_that_its_training_would_take_down(name):
    model = read_model(MODELS / name / "1" / MODEL_FILE)

    again = reference(model.network, model.card.input.steps, own_dataset(model.card), model.card.output.kind)

    # Kinds of CPU differ in last bits, and so in where a row near an edge lies.
    assert_allclose(figures(model.card.reference), figures(again), rtol=1e-3, atol=1e-3)


def test_a_card_without_a_reference_is_written_as_before_there_was_one(xor, line, take_apart):
    assert xor.card.reference is None
    assert "reference" not in take_apart(to_bytes(xor)).card
    bare = dataclasses.replace(line, card=dataclasses.replace(line.card, reference=None))
    with_it, without = take_apart(to_bytes(line)).card, take_apart(to_bytes(bare)).card
    assert with_it.pop("reference")
    assert with_it == without


def test_an_ensemble_has_a_reference_of_its_own(tmp_path):
    recipe = read_recipe(
        b'{"dataset": "line", "network": [{"type": "dense", "units": 1}],'
        b'"loss": "mean_squared_error", "optimizer": {"type": "adam"}, "epochs": 1}'
    )
    files = []
    for seed in (1, 2):
        data = to_bytes(describe(run(override(recipe, {"seed": seed}))))
        number = publish(tmp_path / f"m{seed}", data)
        files.append(tmp_path / f"m{seed}" / str(getattr(number, "number", number)) / "model.safetensors")
    merged, member = merge(files), from_bytes(files[0].read_bytes())

    assert merged.card.reference.inputs == member.card.reference.inputs
    assert merged.card.reference.values != member.card.reference.values


def changed(path, value):
    def change(card):
        at = card["reference"]
        for part in path[:-1]:
            at = at[part]
        at[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(["rows"], 3), "reference.rows: must be ≥ 50"),
        (changed(["inputs"], []), "reference.inputs: must have at least 1 entry"),
        (changed(["inputs", 0, "edges"], [0.0] * 3000), "must have at most 9"),
        (changed(["inputs", 0, "edges"], [2.0, 1.0]), "2 edges and 10 shares"),
        (changed(["inputs", 0, "edges"], [1.0] * 9), "edges that do not rise"),
        (changed(["inputs", 0, "shares"], [0.2] * 10), "do not add up to 1"),
        (changed(["inputs", 0, "shares"], [-1.0, 2.0] + [0.0] * 8), "below 0"),
        (changed(["inputs", 0, "mean"], "high"), "must be a number"),
        (changed(["inputs", 0, "deviation"], -1.0), "must be ≥ 0"),
        (changed(["labels"], [0.5, 0.5]), "labels: 2 shares"),
        (changed(["labels"], []), "one of them is missing"),
        (changed(["confidence"], [1.0]), "1 of confidence"),
        (changed(["held_out"], 0), "held_out: 0 rows"),
    ],
)
def test_a_reference_that_is_wrong_is_refused(showcase, take_apart, change, message):
    file = take_apart(to_bytes(showcase))
    change(file.card)

    with pytest.raises(ArtifactError, match=f"the card is wrong: .*{message}"):
        from_bytes(file.bytes())


def test_a_reference_of_another_models_inputs_or_answers_is_refused(line, showcase, take_apart):
    values = copy.deepcopy(take_apart(to_bytes(line)).card["reference"]["values"])
    file = take_apart(to_bytes(showcase))
    file.card["reference"]["values"] = values
    with pytest.raises(ArtifactError, match="answers of another kind than classes"):
        from_bytes(file.bytes())
    file = take_apart(to_bytes(showcase))
    file.card["reference"]["inputs"].pop()
    with pytest.raises(ArtifactError, match="5 of them, where examples have 6 features"):
        from_bytes(file.bytes())
