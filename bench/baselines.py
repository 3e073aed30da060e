"""What `bench/serving.py` compares with: an empty Flask view, and a bare WSGI function.

Both read the body that they are sent, and answer an empty JSON object: what any view has to do.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, request

flask_app = Flask("empty")


@flask_app.post("/predict")
@flask_app.post("/v2/models/<model>/versions/<version>/infer")
def empty(**path: str) -> dict[str, str]:  # noqa: ARG001 (what the path names)
    request.get_data()
    return {}


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
    return [b"{}"]
