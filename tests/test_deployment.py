"""The image and its services: what an operator relies on, and that they run as the two files say.

There is no container engine here. The compose file is held against the Compose specification's schema, and
its services are started from it as processes: tests/containers.py.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from containers import (
    COMPOSE_FILE,
    SECRETS,
    USER,
    VOLUME,
    Container,
    argument,
    compose,
    exec_form,
    image_environment,
    seconds,
    shared_folder,
    stages,
)
from postgresql import Server, start_server
from serving import DEADLINE, ROOT, free_port, wait_for
from sqlalchemy.engine import make_url

from service.settings import Settings

SERVICES: dict[str, Any] = compose()["services"]
OURS = {name: SERVICES[name] for name in ("web", "trainer")}
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_of_ours = pytest.mark.parametrize("service", OURS.values(), ids=OURS)


def validate(file: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [program, "--builtin-schema", "vendor.compose-spec", file]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_compose_file_is_what_the_compose_specification_allows() -> None:
    done = validate(COMPOSE_FILE)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("read_only: true", "read_onyl: true"),
        ("condition: service_healthy", "condition: service_happy"),
        ("cap_drop: [ALL]", "cap_drop: ALL"),
    ],
)
def test_a_compose_file_with_a_mistake_is_refused(right: str, wrong: str, tmp_path: Path) -> None:
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(COMPOSE_FILE.read_text().replace(right, wrong, 1))

    assert validate(broken).returncode == 1


# What an operator relies on.


def test_only_the_web_service_is_published_and_on_this_machine_alone() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert ports == {"web": [f"127.0.0.1:8000:{Settings().port}"]}
    assert argument("EXPOSE") == str(Settings().port)
    assert not any("network_mode" in service for service in SERVICES.values())


def test_without_a_key_one_may_predict_train_and_read_metrics_since_only_this_machine_gets_there() -> None:
    assert OURS["web"]["environment"]["NNSERVE_ALLOW_ANONYMOUS"] == "predict,train,metrics"
    assert SERVICES["web"]["ports"][0].startswith("127.0.0.1:")


def test_both_services_run_the_one_image_which_is_built_once() -> None:
    assert {service["image"] for service in OURS.values()} == {"nnserve"}
    assert [name for name, service in SERVICES.items() if "build" in service] == ["web"]
    assert OURS["trainer"]["pull_policy"] == "never"


@each_service
def test_a_container_can_change_nothing_but_its_volume_and_temporary_files(service: Any) -> None:
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert len(service["volumes"]) == 1
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "cap_add" not in service


def test_nobody_is_root() -> None:
    assert argument("USER") == f"{USER}:{USER}"
    assert [name for name, service in SERVICES.items() if "user" in service] == ["postgres"]
    assert SERVICES["postgres"]["user"] == "postgres"


@each_service
def test_health_is_asked_for_without_a_shell_and_without_curl(service: Any) -> None:
    kind, program, *_ = service["healthcheck"]["test"]

    assert kind == "CMD"
    assert program in ("nnserve", "pg_isready")


@pytest.mark.parametrize("name", OURS)
def test_a_service_is_asked_for_its_own_health(name: str) -> None:
    assert OURS[name]["command"] == ["nnserve", name]
    assert OURS[name]["healthcheck"]["test"] == ["CMD", "nnserve", "health", name]


def test_services_wait_for_each_other_to_be_well() -> None:
    assert OURS["trainer"]["depends_on"] == {"web": {"condition": "service_healthy"}}
    # Without its profile there is no PostgreSQL to wait for.
    assert OURS["web"]["depends_on"] == {"postgres": {"condition": "service_healthy", "required": False}}
    assert SERVICES["postgres"]["profiles"] == ["postgres"]
    assert not any("profiles" in service for service in OURS.values())


@each_service
def test_what_a_container_may_take_is_limited(service: Any) -> None:
    assert {"cpus", "memory", "pids"} == service["deploy"]["resources"]["limits"].keys()


def test_a_trainer_may_take_more_than_a_job_and_the_web_service_has_a_worker_a_core() -> None:
    limits = {name: service["deploy"]["resources"]["limits"] for name, service in OURS.items()}

    assert int(limits["trainer"]["memory"].removesuffix("g")) << 30 > Settings().max_job_memory
    assert OURS["web"]["environment"]["NNSERVE_WORKERS"] == limits["web"]["cpus"] == "1"


@each_of_ours
def test_a_container_is_killed_later_than_it_stops_by_itself(service: Any) -> None:
    assert "NNSERVE_GRACEFUL_TIMEOUT" not in image_environment() | service["environment"]
    assert seconds(service["stop_grace_period"]) > Settings().graceful_timeout + 5


def test_secrets_are_files_and_no_password_stands_in_the_environment() -> None:
    for service in SERVICES.values():
        (secret,) = service["secrets"]
        files = [value for name, value in service["environment"].items() if name.endswith("_FILE")]
        assert files == [f"{SECRETS}/{secret}"]
        assert not any("://" in str(value) for value in service["environment"].values())
    assert all(secret.keys() == {"file"} for secret in compose()["secrets"].values())


def test_models_and_sqlite_lie_on_the_volume_that_the_image_gives_to_its_user() -> None:
    settings = image_environment()
    url = (ROOT / compose()["secrets"]["database_url"]["file"]).read_text().strip()

    assert {service["volumes"][0] for service in OURS.values()} == {f"data:{VOLUME}"}
    assert settings["NNSERVE_MODEL_STORE"].startswith(f"{VOLUME}/")
    assert url == settings["NNSERVE_DATABASE_URL"] == f"sqlite:///{VOLUME}/nnserve.db"
    assert f"--owner=nnserve --group=nnserve {VOLUME}" in argument("RUN")


def test_the_image_is_built_in_one_stage_and_runs_in_another() -> None:
    build, runs = stages()
    base, name = build[0][1].split(" AS ")

    # A virtual environment works only with the Python and at the path that it was made with.
    assert runs[0] == ("FROM", base)
    assert re.fullmatch(r"python:3\.11-slim-\w+", base)
    assert argument("COPY") == f"--from={name} /opt/nnserve /opt/nnserve"
    assert image_environment()["PATH"] == "/opt/nnserve/bin:$PATH"
    assert "gcc" not in argument("RUN")


def test_the_image_starts_and_asks_for_health_without_a_shell() -> None:
    kind, command = argument("HEALTHCHECK").split(" ", 1)

    assert exec_form(argument("CMD")) == OURS["web"]["command"]
    assert kind == "CMD"
    assert ["CMD", *exec_form(command)] == OURS["web"]["healthcheck"]["test"]


def test_no_image_is_whatever_is_newest() -> None:
    images = [arguments for name, arguments in stages()[0] + stages()[1] if name == "FROM"]
    images.append(SERVICES["postgres"]["image"])

    assert not any("latest" in image or ":" not in image for image in images)


def test_the_image_is_built_from_what_is_needed_and_from_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {*wheel["packages"], *wheel["force-include"], "pyproject.toml", "constraints.txt", "README.md"}

    assert lines[1] == "*"
    assert needed | {"LICENSE", "NOTICE"} == {line[1:] for line in lines if line.startswith("!")}
    assert wheel["force-include"].keys() == {"gunicorn.conf.py", "models", "recipes"}


def test_one_command_moves_both_services_to_postgresql_by_one_url(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets"))
    command = ["sh", tmp_path / "deploy" / "use-postgres.sh"]
    subprocess.run(command, check=True, umask=0o077)

    variables = dict(line.split("=") for line in (tmp_path / ".env").read_text().split())
    moved = compose(variables)
    assert variables["COMPOSE_PROFILES"] == "postgres"
    url_file = tmp_path / moved["secrets"]["database_url"]["file"]
    password_file = tmp_path / moved["secrets"]["postgres_password"]["file"]
    url = make_url(url_file.read_text().strip())
    database = moved["services"]["postgres"]
    assert (url.host, url.username) == ("postgres", database["environment"]["POSTGRES_USER"])
    # PostgreSQL's image names the database after the user.
    assert url.database == url.username
    assert url.password == password_file.read_text()
    assert re.fullmatch(r"[a-z0-9]{40}", password_file.read_text())
    assert all(moved["services"][name]["secrets"] == ["database_url"] for name in OURS)
    # A container's user, who is nobody here, reads the files; others on this machine do not get as far.
    assert {file.stat().st_mode & 0o777 for file in (url_file, password_file)} == {0o644}
    assert url_file.parent.stat().st_mode & 0o777 == 0o700
    # The database knows this password: it must stay.
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode != 0
    assert make_url(url_file.read_text().strip()) == url


def test_what_stands_in_an_env_file_is_documented() -> None:
    names = re.findall(r"\$\{(\w+):-", COMPOSE_FILE.read_text())
    described = (ROOT / "docs" / "deployment.md").read_text()

    assert names
    assert [name for name in names if f"| `{name}` |" not in described] == []


def test_what_that_command_writes_is_never_committed() -> None:
    files = [".env", "deploy/secrets/database_url", "deploy/secrets/postgres_password"]
    done = subprocess.run(
        ["git", "check-ignore", *files], cwd=ROOT, capture_output=True, check=False, text=True
    )

    assert done.stdout.split() == files


# The services, started from what the files say.


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    server = start_server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgres"])
def containers(request: pytest.FixtureRequest) -> Iterator[dict[str, Container]]:
    """The two services, the trainer not started before the web service is well."""
    if os.geteuid() != 0:
        pytest.skip("only root can make mounts and start processes of another user")
    url = (ROOT / compose()["secrets"]["database_url"]["file"]).read_text()
    if request.param == "postgres":
        server: Server = request.getfixturevalue("postgresql")
        url = server.new_database()
    port = free_port()
    started: dict[str, Container] = {}
    with shared_folder(url) as folder:
        try:
            for name in OURS:
                started[name] = Container(name, folder, port)
                started[name].await_health()
            yield started
        finally:
            for container in started.values():
                container.kill()
                print(container.log)


def test_the_services_train_predict_and_stop_in_time(containers: dict[str, Container]) -> None:
    web, trainer = containers["web"], containers["trainer"]
    url = f"http://127.0.0.1:{web.environment['NNSERVE_PORT']}"

    for container in containers.values():
        first = container.first()
        everybody = [first, *first.children(recursive=True)]
        assert {process.uids().real for process in everybody} == {int(USER)}
        tried = container.execute("touch", str(ROOT / "x"), str(ROOT / "models" / "x"), root=True)
        assert tried.stderr.count("Read-only file system") == 2

    asked = {"model": "xor", "recipe": "xor", "promote": "always"}
    answer = requests.post(f"{url}/train", json=asked, timeout=DEADLINE)
    assert answer.status_code == 202, answer.text
    address = url + answer.headers["Location"]

    def job() -> Any:
        return requests.get(address, timeout=DEADLINE).json()

    wait_for(lambda: job()["state"] not in ("queued", "running"), "end of the job")
    assert job()["state"] == "succeeded", job()
    version = job()["result"]["version"]
    wait_for(lambda: predict(url)["version"] == version, "answer of the new version")
    assert version > 1
    assert [each["label"] for each in predict(url)["predictions"]] == ["0", "1", "1", "0"]

    assert trainer.stop() == 0
    assert web.execute("nnserve", "health", "trainer").returncode == 1
    assert web.is_healthy()
    assert web.stop() == 0


def predict(url: str) -> Any:
    question = {"model": "xor", "inputs": [[0, 0], [0, 1], [1, 0], [1, 1]]}
    return requests.post(f"{url}/predict", json=question, timeout=DEADLINE).json()
