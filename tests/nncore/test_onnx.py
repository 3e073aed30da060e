import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore import averaging, preprocessing
from nncore.artifact import Architecture, InputPipeline, Model, Output
from nncore.cli import main
from nncore.convolution import Conv2D
from nncore.datasets import DATASETS
from nncore.ensemble import Ensemble
from nncore.errors import ExportError
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.network import LAYERS, Network
from nncore.normalization import BatchNorm
from nncore.onnx import ACTIVATIONS, STEPS, to_onnx, write_onnx
from nncore.onnx_layers import MEANS, OPERATORS
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.predictor import Predictor, load, read_model
from nncore.preprocessing import Scale, Standardize

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "models").glob("*/*/model.safetensors"))
XOR = ROOT / "models" / "xor" / "1"
every_shipped_model = pytest.mark.parametrize("file", SHIPPED, ids=lambda file: "-".join(file.parts[-3:-1]))


def session(data):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def answers_of(data, x):
    (outputs,) = session(data).run(None, {"inputs": x.astype(np.float32)})
    return outputs


def model_of(network, kind="regression", steps=()):
    """A model of a network, with the card of another one where that does not matter here."""
    width = network.output_shape[0]
    labels = {"regression": 0, "binary": 2, "classes": width}[kind]
    card = dataclasses.replace(
        read_model(XOR / "model.safetensors").card,
        architecture=Architecture(network.input_shape, network.layers),
        input=InputPipeline(None, None, tuple(steps)),
        output=Output(kind, tuple(map(str, range(labels)))),
    )
    return Model(card, network)


def filled(layers, shape, seed=0):
    """A network with random numbers in every array, as training might leave behind."""
    network = Network(layers, shape)
    rng = np.random.default_rng(seed)
    network.initialize(rng)
    for name, array in network.arrays.items():
        kind = name.rpartition(".")[2]
        if kind in ("bias", "shift", "mean"):
            array[...] = rng.normal(0, 0.5, array.shape)
        elif kind in ("scale", "variance"):
            array[...] = rng.uniform(0.5, 2, array.shape)
    return network


def operators(data):
    return [node.op_type for node in onnx.load_model_from_string(data).graph.node]


# The same answers.


@every_shipped_model
def test_a_shipped_model_answers_as_its_predictor_does(file):
    predictor, data = load(file), to_onnx(read_model(file))
    dataset = DATASETS[predictor.card.recipe["dataset"]]()
    parts = (dataset.train, dataset.validation, dataset.test)
    x = np.concatenate([part.inputs for part in (parts if len(dataset.train) < 10_000 else parts[2:])])
    # Ten thousand pictures through an ensemble of convolutional networks take a minute.
    x = x[:: max(1, 2 * operators(data).count("Conv"))]
    outputs, expected = answers_of(data, x), predictor.predict(x)
    assert_allclose(outputs, expected, rtol=1e-3, atol=1e-5)
    assert_array_equal(outputs.argmax(axis=1), expected.argmax(axis=1))


@every_shipped_model
def test_a_shipped_model_gives_its_known_answers(file):
    model = read_model(file)
    known = model.card.known_answers
    outputs = answers_of(to_onnx(model), np.array(known.inputs))
    assert_allclose(outputs, known.outputs, rtol=known.tolerance, atol=known.tolerance)


def sides(most):
    one = st.integers(1, most)
    return st.one_of(one, st.tuples(one, one))


LAYER = st.one_of(
    st.builds(
        Conv2D, st.integers(1, 4), sides(4), sides(3), st.sampled_from(["same", "valid"]), st.booleans()
    ),
    st.builds(MaxPool2D, sides(3), st.none() | sides(3)),
    st.builds(Dense, st.integers(1, 6), st.booleans()),
    st.builds(BatchNorm, epsilon=st.sampled_from([1e-5, 0.1])),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.sampled_from([Flatten(), GlobalAveragePooling(), ReLU(), Sigmoid(), Tanh()]),
)
SIDE = st.integers(1, 9)
SHAPE = st.one_of(st.tuples(SIDE), st.tuples(SIDE, SIDE), st.tuples(SIDE, SIDE, st.integers(1, 4)))


def line_up(drawn, shape):
    """Those of the drawn layers that fit one behind the other, and what makes their output flat."""
    layers = []
    for layer in drawn:
        try:
            shape = layer.output_shape(shape)
        except ValueError:
            continue
        layers.append(layer)
    return (*layers, Flatten()) if len(shape) > 1 else tuple(layers)


@st.composite
def models(draw):
    """A model of any layers that fit, at times with an ensemble, any steps, and any kind of output."""
    shape = draw(SHAPE)
    kind = draw(st.sampled_from(["regression", "binary", "classes"]))
    last = Dense({"regression": draw(st.integers(1, 3)), "binary": 1, "classes": 3}[kind])
    members = st.lists(st.lists(LAYER, max_size=4), min_size=2, max_size=3)
    if draw(st.integers(0, 3)):
        layers = (*line_up(draw(st.lists(LAYER, min_size=1, max_size=8)), shape), last)
    else:
        layers = (Ensemble(tuple((*line_up(drawn, shape), last) for drawn in draw(members)), kind),)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    standardize = Standardize(
        tuple(rng.normal(0.5, 0.1, shape[-1]).tolist()), tuple(rng.uniform(0.2, 2, shape[-1]).tolist())
    )
    steps = draw(st.sampled_from([(), (Scale(255.0),), (standardize,), (Scale(255.0), standardize)]))
    return model_of(filled(layers, shape, draw(st.integers(0, 99))), kind, steps)


@settings(max_examples=150)
@given(models(), st.integers(0, 5))
def test_any_network_answers_as_its_predictor_does(model, count):
    scaled = any(isinstance(step, Scale) for step in model.card.input.steps)
    x = np.random.default_rng(count).uniform(0, 255 if scaled else 1, (count, *model.network.input_shape))
    expected = Predictor(model).predict(x.astype(np.float32))
    data = to_onnx(model)
    outputs = answers_of(data, x)
    assert outputs.dtype == np.float32
    assert outputs.shape == expected.shape
    size = max(1, np.abs(expected).max(initial=0))
    assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5 * size)
    graph = onnx.load_model_from_string(data).graph
    assert {constant.name for constant in graph.initializer} <= {n for node in graph.node for n in node.input}


# Every kind of layer for once by itself, where it is known what fails; odd sides tell height from width.
ALONE = {
    "batch_norm": ([BatchNorm(epsilon=0.1)], (4, 5, 3)),
    "conv2d": ([Conv2D(3, (2, 5), (3, 1), "same")], (7, 4, 2)),
    "dense": ([Dense(3), Dense(4, bias=False)], (5,)),
    "dropout": ([Dropout(0.5)], (5,)),
    "ensemble": ([Ensemble(((Dense(3),), (Dense(2), Tanh(), Dense(3)))), Dense(2)], (5,)),
    "flatten": ([Flatten()], (4, 5, 3)),
    "global_average_pooling": ([GlobalAveragePooling()], (4, 5, 3)),
    "max_pool2d": ([MaxPool2D((3, 2), (1, 3))], (7, 9, 2)),
    "relu": ([ReLU()], (5,)),
    "sigmoid": ([Sigmoid()], (5,)),
    "tanh": ([Tanh()], (5,)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_does_in_onnx_what_it_does_here(kind):
    layers, shape = ALONE[kind]
    if len(Network(layers, shape).output_shape) > 1:
        layers = [*layers, Flatten()]
    model = model_of(filled(layers, shape))
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    assert_allclose(answers_of(to_onnx(model), x), Predictor(model).predict(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "classes"])
def test_probabilities_add_up_to_one_also_where_one_is_almost_certain(kind):
    network = Network([Dense({"binary": 1, "classes": 3}[kind])], (1,))
    network.arrays["0.weight"][...] = np.linspace(1, 3, network.output_shape[0])
    x = np.array([[-500.0], [-20], [0], [20], [500]])
    model = model_of(network, kind)
    outputs = answers_of(to_onnx(model), x)
    assert_allclose(outputs, Predictor(model).predict(x.astype(np.float32)), atol=1e-6)
    assert_allclose(outputs.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "classes", "regression"])
def test_an_ensembles_mean_is_right_also_where_its_members_are_certain(kind):
    width = 1 if kind == "binary" else 3
    ensemble = Ensemble(((Dense(width),), (Dense(width),), (Dense(width),)), kind)
    network = Network([ensemble, Dense(2)], (1,))
    network.arrays["1.weight"][...] = 1e-2
    for name, weights in {"0.0.0": [3, 1, 2], "0.1.0": [-1, 2, 1], "0.2.0": [1, 1, 5]}.items():
        network.arrays[f"{name}.weight"][...] = weights[:width]
    x = np.array([[-300.0], [-20], [0], [0.5], [20], [300]], np.float32)
    model = model_of(network)
    expected = Predictor(model).predict(x)
    assert_allclose(answers_of(to_onnx(model), x), expected, rtol=1e-5, atol=1e-6)


# The graph.


def test_every_kind_of_layer_step_and_output_has_its_entry():
    assert OPERATORS.keys() == set(LAYERS.values())
    assert STEPS.keys() == set(preprocessing.STEPS.values())
    assert ACTIVATIONS.keys() == {"binary", "classes", "regression"}
    assert MEANS.keys() == averaging.MEANS.keys()
    assert ALONE.keys() == LAYERS.keys()


def test_a_layer_without_an_entry_is_refused_by_its_name(monkeypatch):
    monkeypatch.delitem(OPERATORS, Tanh)
    with pytest.raises(ExportError, match="layer 1: nobody has said what tanh is in ONNX"):
        to_onnx(read_model(XOR / "model.safetensors"))


@pytest.mark.parametrize(
    ("shape", "middle", "expected"),
    [
        ((8, 8, 3), [Flatten()], ["Transpose", "Transpose"]),
        ((8, 8), [Flatten()], ["Unsqueeze", "Transpose"]),
        ((8, 8, 3), [GlobalAveragePooling()], ["Transpose"]),
    ],
)
def test_a_picture_is_turned_once_there_and_once_back(shape, middle, expected):
    layers = [Conv2D(4, 3), BatchNorm(), ReLU(), MaxPool2D(), Conv2D(4, 2), *middle, Dense(2)]
    found = operators(to_onnx(model_of(filled(layers, shape))))
    assert [name for name in found if name in ("Transpose", "Unsqueeze")] == expected


def test_numbers_that_are_no_picture_are_not_turned():
    network = filled([Flatten(), Dense(2), ReLU(), Dropout(0.5), Dense(2)], (4, 5))
    assert operators(to_onnx(model_of(network))) == ["Flatten", "Gemm", "Relu", "Gemm", "Identity"]


@pytest.mark.parametrize(
    ("kind", "name", "width"),
    [("classes", "probabilities", 3), ("binary", "probabilities", 2), ("regression", "values", 3)],
)
def test_inputs_and_outputs_have_fixed_names_and_any_number_of_examples(kind, name, width):
    network = Network([Flatten(), Dense(1 if kind == "binary" else 3)], (4, 5))
    asked = session(to_onnx(model_of(network, kind)))
    (inputs,), (outputs,) = asked.get_inputs(), asked.get_outputs()
    assert (inputs.name, inputs.type, inputs.shape) == ("inputs", "tensor(float)", ["N", 4, 5])
    assert (outputs.name, outputs.type, outputs.shape) == (name, "tensor(float)", ["N", width])


def test_weights_keep_their_names():
    model = read_model(XOR / "model.safetensors")
    constants = onnx.load_model_from_string(to_onnx(model)).graph.initializer
    found = {constant.name: onnx.numpy_helper.to_array(constant) for constant in constants}
    for name, array in model.network.arrays.items():
        assert_array_equal(found[name], array)


# The file.


def test_the_metadata_says_what_the_card_does(tmp_path, capsys):
    path, size = write_onnx(ROOT / "models" / "digits" / "1" / "model.safetensors", tmp_path / "digits.onnx")
    card = read_model(ROOT / "models" / "digits" / "1" / "model.safetensors").card
    assert path.stat().st_size == size
    about = session(path).get_modelmeta()
    facts = about.custom_metadata_map
    assert json.loads(facts["labels"]) == list(card.output.labels)
    assert json.loads(facts["range"]) == [0, 255]
    assert json.loads(facts["picture"]) == {"type": "digit"}
    assert json.loads(facts["metrics"]) == card.metrics
    assert json.loads(facts["dataset"])["name"] == "digits"
    assert (facts["kind"], facts["name"], facts["version"]) == ("classes", "digits", "1")
    assert facts["note"] == card.note
    version = json.loads((ROOT / "models" / "digits" / "1" / "version.json").read_text())
    assert facts["sha256"] == version["sha256"]
    assert (about.producer_name, about.graph_name, about.version) == ("nnserve", "digits", 1)


def test_a_regression_has_no_labels_and_no_range():
    facts = session(to_onnx(read_model(ROOT / "models" / "line" / "1" / "model.safetensors"))).get_modelmeta()
    assert not facts.custom_metadata_map.keys() & {"labels", "range", "picture", "name", "version"}


def test_known_answers_which_may_be_somebodys_data_are_not_in_the_file():
    model = read_model(XOR / "model.safetensors")
    known = dataclasses.replace(model.card.known_answers, inputs=[[0.123456789, 0.5]])
    card = dataclasses.replace(model.card, known_answers=known)
    assert b"0.123456789" not in to_onnx(Model(card, model.network))


def test_the_versions_are_such_as_most_runtimes_read():
    proto = onnx.load_model_from_string(to_onnx(read_model(XOR / "model.safetensors")))
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", 17)]
    assert proto.ir_version == 8


# The command.


def test_the_same_model_gives_the_same_bytes_in_another_process(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(XOR.parent), "--format", "onnx"]) == 0
    first = (tmp_path / "xor-1.onnx").read_bytes()
    assert capsys.readouterr().out == f"Wrote xor-1.onnx ({len(first):,} bytes).\n"
    command = [sys.executable, "-W", "error", "-m", "nncore", "export", str(XOR), "--out", "new/there.onnx"]
    environment = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "new" / "there.onnx").read_bytes() == first


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("mine.safetensors", "mine.onnx"),
        ("model.safetensors", "model.onnx"),
        ("odd name/3/model.safetensors", "model.onnx"),
        ("an odd name.safetensors", "model.onnx"),
        ("iris/12/model.safetensors", "iris-12.onnx"),
    ],
)
def test_the_file_is_named_by_the_model_and_its_version(tmp_path, monkeypatch, place, expected):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes((XOR / "model.safetensors").read_bytes())
    assert write_onnx(file)[0] == Path(expected)
    assert (tmp_path / expected).exists()


def test_inside_a_versions_folder_its_name_is_still_known(tmp_path, monkeypatch):
    folder = tmp_path / "iris" / "12"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes((XOR / "model.safetensors").read_bytes())
    monkeypatch.chdir(folder)
    assert write_onnx(Path("model.safetensors"))[0] == Path("iris-12.onnx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "pickle"], r"--format: must be one of onnx, not 'pickle'"),
        (["--out", "taken"], r"taken: is a folder; name the file in it that is to be written"),
        (["--out", ""], r"\.: is a folder; name the file in it that is to be written"),
        (["--out", "file/there.onnx"], r"file/there\.onnx: Not a directory"),
        (["--out", f"{'x' * 300}.onnx"], r"x+\.onnx: File name too long"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("not a folder")
    assert main(["export", str(XOR), *arguments]) == 1
    assert re.fullmatch(f"nncore: {message}\n", capsys.readouterr().err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]


@pytest.mark.parametrize(
    ("content", "message"), [(None, "No such file or directory"), (b"", "truncated: .*"), (b"x" * 99, ".*")]
)
def test_a_model_that_cannot_be_read_is_said_in_a_line(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("my.safetensors").write_bytes(content)
    assert main(["export", "my.safetensors"]) == 1
    assert re.fullmatch(rf"nncore: my\.safetensors: {message}\n", capsys.readouterr().err)
    assert not Path("my.onnx").exists()


def test_without_the_package_it_is_said_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(XOR)]) == 1
    assert capsys.readouterr().err == (
        "nncore: the package onnx is not installed: pip install 'nnserve[onnx]'\n"
    )
    assert not any(tmp_path.iterdir())


def test_an_invalid_graph_is_not_written_and_the_old_file_stays(tmp_path, monkeypatch):
    (tmp_path / "xor.onnx").write_text("old")
    monkeypatch.setitem(OPERATORS, Tanh, lambda graph, layer, arrays, x: dataclasses.replace(x, name="lost"))
    with pytest.raises(onnx.checker.ValidationError):
        write_onnx(XOR / "model.safetensors", tmp_path / "xor.onnx")
    assert (tmp_path / "xor.onnx").read_text() == "old"


def test_the_documented_way_to_run_it_runs(tmp_path, monkeypatch):
    (block,) = re.findall(r"^```py\n(.*?)^```$", (ROOT / "docs" / "export.md").read_text(), re.DOTALL | re.M)
    monkeypatch.chdir(tmp_path)
    write_onnx(ROOT / "models" / "digits" / "1" / "model.safetensors")
    found = {}
    exec(block, found)
    assert found["probabilities"].shape == (3, 10)
    assert json.loads(found["labels"])[0] == "0"
