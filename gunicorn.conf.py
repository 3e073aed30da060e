"""How gunicorn runs the service. Everything an operator sets comes from NNSERVE_* (docs/settings.md)."""

import gc
import os
import signal
import sys
from typing import Any

# Before NumPy is imported, here or in a worker: at these sizes a second BLAS thread only costs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import gunicorn.http.wsgi

from service.descriptors import make_room
from service.memory import keep_little
from service.pressure import SPARE_THREADS
from service.settings import SettingsError, read_settings

try:
    settings = read_settings()
except SettingsError as error:
    sys.exit(f"nnserve: {error}")

# Says less than gunicorn would.
gunicorn.http.wsgi.SERVER = "nnserve"
wsgi_app = "service:create_app()"
bind = f"[{settings.host}]:{settings.port}" if ":" in settings.host else f"{settings.host}:{settings.port}"
worker_class = "service.worker.Worker"
workers = settings.workers
# A stream of events holds a thread as long as it lasts: predictions must not have to wait for it, and health
# not for either.
threads = settings.threads + settings.streams + SPARE_THREADS
worker_connections = make_room()
# The models are loaded once, before the fork, and shared by the workers.
preload_app = True
graceful_timeout = settings.graceful_timeout
keepalive = 5
# By default a client on this machine could set SCRIPT_NAME with a header, and be answered 500.
forwarder_headers = ""
# Who came by HTTPS is told by our own setting for proxies; and where nobody is believed, no address matters.
secure_scheme_headers: dict[str, str] = {}
forwarded_allow_ips = "*"
loglevel = settings.log_level.lower()
# One line a request comes from the application, with the request's id.
accesslog = None
# Its own lines go the way of all others: with a handler of its own each would be there twice after a reload.
errorlog = None
control_socket_disable = True
# The kernel's own sending would wait without end for a client that takes no more of a model file.
sendfile = False


def _part_of(app: Any, name: str) -> Any:
    """Return a part of the service; None of another application, which is run like this to compare."""
    return getattr(app, "extensions", {}).get(name)


def when_ready(server: Any) -> None:
    """Before the workers fork: leave what is loaded out of every later garbage collection."""
    if tally := _part_of(server.app.wsgi(), "tally"):
        tally.prepare()
    gc.freeze()
    keep_little()


def post_worker_init(worker: Any) -> None:
    """Before a worker answers anybody, have it know the keys as they are now."""
    if keyring := getattr(worker.wsgi, "extensions", {}).get("keyring"):
        keyring.watch()
    if exposition := _part_of(worker.wsgi, "exposition"):
        exposition.begin()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 (gunicorn hands them over)
    """When a worker has gone: what it counted stays, and what it told of its present goes."""
    if tally := _part_of(server.app.wsgi(), "tally"):
        tally.clear_free_places()


def on_exit(server: Any) -> None:
    """At the end of the master, remove what the workers counted."""
    if tally := _part_of(server.app.wsgi(), "tally"):
        tally.remove()


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 (gunicorn hands them over)
    """Let a signal end a worker that is still booting: the master's handlers, inherited, would swallow it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
