import dataclasses
import itertools
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore import predictor as module
from nncore.artifact import Architecture, InputPipeline, KnownAnswers, Model, activate, to_bytes
from nncore.convolution import Conv2D
from nncore.ensemble import Ensemble
from nncore.errors import ArtifactError, InputError
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.predictor import Predictor, answers, load, read_model
from nncore.preprocessing import ResizedPicture, Scale, apply_steps
from nncore.program import BUFFERED, MOST_BUFFERED
from nncore.program import MOST_ROWS as CHUNK

NAMES = ["xor", "line", "showcase", "pictures", "ensemble"]
every_model = pytest.mark.parametrize("name", NAMES)
SIZES = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 10 * CHUNK]

CONVOLUTIONS = (
    *(Conv2D(4, 2, padding="same", bias=False), BatchNorm(), ReLU()),
    *(Conv2D(5, 2, padding="same"), MaxPool2D(2, 1), ReLU(), BatchNorm(), Flatten()),
    *(Dense(6, bias=False), BatchNorm(), Tanh(), Dropout(0.2), Dense(3)),
)


def drawn(model, layers):
    """Return a model like another but with these layers, their numbers drawn, statistics included."""
    network = Network(layers, model.network.input_shape)
    rng = np.random.default_rng(0)
    for name, array in network.arrays.items():
        array[...] = rng.uniform(0.5, 2, array.shape)
        if not name.endswith("variance"):
            array *= rng.choice([-1, 1], array.shape)
    architecture = Architecture(network.input_shape, network.layers)
    # What the training data of another network looked like says nothing of this one's.
    card = dataclasses.replace(model.card, architecture=architecture, reference=None)
    x = inputs_for(model, 3)
    known = KnownAnswers(x.tolist(), reference(Model(card, network), x).tolist(), 1e-4)
    return Model(dataclasses.replace(card, known_answers=known), network)


@pytest.fixture(scope="module")
def pictures(showcase):
    """Every kind of layer that looks at pictures: some BatchNorm can be folded away, and one cannot."""
    return drawn(showcase, CONVOLUTIONS)


@pytest.fixture(scope="module")
def ensemble(showcase):
    """Members that end and begin with each kind of layer there is; what they are asked must stay as it is."""
    members = (
        CONVOLUTIONS,
        (Flatten(), Sigmoid(), Dense(3), Tanh()),
        (Tanh(), Flatten(), Dense(4, bias=False), BatchNorm(), Dense(3), Dropout(0.1)),
        (ReLU(), Dropout(0.1), MaxPool2D((2, 1)), Flatten(), Dense(3)),
        (GlobalAveragePooling(), BatchNorm()),
        (MaxPool2D((2, 4)), Flatten()),
    )
    colourful = dataclasses.replace(showcase.card.input, picture=ResizedPicture(2, 4, 3))
    card, shape = dataclasses.replace(showcase.card, input=colourful), (2, 4, 3)
    return drawn(Model(card, Network([Flatten()], shape)), (BatchNorm(), Ensemble(members), Dense(3)))


@pytest.fixture(scope="module")
def models(models, pictures, ensemble):
    return models | {"pictures": pictures, "ensemble": ensemble}


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
    st.sampled_from([Flatten(), ReLU(), Sigmoid(), Tanh(), BatchNorm()]),
)
members = st.lists(layers, max_size=4).map(lambda row: (*row, Dense(3)))
ensembles = st.builds(Ensemble, st.lists(members, min_size=2, max_size=3).map(tuple))


@given(
    st.lists(layers | ensembles, max_size=6),
    st.sampled_from([(3,), (2, 3)]),
    st.integers(0, 300),
    st.integers(0, 99),
)
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
    other.network.flat[...] = network.flat
    predictor = Predictor(other)
    before = predictor.predict(inputs_for(other, 4))
    other.network.flat[...] = 0
    assert_array_equal(predictor.predict(inputs_for(other, 4)), before)
    assert_array_equal(predictor.network.flat, network.flat)
    for mine in (predictor.network, predictor.served):
        for array in [mine.flat, *mine.arrays.values()]:
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
    assert peak < outputs.nbytes + 20_000 < whole


def test_a_thread_that_asks_for_one_row_at_a_time_stays_small(showcase):
    predictor = Predictor(showcase)
    predictor.predict(inputs_for(showcase, 1))
    assert predictor.workspace(1).rows == 1
    predictor.predict(inputs_for(showcase, 2))
    assert predictor.workspace(1).rows == CHUNK


# For operands of different shapes NumPy takes room for 8,192 numbers of each, however many there are.
NUMPYS_OWN = 2 * 4 * 8192


@pytest.mark.parametrize("count", [1, 20, 500])
@pytest.mark.parametrize(
    "layers",
    [
        [Flatten(), Dense(200), ReLU(), Dropout(0.5), Dense(90, bias=False), BatchNorm(), Tanh(), Dense(3)],
        [BatchNorm(), Conv2D(6, 5), MaxPool2D(), BatchNorm(), Conv2D(9, 3), ReLU(), Flatten(), Dense(3)],
    ],
)
def test_a_warm_call_allocates_next_to_nothing_but_its_answer(showcase, layers, count):
    card = dataclasses.replace(showcase.card, input=InputPipeline((0, 255), None, (Scale(255.0),)))
    model = drawn(Model(card, Network(layers, (28, 28, 1))), layers)
    predictor, x = Predictor(model), inputs_for(model, count)
    predictor.predict(x)
    tracemalloc.start()
    outputs = predictor.predict(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < outputs.nbytes + NUMPYS_OWN + 6_000


# What is served is not what was trained.


def test_batch_norm_is_folded_away_and_the_network_is_still_what_was_trained(pictures):
    predictor = Predictor(pictures)
    assert sum(isinstance(layer, BatchNorm) for layer in predictor.served.layers) == 1
    assert predictor.network.layers == CONVOLUTIONS
    assert_array_equal(predictor.network.flat, pictures.network.flat)
    assert not any(isinstance(stage.layer, Dropout) for stage in predictor.program.stages)


def test_where_nothing_is_folded_there_are_no_second_weights(showcase):
    predictor = Predictor(showcase)
    assert predictor.served is predictor.network
    for stage in predictor.program.stages:
        for array in stage.views.values():
            assert np.shares_memory(array, predictor.network.flat)


def test_threads_share_no_buffers(pictures):
    predictor = Predictor(pictures)
    spaces = []
    threads = [threading.Thread(target=lambda: spaces.append(predictor.workspace(2))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rooms = [[*space.buffers, space.scratch] for space in spaces]
    for mine, theirs in itertools.combinations(rooms, 2):
        assert not any(np.shares_memory(a, b) for a in mine for b in theirs)


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


def test_a_wide_network_takes_no_more_memory_for_many_rows_than_is_allowed(line):
    """Two layers of a hundred thousand numbers: at 128 rows they would take a hundred megabytes a thread."""
    wide = drawn(line, (Dense(100_000), Tanh(), *[Dense(30)] * 2, Dense(1)))
    predictor = Predictor(wide)
    x = inputs_for(wide, 300)

    tracemalloc.start()
    outputs = predictor.predict(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    weights = predictor.network.flat.size
    assert BUFFERED < weights < MOST_BUFFERED
    assert peak < 4 * weights * 1.1
    assert_allclose(outputs, [predictor.predict(row[None])[0] for row in x], rtol=1e-3, atol=1e-2)
