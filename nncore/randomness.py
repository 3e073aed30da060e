"""Independent streams of random numbers, split by name from one seed."""

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the generator that belongs to `name` under `seed`.

    Streams of different names are independent, so one more draw from `dropout` does not move what
    `shuffle` gives. The same seed and name give the same numbers on every machine.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=tuple(name.encode()))))
