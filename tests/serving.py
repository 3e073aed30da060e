"""A real service to test, with a port, a store and a database of its own."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nncore.publishing import versions

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "models"
# The shipped models and their newest versions, which are the stable ones.
NEWEST = {folder.name: versions(folder)[-1] for folder in sorted(SHIPPED.iterdir())}
FAULTS = ROOT / "tests" / "service" / "faults"
NNSERVE = Path(sys.executable).with_name("nnserve")
# What `nnserve web` replaces itself with once it has looked at its settings.
GUNICORN = [sys.executable, "-m", "gunicorn", "-c", ROOT / "gunicorn.conf.py"]

# Longer than any answer may take, so that a test that waits in vain ends with words.
DEADLINE = 20.0


@dataclass(frozen=True)
class Answer:
    """What came back, byte for byte, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Service:
    """A running service: its address, its workers and its log."""

    def __init__(self, folder: Path, command: str | None = None, **settings: Any) -> None:
        """Start it; `settings` are those of service.settings in lower case.

        `command` is one of nnserve's; without one that is left out and gunicorn started at once, which is
        a third quicker.
        """
        self.settings = settings
        self.port = settings.setdefault("port", free_port())
        self.host = settings.get("host", "127.0.0.1")
        self.store = Path(settings.setdefault("model_store", folder / "store"))
        settings.setdefault("database_url", f"sqlite:///{folder}/nnserve-{self.port}.db")
        self.url = f"http://{self.host}:{self.port}"
        self.log_file = folder / f"service-{self.port}.log"
        began = time.monotonic()
        with self.log_file.open("wb") as log:
            # A session of its own, so that a signal can be sent to all of it, as a terminal's Ctrl-C is.
            self.process = subprocess.Popen(
                [NNSERVE, command] if command else GUNICORN,
                env=environment(settings),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await_answer()
        except BaseException:
            self.kill()
            raise
        self.seconds_to_start = time.monotonic() - began
        if command != "up":
            workers = settings.get("workers")
            wait_for(lambda: workers in (None, len(self.workers())), "workers", self)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request as it is, the path not tidied, over a connection of its own.

        A body that is no bytes is sent chunked.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def predict(self, **document: Any) -> Answer:
        """POST /predict with a JSON document."""
        return self.ask("POST", "/predict", json.dumps(document).encode(), JSON)

    def upload(self, files: Iterable[tuple[str, bytes]], **fields: str) -> Answer:
        """POST /predict with files, name and content, in fields named image."""
        parts = [("image", name, content) for name, content in files]
        body, headers = multipart(fields.items(), parts)
        return self.ask("POST", "/predict", body, headers)

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children()

    def worker_of(self, connection: http.client.HTTPConnection) -> int | None:
        """Return the process that holds the other end of a connection."""
        local = connection.sock.getsockname()
        for worker in self.workers():
            if any(tuple(there.raddr) == local for there in worker.net_connections("tcp")):
                return worker.pid
        return None

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        (os.killpg if group else os.kill)(self.process.pid, number)

    def stop(self) -> int:
        """End it as an operator does, and return its exit status."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            finally:
                self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """End it whatever it does; workers that lost their parent too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def _await_answer(self) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"the service ended with {self.process.returncode}:\n{self.log}")
            try:
                return self.ask("GET", "/readyz").status in (200, 503)
            except OSError:
                return False

        wait_for(answers, "an answer of /readyz", self)


JSON = {"Content-Type": "application/json"}


def ask(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send one request over a connection that may be kept."""
    began = time.monotonic()
    chunked = body is not None and not isinstance(body, bytes)
    extra = {"Transfer-Encoding": "chunked"} if chunked else {}
    connection.request(method, path, body, {**(headers or {}), **extra}, encode_chunked=chunked)
    response = connection.getresponse()
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, content, time.monotonic() - began)


def multipart(
    fields: Iterable[tuple[str, str]], files: Iterable[tuple[str, str, bytes]]
) -> tuple[bytes, dict[str, str]]:
    """Return a multipart body and its header; files are field, file name and content."""
    parts = [
        f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in fields
    ]
    parts += [
        f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + content
        for field, name, content in files
    ]
    body = b"".join(b"--frontier\r\n" + part + b"\r\n" for part in parts) + b"--frontier--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=frontier"}


def faulty(fault: str, folder: Path) -> dict[str, str]:
    """Return the environment in which a fault of tests/service/faults is in every Python process."""
    if not fault:
        return {}
    return {"PYTHONPATH": str(FAULTS), "NNTEST_FAULT": fault, "NNTEST_MARK": str(folder / "mark")}


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return this process's environment with these settings, and no others."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("NNSERVE_")}
    return plain | {f"NNSERVE_{name.upper()}": str(value) for name, value in settings.items()}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(
    condition: Callable[[], Any], meaning: str, service: Service | None = None, seconds: float = DEADLINE
) -> None:
    """Return once the condition holds; fail, with the log, where it does not in time."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        if waited > seconds:
            log = f"; the log:\n{service.log}" if service else ""
            raise AssertionError(f"no {meaning} within {seconds:g} s{log}")
        # What takes long is looked at less often: to look costs what is waited for its time.
        time.sleep(min(0.01 + waited / 20, 0.05))


def nnserve(*arguments: object, folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    """Run the `nnserve` command as a shell would, with settings in lower case."""
    return subprocess.run(
        [NNSERVE, *map(str, arguments)],
        env=environment(settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
