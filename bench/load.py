"""A load of requests from one process: a few kept-alive connections, each sending as it is answered."""

import selectors
import socket
import time


class Connection:
    """One socket that sends the same request again and again."""

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.request = request
        self.received = b""

    def send(self) -> None:
        self.received = b""
        self.sent = time.perf_counter()
        self.socket.sendall(self.request)

    def receive(self) -> bool:
        """Read what has come; tell whether the answer is whole."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        if not blank:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(self.received.decode(errors="replace"))
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        return len(body) >= length


def post(
    body: bytes, media_type: str, path: str = "/predict", key: str = "", headers: tuple[str, ...] = ()
) -> bytes:
    """Return a whole request, with an API key where one is given."""
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {media_type}", *headers)
    lines += (f"Authorization: Bearer {key}",) if key else ()
    return "\r\n".join((*lines, f"Content-Length: {len(body)}", "", "")).encode() + body


def requests_per_second(port: int, request: bytes, connections: int, seconds: float) -> float:
    """Return how many requests a second the server on a port answers."""
    return len(latencies(port, request, connections, seconds)) / seconds


def latencies(port: int, request: bytes, connections: int, seconds: float) -> list[float]:
    """Return the seconds that each request took which was answered within so many seconds."""
    with selectors.DefaultSelector() as selector:
        began = time.perf_counter()
        for _ in range(connections):
            connection = Connection(port, request)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.send()
        took: list[float] = []
        while time.perf_counter() - began < seconds:
            for key, _ in selector.select(timeout=10):
                if key.data.receive():
                    took.append(time.perf_counter() - key.data.sent)
                    key.data.send()
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return took
