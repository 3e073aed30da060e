"""How a view asks a version: in one place, so that every prediction is timed, counted and watched."""

import time

from flask import current_app, request

from nncore.types import Array, FloatArray
from service.loading import Served
from service.metrics import BEGAN, INFERENCE, PARSING, Metrics
from service.monitoring import Monitoring


def ask(served: Served, x: Array) -> FloatArray:
    """Return a version's answers to raw inputs: x (N, *input_shape), (N, K) as `Predictor.predict` has it.

    What it took goes into the metrics and, for the log line, into the request's environment; inputs and
    answers into the version's sketch. Raises InputError as the predictor does.
    """
    began = time.perf_counter()
    outputs = served.predictor.predict(x)
    inference, environ = time.perf_counter() - began, request.environ
    extensions = current_app.extensions
    parsing = began - environ.get(BEGAN, began)
    environ[PARSING], environ[INFERENCE] = parsing, inference
    metrics: Metrics = extensions["metrics"]
    metrics.predicted(served.model, served.version, len(x), parsing, inference)
    monitoring: Monitoring = extensions["monitoring"]
    monitoring.record(served, x, outputs)
    return outputs
