import numpy as np

from nncore.convolution import Conv2D
from nncore.ensemble import Ensemble
from nncore.layers import Dense, Dropout, Flatten, ReLU, Tanh
from nncore.network import Network
from nncore.pooling import MaxPool2D
from nncore.program import ANSWERS, BUFFERED, INPUTS, MOST_BUFFERED, MOST_ROWS, Program
from nncore.workspace import MOST_LAYOUTS, Workspace

CONVOLUTIONS = (Conv2D(8, 3), ReLU(), MaxPool2D(2), Dropout(0.5), Flatten(), Dense(9), Tanh(), Dense(2))


def program(*layers, shape=(10, 10)):
    return Program(Network(layers, shape))


def stages(made):
    return [(stage.place, stage.name, stage.source.buffer, stage.target.buffer) for stage in made.stages]


def test_layers_write_to_two_buffers_in_turn_and_those_that_can_stay_where_they_are():
    made = program(*CONVOLUTIONS)
    assert stages(made) == [
        ("0", "conv2d", 0, 1),
        ("1", "relu", 1, 1),
        ("2", "max_pool2d", 1, 0),
        ("5", "dense", 0, 1),
        ("6", "tanh", 1, 1),
        ("7", "dense", 1, 0),
    ]
    assert made.buffer_sizes == [4 * 4 * 8, 8 * 8 * 8, 0, 0]
    assert made.end.buffer == 0


def test_a_network_that_does_nothing_gives_back_its_inputs():
    made = program(Dropout(0.1), Flatten())
    assert made.stages == []
    assert (made.end.buffer, made.buffer_sizes[INPUTS]) == (INPUTS, 100)


def test_an_ensembles_input_is_left_alone_until_its_last_member_has_read_it():
    made = program(Flatten(), Ensemble(((Tanh(), Dense(2), ReLU()), (Flatten(), Tanh(), Dense(2)))), Dense(3))
    assert stages(made) == [
        ("1.0.0", "tanh", 0, 1),
        ("1.0.1", "dense", 1, 2),
        ("1.0.2", "relu", 2, 2),
        ("1.0", "answer", 2, ANSWERS),
        ("1.1.1", "tanh", 0, 1),
        ("1.1.2", "dense", 1, 2),
        ("1.1", "answer", 2, ANSWERS),
        ("1", "mean", ANSWERS, 1),
        ("2", "dense", 1, 0),
    ]
    assert made.buffer_sizes == [100, 100, 2, 4]


def test_as_many_rows_are_sent_at_once_as_fill_the_buffers_but_not_too_many():
    assert program(*CONVOLUTIONS).rows_at_once == MOST_ROWS
    assert program(Flatten(), Dense(BUFFERED // 300), shape=(1,)).rows_at_once == MOST_ROWS
    made = program(Conv2D(100, 2), Flatten(), Dense(2), shape=(33, 33))
    assert BUFFERED * 0.9 < made.rows_at_once * sum(made.buffer_sizes) <= BUFFERED
    # Its weights are larger than that.
    made = program(Dense(30_000), Dense(60), Dense(30_000), Dense(2), shape=(60,))
    assert BUFFERED < made.rows_at_once * sum(made.buffer_sizes) <= MOST_BUFFERED


def test_a_workspace_keeps_where_rows_lie_for_the_last_two_numbers_of_them():
    space = Workspace(program(*CONVOLUTIONS), 50)
    first, second = space.lay_out(50), space.lay_out(14)
    assert (space.lay_out(50), space.lay_out(14)) == (first, second)
    assert len(space.lay_out(3).inputs) == 3
    assert len(space._layouts) == MOST_LAYOUTS
    assert space.lay_out(14) is second
    assert np.shares_memory(first.inputs, second.inputs)
