"""Faults for real processes: Python loads this file by itself where this folder is on the path.

NNTEST_FAULT names what is to go wrong, one thing or several. Nothing of it is in the service.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any


def crash_in_training() -> None:
    from service.jobs.run import Run

    def train(self: Run) -> None:
        raise ZeroDivisionError("a fault that was made for a test")

    Run._train = train  # type: ignore[assignment]


def die_in_training() -> None:
    from service.jobs.run import Run

    Run._train = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment,method-assign]


def hunger_in_training() -> None:
    import numpy as np

    from service.jobs.run import Run

    Run._train = lambda self: np.ones(1 << 27)  # type: ignore[assignment,method-assign,return-value]


def deafness_in_training() -> None:
    """A run that never looks up, as in a batch of an hour; a trainer told to stop waits less for it."""
    import service.jobs.heart as heart
    from service.jobs.run import Run

    heart.STOPPING_SECONDS = 1.0

    Run._train = lambda self: time.sleep(3600)  # type: ignore[assignment,method-assign,return-value]


def pacing() -> None:
    """No epoch takes less than 5 ms, however fast the machine: time to do something to a job under way."""
    from service.jobs.progress import Progress

    on_epoch = Progress.on_epoch

    def paced(self: Progress, epoch: Any) -> None:
        on_epoch(self, epoch)
        time.sleep(0.005)

    Progress.on_epoch = paced  # type: ignore[method-assign]


def pause_after_placing() -> None:
    """Between the rename and the decision there is time to cancel, and nobody ends the trainer for it."""
    import service.jobs.heart as heart
    import service.jobs.run as run

    heart.STUBBORN_SECONDS = 20.0

    publish_once = run.publish_once

    def slowly(*arguments: object) -> int:
        number = publish_once(*arguments)  # type: ignore[arg-type]
        Path(os.environ["NNTEST_MARK"]).touch()
        time.sleep(0.6)
        return number

    run.publish_once = slowly  # type: ignore[assignment]


def impatience() -> None:
    """Who falls silent is given up after one second, not ten; for a beat is looked one second, not three."""
    import service.alive as alive
    import service.worker as worker

    worker.SILENCE_SECONDS = 1
    alive.PATIENCE_SECONDS = 1.0


def die_before_sending() -> None:
    from service.jobs.queue import Queue

    Queue.send = lambda self, job_id: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]


def die_after_placing() -> None:
    """Between the rename and the commit, once."""
    import service.jobs.publishing as publishing

    placed = publishing.place
    mark = Path(os.environ["NNTEST_MARK"])

    def place(*arguments: object) -> bool:
        done = placed(*arguments)  # type: ignore[arg-type]
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    publishing.place = place


def jumping_clock() -> None:
    """The wall clock is somewhere else every second: a day ahead, a day behind."""
    real = time.time
    time.time = lambda: real() + (int(time.monotonic()) % 3 - 1) * 86_400


for fault in os.environ.get("NNTEST_FAULT", "").split():
    globals()[fault]()
