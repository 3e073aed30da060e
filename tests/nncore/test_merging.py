import hashlib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from nncore.artifact import describe, from_bytes, to_bytes
from nncore.cli import main
from nncore.config import from_json
from nncore.datasets import DATASETS
from nncore.errors import ArtifactError, InputError
from nncore.inspection import card_text
from nncore.merging import merge
from nncore.predictor import load
from nncore.publishing import MODEL_FILE, publish, read_facts, versions
from nncore.recipe import Recipe, StartFrom, check, needed_memory, override, read_recipe, run

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"


def classes(units, seed):
    """Return what makes of the exam's recipe one of a network that answers for each of two classes."""
    network = [
        {"type": "dense", "units": units},
        {"type": "batch_norm"},
        {"type": "tanh"},
        {"type": "dropout", "rate": 0.2},
        {"type": "dense", "units": 2},
    ]
    return {"network": network, "loss": "softmax_cross_entropy", "epochs": 2, "seed": seed}


MODELS = {"first": classes(5, 1), "second": classes(4, 2), "third": classes(4, 3)}


def train(name, changes):
    return to_bytes(describe(run(override(read_recipe((RECIPES / f"{name}.json").read_bytes()), changes))))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder of models of the exam and others."""
    folder = tmp_path_factory.mktemp("home")
    for name, changes in MODELS.items():
        publish(folder / name, train("exam", changes))
    for seed in (1, 2):
        publish(folder / f"logit-{seed}", train("exam", {"epochs": 2, "seed": seed}))
        publish(folder / f"line-{seed}", train("line", {"epochs": 2, "seed": seed}))
    publish(folder / "xor", train("xor", {"epochs": 2}))
    publish(folder / "bare", train("exam", {"epochs": 2, "input": []}))
    return folder


def file_of(home, name):
    return home / name / "1" / MODEL_FILE


def merged(home, *names, **more):
    return merge([file_of(home, name) for name in names], **more)


def saved(model, folder):
    path = folder / "ensemble.safetensors"
    path.write_bytes(to_bytes(model))
    return load(path)


KINDS = {"classes": tuple(MODELS), "binary": ("logit-1", "logit-2"), "regression": ("line-1", "line-2")}


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_answers_from_its_file_with_the_mean_of_its_members(home, tmp_path, kind):
    predictor = saved(merged(home, *KINDS[kind]), tmp_path)
    x = np.linspace(-3, 12, 300, dtype=np.float32).reshape(-1, 1)
    said = [load(file_of(home, name)).predict(x) for name in KINDS[kind]]
    answers = predictor.predict(x)
    assert answers.dtype == np.float32
    assert_allclose(answers, np.mean(said, axis=0), rtol=2e-6, atol=2e-7)
    assert predictor.card.output.kind == kind


def test_the_card_says_what_it_is_made_of_and_how_good_it_is(home, tmp_path):
    card = saved(merged(home, *MODELS), tmp_path).card
    hashes = [hashlib.sha256(file_of(home, name).read_bytes()).hexdigest() for name in MODELS]
    assert card.provenance["members"] == [{"sha256": sha256} for sha256 in hashes]
    assert card.provenance["dataset"] == {"name": "exam", "sha256": DATASETS["exam"]().sha256}
    assert card.output.labels == ("fail", "pass")
    assert card.metrics.keys() == {"validation", "test"}
    assert card.metrics["validation"]["accuracy"] > 0.8
    assert len(card.known_answers.inputs) == 5
    assert merged(home, *MODELS, measure_test=False).card.metrics == {
        "validation": card.metrics["validation"]
    }


def test_the_same_models_give_the_same_bytes_and_what_was_loaded_is_saved_the_same(home):
    data = to_bytes(merged(home, *MODELS))
    assert to_bytes(merged(home, *MODELS)) == to_bytes(from_bytes(data)) == data
    assert to_bytes(merged(home, "second", "second")) != data


def test_its_recipe_trains_it_on_and_anew(home):
    model = merged(home, *MODELS)
    recipe = from_json(Recipe, model.card.recipe)
    assert recipe.network == model.network.layers
    check(recipe, DATASETS["exam"]())
    assert needed_memory(recipe, DATASETS["exam"]()) > 0
    start = StartFrom(model.network, "a" * 64)
    trained = run(override(recipe, {"epochs": 1, "optimizer.learning_rate": 1e-6}), start_from=start)
    assert trained.reinitialized == ()
    assert trained.metrics["validation"]["loss"] == pytest.approx(
        model.card.metrics["validation"]["loss"], rel=0.05
    )
    anew = run(override(recipe, {"epochs": 2}))
    assert anew.history.epochs[1].loss < anew.history.epochs[0].loss
    assert anew.metrics["validation"]["accuracy"] > 0.8


def test_it_is_shown_with_alike_members_together(home):
    said = card_text(merged(home, *MODELS).card).splitlines()
    at = said.index("            ensemble → 2        output classes")
    assert said[at + 1] == "              member 1:"
    assert said[at + 2] == "                dense      → 5        units 5, bias True, initializer he"
    assert said[at + 7] == "              members 2, 3:"
    assert said[at + 8] == "                dense      → 4        units 4, bias True, initializer he"
    assert any(line.startswith("members     [(sha256 ") for line in said)
    assert "              2 members, each:" in card_text(merged(home, "second", "third").card).splitlines()


DIFFERENT = {
    "an input shape": (
        ("first", "xor"),
        r"xor/1/.*: architecture.input_shape is \[2\], and \[1\] in .*first",
    ),
    "input steps": (("logit-1", "bare"), r"bare/1/.*: input.steps is \[\], and an array in .*logit-1/1/"),
    "a kind of output": (("first", "logit-1"), r'output.kind is "binary", and "classes" in'),
    "one model": (("first",), "^an ensemble is of 2 to 64 models, not 1$"),
    "many models": (("first",) * 65, "^an ensemble is of 2 to 64 models, not 65$"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_models_that_cannot_be_averaged_are_refused_with_the_first_difference(home, what):
    names, message = DIFFERENT[what]
    with pytest.raises(InputError, match=message):
        merged(home, *names)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["output", "labels"], ["no", "yes"], r'output.labels is \["no","yes"\], and \["fail","pass"\] in'),
        (["input", "range"], [0, 10], r"input.range is \[0.0,10.0\], and null in"),
        (["recipe", "dataset"], "xor", 'recipe.dataset is "xor", and "exam" in'),
        (["provenance", "dataset"], "exam", "provenance.dataset.sha256 is null, and "),
        (["input", "steps", 0, "mean"], [5.06], "input.steps is not that of .*second"),
    ],
)
def test_a_card_that_says_something_else_is_refused(home, take_apart, tmp_path, path, value, message):
    file = take_apart(file_of(home, "second").read_bytes())
    inner = file.card
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.card["known_answers"]["tolerance"] = 0.01
    other = tmp_path / "other.safetensors"
    other.write_bytes(file.bytes())
    with pytest.raises(InputError, match=message):
        merge([file_of(home, "second"), other])


def test_input_steps_that_differ_in_their_last_bits_are_the_same(home, take_apart, tmp_path):
    file = take_apart(file_of(home, "third").read_bytes())
    mean = file.card["input"]["steps"][0]["mean"]
    mean[0] = np.nextafter(mean[0], 100)
    other = tmp_path / "other.safetensors"
    other.write_bytes(file.bytes())
    model = merge([file_of(home, "second"), other])
    assert model.card.input == from_bytes(file_of(home, "second").read_bytes()).card.input


def test_models_of_another_dataset_of_the_same_name_are_refused(home, monkeypatch):
    monkeypatch.setitem(DATASETS, "exam", DATASETS["xor"])
    with pytest.raises(InputError, match=r"second/1/.*: was not trained on the dataset 'xor' that is here"):
        merged(home, "second", "third")


def test_an_ensemble_is_no_member(home, tmp_path):
    saved(merged(home, "second", "third"), tmp_path)
    with pytest.raises(InputError, match=r"ensemble.safetensors: is an ensemble itself"):
        merge([file_of(home, "second"), tmp_path / "ensemble.safetensors"])


# Hostile files.


def sized(members):
    return {"type": "ensemble", "members": members, "output": "classes"}


DENSE, RELU = {"type": "dense", "units": 2}, {"type": "relu"}
NESTED = sized([[sized([[DENSE]] * 2)]] * 2)
HOSTILE = {
    "65 members": ([sized([[DENSE]] * 65)], r"layers\[0\]\.members: must have at most 64 entries, not 65"),
    "a nested ensemble": ([NESTED], r"layers\[0\]\.members\[0\]\[0\]\.type: must be one of batch_norm, "),
    "no layers": ([sized([[DENSE], []])], r"layers\[0\]\.members\[1\]: must have at least 1 entry"),
    "other outputs": (
        [sized([[DENSE], [DENSE | {"units": 3}]])],
        r"network\[0\]\.members\[1\]: gives \(3,\) numbers an example, the first member \(2,\)",
    ),
    "many layers": (
        [sized([[RELU] * 1000] * 11)],
        r"layers\[0\]\.members\[9\]\[\d+\]: is one object more than the 10,000",
    ),
    "layers that would take all memory": (
        [sized([[DENSE | {"units": 65536}, *[RELU] * 9, DENSE]] * 2)],
        r"architecture: network: its layers give 1,310,726 numbers an example, more than 1,048,576$",
    ),
    "other tensors": ([sized([[DENSE]] * 2)], r"the card's layers and the file's tensors differ: 0\.0\.0\."),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_the_place(home, take_apart, what):
    layers, message = HOSTILE[what]
    file = take_apart(file_of(home, "second").read_bytes())
    file.card["architecture"]["layers"] = layers
    with pytest.raises(ArtifactError, match=message):
        from_bytes(file.bytes())


def test_ensembles_in_ensembles_without_end_are_too_deep(home, take_apart):
    layers = [DENSE]
    for _ in range(30):
        layers = [sized([layers, layers[:0]])]
    file = take_apart(file_of(home, "second").read_bytes())
    file.card["architecture"]["layers"] = layers
    with pytest.raises(ArtifactError, match=r"^the card is wrong: it is nested more than 32 deep$"):
        from_bytes(file.bytes())


def test_a_damaged_member_is_noticed(home, take_apart):
    file = take_apart(to_bytes(merged(home, "second", "third")))
    file.floats()[3] = np.nan
    with pytest.raises(ArtifactError, match=r"^tensor 0\.\d\.\d\.\w+ holds NaN or infinity$"):
        from_bytes(file.bytes())


# The command.


def test_the_command_writes_a_version_and_says_how_good_it_is(home, capsys, tmp_path):
    models = [str(home / "first"), str(home / "second" / "1"), str(file_of(home, "third"))]
    out = ["--out", str(tmp_path), "--name", "all"]
    assert main(["ensemble", *models, *out]) == 0
    said, _ = capsys.readouterr()
    lines = said.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == ["validation", "test"]
    assert lines[2].startswith(f"Wrote {tmp_path / 'all' / '1' / MODEL_FILE} (")
    assert main(["ensemble", *models, *out, "--no-test"]) == 0
    assert "test:" not in capsys.readouterr().out
    assert versions(tmp_path / "all") == [1, 2]
    data = (tmp_path / "all" / "1" / MODEL_FILE).read_bytes()
    assert data == to_bytes(merged(home, *MODELS))
    facts = read_facts(tmp_path / "all" / "1")
    assert facts["sha256"] == hashlib.sha256(data).hexdigest()
    assert facts["seconds"] >= 0
    assert main(["evaluate", str(tmp_path / "all"), "--data", "exam:validation"]) == 0
    assert capsys.readouterr().out.startswith("160 rows: accuracy ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["first", "xor", "--name", "a"],
            "xor/1/model.safetensors: architecture.input_shape is [2], and [1]",
        ),
        (["first", "gone", "--name", "a"], "gone: No such file or directory"),
        (["first", "second", "--name", "A b"], "--name: must be 1 to 64 lower-case letters"),
        (["first", "--name", "a"], "an ensemble is of 2 to 64 models, not 1"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_written(
    home, monkeypatch, capsys, tmp_path, arguments, message
):
    monkeypatch.chdir(home)
    assert main(["ensemble", *arguments, "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nncore: {message}")
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
