import dataclasses
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore import predictor as module
from nncore.artifact import Architecture, InputPipeline, Model, activate, describe, to_bytes
from nncore.errors import ArtifactError, InputError
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.network import Network
from nncore.optimizers import Adam
from nncore.predictor import CHUNK, MOST_BUFFERED, Predictor, answers, load, read_model
from nncore.preprocessing import apply_steps
from nncore.recipe import Recipe, run

NAMES = ["xor", "line", "showcase"]
every_model = pytest.mark.parametrize("name", NAMES)
SIZES = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK]


def inputs_for(model, count, seed=0, dtype=np.float32):
    low, high = model.card.input.range or (-2, 2)
    shape = (count, *model.network.input_shape)
    return np.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def reference(model, x):
    """The answers by the forward pass that training uses."""
    prepared = apply_steps(model.card.input.steps, x, np.empty(x.shape, np.float32))
    return activate(model.network.forward(prepared)[0], model.card.output.kind)


@every_model
@pytest.mark.parametrize("count", SIZES)
def test_batches_of_any_size_get_the_answers_of_the_forward_pass(models, name, count):
    x = inputs_for(models[name], count)
    outputs = Predictor(models[name]).predict(x)
    assert outputs.dtype == np.float32
    assert_allclose(outputs, reference(models[name], x), rtol=1e-5, atol=1e-6)


@every_model
@given(data=st.data(), sizes=st.lists(st.integers(0, 3 * CHUNK), min_size=1, max_size=6))
def test_a_row_gets_its_answer_whatever_came_before_and_beside_it(models, name, data, sizes):
    predictor = Predictor(models[name])
    for seed, count in enumerate(sizes):
        x = inputs_for(models[name], count, seed)
        outputs = predictor.predict(x)
        assert len(outputs) == count
        if count:
            row = data.draw(st.integers(0, count - 1))
            alone = predictor.predict(x[row : row + 1])
            assert_allclose(outputs[row : row + 1], alone, rtol=1e-5, atol=1e-6)


@every_model
def test_an_answer_stays_as_it_is_when_another_question_is_asked(models, name):
    predictor = Predictor(models[name])
    first = predictor.predict(inputs_for(models[name], 3))
    kept = first.copy()
    predictor.predict(inputs_for(models[name], 3, seed=1))
    assert_array_equal(first, kept)


@every_model
def test_no_rows_get_no_answers(models, name):
    outputs = Predictor(models[name]).predict(inputs_for(models[name], 0))
    assert outputs.shape == (0, reference(models[name], inputs_for(models[name], 1)).shape[1])
    assert answers(models[name].card, outputs) == []


@every_model
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_numbers_of_any_kind_are_taken(models, name, dtype):
    x = np.abs(inputs_for(models[name], 5, dtype=np.float64)).astype(dtype)
    before = x.copy()
    outputs = Predictor(models[name]).predict(x)
    assert_allclose(outputs, Predictor(models[name]).predict(x.astype(np.float32)), rtol=1e-4, atol=1e-6)
    assert_array_equal(x, before)


# Networks of every kind, not trained, that answer with the raw outputs.

layers = st.one_of(
    st.builds(Dense, st.integers(1, 6), st.booleans()),
    st.builds(Dropout, st.floats(0, 0.9)),
    st.sampled_from([Flatten(), ReLU(), Sigmoid(), Tanh()]),
)


@given(st.lists(layers, max_size=6), st.sampled_from([(3,), (2, 3)]), st.integers(0, 300), st.integers(0, 99))
def test_any_network_answers_as_its_forward_pass_does(line, middle, shape, count, seed):
    network = Network([Flatten(), *middle, Dense(2)], shape)
    network.initialize(np.random.default_rng(seed))
    pipeline = InputPipeline(None, None, ())
    architecture = Architecture(shape, network.layers)
    model = Model(dataclasses.replace(line.card, input=pipeline, architecture=architecture), network)
    x = inputs_for(model, count, seed)
    assert_allclose(Predictor(model).predict(x), network.forward(x)[0], rtol=1e-4, atol=1e-5)


# Frozen, and safe from many threads.


@every_model
def test_a_predictor_does_not_follow_its_network_and_nobody_can_write_to_it(models, name):
    network = models[name].network
    other = Model(models[name].card, Network(network.layers, network.input_shape))
    other.network.parameters.flat[...] = network.parameters.flat
    predictor = Predictor(other)
    before = predictor.predict(inputs_for(other, 4))
    other.network.parameters.flat[...] = 0
    assert_array_equal(predictor.predict(inputs_for(other, 4)), before)
    arrays = [array for _, views, _ in predictor._layers for array in views.values()]
    assert len(arrays) == len(network.parameters)
    assert_array_equal(predictor.network.parameters.flat, network.parameters.flat)
    for array in [*arrays, *predictor.network.parameters.values(), predictor.network.parameters.flat]:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@pytest.fixture
def hasty():
    """Threads take turns every microsecond instead of every five milliseconds."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@every_model
def test_eight_threads_get_the_answers_of_one_bit_for_bit(models, name, hasty):
    predictor = Predictor(models[name])
    batches = [
        inputs_for(models[name], count, seed) for seed, count in enumerate([1, 2, 7, CHUNK, CHUNK + 1])
    ]
    expected = [predictor.predict(x).tobytes() for x in batches]
    wrong, ready = [], threading.Barrier(8)

    def ask(offset):
        ready.wait()
        for i in range(60):
            place = (i + offset) % len(batches)
            if predictor.predict(batches[place]).tobytes() != expected[place]:
                wrong.append(place)

    threads = [threading.Thread(target=ask, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_large_batch_needs_little_more_memory_than_its_answers(showcase):
    predictor = Predictor(showcase)
    x = inputs_for(showcase, 400 * CHUNK)
    whole = len(x) * 12 * 4  # what the widest layer alone would take for all rows at once
    predictor.predict(x[:CHUNK])
    tracemalloc.start()
    outputs = predictor.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The parts, and the whole that they are put together to.
    assert peak < 2 * outputs.nbytes + 200_000 < whole


def test_a_thread_that_asks_for_one_row_at_a_time_stays_small(showcase):
    predictor = Predictor(showcase)
    predictor.predict(inputs_for(showcase, 1))
    small = sum(buffer.nbytes for buffer in predictor._local.buffers)
    predictor.predict(inputs_for(showcase, 2))
    assert sum(buffer.nbytes for buffer in predictor._local.buffers) == CHUNK * small


@pytest.mark.parametrize("shape", [(2,), (1, 3), (1, 2, 1), (0, 3), ()])
def test_inputs_of_another_shape_are_refused_with_both_shapes(xor, shape):
    with pytest.raises(InputError, match=r"^inputs must have shape \(2,\), not \("):
        Predictor(xor).predict(np.zeros(shape, np.float32))


# What a caller is told.


def test_classes_are_answered_with_label_confidence_and_probabilities(xor):
    said = answers(xor.card, np.array([[0.25, 0.75], [1.0, 0.0]], np.float32))
    assert said == [
        {"label": "1", "confidence": 0.75, "probabilities": [0.25, 0.75]},
        {"label": "0", "confidence": 1.0, "probabilities": [1.0, 0.0]},
    ]


def test_a_regression_is_answered_with_its_value_or_values(line):
    assert answers(line.card, np.array([[1.5], [2.0]], np.float32)) == [{"value": 1.5}, {"value": 2.0}]
    assert answers(line.card, np.array([[1.5, 2.0]], np.float32)) == [{"value": [1.5, 2.0]}]


def test_xor_is_answered_with_confidence(xor):
    said = answers(xor.card, Predictor(xor).predict(np.array([[0, 0], [0, 1], [1, 0], [1, 1]])))
    assert [answer["label"] for answer in said] == ["0", "1", "1", "0"]
    assert min(answer["confidence"] for answer in said) > 0.95


# Files.


@every_model
def test_a_file_is_loaded_with_all_its_answers(models, name, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(models[name]))
    x = inputs_for(models[name], 5)
    assert_array_equal(load(path).predict(x), Predictor(models[name]).predict(x))
    assert read_model(path).card == models[name].card


def test_a_file_that_is_wrong_is_refused_by_its_name(xor, take_apart, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(ArtifactError, match=r"model\.safetensors: No such file or directory$"):
        load(path)
    with pytest.raises(ArtifactError, match=r"Is a directory$"):
        load(tmp_path)
    path.write_bytes(to_bytes(xor)[:-1])
    with pytest.raises(ArtifactError, match=r"model\.safetensors: truncated"):
        load(path)
    damaged = take_apart(to_bytes(xor))
    damaged.floats()[...] = 0
    path.write_bytes(damaged.bytes())
    assert read_model(path)
    with pytest.raises(ArtifactError, match="known answer"):
        load(path)


def test_no_more_of_a_file_is_read_than_may_be(xor, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(to_bytes(xor))
    monkeypatch.setattr(module, "MOST_FILE_BYTES", 99)
    with pytest.raises(ArtifactError, match=r"the file has 100 in all$"):
        load(path)


def test_a_wide_network_takes_no_more_memory_for_many_rows_than_is_allowed():
    """A thousand layers of a thousand numbers: at 128 rows they would take half a gigabyte a thread."""
    layers = (Dense(1000), *[ReLU()] * 900, Dense(1))
    recipe = Recipe("line", layers, "mean_squared_error", Adam(), epochs=1, batch_size=256)
    predictor = Predictor(describe(run(recipe)))
    x = np.linspace(-1, 1, 300, dtype=np.float32).reshape(-1, 1)

    tracemalloc.start()
    outputs = predictor.predict(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 4 * MOST_BUFFERED * 1.1
    assert_allclose(outputs, [predictor.predict(row[None])[0] for row in x], rtol=1e-5)
