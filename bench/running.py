"""Servers as processes on a core of their own: started, asked for the first time, weighed and stopped."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from load import Connection
from servers import PEERS, Server
from serving import free_port

STARTING_SECONDS = 60


@contextmanager
def running(server: Server, core: int) -> Iterator[tuple[int, psutil.Process, float]]:
    """Run a server on a core; yield its port, its process, and the seconds until its first answer."""
    port = free_port()
    settings = os.environ | {"PYTHONPATH": str(PEERS)} | server.settings(str(port))
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        settings |= {"MLSERVER_METRICS_DIR": folder, "MLSERVER_ENVIRONMENTS_DIR": folder}
        began = time.perf_counter()
        process = subprocess.Popen(
            server.command(str(port)),
            cwd=PEERS,
            env=settings,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, [core]),
        )
        family = psutil.Process(process.pid)
        try:
            await_answer(server, port, process, Path(folder) / "log")
            yield port, family, time.perf_counter() - began
        finally:
            stop(family)


def await_answer(server: Server, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        with suppress(OSError):
            ask(port, server.request)
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{server.name} did not answer:\n{log.read_text()[-2000:]}")
        time.sleep(0.01)


def stop(process: psutil.Process) -> None:
    """Tell a process to end, and then whatever is left of it and its children."""
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=10)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(left, timeout=5)


def memory(process: psutil.Process) -> int:
    """Return what a process and its children hold, shared pages in equal parts (PSS)."""
    return sum(one.memory_full_info().pss for one in (process, *process.children(recursive=True)))


def ask(port: int, request: bytes) -> bytes:
    """Return the body of one answer."""
    connection = Connection(port, request)
    try:
        connection.send()
        while not connection.receive():
            pass
    finally:
        connection.socket.close()
    return connection.received.partition(b"\r\n\r\n")[2]
