from hypothesis import assume, given
from hypothesis import strategies as st

from nncore.randomness import stream

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
