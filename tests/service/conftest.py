"""The running service that most tests ask, and what they ask it about."""

import functools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from postgresql import Server, start_server
from serving import NEWEST, ROOT, SHIPPED, Service
from sketches import Digit

from nncore.artifact import describe, to_bytes
from nncore.predictor import read_model
from nncore.publishing import MODEL_FILE
from nncore.recipe import override, read_recipe, run


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for every test that changes nothing in it: two workers, the shipped models."""
    running = Service(tmp_path_factory.mktemp("service"), "web", workers=2)
    yield running
    running.stop()


@pytest.fixture
def service(running: Service) -> Iterator[Service]:
    """The running service; pytest shows what it logged during a test that failed."""
    before = len(running.log)
    yield running
    print(running.log[before:])


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start services of a test's own: `start(workers=1, log_format="json")`."""
    started: list[Service] = []

    def start(**settings: Any) -> Service:
        started.append(Service(tmp_path, **settings))
        return started[-1]

    yield start
    for service in started:
        service.stop()
        print(service.log)


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Make applications in this process, with a store of the test's own and nothing shipped."""
    from service import create_app
    from service.settings import Settings

    # create_app sends the log where the service's belongs; the next test wants pytest's own way back.
    loggers = [logging.getLogger(), logging.getLogger("gunicorn.error")]
    before = [(logger.handlers[:], logger.level, logger.propagate) for logger in loggers]

    def make(**settings: Any) -> Flask:
        folders = {"model_store": tmp_path / "store", "shipped_models": tmp_path / "shipped"}
        database = {"database_url": f"sqlite:///{tmp_path}/nnserve.db"}
        return create_app(Settings(**{**folders, **database, **settings}))

    yield make
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture(scope="session")
def xor_file() -> Callable[[int], bytes]:
    """Return model files of XOR networks, another one for each seed, barely trained."""
    recipe = read_recipe((ROOT / "recipes" / "xor.json").read_bytes())

    @functools.cache
    def trained(seed: int) -> bytes:
        return to_bytes(describe(run(override(recipe, {"seed": seed, "epochs": 3}))))

    return trained


@pytest.fixture(scope="session")
def digits() -> list[Digit]:
    """Real digits, the known answers of the shipped model."""
    card = read_model(SHIPPED / "digits" / str(NEWEST["digits"]) / MODEL_FILE).card
    return [
        Digit(np.array(pixels, np.uint8).reshape(28, 28), card.output.labels[int(np.argmax(said))], said)
        for pixels, said in zip(card.known_answers.inputs, card.known_answers.outputs, strict=True)
    ]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients speak to the service itself, whatever proxy the machine has."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """One PostgreSQL for all tests that ask for it; each asks for a database of its own."""
    server = start_server()
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/nnserve.db"
    server: Server = request.getfixturevalue("postgresql")
    return server.new_database()
