"""Every setting, read once from the environment and checked at the start."""

import dataclasses
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import environs
from environs import FileAwareEnv
from marshmallow import ValidationError, validate

from service.database import POSTGRESQL, parse_url
from service.scopes import SCOPES

# Beside the packages in a checkout; inside this one where nnserve was installed from a wheel.
_CHECKOUT = Path(__file__).resolve().parent.parent
HOME = _CHECKOUT if (_CHECKOUT / "gunicorn.conf.py").exists() else _CHECKOUT / "service" / "share"

PREFIX = "NNSERVE_"
# A setting may stand in a file instead, a secret say: NNSERVE_DATABASE_URL_FILE names it.
FILE = "_FILE"
# Read by commands that call a service, and no settings of one.
NOT_OURS = {"NNSERVE_URL", "NNSERVE_API_KEY", "NNSERVE_API_KEY_FILE"}


class SettingsError(Exception):
    """A setting that is not what it must be; says its name and what would be right."""


def _setting(default: Any, meaning: str, **check: Any) -> Any:
    factory = default if callable(default) else lambda: default
    return dataclasses.field(default_factory=factory, metadata={"meaning": meaning, "check": check})


def _cores() -> int:
    # Not every system tells which cores a process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _address(host: str) -> None:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, ValueError):
        raise ValidationError("Must be an address of this machine, or a name for one.") from None


def _writable_folder(path: Path) -> None:
    # What is there already: the folder itself, or the one that it will be made in.
    there = next((folder for folder in (path, *path.absolute().parents) if os.path.lexists(folder)), path)
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ValidationError("Must be a folder that the service may write to, or a name for a new one.")


def _database(text: str) -> None:
    try:
        url = parse_url(text)
    except ValueError as error:
        raise ValidationError(f"{str(error).capitalize()}.") from None
    if url.get_backend_name() != POSTGRESQL:
        file = Path(str(url.database))
        _writable_folder(file.parent)
        if os.path.lexists(file) and not (file.is_file() and os.access(file, os.W_OK)):
            raise ValidationError("Must be a file that the service may write to, or a name for a new one.")


def _folder(path: Path) -> None:
    if not path.is_dir():
        raise ValidationError("Must be a folder.")


def _scopes(text: str) -> None:
    if text and not set(listed(text)) <= set(SCOPES):
        raise ValidationError(f"Must be some of {', '.join(SCOPES)}, with commas between them.")


def _origins(text: str) -> None:
    for origin in listed(text):
        if origin != "*" and not re.fullmatch(_ORIGIN, origin, re.IGNORECASE):
            raise ValidationError("Must be origins like https://example.org, with commas between them, or *.")


def listed(text: str) -> tuple[str, ...]:
    """Return what stands between the commas of a setting."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


_ORIGIN = r"https?://[a-z0-9.\-\[\]:]+"
_NAMES = r"(\.?[a-z0-9-]+(\.[a-z0-9-]+)*(,\s*|$))*"
_RATE = r"[1-9][0-9]{0,8}/(second|minute|hour|day)"
_POSITIVE = {"validate": validate.Range(min=1)}
_ABOVE_ZERO = {"validate": validate.Range(min=0, min_inclusive=False)}
_NOT_NEGATIVE = {"validate": validate.Range(min=0)}


@dataclass(frozen=True)
class Settings:
    """What an operator can set, each as NNSERVE_ and the name in capitals."""

    host: str = _setting("127.0.0.1", "address to listen on", validate=_address)
    port: int = _setting(8000, "port to listen on", validate=validate.Range(min=1, max=65535))
    allow_anonymous: str = _setting(
        "", "what may be done without a key: some of predict, train, metrics, admin", validate=_scopes
    )
    admin_key: str = _setting(
        "",
        "a key for administrators, at least 32 characters; better in a file",
        validate=validate.Regexp("([!-~]{32,})?$", error="Must have at least 32 visible characters."),
    )
    trusted_hosts: str = _setting(
        "",
        "names that the service is called by, besides those of this machine; .example.org for all below",
        validate=validate.Regexp(
            _NAMES + "$", re.IGNORECASE, error="Must be names, with commas between them."
        ),
    )
    cors_origins: str = _setting(
        "", "origins whose pages may call: https://example.org, or *", validate=_origins
    )
    trusted_proxies: int = _setting(0, "proxies that requests come through", **_NOT_NEGATIVE)
    path_prefix: str = _setting(
        "",
        "path that the service stands under, for the links in answers: /nn",
        validate=validate.Regexp(r"((/[A-Za-z0-9._~-]+)+)?$", error="Must be like /nn."),
    )
    rate_limit: str = _setting(
        "",
        "requests of one key or address: 100/second;10000/hour",
        validate=validate.Regexp(f"({_RATE}(;{_RATE})*)?$", error="Must be like 100/second;10000/hour."),
    )
    workers: int = _setting(_cores, "worker processes; by default one a core", **_POSITIVE)
    threads: int = _setting(16, "requests that a worker answers at once", **_POSITIVE)
    streams: int = _setting(4, "event streams a worker; each takes a thread more", **_POSITIVE)
    trainers: int = _setting(1, "trainers that `nnserve up` starts: jobs run at once", **_POSITIVE)
    graceful_timeout: int = _setting(30, "seconds that requests may still take after SIGTERM", **_POSITIVE)
    model_store: Path = _setting(
        Path("var/models"), "folder of the models that are served; written to", validate=_writable_folder
    )
    shipped_models: Path = _setting(
        HOME / "models",
        "folder of the models that come with nnserve, brought into the store at the start",
        validate=_folder,
    )
    database_url: str = _setting(
        "sqlite:///var/nnserve.db",
        "database of jobs and of the histories of labels: SQLite, or PostgreSQL for several machines",
        validate=_database,
    )
    shipped_recipes: Path = _setting(
        HOME / "recipes", "folder of the recipes that a job may name", validate=_folder
    )
    lease_seconds: float = _setting(
        10.0, "seconds without a heartbeat after which a job is taken from its trainer", **_ABOVE_ZERO
    )
    checkpoint_seconds: float = _setting(2.0, "seconds between two checkpoints of a job", **_ABOVE_ZERO)
    max_attempts: int = _setting(3, "times in a row that a job is begun and comes no further", **_POSITIVE)
    trainer_nice: int = _setting(
        10,
        "niceness of trainers, and of reading datasets: 19 gives way to everything",
        validate=validate.Range(min=0, max=19),
    )
    max_queued: int = _setting(100, "jobs that may be queued", **_POSITIVE)
    max_queued_by_client: int = _setting(20, "jobs of one client that may be queued", **_POSITIVE)
    max_parameters: int = _setting(5_000_000, "parameters of a job's network", **_POSITIVE)
    max_epochs: int = _setting(10_000, "epochs of a job", **_POSITIVE)
    max_job_seconds: int = _setting(3600, "seconds that a job may take", **_POSITIVE)
    max_job_memory: int = _setting(2 << 30, "bytes of memory that a job may take", **_POSITIVE)
    max_model: int = _setting(64 << 20, "bytes of a model file that is sent", **_POSITIVE)
    max_dataset: int = _setting(256 << 20, "bytes of a dataset that is sent", **_POSITIVE)
    max_dataset_seconds: int = _setting(300, "seconds that reading a dataset may take", **_POSITIVE)
    max_dataset_memory: int = _setting(
        2 << 30, "bytes of memory that reading a dataset may take", **_POSITIVE
    )
    keep_versions: int = _setting(20, "versions of a model without a label that are kept", **_NOT_NEGATIVE)
    keep_jobs: int = _setting(1000, "ended jobs that are kept", **_NOT_NEGATIVE)
    keep_events: int = _setting(100, "ended jobs whose events are kept", **_NOT_NEGATIVE)
    keep_checkpoints: int = _setting(
        20, "failed or cancelled jobs whose checkpoints are kept, to try them again", **_NOT_NEGATIVE
    )
    max_disk: int = _setting(
        10 << 30, "bytes of models, datasets, checkpoints and SQLite's file together", **_POSITIVE
    )
    body_seconds: int = _setting(
        30, "seconds that a body may take to arrive, and one more for each 64 KiB", **_POSITIVE
    )
    max_body: int = _setting(2 << 20, "bytes of a JSON body", **_POSITIVE)
    max_upload: int = _setting(
        16 << 20, "bytes of a multipart body, or of one with binary tensors", **_POSITIVE
    )
    max_rows: int = _setting(10_000, "examples in one request", **_POSITIVE)
    max_explained: int = _setting(
        500, "examples in one request for what lies behind answers: `saliency`, `activations`", **_POSITIVE
    )
    max_pictures: int = _setting(64, "pictures in one request", **_POSITIVE)
    max_pixels: int = _setting(
        16_000_000, "pixels of all pictures in one request, in equal shares", **_POSITIVE
    )
    log_format: str = _setting(
        "text", "`text` or `json`, one line each", validate=validate.OneOf(["text", "json"])
    )
    log_level: str = _setting(
        "INFO",
        "`DEBUG`, `INFO` (a line a request), `WARNING` or `ERROR`",
        validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]),
    )


def read_settings() -> Settings:
    """Return the settings of the environment; raises SettingsError with every one that is wrong."""
    env = FileAwareEnv(file_suffix=FILE, eager=False, prefix=PREFIX, strip_whitespace=True)
    known = {field.name: field for field in dataclasses.fields(Settings)}
    for name, value in os.environ.items():
        if not name.startswith(PREFIX) or name in NOT_OURS:
            continue
        if name.removeprefix(PREFIX).removesuffix(FILE) not in {field.upper() for field in known}:
            raise SettingsError(f"{name}: there is no such setting; docs/settings.md lists them")
        if not value:
            # An empty host would be every address of the machine, an empty path the current folder.
            raise SettingsError(f"{name}: is empty; leave it out for the default")
    readers = {int: env.int, float: env.float, str: env.str, Path: env.path}
    try:
        values = {
            name: readers[field.type](name.upper(), field.default_factory(), **field.metadata["check"])  # type: ignore
            for name, field in known.items()
        }
        env.seal()
    except environs.EnvValidationError as error:
        raise SettingsError("; ".join(_lines(error.error_messages))) from None
    except ValueError as error:
        # A file that cannot be read, which environs says at once.
        raise SettingsError(str(error)) from None
    return Settings(**values)


def described() -> list[tuple[str, str]]:
    """Return every setting's variable, and its meaning with its default: what --help shows."""
    return [
        (PREFIX + field.name.upper(), f"{field.metadata['meaning']} [{field.default_factory()}]")  # type: ignore
        for field in dataclasses.fields(Settings)
    ]


def _lines(messages: Sequence[str] | Mapping[str, Sequence[str]]) -> list[str]:
    if isinstance(messages, Mapping):
        return [f"{name}: {' '.join(texts)}" for name, texts in messages.items()]
    return list(messages)
