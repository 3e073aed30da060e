"""The supervisor with real processes: it starts again what dies, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from serving import DEADLINE, wait_for

# A part that writes its process id, then does as its second argument says.
PART = """
import os, signal, sys, time
if sys.argv[2] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "a") as file:
    print(os.getpid(), file=file, flush=True)
if sys.argv[2] == "fail":
    sys.exit(3)
time.sleep(60)
"""

SUPERVISE = """
import logging, sys
from service.supervisor import Part, Supervisor
logging.basicConfig(level="INFO")
folder, grace, *parts = sys.argv[1:]
commands = [
    Part(name, [sys.executable, f"{folder}/part.py", f"{folder}/{name}", how], vital=name == "vital")
    for name, how in (part.split("=") for part in parts)
]
sys.exit(Supervisor(commands, float(grace)).run())
"""


class Supervised:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, *parts: str, grace: float = 10) -> None:
        self.folder = folder
        (folder / "part.py").write_text(textwrap.dedent(PART))
        self.process = subprocess.Popen([sys.executable, "-c", SUPERVISE, folder, str(grace), *parts])

    def pids(self, name: str) -> list[int]:
        file = self.folder / name
        return [int(line) for line in file.read_text().split()] if file.exists() else []


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def supervise(*parts: str, **how: float) -> Supervised:
        started.append(Supervised(tmp_path, *parts, **how))
        return started[-1]

    yield supervise
    for supervised in started:
        pids = [pid for part in ("one", "two", "vital") for pid in supervised.pids(part)]
        supervised.process.kill()
        supervised.process.wait()
        for pid in pids:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)


def test_a_part_that_is_killed_is_started_again_and_the_others_stay(supervise) -> None:
    supervised = supervise("one=stay", "two=stay")
    wait_for(lambda: supervised.pids("one") and supervised.pids("two"), "two parts")

    os.kill(supervised.pids("one")[0], signal.SIGKILL)

    wait_for(lambda: len(supervised.pids("one")) == 2, "another process of the part")
    assert psutil.pid_exists(supervised.pids("one")[1])
    assert len(supervised.pids("two")) == 1


def test_a_part_that_keeps_failing_is_started_again_after_longer_and_longer_pauses(supervise) -> None:
    supervised = supervise("one=fail", "two=stay")
    wait_for(lambda: len(supervised.pids("one")) >= 2, "a second start")
    time.sleep(1.5)

    # Half a second, one, two … apart.
    assert len(supervised.pids("one")) <= 4
    assert supervised.process.poll() is None


def test_a_vital_part_that_fails_ends_everything_with_its_status(supervise) -> None:
    supervised = supervise("vital=fail", "one=stay")

    assert supervised.process.wait(DEADLINE) == 3
    assert not any(map(psutil.pid_exists, supervised.pids("one")))


def test_a_vital_part_that_is_killed_is_started_again(supervise) -> None:
    supervised = supervise("vital=stay")
    wait_for(lambda: supervised.pids("vital"), "a part")

    os.kill(supervised.pids("vital")[0], signal.SIGKILL)

    wait_for(lambda: len(supervised.pids("vital")) == 2, "another process of the part")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_parts(supervise, number: signal.Signals) -> None:
    supervised = supervise("one=stay", "two=stay")
    wait_for(lambda: supervised.pids("one") and supervised.pids("two"), "two parts")

    supervised.process.send_signal(number)

    assert supervised.process.wait(DEADLINE) == 0
    assert not any(map(psutil.pid_exists, supervised.pids("one") + supervised.pids("two")))


def test_a_part_that_does_not_stop_is_killed_in_the_end(supervise) -> None:
    supervised = supervise("one=deaf", grace=0.5)
    wait_for(lambda: supervised.pids("one"), "a part")

    supervised.process.terminate()

    assert supervised.process.wait(DEADLINE) == 0
    assert not psutil.pid_exists(supervised.pids("one")[0])


def test_parts_stop_when_the_supervisor_is_killed(supervise) -> None:
    supervised = supervise("one=stay", "two=stay")
    wait_for(lambda: supervised.pids("one") and supervised.pids("two"), "two parts")

    supervised.process.kill()

    pids = supervised.pids("one") + supervised.pids("two")
    wait_for(lambda: not any(map(is_running, pids)), "end of the parts")


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
