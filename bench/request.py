"""Where the time of one /predict goes, part by part, measured in a process that does nothing else.

Without a server, sockets and threads: a digit by JSON, asked of the WSGI application, beside an empty Flask
view that reads the same body. Each part is the median of calls of its own.
"""

import argparse
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import orjson
from baselines import flask_app
from flask import Flask
from serving import make_key, store_settings

from nncore.datasets import DATASETS
from nncore.predictor import answers
from service import codec, create_app, inputs, observe
from service.schemas import load_predict

SCOPE = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "RAW_URI": "/predict", "SERVER_NAME": "localhost"}
SCOPE |= {"SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost", "QUERY_STRING": ""}
SCOPE |= {"CONTENT_TYPE": "application/json", "wsgi.url_scheme": "http", "REMOTE_ADDR": "127.0.0.1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        os.environ |= store_settings(Path(store))
        key = make_key(Path(store))
        app = create_app()
        # The log lines are written, and go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        digit = DATASETS["digits"]().test.inputs[0].ravel().tolist()
        body = orjson.dumps({"model": "digits", "version": 1, "inputs": [digit]})
        for name, part in parts(app, body, key).items():
            print(f"{name:<44}{median(part, options.calls) * 1e6:6.1f} µs")


def parts(app: Flask, body: bytes, key: str) -> dict[str, Callable[[], Any]]:
    def asked() -> dict[str, Any]:
        return environ(body, key)

    context = app.request_context(asked())
    context.push()
    call(app, asked())
    served = app.extensions["store"].get("digits", 1)
    loaded = load_predict(body)
    x = inputs.from_arrays(served.predictor.card, loaded["inputs"], app.extensions["settings"])
    outputs = served.predictor.predict(x)
    document = {"predictions": answers(served.predictor.card, outputs), "labels": list("0123456789")}
    metrics, line = app.extensions["metrics"], asked() | {observe.TRACE: None}
    return {
        "a digit by JSON, all of it": lambda: call(app, asked()),
        "an empty Flask view": lambda: call(flask_app, asked()),
        "the caller's key, host and origin": app.preprocess_request,
        "JSON, and the schema with the array": lambda: load_predict(body),
        "  of which JSON": lambda: codec.loads(body),
        "the shape and the range": lambda: inputs.from_arrays(
            served.predictor.card, loaded["inputs"], app.extensions["settings"]
        ),
        "the network": lambda: served.predictor.predict(x),
        "metrics": lambda: (
            metrics.predicted("digits", 1, 1, 1e-4, 1e-4),
            metrics.answered(line, "200 OK", 1e-3),
        ),
        "the sketch of inputs and answers": lambda: app.extensions["monitoring"].record(served, x, outputs),
        "the answer": lambda: codec.respond(
            document | {"predictions": answers(served.predictor.card, outputs)}
        ),
        "the log line": lambda: os.write(2, observe.text_line(line, "200 OK", 1e-3, "0123456789abcdef")),
    }


def environ(body: bytes, key: str) -> dict[str, Any]:
    sent = {"CONTENT_LENGTH": str(len(body)), "HTTP_AUTHORIZATION": f"Bearer {key}"}
    return SCOPE | sent | {"wsgi.input": io.BytesIO(body)}


def call(app: Flask, asked: dict[str, Any]) -> None:
    answer = app(asked, lambda status, headers, exc_info=None: None)
    b"".join(answer)
    answer.close()


def median(part: Callable[[], Any], calls: int) -> float:
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        part()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


if __name__ == "__main__":
    main()
