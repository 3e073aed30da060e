"""Settings: read from the environment, checked at the start, documented."""

import dataclasses
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import ROOT, Service, free_port, nnserve

from service.settings import Settings, SettingsError, read_settings

NAMES = {f"NNSERVE_{field.name.upper()}" for field in dataclasses.fields(Settings)}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("NNSERVE_"):
            monkeypatch.delenv(name)


def test_without_variables_every_setting_has_its_default() -> None:
    settings = read_settings()

    assert settings == Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.workers == len(os.sched_getaffinity(0))
    assert settings.model_store == Path("var/models")
    assert settings.shipped_models == ROOT / "models"
    assert settings.max_body == 2 * 1024 * 1024


def test_every_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "host": "0.0.0.0",
        "allow_anonymous": "predict,train",
        "admin_key": "0123456789" * 4,
        "trusted_hosts": "NN.example.org, .example.net",
        "cors_origins": "https://Example.org",
        "trusted_proxies": 1,
        "path_prefix": "/nn",
        "rate_limit": "100/second;1000/hour",
        "body_seconds": 14,
        "port": 9000,
        "workers": 3,
        "threads": 4,
        "graceful_timeout": 5,
        "model_store": tmp_path / "store",
        "shipped_models": tmp_path,
        "database_url": "postgresql://somebody@somewhere/nnserve",
        "shipped_recipes": tmp_path,
        "streams": 2,
        "trainers": 3,
        "lease_seconds": 5,
        "checkpoint_seconds": 6,
        "max_attempts": 7,
        "trainer_nice": 19,
        "max_queued": 8,
        "max_queued_by_client": 9,
        "max_parameters": 10,
        "max_epochs": 11,
        "max_job_seconds": 12,
        "max_job_memory": 13,
        "max_model": 5000,
        "max_dataset": 5001,
        "max_dataset_seconds": 5002,
        "max_dataset_memory": 5003,
        "keep_versions": 0,
        "keep_jobs": 7,
        "keep_events": 6,
        "keep_checkpoints": 5,
        "max_disk": 10_000,
        "max_body": 1000,
        "max_upload": 2000,
        "max_rows": 30,
        "max_explained": 20,
        "max_pictures": 4,
        "max_pixels": 500,
        "log_format": "json",
        "log_level": "ERROR",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"NNSERVE_{name.upper()}", str(value))

    assert dataclasses.asdict(read_settings()) == values


WRONG = [
    ("HOST", "no address", "address"),
    ("HOST", "x" * 100, "address"),
    ("ALLOW_ANONYMOUS", "everything", "predict, train, metrics, admin"),
    ("ADMIN_KEY", "too short", "32"),
    ("TRUSTED_HOSTS", "https://example.org", "names"),
    ("CORS_ORIGINS", "example.org", "https://example.org"),
    ("CORS_ORIGINS", "https://example.org/path", "https://example.org"),
    ("TRUSTED_PROXIES", "-1", "0"),
    ("PATH_PREFIX", "nn", "/nn"),
    ("PATH_PREFIX", "/nn/", "/nn"),
    ("RATE_LIMIT", "100 a second", "100/second"),
    ("RATE_LIMIT", "0/second", "100/second"),
    ("BODY_SECONDS", "0", "1"),
    ("PORT", "http", "integer"),
    ("PORT", "0", "1"),
    ("PORT", "65536", "65535"),
    ("PORT", "80.5", "integer"),
    ("WORKERS", "0", "1"),
    ("WORKERS", "two", "integer"),
    ("THREADS", "-1", "1"),
    ("GRACEFUL_TIMEOUT", "0", "1"),
    ("GRACEFUL_TIMEOUT", "30s", "integer"),
    ("DATABASE_URL", "nnserve.db", "sqlite:///"),
    ("DATABASE_URL", "sqlite:///:memory:", "sqlite:///"),
    ("DATABASE_URL", "mysql://somebody@somewhere/nnserve", "postgresql://"),
    ("DATABASE_URL", "postgresql://somebody@somewhere", "postgresql://"),
    ("DATABASE_URL", f"sqlite:///{__file__}/nnserve.db", "folder"),
    ("DATABASE_URL", f"sqlite:///{ROOT}", "file"),
    ("MAX_MODEL", "0", "1"),
    ("KEEP_VERSIONS", "-1", "0"),
    ("KEEP_JOBS", "all", "integer"),
    ("KEEP_EVENTS", "-1", "0"),
    ("KEEP_CHECKPOINTS", "-1", "0"),
    ("MAX_DISK", "10GB", "integer"),
    ("MAX_BODY", "0", "1"),
    ("MAX_BODY", "2MiB", "integer"),
    ("MAX_UPLOAD", "-5", "1"),
    ("MAX_ROWS", "0", "1"),
    ("MAX_EXPLAINED", "0", "1"),
    ("MAX_PICTURES", "0", "1"),
    ("MAX_PIXELS", "1e6", "integer"),
    ("LOG_FORMAT", "xml", "text, json"),
    ("LOG_LEVEL", "info", "INFO"),
    ("MODEL_STORE", __file__, "folder"),
    ("SHIPPED_MODELS", __file__, "folder"),
    ("SHIPPED_MODELS", "/nowhere/models", "folder"),
    *((name.removeprefix("NNSERVE_"), "", "empty") for name in sorted(NAMES)),
]


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_a_wrong_value_is_refused_with_its_name_and_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, right: str
) -> None:
    monkeypatch.setenv(f"NNSERVE_{name}", value)

    with pytest.raises(SettingsError, match=rf"NNSERVE_{name}: .*{right}") as caught:
        read_settings()
    assert "\n" not in str(caught.value)


def test_there_is_a_wrong_value_for_every_setting() -> None:
    assert {f"NNSERVE_{name}" for name, _, _ in WRONG} == NAMES


def test_several_wrong_values_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNSERVE_PORT", "http")
    monkeypatch.setenv("NNSERVE_THREADS", "0")

    with pytest.raises(SettingsError, match=r"NNSERVE_PORT: .*NNSERVE_THREADS: "):
        read_settings()


@pytest.mark.parametrize("name", ["NNSERVE_PROT", "NNSERVE_", "NNSERVE_MAX_BODY_", "NNSERVE_port"])
def test_an_unknown_name_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "8000")

    with pytest.raises(SettingsError, match=f"{name}: there is no such setting"):
        read_settings()


def test_the_address_that_nnserve_predict_reads_is_no_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNSERVE_URL", "http://127.0.0.1:9000")

    assert read_settings() == Settings()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"port": "http", "threads": 0}, "nnserve: NNSERVE_PORT: .*; NNSERVE_THREADS: .*"),
        ({"wrokers": 2}, "nnserve: NNSERVE_WROKERS: there is no such setting.*"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(
    tmp_path: Path, settings: dict[str, object], said: str
) -> None:
    process = nnserve("web", folder=tmp_path, **settings)

    assert process.returncode == 1
    assert re.fullmatch(said, process.stderr.strip())
    assert process.stdout == ""
    assert not list(tmp_path.iterdir())


def test_the_address_may_be_one_of_ipv6(start: Callable[..., Service]) -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6")
    port = free_port()
    service = start(workers=1, port=port, host="::1")

    assert f"Listening at: http://[::1]:{port}" in service.log


def documented() -> dict[str, str]:
    """Return the table of the docs: each setting's name and default."""
    text = (ROOT / "docs" / "settings.md").read_text()
    return dict(re.findall(r"^\| `(NNSERVE_\w+)` \| (.*?) \|", text, re.MULTILINE))


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert documented().keys() == NAMES


def test_the_documented_defaults_are_the_real_ones() -> None:
    literal = {name: text.strip("`") for name, text in documented().items() if re.fullmatch("`[^`]*`", text)}
    real = {f"NNSERVE_{name.upper()}": str(value) for name, value in dataclasses.asdict(Settings()).items()}

    assert literal.items() <= real.items()
    # The others have words for a default: one a core, and the folders beside the package.
    words = {"WORKERS", "SHIPPED_MODELS", "SHIPPED_RECIPES", "ALLOW_ANONYMOUS", "ADMIN_KEY", "TRUSTED_HOSTS"}
    words |= {"CORS_ORIGINS", "PATH_PREFIX", "RATE_LIMIT"}
    assert {name.removeprefix("NNSERVE_") for name in NAMES - literal.keys()} == words


def test_a_store_that_may_not_be_written_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NNSERVE_MODEL_STORE", str(tmp_path / "new" / "store"))
    assert read_settings().model_store == tmp_path / "new" / "store"

    asked: list[Path] = []
    # Root may write anywhere, so the tests cannot take the right away.
    monkeypatch.setattr(os, "access", lambda path, mode: asked.append(path))
    with pytest.raises(SettingsError, match=r"NNSERVE_MODEL_STORE: Must be a folder that .* may write to"):
        read_settings()
    assert asked == [tmp_path]


def test_a_database_in_a_folder_that_may_not_be_written_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NNSERVE_DATABASE_URL", f"sqlite:///{tmp_path}/new/nnserve.db")
    assert read_settings().database_url == f"sqlite:///{tmp_path}/new/nnserve.db"

    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path and writable(path, mode))
    with pytest.raises(SettingsError, match=r"NNSERVE_DATABASE_URL: Must be a folder that .* may write to"):
        read_settings()


def test_a_database_that_may_not_be_written_to_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "nnserve.db"
    file.touch()
    monkeypatch.setenv("NNSERVE_DATABASE_URL", f"sqlite:///{file}")
    read_settings()

    writable = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: path != file and writable(path, mode))
    with pytest.raises(SettingsError, match=r"NNSERVE_DATABASE_URL: Must be a file that .* may write to"):
        read_settings()


def test_a_store_below_a_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("NNSERVE_MODEL_STORE", str(tmp_path / "file" / "store"))
    with pytest.raises(SettingsError, match="NNSERVE_MODEL_STORE"):
        read_settings()
