"""Training as a service: how fast a job is taken, how soon it is served, and what it costs predictions.

Everything runs against the service as `nnserve` starts it, with SQLite. Ratios are between things measured in
turn in one run; absolute times say something of this machine only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests
from load import post, requests_per_second
from serving import free_port, wait_for

NNSERVE = Path(sys.executable).with_name("nnserve")
XOR = post(json.dumps({"model": "xor", "inputs": [[0, 1]]}).encode(), "application/json")
# Takes about a second.
SHORT: dict[str, Any] = {
    "dataset": "line",
    "network": [{"type": "dense", "units": 16}, {"type": "tanh"}, {"type": "dense", "units": 1}],
    "loss": "mean_squared_error",
    "optimizer": {"type": "adam", "learning_rate": 0.003},
    "batch_size": 4,
    "epochs": 150,
}
ENDLESS = SHORT | {"epochs": 10_000, "batch_size": 1}


class Running:
    """A service, its trainers, and a session that asks it."""

    def __init__(self, port: int) -> None:
        self.port, self.url = port, f"http://127.0.0.1:{port}"
        self.session = requests.Session()

    def train(self, **asked: Any) -> dict[str, Any]:
        response = self.session.post(f"{self.url}/train", json={"promote": "never"} | asked)
        response.raise_for_status()
        job: dict[str, Any] = response.json()
        return job

    def state(self, job: dict[str, Any]) -> str:
        return str(self.session.get(f"{self.url}/train/{job['id']}").json()["state"])

    def await_state(self, job: dict[str, Any], *states: str) -> None:
        while self.state(job) not in states:
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    call(options.rounds * 40)
    serve_after_call(options.rounds * 2)
    beside_a_job(options.rounds)
    jobs_a_minute(options.rounds * 4)


def call(times: int) -> None:
    with running(trainers=0) as service:
        service.train(model="xor")
        taken = [timed(lambda: service.train(model="xor")) for _ in range(times)]
    median, worst = statistics.median(taken), max(taken)
    print(f"POST /train: {median * 1000:.1f} ms at the median of {times}, {worst * 1000:.1f} at most")


def serve_after_call(times: int) -> None:
    """From the call until a prediction without a version is answered by the new one."""

    def once(service: Running) -> None:
        job = service.train(model="gates", recipe="xor", promote="always")
        service.await_state(job, "succeeded")
        result = service.session.get(f"{service.url}/train/{job['id']}").json()["result"]
        asked = {"model": "gates", "inputs": [[0, 1]]}
        while (
            service.session.post(f"{service.url}/predict", json=asked).json().get("version")
            != result["version"]
        ):
            time.sleep(0.005)

    with running(trainers=1) as service:
        taken = [timed(lambda: once(service)) for _ in range(times)]
    median, worst = statistics.median(taken), max(taken)
    print(f"XOR trained and served: {median:.2f} s at the median of {times}, {worst:.2f} at most")


def beside_a_job(rounds: int) -> None:
    """Predictions a second with a job running against without, in turn, over eight connections."""
    ratios, rates = [], []
    with running(trainers=1) as service:
        requests_per_second(service.port, XOR, 8, 1)
        for _ in range(rounds):
            alone = requests_per_second(service.port, XOR, 8, 2)
            job = service.train(model="endless", recipe=ENDLESS)
            service.await_state(job, "running")
            beside = requests_per_second(service.port, XOR, 8, 2)
            service.session.post(f"{service.url}/train/{job['id']}/cancel")
            time.sleep(1)
            ratios.append(beside / alone)
            rates.append(alone)
    median, alone = statistics.median(ratios), statistics.median(rates)
    print(f"predictions beside a job: × {median:.2f} of without one ({min(ratios):.2f}-{max(ratios):.2f})")
    print(f"  without one {alone:,.0f} a second, on {os.cpu_count()} cores that the asking shares")


def jobs_a_minute(count: int) -> None:
    first = None
    for trainers in (1, 2, 4):
        with running(trainers=trainers) as service:
            service.await_state(service.train(model="warm", recipe=SHORT | {"epochs": 1}), "succeeded")
            began = time.perf_counter()
            jobs = [service.train(model=f"m{place}", recipe=SHORT) for place in range(count)]
            for job in jobs:
                service.await_state(job, "succeeded")
            rate = count / (time.perf_counter() - began) * 60
        first = first or rate
        print(
            f"jobs of a second, {trainers} trainers: {rate:.0f} a minute, × {rate / first:.2f} of one trainer"
        )


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


@contextmanager
def running(trainers: int) -> Iterator[Running]:
    """A service with a database of its own, and so many trainers."""
    port = free_port()
    command = "up" if trainers else "web"
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        settings = {
            "PORT": port,
            "MODEL_STORE": f"{folder}/models",
            "DATABASE_URL": f"sqlite:///{folder}/nnserve.db",
            "TRAINERS": max(trainers, 1),
            "MAX_QUEUED": 10_000,
            "MAX_QUEUED_BY_CLIENT": 10_000,
            "LOG_LEVEL": "WARNING",
        }
        environment = os.environ | {f"NNSERVE_{name}": str(value) for name, value in settings.items()}
        process = subprocess.Popen([NNSERVE, command], cwd=folder, env=environment)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        wait_for(port)
        yield Running(port)


if __name__ == "__main__":
    main()
