"""Dockerfile and docker-compose.yml as data, and their services as processes: no container engine is needed.

A container here has mounts and process ids of its own, a read-only tree, a user who is not root and what the
two files say of command, environment and health check; only its paths lie in a folder of the test.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml
from serving import DEADLINE, ROOT, environment, wait_for

COMPOSE_FILE = ROOT / "docker-compose.yml"
VOLUME, SECRETS = "/data", "/run/secrets"
USER = "10001"

# Runs as root in a mount namespace of its own. First the tree, which may be a mount itself; then the rest.
SET_UP = """
set -e
mount --bind "$TREE" "$TREE"
mount -o remount,bind,ro "$TREE"
mount --bind "$FOLDER/data" "$FOLDER/data"
mount -t tmpfs tmpfs "$FOLDER/tmp"
mount -o remount,bind,ro /
cd "$FOLDER/data"
exec "$@"
"""
# Who may write only what is its own, but may read all: the tests' Python may lie in root's home.
READ_ALL = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
AS_USER = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs", *READ_ALL]


def compose(variables: Mapping[str, str] | None = None) -> Any:
    """Return the compose file with the variables of a .env put in, and the defaults of the others."""
    given = variables or {}
    text = re.sub(
        r"\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1]) or found[2], COMPOSE_FILE.read_text()
    )
    return yaml.safe_load(text)


def stages() -> list[list[tuple[str, str]]]:
    """Return the Dockerfile's stages, each as its instructions with their arguments."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: list[list[tuple[str, str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            instruction, _, arguments = line.partition(" ")
            if instruction == "FROM":
                found.append([])
            found[-1].append((instruction, arguments.strip()))
    return found


def argument(instruction: str) -> str:
    """Return the argument of an instruction that stands once in the stage that runs."""
    (only,) = [arguments for name, arguments in stages()[-1] if name == instruction]
    return only


def image_environment() -> dict[str, str]:
    pairs = (pair.partition("=") for pair in shlex.split(argument("ENV")))
    return {name: value for name, _, value in pairs}


class Container:
    """A running service of the compose file."""

    def __init__(self, service: str, folder: Path, port: int) -> None:
        self.service = compose()["services"][service]
        self.log_file = folder / f"{service}.log"
        settings = image_environment() | self.service["environment"] | {"NNSERVE_PORT": str(port)}
        del settings["PATH"]
        settings = {name: _here(str(value), folder) for name, value in settings.items()}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "TMPDIR": str(folder / "tmp"), "TREE": str(ROOT), "FOLDER": str(folder)}
        self.environment = environment({}) | settings | own
        # The first process of its own namespace takes all others with it, and leaves with its parent.
        apart = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        command = [*apart, "bash", "-c", SET_UP, "bash", *AS_USER, *self.service["command"]]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def first(self) -> psutil.Process:
        """Return the process that the container is: number 1 in it."""
        outer = psutil.Process(self.process.pid)
        wait_for(outer.children, "process in the container")
        return outer.children()[0]

    def execute(self, *command: str, root: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as `docker exec` does."""
        enter = ["nsenter", f"--target={self.first().pid}", "--mount", "--pid"]
        return subprocess.run(
            [*enter, *([] if root else AS_USER), *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Run the health check once, as the engine does."""
        kind, *command = self.service["healthcheck"]["test"]
        assert kind == "CMD"
        return self.process.poll() is None and self.execute(*command).returncode == 0

    def await_health(self) -> None:
        patience = seconds(self.service["healthcheck"]["start_period"])
        # To ask takes a Python of its own, which would be in the way of what starts.
        up = ("Booting worker", "is ready")
        wait_for(lambda: self.process.poll() is not None or any(word in self.log for word in up), "start")
        wait_for(lambda: self.is_healthy() or self.process.poll() is not None, "health", seconds=patience)
        assert self.process.poll() is None, self.log

    def stop(self) -> int:
        """Stop it as `docker stop` does: the first process is told, and killed after the grace period."""
        self.first().send_signal(signal.SIGTERM)
        return self.process.wait(seconds(self.service["stop_grace_period"]))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)


@contextmanager
def shared_folder(database_url: str) -> Iterator[Path]:
    """Make what the containers share: the volume, which is the user's, and the secret."""
    # Not among pytest's folders, which nobody else may enter.
    folder = Path(tempfile.mkdtemp(prefix="containers-"))
    folder.chmod(0o755)
    for name in ("data", "secrets", "tmp"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", int(USER), int(USER))
    (folder / "secrets" / "database_url").write_text(_here(database_url, folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def seconds(duration: str) -> int:
    """Return a duration of the compose file in seconds."""
    found = re.fullmatch(r"(\d+)s", duration)
    assert found is not None, duration
    return int(found[1])


def exec_form(text: str) -> list[str]:
    """Return a command of the Dockerfile that no shell takes apart; anything else fails."""
    command: list[str] = json.loads(text)
    return command


def _here(value: str, folder: Path) -> str:
    for path in (VOLUME, SECRETS):
        value = value.replace(f"{path}/", f"{folder / Path(path).name}/")
    return value
