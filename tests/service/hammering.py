"""Clients that ask and ask, each on a connection of its own, and remember what became of every request."""

import http.client
import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serving import DEADLINE, JSON, Service


def question(model: str) -> bytes:
    """Return a body for a model like xor."""
    return json.dumps({"model": model, "inputs": [[0, 1], [1, 1]]}).encode()


XOR = question("xor")


@dataclass(frozen=True)
class Shot:
    """One request: when it was sent whole and answered, what came back, and how it failed if it did."""

    sent: float
    version: int | None = None
    status: int | None = None
    failure: str = ""
    answered: float = math.inf


class Hammer(threading.Thread):
    """One client. `keep` says whether its connection is kept; one that breaks is made anew."""

    def __init__(self, service: Service, model: str = "xor", *, keep: bool = True) -> None:
        super().__init__(daemon=True)
        self.service = service
        self.question = question(model)
        self.keep = keep
        self.connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=DEADLINE)
        self.shots: list[Shot] = []
        self.stopped = threading.Event()
        self.refused_at: float | None = None

    def run(self) -> None:
        """Ask until told to stop, or until nobody listens any more."""
        while not self.stopped.is_set():
            try:
                if self.connection.sock is None:
                    self.connection.connect()
            except OSError:
                self.refused_at = time.monotonic()
                return
            self.shots.append(self.ask())

    def ask(self) -> Shot:
        sent = time.monotonic()
        try:
            self.connection.request(
                "POST", "/predict", self.question, JSON if self.keep else JSON | {"Connection": "close"}
            )
            sent = time.monotonic()
            response = self.connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.connection.close()
            return Shot(sent, failure=repr(error))
        if response.will_close:
            self.connection.close()
        return Shot(sent, answer.get("version"), response.status, answered=time.monotonic())


@contextmanager
def hammering(hammers: list[Hammer]) -> Iterator[list[Hammer]]:
    """Let clients hammer for as long as the block takes; all have been answered before it begins."""
    for hammer in hammers:
        hammer.start()
    try:
        while not all(hammer.shots for hammer in hammers):
            time.sleep(0.005)
        yield hammers
    finally:
        for hammer in hammers:
            hammer.stopped.set()
        for hammer in hammers:
            hammer.join(DEADLINE)
            hammer.connection.close()


def on_every_worker(service: Service, model: str, each: int) -> list[Hammer]:
    """Return clients of a model whose connections are spread over all workers, at least so many on each."""
    workers: dict[int, list[Hammer]] = {worker.pid: [] for worker in service.workers()}
    others = []
    for _ in range(200):
        if all(len(hammers) >= each for hammers in workers.values()):
            break
        hammer = Hammer(service, model)
        hammer.connection.connect()
        # Only once it has answered does a worker hold the connection.
        assert hammer.ask().status == 200
        pid = service.worker_of(hammer.connection)
        assert pid is not None
        (workers[pid] if len(workers[pid]) < each else others).append(hammer)
    for hammer in others:
        hammer.connection.close()
    assert all(len(hammers) == each for hammers in workers.values())
    return [hammer for hammers in workers.values() for hammer in hammers]
