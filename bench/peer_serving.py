"""nnserve beside FastAPI, MLServer, LitServe and BentoML, which all serve the same network for digits.

One worker each, all on one core, asked in turn for a digit by JSON: requests a second and the time that they
take, by one connection and by eight, the time from the start to the first answer, memory, and what is
installed. nnserve runs with its shipped settings and a key: with its checks, metrics, sketches and log. Read
the ratios: above 1 nnserve is ahead.
"""

import argparse
import os
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import orjson
import psutil
from load import latencies
from running import ask, memory, running
from servers import Server, servers

from nncore.datasets import DATASETS
from nncore.predictor import load

ROOT = Path(__file__).parent.parent
# What is measured of a server, a number a round; the quicker or smaller the better, but for the first.
Figures = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    picture = DATASETS["digits"]().test.inputs[:1]
    probabilities = load(ROOT / "models" / "digits" / "1" / "model.safetensors").predict(picture)[0]
    with tempfile.TemporaryDirectory() as store, ExitStack() as stack:
        asked = servers(picture.ravel().tolist(), Path(store))
        figures: dict[str, Figures] = {server.name: {} for server in asked}
        ports: dict[str, tuple[int, psutil.Process]] = {}
        # The first start is not counted: files come from the disk, and models are brought into the store.
        for turn in range(options.starts + 1):
            for server in asked:
                with running(server, cores[0]) as (port, _, seconds):
                    check(server, port, probabilities)
                if turn:
                    _note(figures[server.name], "start to first answer, s", seconds)
        for server in asked:
            port, process, _ = stack.enter_context(running(server, cores[0]))
            ports[server.name] = port, process
        for connections in (1, 8):
            for _ in range(options.rounds):
                for server in asked:
                    measure(figures[server.name], server, ports[server.name][0], connections, options.seconds)
        for server in asked:
            _note(figures[server.name], "memory, MB", memory(ports[server.name][1]) / 1e6)
            _note(figures[server.name], "installed, MB", server.installed_bytes() / 1e6)
    report(figures)


def measure(figures: Figures, server: Server, port: int, connections: int, seconds: float) -> None:
    # The first of a burst wakes processes and threads up; that is not what is asked.
    latencies(port, server.request, connections, seconds / 5)
    took = sorted(latencies(port, server.request, connections, seconds))
    of = f"{connections} at a time"
    _note(figures, f"{of}: requests a second", len(took) / seconds)
    _note(figures, f"{of}: p50, ms", took[len(took) // 2] * 1000)
    _note(figures, f"{of}: p99, ms", took[len(took) * 99 // 100] * 1000)


def _note(figures: Figures, name: str, value: float) -> None:
    figures.setdefault(name, []).append(value)


def check(server: Server, port: int, probabilities: np.ndarray) -> None:
    label, numbers = server.read(orjson.loads(ask(port, server.request)))
    if label != str(probabilities.argmax()) or not np.allclose(numbers, probabilities, atol=1e-6):
        raise SystemExit(f"{server.name} answers {label} {numbers} instead of {probabilities}")


def report(figures: dict[str, Figures]) -> None:
    """Print a Markdown table: nnserve's medians, and how many times as good as each peer it is."""
    ours = figures.pop("nnserve")
    print(f"| | nnserve | {' | '.join(figures)} |")
    print(f"| --- | --- |{' --- |' * len(figures)}")
    for name, values in ours.items():
        more_is_better = "a second" in name
        row = [name, f"{statistics.median(values):,.4g}"]
        for theirs in figures.values():
            pairs = zip(values, theirs[name], strict=True)
            ratios = [a / b if more_is_better else b / a for a, b in pairs]
            span = f" ({min(ratios):.2f}-{max(ratios):.2f})" if len(ratios) > 1 else ""
            row.append(f"{statistics.median(ratios):.2f}{span}")
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
