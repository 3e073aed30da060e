"""/docs in a real browser: it draws the description by the service's own files alone."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from browser import CHROMIUM, opened
from flask import Flask
from serving import SHIPPED
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from service.openapi_calls import CALLS
from service.openapi_examples import EXAMPLES
from service.openapi_words import TAGS

# What swagger-ui says of itself, whatever it draws.
ITS_OWN = "Deprecated: escaping deep link whitespace"
# Presses Execute, and waits for what is shown of the answer.
EXECUTE = """
(async () => {
  const until = async (look) => {
    while (!look()) await new Promise(resolve => setTimeout(resolve, 20));
    return look();
  };
  const shown = (what) => () => document.querySelector(`#operations-Predictions-predict_predict ${what}`);
  const sent = (await until(shown(".body-param__text"))).value;
  (await until(shown("button.execute"))).click();
  const status = await until(shown(".live-responses-table tbody .response-col_status"));
  const body = await until(shown(".live-responses-table tbody .highlight-code code"));
  return [sent, status.innerText.trim(), body.innerText];
})()
"""


@pytest.fixture
def address(make_app: Callable[..., Flask]) -> Iterator[str]:
    """The service under a path, as behind a proxy, and nothing anywhere else."""
    app = make_app(path_prefix="/nn", shipped_models=SHIPPED)
    server = make_server("127.0.0.1", 0, DispatcherMiddleware(NotFound(), {"/nn": app}), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}/nn"
    server.shutdown()
    thread.join()


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; .ci/run installs it")
def test_the_page_draws_every_call_under_any_path_and_tries_them_out(address: str, tmp_path: Path) -> None:
    with opened(f"{address}/docs#/Predictions/predict_predict", tmp_path) as page:
        sent, status, shown = page.evaluate(EXECUTE)
        drawn = page.evaluate("document.documentElement.outerHTML")

    assert [said for said in page.complaints if ITS_OWN not in said] == []
    assert all(f'data-tag="{tag}"' in drawn for tag in TAGS)
    assert len(set(re.findall(r'id="operations-[^"]+"', drawn))) >= len(CALLS)
    # The one that the address names is open, with its example.
    assert "Answer a prediction in the form it was asked for." in drawn
    assert json.loads(sent) == EXAMPLES["predict.predict"][0].body
    # The answer is the one that anybody gets.
    said = requests.post(f"{address}/predict", sent, headers={"Content-Type": "application/json"}, timeout=5)
    assert (status, json.loads(shown)) == ("200", said.json())
    assert said.json()["predictions"]
