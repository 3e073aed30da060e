"""Real trainers to test with, and jobs for them: `nnserve trainer` beside a running service."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
from serving import DEADLINE, JSON, NNSERVE, Answer, Service, environment, wait_for

# Takes some two seconds, in many small steps: time enough to be killed in the middle of something.
SLOW = {
    "dataset": "line",
    "network": [
        {"type": "dense", "units": 16},
        {"type": "tanh"},
        {"type": "dropout", "rate": 0.1},
        {"type": "dense", "units": 1},
    ],
    "loss": "mean_squared_error",
    "optimizer": {"type": "adam", "learning_rate": 0.003, "weight_decay": 0.001},
    "schedule": {"type": "one_cycle"},
    "batch_size": 4,
    "epochs": 300,
}
# Takes longer than any test waits: for what is to be cancelled or stopped.
ENDLESS = SLOW | {"epochs": 10_000, "batch_size": 1}
QUICK = SLOW | {"epochs": 3}
# What `nnserve trainer` starts, and starts again.
TRAINS = [sys.executable, "-m", "service.jobs.trainer"]


class Trainer:
    """`nnserve trainer` with a service's database and models: a parent, and the child that trains."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        extra: Mapping[str, str] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Start it.

        `alone` is the child without its parent, which takes a third less: for tests in which it does not die.
        """
        self.log_file = folder / f"trainer-{time.monotonic_ns()}.log"
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                TRAINS if alone else [NNSERVE, "trainer"],
                env=environment(settings) | dict(extra or {}),
                cwd=folder,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: "is ready" in self.log or self.process.poll() is not None, "trainer")

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def child(self) -> psutil.Process:
        """Return the process that trains, once there is one."""
        found: list[psutil.Process] = []
        wait_for(lambda: found.extend(self._children()) or found, "child of the trainer")
        return found[0]

    def kill(self) -> None:
        """Kill the parent, and wait for the child to leave by itself."""
        children = self._children()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        for child in children:
            # One that a test has frozen could not leave.
            thaw(child)
        self.process.wait(DEADLINE)
        _, alive = psutil.wait_procs(children, DEADLINE)
        for child in alive:
            child.kill()
        assert not alive, f"{alive} outlived their parent"

    def stop(self) -> int:
        """Stop it as an operator does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            finally:
                self.kill()
        return self.process.returncode

    def _children(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children()
        except psutil.NoSuchProcess:
            return []


def post_job(service: Service, model: str = "line", key: str | None = None, **asked: Any) -> Answer:
    """POST /train."""
    headers = JSON | ({"Idempotency-Key": key} if key else {})
    return service.ask("POST", "/train", json.dumps({"model": model} | asked).encode(), headers)


def submit(service: Service, model: str = "line", **asked: Any) -> str:
    """Return the id of a new job."""
    answer = post_job(service, model, **asked)
    assert answer.status == 202, answer.body
    job_id: str = answer.json["id"]
    return job_id


def job(service: Service, job_id: str) -> dict[str, Any]:
    answer = service.ask("GET", f"/train/{job_id}")
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json
    return document


def wait_until(service: Service, job_id: str, *states: str, seconds: float = 60) -> dict[str, Any]:
    """Return a job once it is in one of the states."""
    wait_for(lambda: job(service, job_id)["state"] in states, " or ".join(states), service, seconds)
    return job(service, job_id)


def wait_for_epoch(service: Service, job_id: str, epoch: int) -> None:
    wait_for(lambda: job(service, job_id)["epoch"] >= epoch, f"epoch {epoch}", service)


def read_events(service: Service, job_id: str, after: int | None = None) -> list[tuple[int, str, Any]]:
    """Return a job's events as number, kind and data, once the stream has ended."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    answer = service.ask("GET", f"/train/{job_id}/events", headers=headers)
    assert answer.status == 200, answer.body
    return parse_events(answer.body)


def parse_events(body: bytes) -> list[tuple[int, str, Any]]:
    events = []
    for frame in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.splitlines() if not line.startswith(":"))
        if "id" in fields:
            events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events


def versions_on_disk(service: Service, model: str) -> dict[int, dict[str, Any]]:
    """Return what each version's version.json says."""
    folders = [folder for folder in (service.store / model).iterdir() if folder.name.isdecimal()]
    return {int(folder.name): json.loads((folder / "version.json").read_text()) for folder in folders}


def is_running(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def freeze(process: psutil.Process, service: Service) -> None:
    """Stop a process in its tracks, though not while it holds the lock that everybody else waits for."""
    while True:
        os.kill(process.pid, signal.SIGSTOP)
        if not is_locked(service):
            return
        thaw(process)


def thaw(process: psutil.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGCONT)


def is_locked(service: Service) -> bool:
    """Tell whether somebody is writing to a service's SQLite, and does not come to an end."""
    path = service.settings["database_url"].removeprefix("sqlite:///")
    with contextlib.closing(sqlite3.connect(path, timeout=0.3, isolation_level=None)) as connection:
        try:
            connection.execute("begin immediate")
            connection.execute("rollback")
        except sqlite3.OperationalError:
            return True
    return False
