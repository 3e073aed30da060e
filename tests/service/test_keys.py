"""API keys: made, listed and revoked beside a running service, and what may be done with and without one."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask import Flask
from postgresql import Server
from serving import JSON, Answer, Service, free_port, nnserve, wait_for
from training import post_job

from service.cli import main
from service.database import Database, parse_url
from service.keyring import Keyring
from service.keys import Keys
from service.schema import migrate
from service.scopes import ADMIN, METRICS, NEEDED, OPEN, PREDICT, SCOPES, TRAIN

XOR = b'{"model": "xor", "inputs": [[0, 1]]}'
EVERYWHERE = "0.0.0.0"


def keys_command(url: str, *arguments: str) -> Result:
    """Run `nnserve keys` in this process; one of its own it has where keys are listed."""
    done = CliRunner().invoke(main, ["keys", *arguments], env={"NNSERVE_DATABASE_URL": url})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def make_key(url: str, name: str, *options: str) -> str:
    done = keys_command(url, "create", name, *options)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout.strip()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict[str, str]]]:
    """A service on all addresses with two workers, and a key for each scope."""
    folder = tmp_path_factory.mktemp("guarded")
    url = f"sqlite:///{folder}/nnserve.db"
    keys = {scope: make_key(url, f"the-{scope}-key", "--scope", scope) for scope in SCOPES}
    service = Service(folder, workers=2, database_url=url, host=EVERYWHERE)
    yield service, keys
    service.stop()
    print(service.log)


CALLS = [
    ("POST", "/predict", PREDICT),
    ("GET", "/models", PREDICT),
    ("GET", "/models/xor/labels/stable", PREDICT),
    ("GET", "/train", TRAIN),
    ("GET", "/metrics", METRICS),
    ("POST", "/train", TRAIN),
    ("GET", "/train/0123456789abcdef", TRAIN),
    ("GET", "/datasets", TRAIN),
    ("PUT", "/models/xor/labels/stable", ADMIN),
    ("GET", "/models/xor/versions/1/file", ADMIN),
    ("POST", "/models/xor/versions", ADMIN),
    ("DELETE", "/models/xor/versions/1", ADMIN),
]


def was_refused(answer: Answer) -> bool:
    return answer.status in (401, 403)


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
def test_each_call_needs_its_scope_and_admin_has_all(
    guarded: tuple[Service, dict[str, str]], method: str, path: str, scope: str
) -> None:
    service, keys = guarded

    without = service.ask(method, path, b"")
    assert without.status == 401
    assert without.headers["www-authenticate"].startswith("Bearer")
    assert without.json["detail"].startswith(f"This needs a key with the scope {scope}")
    for has, key in keys.items():
        answer = service.ask(method, path, b"", bearer(key))
        if has in (scope, ADMIN):
            assert not was_refused(answer)
        else:
            assert answer.status == 403
            assert (
                answer.json["detail"] == f"This needs the scope {scope}; the key 'the-{has}-key' has {has}."
            )


def test_every_view_has_its_scope(make_app: Callable[..., Flask]) -> None:
    views = {rule.endpoint for rule in make_app().url_map.iter_rules()}

    assert views - NEEDED.keys() == set()
    assert {view for view, scope in NEEDED.items() if scope == OPEN} <= views


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_needs_no_key(guarded: tuple[Service, dict[str, str]], path: str) -> None:
    assert guarded[0].ask("GET", path).status == 200
    assert guarded[0].ask("GET", path, headers=bearer("nns_wrong")).status == 200


@pytest.mark.parametrize("change", [lambda key: key[:-1], lambda key: key + "x", str.swapcase])
def test_a_key_that_is_nearly_right_is_unknown(
    guarded: tuple[Service, dict[str, str]], change: Callable[[str], str]
) -> None:
    service, keys = guarded
    answer = service.ask("GET", "/models", headers=bearer(change(keys[ADMIN])))

    assert answer.status == 401
    assert answer.json["detail"] == "This key is unknown here, has expired or was revoked."


@pytest.mark.parametrize("sent", ["Basic YTpi", "Bearer", "", "\xff", "nns_something"])
def test_what_is_no_bearer_is_no_key(guarded: tuple[Service, dict[str, str]], sent: str) -> None:
    assert guarded[0].ask("GET", "/models", headers={"Authorization": sent}).status == 401


def test_no_secret_is_in_the_database_or_the_log(guarded: tuple[Service, dict[str, str]]) -> None:
    service, keys = guarded
    assert service.ask("GET", "/models", headers=bearer(keys[ADMIN])).status == 200

    written = service.log.encode()
    for file in Path(service.settings["database_url"].removeprefix("sqlite:///")).parent.glob("nnserve.db*"):
        written += file.read_bytes()
    assert b"the-admin-key" in written
    assert not any(key.encode() in written for key in keys.values())


def test_a_job_and_a_label_belong_to_the_key(guarded: tuple[Service, dict[str, str]]) -> None:
    service, keys = guarded
    asked = b'{"model": "xor", "recipe": "xor"}'
    job = service.ask("POST", "/train", asked, JSON | bearer(keys[TRAIN])).json["id"]
    moved = service.ask("PUT", "/models/xor/labels/mine", b'{"version": 1}', JSON | bearer(keys[ADMIN])).json

    path = service.settings["database_url"].removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as connection:
        [client] = connection.execute("select client from jobs where id = ?", (job,)).fetchone()
    assert client == "the-train-key"
    assert moved["history"][0]["who"] == "the-admin-key"


def test_a_key_works_and_ends_in_all_workers_within_seconds(
    guarded: tuple[Service, dict[str, str]], tmp_path: Path
) -> None:
    service, _ = guarded
    url = service.settings["database_url"]
    revoked = make_key(url, "short-lived", "--scope", "predict")
    expired = make_key(url, "brief", "--scope", "predict", "--expires", "1m")

    def answers() -> set[int]:
        # Over new connections, so that both workers are asked.
        asked = [bearer(key) for key in (revoked, expired) for _ in range(12)]
        return {service.ask("GET", "/models", headers=headers).status for headers in asked}

    wait_for(lambda: answers() == {200}, "keys in all workers", service, seconds=5)
    assert keys_command(url, "revoke", "short-lived").exit_code == 0
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        # Its minute is over.
        connection.execute("update api_keys set expires = expires - 61 where name = 'brief'")
        connection.commit()
    wait_for(lambda: answers() == {401}, "end of the keys in all workers", service, seconds=5)


def test_use_is_recorded_once_a_minute(database_url: str) -> None:
    database = Database(parse_url(database_url))
    migrate(database)
    keys = Keys(database)
    keys.create("a", (PREDICT,))
    [key] = keys.all()

    for seconds in (1000.0, 1030.0, 1061.0, 1100.0):
        keys.note_use({key.id: seconds}, 60.0)
        assert keys.all()[0].used == (1000.0 if seconds < 1060 else 1061.0)
    database.close()


def test_a_key_expires(database_url: str) -> None:
    database = Database(parse_url(database_url))
    migrate(database)
    key = Keys(database).create("brief", (PREDICT,), seconds=0.3)
    keyring = Keyring(database)

    assert keyring.find(key) is not None
    wait_for(lambda: keyring.find(key) is None, "end of the key", seconds=2)
    # Its name is free again.
    Keys(database).create("brief", (PREDICT,))
    database.close()


def test_keys_are_listed_without_their_secrets(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nnserve.db"
    options = ("--scope", "train", "--scope", "predict", "--expires", "30d")
    key = nnserve("keys", "create", "alice", *options, folder=tmp_path, database_url=url).stdout.strip()
    make_key(url, "root", "--admin")
    nnserve("keys", "revoke", "root", folder=tmp_path, database_url=url)

    listed = nnserve("keys", "list", folder=tmp_path, database_url=url).stdout
    everything = keys_command(url, "list", "--all").stdout
    assert listed.count("\n") == 1
    assert "\talice\tpredict,train\tmade 2" in listed
    assert "\tnever used\texpires 2" in listed
    assert "\troot\tadmin\t" in everything
    assert "\trevoked 2" in everything
    assert key[4:] not in everything


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "x"], "say what it may do"),
        (["create", "x y", "--admin"], "must be 1 to 64 letters"),
        (["create", "admin", "--admin"], "and not 'admin'"),
        (["create", "taken", "--admin"], "There is a key 'taken' already"),
        (["create", "x", "--admin", "--expires", "soon"], "must be like 30d"),
        (["create", "x", "--scope", "everything"], "'everything' is not one of"),
        (["revoke", "nobody"], "There is no key 'nobody' to revoke, only: taken"),
    ],
)
def test_a_wrong_call_of_keys_is_told_without_a_traceback(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    database = Database(parse_url(f"sqlite:///{tmp_path}/nnserve.db"))
    migrate(database)
    Keys(database).create("taken", (ADMIN,))
    database.close()
    done = keys_command(database.url.render_as_string(), *arguments)

    assert done.exit_code != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_service_that_others_reach_needs_a_key_or_leave_to_do_without(tmp_path: Path) -> None:
    done = nnserve("web", folder=tmp_path, host=EVERYWHERE, port=free_port(), workers=1)

    assert done.returncode == 1
    assert done.stderr.startswith(
        "nnserve: anybody who reaches 0.0.0.0 could call it: make a key (nnserve keys"
    )
    assert "Traceback" not in done.stderr


def test_behind_a_proxy_nobody_is_on_this_machine(tmp_path: Path) -> None:
    done = nnserve("web", folder=tmp_path, port=free_port(), workers=1, trusted_proxies=1)

    assert done.returncode == 1
    assert "make a key" in done.stderr


def test_what_may_be_done_without_a_key_is_a_setting(start: Callable[..., Service]) -> None:
    service = start(workers=1, host=EVERYWHERE, allow_anonymous="predict, train")

    assert service.predict(model="xor", inputs=[[0, 1]]).status == 200
    assert post_job(service, "xor", recipe="xor").status == 202
    assert service.ask("DELETE", "/models/xor/versions/1").status == 401


def test_the_first_key_closes_a_service_that_was_open_and_its_end_does_not_open_it(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(workers=1)
    url = service.settings["database_url"]
    assert service.ask("GET", "/models", headers={"Authorization": "Basic YTpi"}).status == 200
    assert service.ask("GET", "/models", headers=bearer("whatever")).status == 200
    make_key(url, "first", "--admin")

    wait_for(lambda: service.ask("GET", "/models").status == 401, "key", service, seconds=5)
    keys_command(url, "revoke", "first")
    time.sleep(1.2)
    assert service.ask("GET", "/models").status == 401


def test_the_first_key_may_stand_in_a_file(start: Callable[..., Service], tmp_path: Path) -> None:
    secret = "a-long-random-text-of-an-operator-0123456789"
    (tmp_path / "secret").write_text(secret + "\n")
    service = start(workers=1, admin_key_file=tmp_path / "secret")

    assert service.ask("GET", "/models").status == 401
    assert service.ask("DELETE", "/models/xor/versions/9", headers=bearer(secret)).status == 404
    assert secret not in service.log


def test_known_keys_go_on_working_without_a_database_also_in_a_new_worker(
    start: Callable[..., Service], tmp_path: Path
) -> None:
    service = start(workers=1)
    path = Path(service.settings["database_url"].removeprefix("sqlite:///"))
    key, revoked = (make_key(f"sqlite:///{path}", name, "--admin") for name in ("good", "bad"))
    keys_command(f"sqlite:///{path}", "revoke", "bad")

    def status(sent: str) -> int:
        return service.ask("GET", "/models", headers=bearer(sent)).status

    wait_for(lambda: (status(key), status(revoked)) == (200, 401), "keys", service, seconds=5)
    path.rename(path.with_name("away"))
    [worker] = service.workers()
    os.kill(worker.pid, signal.SIGKILL)
    wait_for(lambda: [w.pid for w in service.workers()] not in ([], [worker.pid]), "new worker", service)
    assert (status(key), status(revoked)) == (200, 401)
    said = f"keys stay as they were, until the database answers: {path} is not the file that was opened"
    wait_for(lambda: said in service.log, "line that says so", service, seconds=5)
    assert "SQL" not in service.log

    path.with_name("away").rename(path)
    keys_command(f"sqlite:///{path}", "revoke", "good")
    wait_for(lambda: status(key) == 401, "end of the key", service, seconds=5)


def test_keys_are_kept_in_postgresql_too(
    start: Callable[..., Service], postgresql: Server, tmp_path: Path
) -> None:
    url = postgresql.new_database()
    key = make_key(url, "alice", "--scope", "predict")
    service = start(workers=1, database_url=url)

    assert service.ask("POST", "/predict", XOR, JSON | bearer(key)).status == 200
    assert service.ask("POST", "/predict", XOR, JSON).status == 401

    def listed() -> str:
        return keys_command(url, "list").stdout

    wait_for(lambda: "\tused 2" in listed(), "use of the key", service, seconds=5)
    keys_command(url, "revoke", "alice")
    wait_for(
        lambda: service.ask("POST", "/predict", XOR, JSON | bearer(key)).status == 401,
        "end",
        service,
        seconds=5,
    )


def test_the_client_and_the_commands_send_the_key(
    guarded: tuple[Service, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from service.client import Client, ProblemError

    service, keys = guarded
    (tmp_path / "netrc").write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Client(service.url, api_key=keys[PREDICT]) as client:
        assert client.predict("xor", [[0, 1]]).version == 1
    with Client(service.url) as client, pytest.raises(ProblemError, match="401"):
        client.models()
    done = nnserve("models", "list", folder=tmp_path, url=service.url, api_key=keys[PREDICT])
    assert done.stdout.startswith("digits\t")
    assert nnserve("models", "list", folder=tmp_path, url=service.url).returncode == 1
