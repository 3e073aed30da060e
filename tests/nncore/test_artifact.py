import dataclasses
import json
import math
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import nncore
from nncore import artifact
from nncore.artifact import FORMAT, Card, activate, describe, from_bytes, pack, to_bytes
from nncore.config import from_json, to_json
from nncore.errors import ArtifactError
from nncore.inspection import card_text
from nncore.predictor import Predictor
from nncore.recipe import read_recipe, run

every_model = pytest.mark.parametrize("name", ["xor", "line", "showcase"])


def load(data):
    """Check a file as it is checked before anybody is served from it."""
    predictor = Predictor(from_bytes(data))
    predictor.verify()
    return predictor


# What is written.


@every_model
def test_saving_what_was_loaded_gives_the_same_bytes(models, name):
    data = to_bytes(models[name])
    assert to_bytes(from_bytes(data)) == data
    assert from_bytes(data).card == models[name].card
    load(data)


def test_the_same_run_gives_the_same_bytes():
    recipe = read_recipe(
        '{"dataset": "exam", "network": [{"type": "dense", "units": 3}, {"type": "dropout", "rate": 0.5},'
        '{"type": "dense", "units": 2}], "loss": "softmax_cross_entropy", "optimizer": {"type": "adam"},'
        '"input": [{"type": "standardize"}], "epochs": 2}'
    )
    once, again = (to_bytes(describe(run(recipe))) for _ in range(2))
    assert once == again
    assert to_bytes(describe(run(dataclasses.replace(recipe, seed=1)))) != once


@every_model
def test_the_card_is_the_one_metadata_entry_in_canonical_json(models, name):
    data = to_bytes(models[name])
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert metadata.keys() == {"nnserve"}
    card = json.loads(metadata["nnserve"], parse_constant=pytest.fail)
    assert json.dumps(card, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == metadata["nnserve"]


def test_a_card_with_nan_is_never_written():
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({}, {"loss": math.nan})


def test_a_card_says_how_the_model_came_to_be(xor):
    card = xor.card
    assert card.format == FORMAT == 1
    assert card.architecture.input_shape == (2,)
    assert [type(layer).__name__ for layer in card.architecture.layers] == ["Dense", "Tanh", "Dense"]
    assert (card.output.kind, card.output.labels) == ("binary", ("0", "1"))
    assert card.metrics.keys() == {"validation", "test"}
    assert card.recipe["epochs"] == 200
    assert card.provenance.keys() == {"dataset", "epochs", "seed", "versions"}
    assert card.provenance["epochs"] == {"run": 200, "kept": 200, "ended": "completed"}
    assert card.provenance["versions"].keys() == {"nncore", "numpy", "python"}
    assert card.provenance["versions"]["nncore"] == nncore.__version__
    assert "tested on the rows it was trained on" in card.note
    assert card.known_answers.inputs == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert len(card.known_answers.outputs) == 4


def test_known_answers_are_raw_inputs_with_what_a_caller_gets(showcase):
    known = showcase.card.known_answers
    inputs = np.array(known.inputs)
    assert inputs.shape == (5, 2, 3)
    assert inputs.max() > 100
    assert_allclose(Predictor(showcase).predict(inputs), known.outputs, atol=1e-6)
    assert_allclose(np.sum(known.outputs, axis=1), 1, atol=1e-6)


def layouts(array):
    """The same numbers, laid out differently in memory."""
    wide = np.repeat(array, 2, axis=0)
    return [
        array.copy(),
        np.asfortranarray(array),
        wide[::2],
        array[::-1].copy()[::-1],
        np.ascontiguousarray(array.T).T,
        array.astype(array.dtype.newbyteorder(">")),
    ]


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    st.sampled_from(["f4", "f8", "i8", "u1"]),
    st.integers(0, 999),
)
def test_numbers_are_saved_right_whatever_their_layout_in_memory(shape, dtype, seed):
    array = np.random.default_rng(seed).uniform(0, 200, shape).astype(dtype)
    expected = pack({"a": array.copy()}, {})
    for other in layouts(array):
        assert pack({"a": other}, {}) == expected
    assert_array_equal(safetensors.numpy.load(expected)["a"], array)


def test_what_a_caller_sees_is_probabilities_or_values_in_memory_of_its_own():
    logits = np.array([[0.0], [2.0]], np.float32)
    p = 1 / (1 + math.exp(-2))
    assert_allclose(activate(logits, "binary"), [[0.5, 0.5], [1 - p, p]], rtol=1e-6)
    logits = np.array([[0.0, 0.0], [0.0, 2.0]], np.float32)
    assert_allclose(activate(logits, "classes"), [[0.5, 0.5], [1 - p, p]], rtol=1e-6)
    values = activate(logits, "regression")
    assert_array_equal(values, logits)
    for kind in ("binary", "classes", "regression"):
        assert not np.shares_memory(activate(logits[:, :1], kind), logits)
        assert activate(logits[:, :1], kind).dtype == np.float32


# What is refused.


@settings(max_examples=200)
@given(st.data())
def test_a_file_cut_at_any_byte_is_refused(xor, data):
    whole = to_bytes(xor)
    length = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ArtifactError, match="truncated"):
        load(whole[:length])


@given(st.binary(min_size=1, max_size=100))
def test_a_file_with_bytes_behind_it_is_refused(xor, more):
    with pytest.raises(ArtifactError, match=r"^oversized: the tensors need"):
        load(to_bytes(xor) + more)


def set_in(path, value):
    """Return a change of a card: the value at a path of keys and places."""

    def change(file):
        inner = file.card
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value

    return change


def set_tensor(name, **facts):
    return lambda file: file.header[name].update(facts)


def set_float(value):
    def change(file):
        file.floats()[3] = value

    return change


def replace_card(text):
    return lambda file: setattr(file, "card", text)


def without_card(file):
    file.card = None
    del file.header["__metadata__"]


def other_metadata(file):
    file.card = None
    file.header["__metadata__"] = {"format": "pt"}


def metadata_of_numbers(file):
    file.card = None
    file.header["__metadata__"] = {"nnserve": 1}


def delete(*path):
    def change(file):
        inner = file.card
        for key in path[:-1]:
            inner = inner[key]
        del inner[path[-1]]

    return change


def extra_tensor(file):
    file.header["9.weight"] = {
        "dtype": "F32",
        "shape": [1],
        "data_offsets": [len(file.body), len(file.body) + 4],
    }
    file.body += bytes(4)


def missing_tensor(file):
    del file.header["2.bias"]


def overlapping(file):
    # The last bias lies on the first: every size is right, the places are not.
    file.header["2.bias"]["data_offsets"] = [0, 4]


def swapped(file):
    # Two tensors of one size lie in each other's place, which only the known answers show.
    one, two = file.header["0.bias"], file.header["2.weight"]
    one["data_offsets"], two["data_offsets"] = two["data_offsets"], one["data_offsets"]


def deep_header(file):
    file.header["deep"] = json.loads("[" * 500 + "]" * 500)


LAYERS = ["architecture", "layers"]
# 2^48 inputs times 2^16 units wrap to zero in 64 bits.
BEYOND_64_BITS = {
    "input_shape": [65536] * 3,
    "layers": [{"type": "flatten"}, {"type": "dense", "units": 65536}],
}
DEEP = "[" * 100_000 + "]" * 100_000

REFUSED = {
    "no card": (without_card, "no card: the metadata has no entry 'nnserve'"),
    "another program's file": (other_metadata, "no card: .*was it made by nncore"),
    "metadata that is no text": (metadata_of_numbers, "no card"),
    "a card that is not JSON": (replace_card("{"), "^the card is not JSON$"),
    "a card with NaN": (replace_card('{"metrics": NaN}'), "^the card is not JSON$"),
    "a card with infinity": (replace_card('{"metrics": 1e999}'), "^the card is not JSON$"),
    "a card with half a character": (replace_card('{"note": "\\ud800"}'), "^the card is not JSON$"),
    "a card that is a list": (replace_card("[]"), "the card is wrong: must be an object, not an array"),
    "a card nested without end": (replace_card(DEEP), "^the card is not JSON$"),
    "a card nested deeply": (
        set_in(["metrics"], {"a": json.loads("[" * 50 + "]" * 50)}),
        "nested more than 32",
    ),
    "a number beyond 64 bits": (set_in(["provenance", "seed"], 2**63), "more than 64 bits"),
    "a header nested deeply": (deep_header, "tensors differ: deep"),
    "a newer format": (set_in(["format"], 2), "the file has format 2, this nncore reads up to 1: upgrade it"),
    "format 0": (set_in(["format"], 0), "the card is wrong: format: must be ≥ 1"),
    "a format that is no number": (
        set_in(["format"], "1"),
        "the card is wrong: format: must be a whole number",
    ),
    "no architecture": (delete("architecture"), "the card is wrong: architecture: is missing"),
    "no known answers": (delete("known_answers"), "the card is wrong: known_answers: is missing"),
    "an unknown key": (set_in(["weights"], 1), "the card is wrong: weights: is not known here"),
    "a metric list": (set_in(["metrics"], []), "the card is wrong: metrics: must be an object"),
    "a note that is a number": (set_in(["note"], 3), "the card is wrong: note: must be a string, not 3"),
    "an unknown layer": (
        set_in([*LAYERS, 1, "type"], "tan"),
        r"architecture.layers\[1\].type: must be one of",
    ),
    "an imported layer": (set_in([*LAYERS, 1, "type"], "os.system"), r"layers\[1\].type: must be one of"),
    "no layers": (set_in(LAYERS, []), "architecture: network: must have at least one layer"),
    "a layer that does not fit": (
        set_in(["architecture", "input_shape"], [2, 1]),
        r"network\[0\]: dense takes flat",
    ),
    "an empty shape": (set_in(["architecture", "input_shape"], []), r"architecture.input_shape: \(\)"),
    "a shape with a zero": (
        set_in(["architecture", "input_shape"], [0]),
        r"architecture.input_shape: \(0,\)",
    ),
    "a huge shape": (set_in(["architecture", "input_shape"], [10**6]), "architecture.input_shape"),
    "a negative shape": (set_in(["architecture", "input_shape"], [-2]), "architecture.input_shape"),
    "too many parameters": (
        set_in(["architecture"], BEYOND_64_BITS),
        r"architecture: network\[1\]: more than 50,000,000 parameters",
    ),
    "layers that would take all memory": (
        set_in(LAYERS, [{"type": "dense", "units": 65536}, *[{"type": "relu"}] * 900]),
        "architecture: network: its layers give 59,047,936 numbers an example, more than 1,048,576",
    ),
    "other layers than tensors": (
        set_in(LAYERS, [{"type": "dense", "units": 1}]),
        "tensors differ: 2.bias, 2.weight",
    ),
    "other units than tensors": (
        set_in([*LAYERS, 0, "units"], 9),
        r"tensor 0.weight has shape \[2, 8\], not \[2, 9\]",
    ),
    "an extra tensor": (extra_tensor, "tensors differ: 9.weight"),
    "a missing tensor": (missing_tensor, "tensors differ: 2.bias"),
    "another dtype": (set_tensor("0.bias", dtype="F64"), "tensor 0.bias has dtype F64, not F32"),
    "an unknown dtype": (set_tensor("0.bias", dtype=None), "tensor 0.bias has dtype None, not F32"),
    "another shape": (
        set_tensor("0.weight", shape=[8, 2]),
        r"tensor 0.weight has shape \[8, 2\], not \[2, 8\]",
    ),
    "overlapping tensors": (overlapping, "not a safetensors file: .*[Oo]ffset"),
    "tensors beyond the file": (set_tensor("0.bias", data_offsets=[0, 10**9]), "not a safetensors file"),
    "offsets that are no numbers": (set_tensor("0.bias", data_offsets="all"), "not a safetensors file"),
    "swapped tensors": (swapped, "known answer [0-3] is wrong"),
    "NaN in a tensor": (set_float(np.nan), r"^tensor [02]\.(weight|bias) holds NaN or infinity$"),
    "infinity in a tensor": (set_float(-np.inf), r"^tensor [02]\.(weight|bias) holds NaN or infinity$"),
    "a damaged weight": (set_float(3), r"^known answer \d is wrong: "),
    "an unknown kind of output": (
        set_in(["output", "kind"], "class"),
        r"output.kind: must be one of .*\(did you mean",
    ),
    "three labels for two classes": (
        set_in(["output", "labels"], ["0", "1", "2"]),
        "output: binary with 3 labels",
    ),
    "a label as long as a book": (
        set_in(["output", "labels"], ["0", "1" * 257]),
        "a label has 257 characters, more than 256",
    ),
    "too many steps": (
        set_in(["input", "steps"], [{"type": "scale", "divide_by": 1.0}] * 17),
        "input.steps: 17 of them, more than 16",
    ),
    "no labels": (set_in(["output", "labels"], []), "output: binary with 0 labels"),
    "the same label twice": (set_in(["output", "labels"], ["0", "0"]), "output: binary with 2 labels"),
    "labels that are numbers": (
        set_in(["output", "labels"], [0, 1]),
        r"output.labels\[0\]: must be a string, not 0",
    ),
    "classes for one logit": (
        set_in(["output", "kind"], "classes"),
        "output: classes with 2 labels, where the network gives",
    ),
    "labels of a regression": (set_in(["output", "kind"], "regression"), "output: regression with 2 labels"),
    "a range upside down": (set_in(["input", "range"], [255, 0]), "input.range"),
    "half a range": (set_in(["input", "range"], [0]), "input.range"),
    "a picture that does not fit": (
        set_in(["input", "picture"], {"type": "digit"}),
        "input.picture: a digit picture gives",
    ),
    "an unknown picture": (
        set_in(["input", "picture"], {"type": "film"}),
        "input.picture.type: must be one of",
    ),
    "an unknown step": (
        set_in(["input", "steps"], [{"type": "eval"}]),
        r"input.steps\[0\].type: must be one of",
    ),
    "a step for other columns": (
        set_in(["input", "steps"], [{"type": "standardize", "mean": [1.0], "deviation": [1.0]}]),
        "input.steps: standardize needs 2 means and deviations",
    ),
    "a step that divides by zero": (
        set_in(["input", "steps"], [{"type": "standardize", "mean": [1.0, 1.0], "deviation": [1.0, 0.0]}]),
        "input.steps: standardize needs deviations > 0",
    ),
    "another pipeline": (
        set_in(["input", "steps"], [{"type": "scale", "divide_by": 2}]),
        "known answer [1-3] is wrong",
    ),
    "a recipe that is none": (
        set_in(["recipe"], {"dataset": "xor"}),
        "the card is wrong: network: is missing",
    ),
    "wrong known answers": (set_in(["known_answers", "outputs", 2], [0.9, 0.1]), "known answer 2 is wrong: "),
    "a known answer more": (
        set_in(["known_answers", "outputs"], [[0.5, 0.5]] * 5),
        r"have outputs \(5, 2\), the model gives \(4, 2\)",
    ),
    "known answers of other inputs": (
        set_in(["known_answers", "inputs"], [[1, 2, 3]]),
        r"known answers have inputs \(1, 3\)",
    ),
    "no known inputs": (set_in(["known_answers", "inputs"], []), "known answers have inputs"),
    "ragged known inputs": (
        set_in(["known_answers", "inputs"], [[1], [1, 2]]),
        "known answers are not arrays of numbers",
    ),
    "known inputs that are text": (
        set_in(["known_answers", "inputs"], [["a", "b"]]),
        "known answers are not arrays of numbers",
    ),
    "known inputs beyond float32": (
        set_in(["known_answers", "inputs"], [[1e300, 1]] * 4),
        "known answer|finite",
    ),
    "known inputs that are null": (
        set_in(["known_answers", "inputs"], [[None, 1]] * 4),
        "the known answers cannot be replayed: example 0",
    ),
    "any answer taken for right": (
        set_in(["known_answers", "tolerance"], 1),
        "known_answers.tolerance: must be ≤ 0.01",
    ),
    "a tolerance of zero": (
        set_in(["known_answers", "tolerance"], 0),
        "known_answers.tolerance: must be > 0",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_that_is_wrong_is_refused_with_what_is_wrong(xor, take_apart, what):
    change, message = REFUSED[what]
    file = take_apart(to_bytes(xor))
    load(file.bytes())
    change(file)
    with pytest.raises(ArtifactError, match=message):
        load(file.bytes())


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (struct.pack("<Q", 100 << 20), "^the header claims 104,857,600 bytes, more than 4,194,304$"),
        (struct.pack("<Q", 2**64 - 1), "^the header claims"),
        (struct.pack("<Q", 4) + b"{}", "^truncated: the header claims 4 bytes, the file has 10 in all$"),
        (struct.pack("<Q", 4) + b"nope", "^the header is not JSON$"),
        (struct.pack("<Q", 4) + b"\xff\xfe\xfd\xfc", "^the header is not JSON$"),
        (struct.pack("<Q", 4) + b"[{}]", "^the header is not a JSON object$"),
        (struct.pack("<Q", 200_000) + b'{"a":' * 40_000, "^the header is not JSON$"),
        (struct.pack("<Q", 2) + b"{}", "^no card"),
        (b"", "^truncated: 0 bytes"),
        (b"PK\x03\x04", "^truncated: 4 bytes"),
        (b"\x80\x04\x95pickle...", "^the header claims"),
    ],
)
def test_a_file_with_a_wrong_header_is_refused(head, message):
    with pytest.raises(ArtifactError, match=message):
        load(head)


def test_a_file_beyond_all_measure_is_refused(xor, monkeypatch):
    data = to_bytes(xor)
    monkeypatch.setattr(artifact, "MOST_FILE_BYTES", len(data) - 1)
    with pytest.raises(
        ArtifactError, match=rf"^the file has {len(data):,} bytes, more than {len(data) - 1:,}$"
    ):
        from_bytes(data)


def test_any_damaged_weight_is_noticed(xor, take_apart):
    file = take_apart(to_bytes(xor))
    for place in range(len(file.floats())):
        kept = float(file.floats()[place])
        file.floats()[place] = kept + 0.5
        with pytest.raises(ArtifactError, match=r"known answer \d is wrong"):
            load(file.bytes())
        file.floats()[place] = kept
    load(file.bytes())


# Whatever is done to a file, it is right, or it is refused.


def right_or_refused(data):
    try:
        card = load(data).card
    except ArtifactError:
        return
    assert from_json(Card, to_json(card)) == card
    assert card_text(card)
    assert json.dumps(to_json(card), indent=2, allow_nan=False).encode()


@pytest.fixture(scope="module")
def files(models):
    return {name: to_bytes(model) for name, model in models.items()}


@settings(max_examples=400)
@given(st.data())
def test_flipped_bytes_are_refused_or_do_no_harm(files, data):
    file = bytearray(files[data.draw(st.sampled_from(["xor", "line", "showcase"]))])
    for _ in range(data.draw(st.integers(1, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] ^= data.draw(st.integers(1, 255))
    right_or_refused(bytes(file))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data):
    with pytest.raises(ArtifactError):
        load(data)
    with pytest.raises(ArtifactError):
        load(len(data).to_bytes(8, "little") + data)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(value, path=()):
    """All paths into JSON data."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(deeper for key, child in children for deeper in places(child, (*path, key)))]


@pytest.fixture(scope="module")
def places_in_cards(files, take_apart):
    return {name: [path for path in places(take_apart(file).card) if path] for name, file in files.items()}


@settings(max_examples=200)
@given(st.data())
def test_junk_anywhere_in_a_card_is_refused_or_does_no_harm(files, places_in_cards, take_apart, data):
    name = data.draw(st.sampled_from(["xor", "line", "showcase"]))
    file = take_apart(files[name])
    path = data.draw(st.sampled_from(places_in_cards[name]))
    set_in(path, data.draw(junk))(file)
    right_or_refused(file.bytes())


@settings(max_examples=200)
@given(st.data())
def test_junk_anywhere_in_a_header_is_refused_or_does_no_harm(xor, take_apart, data):
    file = take_apart(to_bytes(xor))
    inner = file.header
    path = data.draw(
        st.sampled_from([path for path in places(file.header) if path and path[0] != "__metadata__"])
    )
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = data.draw(junk)
    right_or_refused(file.bytes())


def test_a_variance_below_zero_is_refused_by_name():
    recipe = {
        "dataset": "xor",
        "network": [{"type": "batch_norm"}, {"type": "dense", "units": 1}],
        "loss": "binary_cross_entropy",
        "optimizer": {"type": "adam"},
        "epochs": 1,
    }
    model = describe(run(read_recipe(json.dumps(recipe))))
    model.network.state["0.variance"][1] = -1e-6
    with pytest.raises(ArtifactError, match=r"^tensor 0\.variance holds a variance below zero$"):
        from_bytes(to_bytes(model))
