import json

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from nncore.config import from_json, to_json
from nncore.randomness import Position, move_to, position, stream

seeds = st.integers(0, 2**63 - 1)
names = st.text(min_size=1, max_size=10)


@given(seeds, names)
def test_the_same_seed_and_name_give_the_same_numbers(seed, name):
    assert stream(seed, name).random(4).tolist() == stream(seed, name).random(4).tolist()


@given(seeds, seeds, names, names)
def test_another_seed_or_name_gives_others(seed, other_seed, name, other_name):
    assume((seed, name) != (other_seed, other_name))
    assert stream(seed, name).random(4).tolist() != stream(other_seed, other_name).random(4).tolist()


def test_the_numbers_are_the_same_on_every_machine():
    assert stream(1, "shuffle").permutation(8).tolist() == [1, 5, 2, 3, 4, 6, 7, 0]


draws = st.lists(
    st.sampled_from(
        [
            lambda rng: rng.permutation(7).tolist(),
            lambda rng: rng.random(3, np.float32).tolist(),
            lambda rng: rng.standard_normal(2).tolist(),
        ]
    ),
    max_size=5,
)


@given(seeds, draws, draws)
def test_a_stream_goes_on_from_where_it_was_also_by_way_of_json(seed, before, after):
    rng, other = stream(seed, "dropout"), stream(seed, "dropout")
    for draw in before:
        draw(rng)
    move_to(other, from_json(Position, json.loads(json.dumps(to_json(position(rng))))))
    assert [draw(other) for draw in after] == [draw(rng) for draw in after]
