"""Random kills of a running service: no job is lost, none done twice, and no byte is another one for it.

Two trainers and a web service work off jobs while one process after the other is killed with SIGKILL: a
trainer's child, its parent, both at once, a web worker, the web service's master. What died as a whole is
started again. In the end every job that was accepted must have succeeded, with one version of the bytes
that an unbroken run of its recipe gives.
"""

import contextlib
import functools
import hashlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from serving import Answer, Service, free_port, wait_for
from training import SLOW, Trainer, parse_events, post_job

from nncore.artifact import describe, to_bytes
from nncore.recipe import read_recipe, run

# Recipes of another seed each, and one that stops early: that, too, must go on as it was.
SHORT = SLOW | {"epochs": 160}
VARIANTS = {f"seed-{seed}": SHORT | {"seed": seed} for seed in range(1, 4)} | {
    "early": SHORT | {"early_stopping": {"patience": 40}, "seed": 9}
}
MODELS = ("first", "second")
# As many unfinished jobs as keep two trainers busy.
AT_ONCE = 5
SETTINGS = {
    "workers": 2,
    "lease_seconds": 1,
    "checkpoint_seconds": 0.3,
    # Kills in a row are what is wanted here, and no sign of a poisonous job.
    "max_attempts": 1000,
    "max_queued": 1000,
    "max_queued_by_client": 1000,
    "keep_versions": 100_000,
    "keep_jobs": 100_000,
    "keep_events": 100_000,
    "log_level": "INFO",
}


@dataclass
class Outcome:
    """What a campaign saw."""

    kills: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    attempts: int = 0
    resumed: int = 0
    looks: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)

    def count(self, *words: str) -> int:
        """Return how many faults are of a kind."""
        return sum(any(word in fault for word in words) for fault in self.faults)


class Campaign:
    """One service and two trainers that are killed again and again."""

    def __init__(self, folder: Path, database_url: str, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.settings: dict[str, Any] = SETTINGS | {"database_url": database_url, "port": free_port()}
        self.service = Service(folder, **self.settings)
        self.settings = self.service.settings
        self.trainers = [self._start_trainer() for _ in range(2)]
        self.jobs: dict[str, str] = {}
        self.live: set[str] = set()
        self.outcome = Outcome()

    def run(self, kills: int, tell: Callable[[str], None] = lambda _: None) -> Outcome:
        began = time.monotonic()
        try:
            with self._watched_store():
                for number in range(1, kills + 1):
                    self._keep_busy(number)
                    time.sleep(self.random.uniform(0.05, 1.5))
                    self._kill_something()
                    if number % 10 == 0:
                        tell(f"{number} of {kills} kills, {len(self.jobs)} jobs")
                self._await_all()
            self._judge()
        finally:
            self._end()
        self.outcome.seconds = time.monotonic() - began
        return self.outcome

    def _keep_busy(self, kill: int) -> None:
        """Have enough jobs under way. What is not answered is sent again, under the same key."""
        for place in range(AT_ONCE - len(self._unfinished())):
            variant = self.random.choice(list(VARIANTS))
            asked = {"recipe": VARIANTS[variant], "promote": self.random.choice(("if_better", "always"))}
            model = self.random.choice(MODELS)
            answer = self._insist(post_job, model, f"{kill}-{place}", **asked)
            assert answer.status == 202, answer.body
            self.jobs[answer.json["id"]] = variant
            self.live.add(answer.json["id"])

    def _kill_something(self) -> None:
        trainer = self.random.choice(self.trainers)
        child = trainer.child()
        kind = self.random.choices(
            ["child", "parent", "child and parent", "web worker", "web master"], [40, 25, 15, 10, 10]
        )[0]
        victims = {
            "child": lambda: [child.pid],
            "parent": lambda: [trainer.process.pid],
            "child and parent": lambda: [child.pid, trainer.process.pid],
            "web worker": lambda: [worker.pid for worker in self.service.workers()[:1]],
            "web master": lambda: [self.service.process.pid],
        }[kind]()
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.outcome.kills[kind] += 1
        if "parent" in kind:
            trainer.kill()
            self.trainers[self.trainers.index(trainer)] = self._start_trainer()
        if kind == "web master":
            self.service.process.wait()
            wait_for(lambda: not self._listens(), "end of the killed service")
            self.service = Service(self.folder, **self.settings)

    def _await_all(self) -> None:
        wait_for(lambda: not self._unfinished(), "end of all jobs", self.service, seconds=300)

    def _judge(self) -> None:
        """Hold every job against an unbroken run of its recipe."""
        expected = {name: unbroken(VARIANTS[name]) for name in set(self.jobs.values())}
        versions = Counter(facts.get("job") for _, facts in self._published())
        self.outcome.jobs = len(self.jobs)
        for job_id, variant in self.jobs.items():
            for right, fault in self._checks(job_id, expected[variant], versions[job_id]):
                self._expect(right, f"{job_id}: {fault}")
        strange = set(versions) - set(self.jobs) - {None}
        self._expect(not strange, f"versions of unknown jobs: {strange}")

    def _checks(self, job_id: str, sha256: str, versions: int) -> Iterator[tuple[bool, str]]:
        """Yield what must be so of a job that has ended, and what it would be called if it were not."""
        document = self._get(f"/train/{job_id}").json
        events = parse_events(self._get(f"/train/{job_id}/events").body)
        states = [data["state"] for _, kind, data in events if kind == "state"]
        epochs = [data["epoch"] for _, kind, data in events if kind == "epoch"]
        self.outcome.attempts += states.count("running")
        self.outcome.resumed += states.count("running") > 1
        yield document["state"] == "succeeded", f"has not succeeded: {document['state']}, {document['error']}"
        yield states.count("succeeded") == 1, f"ended {states.count('succeeded')} times"
        yield versions == 1, f"has {versions} versions"
        yield in_order([number for number, _, _ in events]), "a gap or a repeat in its events"
        yield in_order(epochs), "an epoch is missing, or there twice"
        yield (document["result"] or {}).get("sha256") == sha256, "other bytes than an unbroken run"

    def _expect(self, condition: bool, fault: str) -> None:
        if not condition:
            self.outcome.faults.append(fault)

    def _unfinished(self) -> list[str]:
        for job_id in sorted(self.live):
            if self._get(f"/train/{job_id}").json["state"] not in ("queued", "running"):
                self.live.discard(job_id)
        return sorted(self.live)

    def _get(self, path: str) -> Answer:
        return self._insist(Service.ask, "GET", path)

    def _insist(self, ask: Callable[..., Answer], *arguments: Any, **more: Any) -> Answer:
        """Ask the service until it answers: who is asked may be killed at any moment."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = ask(self.service, *arguments, **more)
                if answer.status < 500:
                    return answer
                fault = f"{answer.status} {answer.body!r}"
            except (OSError, http.client.HTTPException) as error:
                fault = repr(error)
            assert time.monotonic() < deadline, f"{fault}; the log:\n{self.service.log[-3000:]}"
            time.sleep(0.05)

    def _published(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for model in MODELS:
            folder = self.service.store / model
            for version in folder.iterdir() if folder.is_dir() else ():
                if version.name.isdecimal():
                    yield version, json.loads((version / "version.json").read_text())

    @contextlib.contextmanager
    def _watched_store(self) -> Iterator[None]:
        """Look at the store again and again: what has a number is whole, always."""
        ended = threading.Event()

        def watch() -> None:
            seen: set[Path] = set()
            while not ended.wait(0.01):
                self.outcome.looks += 1
                try:
                    for version, facts in self._published():
                        if version not in seen:
                            data = (version / "model.safetensors").read_bytes()
                            whole = hashlib.sha256(data).hexdigest() == facts["sha256"]
                            self._expect(whole, f"{version} is not what its version.json says")
                            seen.add(version)
                except (OSError, ValueError, KeyError) as error:
                    self.outcome.faults.append(f"half a version was seen: {error!r}")

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()

    def _listens(self) -> bool:
        return any(
            connection.laddr.port == self.service.port and connection.status == psutil.CONN_LISTEN
            for connection in psutil.net_connections("tcp")
        )

    def _start_trainer(self) -> Trainer:
        return Trainer(self.folder, self.settings)

    def _end(self) -> None:
        for trainer in self.trainers:
            trainer.stop()
        self.service.stop()


def in_order(numbers: list[int]) -> bool:
    return numbers == list(range(1, len(numbers) + 1))


def unbroken(recipe: dict[str, Any]) -> str:
    """Return the SHA-256 of the model file that a recipe gives where nobody is killed."""
    return _unbroken(json.dumps(recipe))


@functools.cache
def _unbroken(recipe: str) -> str:
    trained = run(read_recipe(recipe), measure_test=False)
    return hashlib.sha256(to_bytes(describe(trained))).hexdigest()
