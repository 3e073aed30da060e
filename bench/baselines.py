"""What `bench/serving.py` compares with: an empty Flask view, and a bare WSGI function.

Both read the body that they are sent, as any view that looks at its input has to.
"""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, request

flask_app = Flask("empty")


@flask_app.post("/predict")
def empty() -> bytes:
    request.get_data()
    return b""


def wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", "0")])
    return [b""]
