"""nnserve and the servers that `bench/peer_serving.py` compares it with: how each is started and asked.

Each has a virtual environment of its own, var/peers/<name>/.venv, which `make bench-peers` installs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from load import post
from serving import free_port, make_key, store_settings

ROOT = Path(__file__).parent.parent
PEERS = ROOT / "bench" / "peers"
Answer = tuple[str, list[float]]


@dataclass(frozen=True)
class Server:
    """A server: its command and settings for a port, a request for one digit, and how to read its answer."""

    name: str
    command: Callable[[str], list[str]]
    request: bytes
    read: Callable[[Any], Answer]
    settings: Callable[[str], Mapping[str, str]] = lambda port: {}
    sources: tuple[Path, ...] = field(default=())

    @property
    def environment(self) -> Path:
        return environment(self.name)

    def installed_bytes(self) -> int:
        """Return what the server and all that it needs take on disk, Python itself left out."""
        folders = (*self.environment.glob("lib/python3*/site-packages"), *self.sources)
        return sum(
            file.stat().st_blocks * 512
            for folder in folders
            for file in folder.rglob("*")
            if file.is_file() and not file.is_symlink()
        )


def environment(name: str) -> Path:
    return ROOT / "var" / "peers" / name.lower() / ".venv"


def servers(pixels: list[int], store: Path) -> list[Server]:
    """Return nnserve, with its models and database in a folder, and its peers, asked about one digit."""
    body = orjson.dumps({"inputs": [pixels]})
    json = "application/json"
    tensor = {"name": "inputs", "datatype": "FP32", "shape": [1, 784], "data": pixels}
    return [
        nnserve(pixels, store),
        Server(
            "FastAPI",
            lambda port: [_bin("fastapi", "uvicorn"), "with_fastapi:app", "--port", port],
            post(body, json),
            _predictions,
        ),
        Server(
            "MLServer",
            lambda port: [_bin("mlserver", "mlserver"), "start", str(PEERS)],
            post(orjson.dumps({"inputs": [tensor]}), json, path="/v2/models/digits/infer"),
            _tensors,
            settings=_mlserver_settings,
        ),
        Server(
            "LitServe",
            lambda port: [_bin("litserve", "python"), "with_litserve.py", port],
            post(body, json),
            _predictions,
        ),
        Server(
            "BentoML",
            lambda port: [
                *[_bin("bentoml", "bentoml"), "serve", "with_bentoml:Digits"],
                *["--host", "127.0.0.1", "--port", port],
            ],
            post(body, json),
            _predictions,
        ),
    ]


def nnserve(pixels: list[int], store: Path) -> Server:
    """Return nnserve with its shipped settings, one worker, and a key."""
    settings = store_settings(store)
    return Server(
        "nnserve",
        lambda port: [_bin("nnserve", "nnserve"), "web"],
        post(
            orjson.dumps({"model": "digits", "version": 1, "inputs": [pixels]}),
            "application/json",
            key=make_key(store),
        ),
        _predictions,
        settings=lambda port: settings | {"NNSERVE_PORT": port},
        sources=tuple(ROOT / name for name in ("nncore", "service", "recipes")),
    )


def _bin(peer: str, name: str) -> str:
    return str(environment(peer) / "bin" / name)


def _mlserver_settings(port: str) -> dict[str, str]:
    # Its pool of worker processes is left out: with one worker on one core it would only cost.
    settings = {"PARALLEL_WORKERS": "0", "DEBUG": "false", "HOST": "127.0.0.1", "HTTP_PORT": port}
    settings |= {"GRPC_PORT": str(free_port()), "METRICS_PORT": str(free_port())}
    return {f"MLSERVER_{name}": value for name, value in settings.items()}


def _predictions(document: Any) -> Answer:
    prediction = document["predictions"][0]
    return prediction["label"], prediction["probabilities"]


def _tensors(document: Any) -> Answer:
    data = {output["name"]: output["data"] for output in document["outputs"]}
    return data["label"][0], data["probabilities"]
