"""A server that answers each request as a test has written it down, and keeps what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Step:
    """One answer; with `drop` the connection breaks off after the body, without a body before the answer.

    An event stream goes in a chunk, as those of the service do. `delay` is in seconds.
    """

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    delay: float = 0.0


@dataclass
class Script:
    """The address of the server, and the requests that came: method, path, headers and body."""

    url: str
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def answering(*steps: Step) -> Iterator[Script]:
    left = list(steps)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            script.requests.append((self.command, self.path, dict(self.headers), body))
            step = left.pop(0)
            # No sleep, which tests replace.
            threading.Event().wait(step.delay)
            if step.drop and not step.body:
                self.close_connection = True
                return
            self.send_response(step.status)
            for name, value in ({"Content-Type": "application/json"} | step.headers).items():
                self.send_header(name, value)
            if "text/event-stream" in step.headers.values():
                self.send_header("Transfer-Encoding", "chunked")
                chunk = b"%x\r\n%b\r\n" % (len(step.body), step.body) if step.body else b""
                sent = chunk + (b"" if step.drop else b"0\r\n\r\n")
            else:
                if "Content-Length" not in step.headers:
                    self.send_header("Content-Length", str(len(step.body)))
                sent = step.body
            self.end_headers()
            self.wfile.write(sent)
            self.close_connection = step.drop

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script = Script(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
