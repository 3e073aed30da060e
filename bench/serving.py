"""Requests a second of /predict against an empty Flask view and a bare WSGI function.

All three run under gunicorn with the service's own settings and one worker, on a core of their own,
the service with its request ids and its log. They are asked in turn in one run, by one connection and by
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

import orjson
from load import requests_per_second
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
        for case, body in requests().items():
            for connections in (1, 8):
                rates = measure(ports, body, connections, options.rounds, options.seconds)
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


def requests() -> dict[str, bytes]:
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
        "XOR by JSON": post(xor, "application/json"),
        "a digit by JSON, 784 numbers": post(digit, "application/json"),
        "a digit by PNG": post(form, "multipart/form-data; boundary=B"),
    }


def post(body: bytes, media_type: str) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def serve(app: str | None, store: str, core: int) -> Iterator[int]:
    """Run an app under gunicorn, the service if None, and return its port once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", *([app] if app else [])]
    settings = {"NNSERVE_PORT": str(port), "NNSERVE_WORKERS": "1", "NNSERVE_MODEL_STORE": store}
    settings["NNSERVE_DATABASE_URL"] = f"sqlite:///{store}/nnserve.db"
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
