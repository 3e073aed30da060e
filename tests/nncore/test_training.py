import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from nncore.augmentation import Augmentation
from nncore.datasets import Split, hold_out
from nncore.errors import TrainingError
from nncore.evaluation import MOST_ROWS, evaluate, forward_all
from nncore.layers import Dense, Dropout, Flatten, ReLU, Sigmoid, Tanh
from nncore.losses import LOSSES, Loss
from nncore.network import Network
from nncore.optimizers import SGD, Adam
from nncore.randomness import stream
from nncore.schedules import Constant, OneCycle
from nncore.training import Callback, EarlyStopping, fit

MSE, BCE, SOFTMAX = (
    LOSSES[name] for name in ("mean_squared_error", "binary_cross_entropy", "softmax_cross_entropy")
)
seeds = st.integers(0, 999)


def build(*layers, inputs=1, seed=0, dtype=np.float32):
    network = Network(layers, (inputs,), dtype)
    network.initialize(np.random.default_rng(seed))
    return network


def regression(count, columns, seed=0, noise=0.1, dtype=np.float32):
    """Rows of a linear function with noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((count, columns))
    y = (
        x @ rng.standard_normal((columns, 1))
        + rng.standard_normal()
        + noise * rng.standard_normal((count, 1))
    )
    return Split(x.astype(dtype), y.astype(dtype))


def blobs(count, classes, seed=0):
    """Points around the corners of a polygon."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    angle = 2 * np.pi * labels / classes
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.2 * rng.standard_normal((count, 2))
    return Split(x.astype(np.float32), labels)


class Recorder(Callback):
    """Keeps the events of a run and the weights after each, and interrupts it at an event's nth time."""

    def __init__(self, network, interrupt=None, times=1):
        self.network, self.interrupt, self.times = network, interrupt, times
        self.events, self.batch_weights, self.epoch_weights = [], [network.parameters.flat.copy()], []

    def on_batch(self, batch, batches, loss):
        self.batch_weights.append(self.network.parameters.flat.copy())
        self.note(("batch", batch, batches))

    def on_epoch(self, epoch):
        self.epoch_weights.append(self.network.parameters.flat.copy())
        self.note(("epoch", epoch.number))

    def note(self, event):
        self.events.append(event)
        if event == self.interrupt and self.events.count(event) == self.times:
            raise KeyboardInterrupt


class BatchSpy(Callback):
    """A loss that remembers the batches that were trained on."""

    def __init__(self, loss=MSE):
        self.inner, self.batches = loss, []
        self.loss = Loss(self.compute, loss.output)

    def compute(self, outputs, targets):
        self.last = outputs.copy(), targets.copy()
        return self.inner.compute(outputs, targets)

    def on_batch(self, batch, batches, loss):
        self.batches.append(self.last)


# What is learned: compared with what algebra says.


@settings(max_examples=10)
@given(st.floats(-5, 5), seeds)
def test_a_neuron_without_bias_learns_the_slope_of_least_squares(slope, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 2, (40, 1))
    y = slope * x + rng.normal(0, 0.1, x.shape)
    network = build(Dense(1, bias=False), dtype=np.float64)
    fit(network, Split(x, y), loss=MSE, optimizer=SGD(0.2), epochs=60, batch_size=40)
    assert network.parameters.flat[0] == pytest.approx((x * y).sum() / (x * x).sum(), abs=1e-9)


@settings(max_examples=10)
@given(st.integers(1, 4), seeds)
def test_a_neuron_with_bias_learns_what_least_squares_gives(columns, seed):
    data = regression(60, columns, seed, dtype=np.float64)
    network = build(Dense(1), inputs=columns, dtype=np.float64)
    fit(network, data, loss=MSE, optimizer=SGD(0.1, momentum=0.5), epochs=600, batch_size=60)
    table = np.hstack([data.inputs, np.ones((60, 1))])
    expected = np.linalg.lstsq(table, data.targets)[0]
    learned = np.vstack([network.parameters["0.weight"], network.parameters["0.bias"]])
    assert_allclose(learned, expected, atol=1e-6)
    assert evaluate(network, data, MSE)["r2"] > 0.9


@settings(max_examples=5)
@given(st.floats(0.01, 2), seeds)
def test_l2_is_ridge_regression_that_leaves_the_bias_alone(l2, seed):
    data = regression(50, 3, seed, dtype=np.float64)
    network = build(Dense(1), inputs=3, dtype=np.float64)
    history = fit(network, data, loss=MSE, optimizer=SGD(0.1, momentum=0.5), epochs=400, batch_size=50, l2=l2)
    # Without a penalty on the bias the solution is that of the centred data.
    x, y = data.inputs - data.inputs.mean(axis=0), data.targets - data.targets.mean()
    weight = np.linalg.solve(x.T @ x + 50 * l2 / 2 * np.eye(3), x.T @ y)
    assert_allclose(network.parameters["0.weight"], weight, atol=1e-6)
    bias = data.targets.mean() - data.inputs.mean(axis=0) @ weight
    assert_allclose(network.parameters["0.bias"], bias, atol=1e-6)
    # The penalty is not part of the loss that is reported.
    assert history.epochs[-1].loss == pytest.approx(evaluate(network, data, MSE)["loss"], abs=1e-6)


def test_logistic_regression_finds_the_most_likely_weights():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((200, 2))
    labels = (rng.random(200) < 1 / (1 + np.exp(-(x @ [1.5, -1] + 0.5)))).astype(int)
    network = build(Dense(1), inputs=2, dtype=np.float64)
    fit(network, Split(x, labels), loss=BCE, optimizer=SGD(0.5, momentum=0.9), epochs=300, batch_size=200)
    # Newton's method on the likelihood.
    table, w = np.hstack([x, np.ones((200, 1))]), np.zeros(3)
    for _ in range(20):
        p = 1 / (1 + np.exp(-table @ w))
        w += np.linalg.solve(table.T @ (table * (p * (1 - p))[:, None]), table.T @ (labels - p))
    assert_allclose(network.parameters.flat, w, atol=1e-6)


@pytest.mark.parametrize(
    ("loss", "units", "activation"), [(BCE, 1, Tanh()), (SOFTMAX, 2, Sigmoid()), (SOFTMAX, 2, ReLU())]
)
def test_an_mlp_learns_xor(loss, units, activation):
    rows = Split(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0]))
    network = build(Dense(16), activation, Dense(units), inputs=2, seed=1)
    history = fit(network, rows, loss=loss, optimizer=Adam(0.05), epochs=300, validation=rows)
    figures = evaluate(network, rows, loss)
    assert figures["accuracy"] == 1
    assert figures["loss"] < 0.05
    assert history.epochs[-1].validation == figures


def test_several_classes_are_told_apart_with_dropout():
    train, test = blobs(600, 5), blobs(200, 5, seed=1)
    network = build(Dense(32), ReLU(), Dropout(0.2), Dense(5), inputs=2)
    fit(network, train, loss=SOFTMAX, optimizer=Adam(0.01), epochs=15)
    assert evaluate(network, test, SOFTMAX)["accuracy"] > 0.95


# Optimizers inside a run, against a textbook loop on the whole batch.


def linear_gradients(w, b, data):
    error = data.inputs @ w + b - data.targets
    return 2 / error.size * data.inputs.T @ error, 2 / error.size * error.sum(axis=0)


def test_adamw_shrinks_the_weights_beside_the_gradient_and_no_bias():
    data = regression(30, 3, dtype=np.float64)
    network = build(Dense(1), inputs=3, dtype=np.float64)
    network.parameters["0.bias"][...] = 2
    w, b = network.parameters["0.weight"].copy(), network.parameters["0.bias"].copy()
    moments = [[np.zeros_like(p), np.zeros_like(p)] for p in (w, b)]
    optimizer = Adam(0.1, beta1=0.8, beta2=0.95, weight_decay=0.3)
    fit(network, data, loss=MSE, optimizer=optimizer, epochs=7, batch_size=30)
    for t in range(1, 8):
        gradients = linear_gradients(w, b, data)
        for p, g, m in zip((w, b), gradients, moments, strict=True):
            m[0] = 0.8 * m[0] + 0.2 * g
            m[1] = 0.95 * m[1] + 0.05 * g * g
            decay = 0.3 * p if p is w else 0
            p -= 0.1 * (m[0] / (1 - 0.8**t) / (np.sqrt(m[1] / (1 - 0.95**t)) + 1e-8) + decay)
    assert_allclose(network.parameters["0.weight"], w, rtol=1e-9)
    assert_allclose(network.parameters["0.bias"], b, rtol=1e-9)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_with_weight_decay_is_the_textbook_loop(nesterov):
    data = regression(30, 2, dtype=np.float64)
    network = build(Dense(1), inputs=2, dtype=np.float64)
    w, b = network.parameters["0.weight"].copy(), network.parameters["0.bias"].copy()
    velocities = [np.zeros_like(w), np.zeros_like(b)]
    optimizer = SGD(0.05, momentum=0.9, nesterov=nesterov, weight_decay=0.5)
    fit(network, data, loss=MSE, optimizer=optimizer, epochs=6, batch_size=30)
    for _ in range(6):
        gradients = linear_gradients(w, b, data)
        for p, g, v in zip((w, b), gradients, velocities, strict=True):
            v[...] = 0.9 * v + g
            decay = 0.5 * p if p is w else 0
            p -= 0.05 * ((g + 0.9 * v if nesterov else v) + decay)
    assert_allclose(network.parameters["0.weight"], w, rtol=1e-9)
    assert_allclose(network.parameters["0.bias"], b, rtol=1e-9)


@dataclasses.dataclass(frozen=True)
class NotingOptimizer:
    """Moves nothing and keeps the count and the learning rate of every step."""

    learning_rate: float = 0.5
    weight_decay: float = 0.0
    steps: list = dataclasses.field(default_factory=list)

    def start(self, weights):
        return {}

    def step(self, weights, gradient, state, *, count, learning_rate):
        self.steps.append((count, learning_rate, gradient.copy()))


def test_the_schedule_moves_with_every_batch():
    optimizer, schedule = NotingOptimizer(), OneCycle()
    network = build(Dense(1))
    history = fit(
        network, regression(10, 1), loss=MSE, optimizer=optimizer, schedule=schedule, epochs=3, batch_size=3
    )
    assert [count for count, _, _ in optimizer.steps] == list(range(1, 13))
    moments = [epoch + batch / 4 for epoch in range(3) for batch in range(4)]
    assert [rate for _, rate, _ in optimizer.steps] == [0.5 * schedule.factor(m, 3) for m in moments]
    assert [epoch.learning_rate for epoch in history.epochs] == [
        0.5 * schedule.factor(m, 3) for m in range(3)
    ]


@settings(max_examples=20)
@given(st.floats(1e-3, 10), seeds)
def test_clipping_bounds_the_norm_and_keeps_the_direction(clip_norm, seed):
    data = regression(20, 3, seed)
    gradients = []
    for clip in (None, clip_norm):
        optimizer = NotingOptimizer()
        network = build(Dense(4), Tanh(), Dense(1), inputs=3, seed=seed)
        fit(network, data, loss=MSE, optimizer=optimizer, epochs=1, batch_size=20, clip_norm=clip)
        gradients.append(optimizer.steps[0][2])
    free, clipped = gradients
    norm = np.linalg.norm(free)
    assert np.linalg.norm(clipped) <= clip_norm * (1 + 1e-5)
    assert_allclose(clipped, free * min(1, clip_norm / norm), rtol=1e-4)


# Batches.


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 50), seeds)
def test_every_epoch_goes_through_every_row_once_each_with_its_own_target(count, batch_size, seed):
    # Inputs that are their own targets through a weight that does not move.
    x = np.arange(1, count + 1, dtype=np.float32)[:, None]
    network = build(Dense(1, bias=False))
    network.parameters.flat[...] = 1
    spy = BatchSpy()
    fit(
        network,
        Split(x, x),
        loss=spy.loss,
        optimizer=NotingOptimizer(),
        epochs=2,
        batch_size=batch_size,
        seed=seed,
        callbacks=[spy],
    )
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    assert [len(targets) for _, targets in spy.batches] == sizes * 2
    for outputs, targets in spy.batches:
        assert_array_equal(outputs, targets)
    for epoch in (spy.batches[: len(sizes)], spy.batches[len(sizes) :]):
        assert_array_equal(np.sort(np.concatenate([targets for _, targets in epoch]), axis=0), x)


def test_rows_are_shuffled_one_by_one_and_anew_for_each_epoch():
    x = np.arange(100, dtype=np.float32)[:, None]
    spy = BatchSpy()
    fit(build(Dense(1)), Split(x, x), loss=spy.loss, optimizer=NotingOptimizer(), epochs=2, callbacks=[spy])
    order = np.concatenate([targets[:, 0] for _, targets in spy.batches])
    first, second = order[:100], order[100:]
    assert not np.array_equal(first, second)
    # Neighbours in the data are not neighbours in a batch, as they would be if batch starts were shuffled.
    assert np.mean(np.abs(np.diff(first)) == 1) < 0.2


def test_the_data_are_not_written_to():
    data = blobs(50, 3)
    for array in (data.inputs, data.targets):
        array.flags.writeable = False
    network = build(Flatten(), Dense(4), ReLU(), Dropout(0.5), Dense(3), inputs=2)
    fit(network, data, loss=SOFTMAX, optimizer=Adam(), epochs=2, validation=0.2)
    assert network.parameters.flat.dtype == np.float32


def test_the_loss_of_an_epoch_weighs_a_short_batch_by_its_rows():
    data = regression(10, 2)
    network = build(Dense(1), inputs=2)
    history = fit(network, data, loss=MSE, optimizer=NotingOptimizer(), epochs=1, batch_size=4)
    assert history.epochs[0].loss == pytest.approx(evaluate(network, data, MSE)["loss"], rel=1e-5)


# Validation.


def test_given_validation_data_are_measured_after_every_epoch_and_never_trained_on():
    train, validation = regression(30, 1), regression(12, 1, seed=9)
    network = build(Dense(1))
    spy = BatchSpy()
    history = fit(
        network,
        train,
        loss=spy.loss,
        optimizer=SGD(0.1),
        epochs=3,
        batch_size=8,
        validation=validation,
        callbacks=[spy],
    )
    seen = {t for _, targets in spy.batches for t in targets[:, 0].tolist()}
    assert seen == set(train.targets[:, 0].tolist())
    assert history.epochs[-1].validation == evaluate(network, validation, MSE)
    # As many training rows as validation rows, so that the two can be compared.
    sample = Split(train.inputs[:12], train.targets[:12])
    assert history.epochs[-1].train == evaluate(network, sample, MSE)


def test_a_share_is_held_out_by_the_data_and_not_by_the_seed():
    data = regression(40, 1)
    rest, held = hold_out(data, 0.25)
    for seed in (1, 2):
        spy = BatchSpy()
        network = build(Dense(1))
        history = fit(
            network,
            data,
            loss=spy.loss,
            optimizer=SGD(0.1),
            epochs=1,
            seed=seed,
            validation=0.25,
            callbacks=[spy],
        )
        seen = {t for _, targets in spy.batches for t in targets[:, 0].tolist()}
        assert seen == set(rest.targets[:, 0].tolist())
        assert history.epochs[0].validation == evaluate(network, held, MSE)


def test_without_validation_there_are_no_figures_of_it():
    history = fit(build(Dense(1)), regression(9, 1), loss=MSE, optimizer=SGD(0.1), epochs=2)
    assert [(epoch.train, epoch.validation) for epoch in history.epochs] == [({}, {})] * 2


def test_evaluate_is_the_same_a_thousand_rows_at_a_time():
    data = blobs(2 * MOST_ROWS + 3, 3)
    network = build(Dense(8), Tanh(), Dropout(0.5), Dense(3), inputs=2)
    outputs, _ = network.forward(data.inputs)
    assert_allclose(forward_all(network, data.inputs), outputs, rtol=1e-4, atol=1e-5)
    figures = evaluate(network, data, SOFTMAX)
    assert figures["loss"] == pytest.approx(SOFTMAX.compute(outputs, data.targets)[0], rel=1e-5)
    assert figures["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == data.targets), abs=1e-3)


# Early stopping. The training rows pull the slope from 0 to 2, past what the validation rows ask for.

PAST = {"loss": MSE, "optimizer": SGD(0.02), "epochs": 60, "batch_size": 8}


def pulled(asked):
    x = np.linspace(0.5, 1.5, 8, dtype=np.float32)[:, None]
    network = build(Dense(1, bias=False))
    network.parameters.flat[...] = 0
    return network, Split(x, 2 * x), Split(x, np.float32(asked) * x)


@pytest.mark.parametrize("monitor", ["loss", "r2"])
@pytest.mark.parametrize("patience", [1, 5])
def test_early_stopping_ends_the_run_and_restores_the_best_weights_exactly(monitor, patience):
    network, train, validation = pulled(asked=1)
    recorder = Recorder(network)
    rule = EarlyStopping(patience, monitor)
    history = fit(network, train, validation=validation, early_stopping=rule, callbacks=[recorder], **PAST)
    scores = [epoch.validation[monitor] for epoch in history.epochs]
    best = int(np.argmin(scores) if monitor == "loss" else np.argmax(scores)) + 1
    assert history.ended == "early"
    assert 1 < best < 60 - patience
    assert (history.kept_epoch, len(history.epochs)) == (best, best + patience)
    assert network.parameters.flat.tobytes() == recorder.epoch_weights[best - 1].tobytes()
    assert network.parameters.flat.tobytes() != recorder.epoch_weights[-1].tobytes()


def test_a_run_that_was_not_stopped_also_ends_with_the_best_weights():
    network, train, validation = pulled(asked=1)
    recorder = Recorder(network)
    rule = EarlyStopping(patience=1000)
    history = fit(network, train, validation=validation, early_stopping=rule, callbacks=[recorder], **PAST)
    assert (history.ended, len(history.epochs)) == ("completed", 60)
    assert history.kept_epoch < 60
    assert network.parameters.flat.tobytes() == recorder.epoch_weights[history.kept_epoch - 1].tobytes()


def test_without_early_stopping_the_last_weights_are_kept():
    network, train, validation = pulled(asked=1)
    recorder = Recorder(network)
    history = fit(network, train, validation=validation, callbacks=[recorder], **PAST)
    assert (history.ended, history.kept_epoch) == ("completed", 60)
    assert network.parameters.flat.tobytes() == recorder.epoch_weights[-1].tobytes()


def test_less_than_the_minimum_improvement_does_not_count():
    network, train, validation = pulled(asked=2)
    rule = EarlyStopping(patience=3, minimum_improvement=0.1)
    history = fit(network, train, validation=validation, early_stopping=rule, **PAST)
    losses = [epoch.validation["loss"] for epoch in history.epochs]
    best, expected = losses[0], 1
    for number, loss in enumerate(losses, start=1):
        if loss < best - 0.1:
            best, expected = loss, number
    assert history.kept_epoch == expected < 60
    assert len(history.epochs) == expected + 3


def test_accuracy_that_stays_keeps_the_first_epoch_that_reached_it():
    data = blobs(90, 3)
    network = build(Dense(3), inputs=2)
    history = fit(
        network,
        data,
        loss=SOFTMAX,
        optimizer=SGD(0.5),
        epochs=50,
        validation=data,
        early_stopping=EarlyStopping(4, "accuracy"),
    )
    scores = [epoch.validation["accuracy"] for epoch in history.epochs]
    assert history.ended == "early"
    assert history.kept_epoch == int(np.argmax(scores)) + 1


def test_early_stopping_without_validation_data_is_refused():
    with pytest.raises(TrainingError, match="give some, or a share to hold out"):
        fit(build(Dense(1)), regression(9, 1), loss=MSE, optimizer=SGD(0.1), early_stopping=EarlyStopping(1))


# Callbacks and Ctrl-C.


def test_callbacks_hear_every_batch_and_then_the_epoch_each_in_their_order():
    network = build(Dense(1))
    first, second = Recorder(network), Recorder(network)
    heard = []
    first.note = lambda event: heard.append(("first", *event))
    second.note = lambda event: heard.append(("second", *event))
    fit(
        network,
        regression(5, 1),
        loss=MSE,
        optimizer=SGD(0.1),
        epochs=2,
        batch_size=2,
        callbacks=[first, second],
    )
    epoch = [("batch", 1, 3), ("batch", 2, 3), ("batch", 3, 3)]
    expected = [*epoch, ("epoch", 1), *epoch, ("epoch", 2)]
    assert heard == [(who, *event) for event in expected for who in ("first", "second")]


class ThereAndBack:
    """Down for two epochs, then up again."""

    def factor(self, epoch, epochs):
        return 1.0 if epoch < 2 else -1.0


@pytest.mark.parametrize("validation", [None, 0.25])
@pytest.mark.parametrize(
    ("event", "times", "epochs"), [(("epoch", 3), 1, 3), (("batch", 2, 4), 5, 4), (("batch", 1, 4), 2, 1)]
)
def test_ctrl_c_keeps_the_best_weights_so_far(event, times, epochs, validation):
    network = build(Dense(1), inputs=2)
    recorder = Recorder(network, event, times)
    history = fit(
        network,
        regression(32 if validation else 24, 2),
        loss=MSE,
        optimizer=SGD(0.05),
        schedule=ThereAndBack(),
        epochs=50,
        batch_size=6,
        validation=validation,
        callbacks=[recorder],
    )
    assert history.ended == "interrupted"
    assert len(history.epochs) == epochs
    losses = [epoch.validation["loss"] if validation else epoch.loss for epoch in history.epochs]
    assert history.kept_epoch == int(np.argmin(losses)) + 1 <= (2 if validation else 3)
    assert network.parameters.flat.tobytes() == recorder.epoch_weights[history.kept_epoch - 1].tobytes()
    if history.kept_epoch < epochs or event[0] == "batch":
        assert network.parameters.flat.tobytes() != recorder.batch_weights[-1].tobytes()


def test_ctrl_c_before_the_first_epoch_is_over_has_nothing_to_keep():
    network = build(Dense(1))
    recorder = Recorder(network, ("batch", 2, 2))
    with pytest.raises(KeyboardInterrupt):
        fit(network, regression(4, 1), loss=MSE, optimizer=SGD(0.1), batch_size=2, callbacks=[recorder])


# The same again.


def trained_bytes(seed):
    network = build(Dense(8), ReLU(), Dropout(0.3), Dense(3), inputs=2)
    fit(network, blobs(100, 3), loss=SOFTMAX, optimizer=Adam(0.01), epochs=3, seed=seed, validation=0.2)
    return network.parameters.flat.tobytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others():
    assert trained_bytes(1) == trained_bytes(1)
    assert trained_bytes(1) != trained_bytes(2)


def test_one_more_draw_of_dropout_does_not_move_the_shuffling():
    orders = []
    for layers in ([Dense(3)], [Dense(3), Dropout(0.5)]):
        spy = BatchSpy(SOFTMAX)
        fit(
            build(*layers, inputs=2),
            blobs(50, 3),
            loss=spy.loss,
            optimizer=SGD(0.1),
            epochs=2,
            batch_size=7,
            callbacks=[spy],
        )
        orders.append([targets.tolist() for _, targets in spy.batches])
    assert orders[0] == orders[1]


# What goes wrong says where and why.


def failing(data, network=None, loss=MSE, rate=0.01, epochs=20, **more):
    network = network or build(Dense(1), inputs=data.inputs.shape[1])
    with pytest.raises(TrainingError) as caught:
        fit(network, data, loss=loss, optimizer=SGD(rate), epochs=epochs, batch_size=4, seed=5, **more)
    return str(caught.value)


def batch_of(row, count):
    """The batch of the first epoch that a row of the data is in."""
    return stream(5, "shuffle").permutation(count).tolist().index(row) // 4 + 1


def with_value(data, row, value, where):
    array = getattr(data, where).copy()
    array[row] = value
    return dataclasses.replace(data, **{where: array})


def test_a_learning_rate_that_is_too_large_is_named_with_a_better_one():
    message = failing(regression(20, 1), rate=100, epochs=50)
    place = r"the loss \((inf|nan)\) is not finite in epoch \d+, batch [1-5]: "
    assert re.fullmatch(place + "the learning rate 100 is likely too large, try 10 or set clip_norm", message)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 7, 19])
def test_an_input_that_is_not_finite_is_found_in_its_batch(row, value):
    message = failing(with_value(regression(20, 1), row, value, "inputs"))
    place = f"in epoch 1, batch {batch_of(row, 20)}: the batch's inputs hold NaN or infinity"
    assert place in message


def test_an_infinite_input_is_found_also_where_a_tanh_hides_it():
    network = build(Dense(3), Tanh(), Dense(1))
    message = failing(with_value(regression(20, 1), 0, math.inf, "inputs"), network)
    assert "inputs hold NaN or infinity" in message


@pytest.mark.parametrize("row", [0, 7, 19])
def test_a_target_that_is_not_finite_is_found_in_its_batch(row):
    message = failing(with_value(regression(20, 1), row, math.nan, "targets"))
    assert f"in epoch 1, batch {batch_of(row, 20)}: the targets hold NaN or infinity" in message


def test_inputs_that_are_not_scaled_are_named_as_the_cause():
    data = regression(20, 1)
    message = failing(
        dataclasses.replace(data, inputs=(data.inputs * 1000).clip(-2000, 2000)), rate=1, epochs=50
    )
    assert re.fullmatch(r".*: the inputs reach \d+, so scale or standardize them first", message)


def test_weights_that_are_no_longer_finite_are_found_at_the_end_of_the_epoch():
    data = with_value(regression(4, 1), slice(None), 30.0, "targets")
    message = failing(data, rate=1e38, epochs=1)
    assert message.startswith("a weight is not finite in epoch 1, batch 1: the learning rate 1e+38")


@pytest.mark.parametrize("early_stopping", [None, EarlyStopping(1)])
def test_validation_data_that_are_not_finite_end_the_run(early_stopping):
    data = regression(20, 1)
    message = failing(data, validation=with_value(data, 3, math.nan, "inputs"), early_stopping=early_stopping)
    assert re.fullmatch(
        r"the validation loss \(nan\) is not finite after epoch 1: the validation data hold .*", message
    )


def test_the_learning_rate_that_is_named_is_the_one_of_that_moment():
    message = failing(regression(20, 1), rate=100, epochs=50, schedule=OneCycle(start=1, warmup=0.5))
    assert "the learning rate 100 is" in message
    assert "100 is" in failing(regression(20, 1), rate=100, epochs=50, schedule=Constant())


# Averages of the weights, smoothed labels, distorted pictures.


def averaged(weights, decay):
    """The textbook's average of the weights after each step, with TensorFlow's warm-up."""
    average = weights[0].astype(float)
    for count, now in enumerate(weights[1:], start=1):
        share = min(decay, count / (10 + count))
        average = share * average + (1 - share) * now
    return average


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_a_weight_average_is_what_is_measured_and_kept_while_the_weights_go_on(decay):
    data, settings = blobs(50, 3), {"loss": SOFTMAX, "optimizer": SGD(0.1), "epochs": 3, "seed": 1}
    network, plain = (build(Dense(4), Tanh(), Dense(3), inputs=2) for _ in range(2))
    recorder, steps = Recorder(network), Recorder(plain)
    history = fit(network, data, validation=data, weight_average=decay, callbacks=[recorder], **settings)
    fit(plain, data, callbacks=[steps], **settings)
    # The descent itself is the same, batch by batch.
    assert_array_equal(recorder.batch_weights, steps.batch_weights)
    assert_allclose(network.parameters.flat, averaged(steps.batch_weights, decay), atol=1e-6)
    assert history.epochs[-1].validation == evaluate(network, data, SOFTMAX)


def test_with_early_stopping_the_average_of_the_best_epoch_is_kept():
    data, network = blobs(30, 3), build(Dense(3), inputs=2)
    recorder = Recorder(network)
    history = fit(
        network,
        data,
        loss=SOFTMAX,
        optimizer=SGD(0.5),
        epochs=6,
        batch_size=30,
        # The better it learns, the worse this becomes.
        validation=Split(data.inputs, (data.targets + 1) % 3),
        early_stopping=EarlyStopping(2),
        weight_average=0.9,
        callbacks=[recorder],
    )
    assert len(history.epochs) > history.kept_epoch
    expected = averaged(recorder.batch_weights[: history.kept_epoch + 1], 0.9)
    assert_allclose(network.parameters.flat, expected, atol=1e-6)


def test_smoothed_labels_are_trained_on_and_plain_ones_measured():
    data, smoothings = blobs(40, 3), []

    def compute(outputs, targets, smoothing=0.0):
        smoothings.append(smoothing)
        return SOFTMAX.compute(outputs, targets)

    fit(
        build(Dense(3), inputs=2),
        data,
        loss=Loss(compute, "classes"),
        optimizer=SGD(0.1),
        epochs=2,
        batch_size=20,
        validation=data,
        label_smoothing=0.2,
    )
    # Two batches, then the training rows and the validation rows, twice.
    assert smoothings == [0.2, 0.2, 0.0, 0.0] * 2


def test_smoothing_labels_of_values_is_refused():
    with pytest.raises(TrainingError, match="label smoothing is for classes"):
        fit(build(Dense(1)), regression(9, 1), loss=MSE, optimizer=SGD(0.1), label_smoothing=0.1)


def test_batches_are_distorted_anew_each_time_and_nothing_else_is():
    rng = np.random.default_rng(0)
    data = Split(rng.random((6, 8, 8), np.float32), rng.integers(2, size=6))
    before, seen = data.inputs.copy(), []

    class Spying(Flatten):
        def forward(self, views, x, rng):
            seen.append(x.copy())
            return super().forward(views, x, rng)

    fit(
        Network([Spying(), Dense(2)], (8, 8)),
        data,
        loss=SOFTMAX,
        optimizer=SGD(0.1),
        epochs=2,
        batch_size=6,
        validation=data,
        augmentation=Augmentation(shift=2),
    )
    first, *measured, second = seen[:4]
    assert_array_equal(data.inputs, before)
    assert all((x == before).all() for x in measured)
    for distorted in (first, second):
        assert not any((x == y).all() for x in distorted for y in before)
    assert not np.array_equal(np.sort(first.ravel()), np.sort(second.ravel()))
