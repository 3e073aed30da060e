"""Independent streams of random numbers, split by name from one seed, and where in them one is."""

from dataclasses import dataclass

import numpy as np

from nncore.config import number


@dataclass(frozen=True)
class Position:
    """Where a stream is: PCG64's state, and the half of its last number that is yet to be given."""

    state: int = number(minimum=0, maximum=2**128 - 1)
    has_uint32: int = number(minimum=0, maximum=1)
    uinteger: int = number(minimum=0, maximum=2**32 - 1)


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator that belongs to `name` under `seed`.

    Streams of different names are independent, so one more draw from `dropout` does not move what
    `shuffle` gives. The same seed and name give the same numbers on every machine.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))


def position(rng: np.random.Generator) -> Position:
    """Return where a stream is."""
    state = rng.bit_generator.state
    return Position(state["state"]["state"], state["has_uint32"], state["uinteger"])


def move_to(rng: np.random.Generator, place: Position) -> None:
    """Have a stream go on from where it, or one of the same seed and name, once was."""
    state = rng.bit_generator.state
    state["state"]["state"] = place.state
    rng.bit_generator.state = {**state, "has_uint32": place.has_uint32, "uinteger": place.uinteger}
