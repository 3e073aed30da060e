"""/docs in a real browser: it draws the description by the service's own files alone."""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from service.openapi_calls import CALLS
from service.openapi_words import TAGS

CHROMIUM = shutil.which("chromium")
# A container has no user namespaces for its sandbox; what is drawn is our own page.
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
QUIET = ("--disable-background-networking", "--disable-component-update", "--no-proxy-server")
SECONDS = 60
# What swagger-ui says of itself, whatever it draws.
ITS_OWN = "Deprecated: escaping deep link whitespace"


@pytest.fixture
def address(make_app: Callable[..., Flask]) -> Iterator[str]:
    """The service under a path, as behind a proxy, and nothing anywhere else."""
    app = make_app(path_prefix="/nn")
    server = make_server("127.0.0.1", 0, DispatcherMiddleware(NotFound(), {"/nn": app}), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/nn"
    server.shutdown()
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; .ci/run installs it")
def test_the_page_draws_every_call_under_any_path(address: str, tmp_path: Path) -> None:
    page, complaints = draw(f"{address}/docs#/Predictions/predict_predict", tmp_path)

    # Also of what its own policy would not let it load.
    assert complaints == []
    assert all(f'data-tag="{tag}"' in page for tag in TAGS)
    assert len(set(re.findall(r'id="operations-[^"]+"', page))) >= len(CALLS)
    # The one that the address names is open, with its example and its answer.
    assert "Answer a prediction in the form it was asked for." in page
    assert page.count("exam") >= 2
    assert "confidence" in page


def draw(address: str, folder: Path) -> tuple[str, list[str]]:
    """Return the document as the browser has it once its scripts have run, and what its console says."""
    command = [CHROMIUM, *OPTIONS, *QUIET, f"--user-data-dir={folder}", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=5000", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return done.stdout, [
        line for line in done.stderr.splitlines() if ":CONSOLE" in line and ITS_OWN not in line
    ]
