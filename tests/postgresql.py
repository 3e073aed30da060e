"""A real PostgreSQL to test with, started where its programs are and thrown away afterwards."""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg
import pytest
from serving import free_port

_counter = itertools.count(1)


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs; Debian keeps it out of the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


class Server:
    """A server on a port of its own, which trusts everybody on this machine and forgets at a power cut."""

    def __init__(self) -> None:
        # Not among pytest's folders, which nobody else may enter.
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgresql-")), free_port()
        # It refuses to run as root, so it runs as the user that Debian's package makes.
        self.user = {"user": "postgres", "group": "postgres", "extra_groups": ()} if os.geteuid() == 0 else {}
        if self.user:
            shutil.chown(self.folder, "postgres", "postgres")
        self._call("initdb", "-D", "data", "-U", "nnserve", "-A", "trust", "--no-sync")
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
        self._call("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", f"{options} -c fsync=off", "start")

    def new_database(self) -> str:
        """Return the URL of an empty database."""
        name = f"test{next(_counter)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return self._url(name)

    def restart(self) -> None:
        """End all connections at once, as a crash does, and come back."""
        self._call("pg_ctl", "-D", "data", "-l", "log", "-w", "-m", "immediate", "restart")

    def stop(self) -> None:
        self._call("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)

    def _url(self, database: str) -> str:
        return f"postgresql://nnserve@127.0.0.1:{self.port}/{database}"

    def _call(self, program: str, *arguments: str) -> None:
        folder = programs()
        assert folder is not None
        log = self.folder / f"{program}.log"
        with log.open("ab") as output:
            done = subprocess.run(
                [folder / program, *arguments],
                cwd=self.folder,
                stdout=output,
                stderr=output,
                check=False,
                **self.user,
            )
        assert done.returncode == 0, log.read_text()


def start_server() -> Server:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    return Server()
