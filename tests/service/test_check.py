"""`nnserve check`: a line for each thing, what is wrong and what would be right, and never a traceback."""

import contextlib
import json
import logging
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from postgresql import Server
from serving import ROOT, SHIPPED, Service, free_port, nnserve

from service.cli import main
from service.database import Database, parse_url
from service.schema import migrate


def check(folder: Path, **settings: Any) -> tuple[int, dict[str, tuple[bool, str]]]:
    """Run `nnserve check` in this process; return the exit status, and what is said about each thing."""
    settings = {"port": free_port()} | settings
    variables = {f"NNSERVE_{name.upper()}": str(value) for name, value in settings.items()}
    with contextlib.chdir(folder):
        done = CliRunner().invoke(main, ["check", "--json"], env=variables)
    # The command is silent in its log, and would be to the end of its process.
    logging.disable(logging.NOTSET)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert document["ok"] == (done.exit_code == 0) == all(one["ok"] for one in document["checks"])
    return done.exit_code, {one["about"]: (one["ok"], one["detail"]) for one in document["checks"]}


def test_before_the_first_start_all_is_well_and_nothing_is_made(tmp_path: Path) -> None:
    status, found = check(tmp_path)

    assert status == 0
    assert {"settings", "database", "keys", "recipes", "disk", "port", "store"} == found.keys()
    assert not list(tmp_path.iterdir())


def test_a_running_service_is_recognized_and_its_versions_are_tried(service: Service, tmp_path: Path) -> None:
    settings = {name: service.settings[name] for name in ("port", "model_store", "database_url")}
    done = nnserve("check", folder=tmp_path, **settings)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"ok    port: nnserve answers at 127.0.0.1:{service.port}\n" in done.stdout
    assert "ok    model xor: its version loads and passes the known answers; stable 1\n" in done.stdout


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bool, str]]:
    """What is said where nearly everything is wrong."""
    folder = tmp_path_factory.mktemp("broken")
    store = folder / "store"
    shutil.copytree(SHIPPED, store)
    (store / "xor" / "1" / "model.safetensors").write_bytes(b"no model")
    (store / "line" / "labels.json").write_text("{")
    (store / "exam" / "labels.json").write_text('{"stable": 7}')
    shutil.copytree(ROOT / "recipes", folder / "recipes")
    (folder / "recipes" / "bad.json").write_text('{"dataset": "nothing"}')
    database = Database(parse_url(f"sqlite:///{folder}/nnserve.db"))
    migrate(database)
    with closing(sqlite3.connect(folder / "nnserve.db")) as connection:
        connection.execute("update schema_version set number = 99")
        connection.commit()
    status, found = check(
        folder,
        model_store=store,
        database_url=database.url,
        shipped_recipes=folder / "recipes",
        max_disk=10,
        host="0.0.0.0",
    )
    assert status == 1
    return found


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ("database", "has schema 99, this nnserve knows up to"),
        ("keys", "anybody who reaches 0.0.0.0 could call: make one (nnserve keys create"),
        ("recipes", "bad.json: "),
        ("disk", "and 10 may be: delete versions"),
        ("model xor", "version 1 cannot be served: "),
        ("model line", "line/labels.json cannot be read"),
        ("model exam", "stable names version 7, which is not there"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(
    broken: dict[str, tuple[bool, str]], about: str, said: str
) -> None:
    ok, detail = broken[about]

    assert not ok
    assert said in detail


def test_what_is_well_among_it_is_said_too(broken: dict[str, tuple[bool, str]]) -> None:
    assert {about for about, (ok, _) in broken.items() if ok} == {"settings", "port", "model digits"}


def test_a_wrong_setting_is_all_that_is_said(tmp_path: Path) -> None:
    status, found = check(tmp_path, port="http", threads=0)

    assert status == 1
    [(about, (ok, detail))] = found.items()
    assert (about, ok) == ("settings", False)
    assert "NNSERVE_PORT" in detail
    assert "NNSERVE_THREADS" in detail


def test_a_port_that_somebody_else_has_is_said(postgresql: Server, tmp_path: Path) -> None:
    status, found = check(tmp_path, port=postgresql.port, database_url=postgresql.new_database())

    assert status == 1
    assert found["database"] == (True, found["database"][1])
    assert "its tables will be made at the start" in found["database"][1]
    where = f"127.0.0.1:{postgresql.port}"
    assert found["port"][1] == (
        f"{where} cannot be listened on (Address already in use): choose another NNSERVE_PORT"
    )


def test_a_database_that_is_away_is_one_line(tmp_path: Path) -> None:
    url = f"postgresql://somebody:secret@127.0.0.1:{free_port()}/nnserve"
    done = nnserve("check", folder=tmp_path, port=free_port(), database_url=url)

    assert done.returncode == 1
    assert "WRONG database: the database does not answer: " in done.stdout
    assert "secret" not in done.stdout
    assert all(line.startswith(("ok    ", "WRONG ")) for line in done.stdout.splitlines())
