"""What a layer gave, and how the input moves the answer: against predictions and measured slopes."""

import numpy as np
import pytest

from nncore.convolution import Conv2D
from nncore.ensemble import Ensemble
from nncore.errors import InputError
from nncore.evaluation import rows_at_once
from nncore.explaining import activations, saliency
from nncore.gradcheck import directional_error
from nncore.layers import Dense, Dropout, Flatten, ReLU, Tanh
from nncore.network import Network
from nncore.normalization import BatchNorm
from nncore.pooling import GlobalAveragePooling, MaxPool2D
from nncore.predictor import Predictor
from nncore.preprocessing import Scale, Standardize, apply_steps

CONVOLUTIONAL = (Conv2D(4, 3), BatchNorm(), Tanh(), MaxPool2D(2), Conv2D(3, 2), GlobalAveragePooling())
DENSE = (Dense(5), Tanh(), Dropout(0.5), Dense(3))
NETWORKS = {
    "dense": (DENSE, (4,), "classes"),
    "convolutional": (CONVOLUTIONAL, (8, 8), "classes"),
    "ensemble": ((Ensemble((DENSE, (Dense(3),))),), (4,), "classes"),
    "binary": ((Dense(4), Tanh(), Dense(1)), (3,), "binary"),
    "regression": ((Dense(4), Tanh(), Dense(1)), (3,), "regression"),
    "several values": ((Dense(4), Tanh(), Dense(2)), (3,), "regression"),
}


def network_of(name, dtype=np.float64):
    layers, shape, kind = NETWORKS[name]
    rng = np.random.default_rng(0)
    network = Network(layers, shape, dtype)
    network.flat[...] = rng.uniform(0.1, 1, network.flat.shape) * rng.choice([-1, 1], network.flat.shape)
    for array_name, array in network.arrays.items():
        if array_name.endswith("variance"):
            np.abs(array, out=array)
    return network, shape, kind


def outputs(network, steps, x):
    return network.forward(apply_steps(steps, x, np.empty(x.shape, x.dtype)))[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_saliency_is_the_measured_slope_of_the_answer_by_the_raw_input(name):
    network, shape, kind = network_of(name)
    rng = np.random.default_rng(1)
    steps = [Scale(255.0)]
    if len(shape) == 1:
        steps.append(Standardize((0.5,) * shape[0], tuple(rng.uniform(0.2, 2, shape[0]).tolist())))
    x = rng.uniform(0, 255, (1, *shape))
    y = outputs(network, steps, x)
    classes = {"classes": y.argmax(axis=1), "binary": (y[:, 0] > 0).astype(int), "regression": None}[kind]

    def answer(x):
        y = outputs(network, steps, x)[0]
        if kind == "classes":
            return float(y[classes[0]])
        return float(y.sum()) * (-1 if kind == "binary" and classes[0] == 0 else 1)

    gradient = saliency(network, steps, x, kind, classes)

    assert gradient.shape == x.shape
    for _ in range(3):
        assert directional_error(answer, x, gradient, rng, step=1e-3) < 1e-6


def test_the_logit_of_class_0_of_two_has_the_gradient_of_class_1_turned_round():
    network, shape, kind = network_of("binary")
    x = np.random.default_rng(1).normal(size=(2, *shape))

    zero, one = (saliency(network, [], x, kind, np.full(2, number)) for number in (0, 1))

    assert np.array_equal(zero, -one)
    assert np.abs(one).max() > 0


@pytest.mark.parametrize("name", ["dense", "convolutional", "ensemble"])
def test_each_row_has_its_own_saliency_however_many_there_are(name, monkeypatch):
    network, shape, kind = network_of(name, np.float32)
    x = np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)
    classes = np.array([0, 1, 2, 1, 0])

    together = saliency(network, [], x, kind, classes)
    monkeypatch.setattr("nncore.evaluation.MOST_NUMBERS", 2 * network.numbers)
    assert rows_at_once(network.numbers) == 2
    in_blocks = saliency(network, [], x, kind, classes)
    alone = [saliency(network, [], x[i : i + 1], kind, classes[i : i + 1])[0] for i in range(5)]

    assert together.dtype == np.float32
    assert np.allclose(together, in_blocks, atol=1e-6)
    assert np.allclose(together, alone, atol=1e-6)


def test_activations_are_what_each_layer_gives(showcase):
    predictor = Predictor(showcase)
    steps = predictor.card.input.steps
    x = np.random.default_rng(0).integers(0, 256, (7, 2, 3)).astype(np.uint8)
    flat, dense, relu, logits = activations(predictor.network, steps, x, [0, 1, 2, 8])

    prepared = apply_steps(steps, x, np.empty(x.shape, np.float32))
    assert np.array_equal(flat, prepared.reshape(7, 6))
    arrays = predictor.network.arrays
    assert np.allclose(dense, flat @ arrays["1.weight"] + arrays["1.bias"], atol=1e-5)
    assert np.array_equal(relu, np.maximum(dense, 0))
    exponentials = np.exp(logits.astype(float))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    assert np.allclose(probabilities, predictor.predict(x), atol=1e-5)
    assert {array.dtype for array in (flat, dense, relu, logits)} == {np.dtype(np.float32)}


def test_activations_come_in_the_order_they_are_asked_for():
    network, shape, _ = network_of("convolutional", np.float32)
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)

    last, first = activations(network, [], x, [5, 0])

    assert (first.shape, last.shape) == ((3, 6, 6, 4), (3, 3))
    assert np.array_equal(activations(network, [], x, [0])[0], first)


def test_numbers_that_overflow_are_refused_with_their_place():
    network = Network((Flatten(), Dense(2), ReLU(), Dense(1)), (2,))
    network.flat[:-3] = 1e20
    x = np.array([[0, 0], [1, 1], [3e38, 3e38]], np.float32)

    with pytest.raises(InputError, match="example 1 has numbers so large"):
        activations(network, [], x, [3])
    with pytest.raises(InputError, match="example 1 has numbers so large"):
        saliency(network, [], x, "regression")
    assert np.isfinite(activations(network, [], x[:2], [1])[0]).all()
