"""Requests a second of /predict against an empty Flask view and a bare WSGI function.

All three run under gunicorn with the service's own settings and one worker, on a core of their own,
the service with a key, its metrics and its log. They are asked in turn in one run, by one connection and by
eight: read the ratios, not the absolute figures.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import orjson
from load import post, requests_per_second
from PIL import Image

from nncore.datasets import DATASETS

ROOT = Path(__file__).parent.parent
APPS = {
    "nnserve": None,
    "empty Flask view": "bench.baselines:flask_app",
    "bare WSGI": "bench.baselines:wsgi_app",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[-1:])
    with tempfile.TemporaryDirectory() as store, ExitStack() as stack:
        ports = {name: stack.enter_context(serve(app, store, cores[0])) for name, app in APPS.items()}
        for case, request in requests(make_key(Path(store))).items():
            for connections in (1, 8):
                rates = measure(ports, request, connections, options.rounds, options.seconds)
                report(f"{case}, {connections} at a time", rates)


def measure(
    ports: dict[str, int], request: bytes, connections: int, rounds: int, seconds: float
) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for port in ports.values():
        requests_per_second(port, request, connections, seconds / 4)
    for _ in range(rounds):
        for name, port in ports.items():
            rates[name].append(requests_per_second(port, request, connections, seconds))
    return rates


def report(title: str, rates: dict[str, list[float]]) -> None:
    print(f"{title}: {statistics.median(rates['nnserve']):,.0f} requests a second")
    for other in list(APPS)[1:]:
        ratios = [a / b for a, b in zip(rates["nnserve"], rates[other], strict=True)]
        print(f"  × {statistics.median(ratios):.2f} of {other} ({min(ratios):.2f}-{max(ratios):.2f})")


def requests(key: str) -> dict[str, bytes]:
    picture = DATASETS["digits"]().test.inputs[0]
    png = BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    form = (
        b'--B\r\nContent-Disposition: form-data; name="model"\r\n\r\ndigits\r\n'
        b'--B\r\nContent-Disposition: form-data; name="version"\r\n\r\n1\r\n'
        b'--B\r\nContent-Disposition: form-data; name="image"; filename="7.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + png.getvalue() + b"\r\n--B--\r\n"
    )
    xor = orjson.dumps({"model": "xor", "inputs": [[0, 1]]})
    digit = orjson.dumps({"model": "digits", "version": 1, "inputs": [picture.ravel().tolist()]})
    return {
        "XOR by JSON": post(xor, "application/json", key=key),
        "a digit by JSON, 784 numbers": post(digit, "application/json", key=key),
        "a digit by binary tensors": binary(picture.astype(np.float32).tobytes(), key),
        "a digit by PNG": post(form, "multipart/form-data; boundary=B", key=key),
    }


def binary(pixels: bytes, key: str) -> bytes:
    """Return a request of the V2 protocol with tensors in binary, there and back."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, 784]}
    tensor["parameters"] = {"binary_data_size": len(pixels)}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return post(
        head + pixels,
        "application/octet-stream",
        "/v2/models/digits/versions/1/infer",
        key,
        (f"Inference-Header-Content-Length: {len(head)}",),
    )


def store_settings(store: Path) -> dict[str, str]:
    """Return the settings of a service with one worker whose models and database are in a folder."""
    database = f"sqlite:///{store}/nnserve.db"
    return {"NNSERVE_WORKERS": "1", "NNSERVE_MODEL_STORE": str(store), "NNSERVE_DATABASE_URL": database}


def make_key(store: Path) -> str:
    """Return a new key that may ask for predictions; from then on the service wants one."""
    command = [Path(sys.executable).with_name("nnserve"), "keys", "create", "bench", "--scope", "predict"]
    settings = os.environ | store_settings(store)
    made = subprocess.run(command, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    return made.stdout.strip()


@contextmanager
def serve(app: str | None, store: str, core: int) -> Iterator[int]:
    """Run an app under gunicorn, the service if None, and return its port once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *([app] if app else [])]
    settings = store_settings(Path(store)) | {"NNSERVE_PORT": str(port)}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stderr=log)
        try:
            os.sched_setaffinity(process.pid, [core])
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


if __name__ == "__main__":
    main()
