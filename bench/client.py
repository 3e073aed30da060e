"""What NumPy arrays take from the client to a service and back: as their bytes, and as JSON.

One worker on this machine. They take turns, and what counts is the ratio of their best times: where it is
above 1, from `service.remote.tensors.FEWEST_NUMBERS` on, the client sends bytes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from serving import Service

from service.client import Client
from service.remote import tensors

ROWS = (32, 64, 128, 256, 10_000)
DIGITS = (1, 4, 64)


def best(client: Client, model: str, array: np.ndarray, rounds: int) -> tuple[float, float]:
    """Return the seconds of a call by JSON and by bytes, the best of each, in turns."""
    taken: dict[int, list[float]] = {array.size + 1: [], 1: []}
    answers = []
    for _ in range(rounds):
        for fewest, seconds in taken.items():
            tensors.FEWEST_NUMBERS = fewest
            began = time.perf_counter()
            answers.append(client.predict(model, array))
            seconds.append(time.perf_counter() - began)
    assert all(answer == answers[0] for answer in answers)
    by_json, by_bytes = (min(seconds) for seconds in taken.values())
    return by_json, by_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40, help="how often each has its turn (40)")
    rounds = parser.parse_args().rounds
    random = np.random.default_rng(0)
    arrays = [("xor", random.uniform(size=(rows, 2)).astype(np.float32)) for rows in ROWS]
    for rows in DIGITS:
        pixels = random.uniform(0, 255, (rows, 784))
        arrays += [("digits", pixels.astype(np.float32)), ("digits", pixels.astype(np.uint8))]
    print(f"{'':30} JSON      bytes     JSON / bytes")
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder), workers=1, log_level="WARNING")
        try:
            with Client(service.url) as client:
                for model, array in arrays:
                    by_json, by_bytes = best(client, model, array, rounds)
                    what = f"{model} {array.shape[0]} × {array.shape[1]} {array.dtype}"
                    ratio = by_json / by_bytes
                    print(
                        f"{what:28} {by_json * 1e3:7.2f} ms {by_bytes * 1e3:7.2f} ms   {ratio:.2f}",
                        flush=True,
                    )
        finally:
            service.stop()


if __name__ == "__main__":
    main()
