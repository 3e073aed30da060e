"""gunicorn's threaded worker, with its ways of ending and of waiting mended."""

import errno
import select
import selectors
import signal
import socket
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

from service import shortcuts
from service.connection import Arrived, Connection, arrived
from service.line import PATIENCE_SECONDS, Line
from service.stopping import stopping

# Seconds that a client may take to close its end of a connection that is not kept.
LINGER_SECONDS = 1.0
# Seconds that a request may take to arrive, where no setting says otherwise.
ARRIVAL_SECONDS = 30
# What comes of a connection in line whose next request has not come whole.
NOT_YET = object()


class Worker(ThreadWorker):  # type: ignore[misc]
    """A worker that loses no connection when it stops, and that no single client can hold up."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._arrival_seconds = ARRIVAL_SECONDS
        # Connections whose other end is still open.
        self._parting: deque[TConn] = deque()
        # Made in the worker: a thread crosses no fork.
        self._slow: Any = None
        self._line: Any = None
        self._closed = False

    def init_process(self) -> None:
        """Begin, with threads of their own for clients that send the head of a request slowly."""
        shortcuts.take(self.cfg)
        self._slow = ThreadPoolExecutor(max_workers=self.cfg.threads)
        super().init_process()

    def get_thread_pool(self) -> ThreadPoolExecutor:
        """Make the threads, and the line that one of them answers."""
        pool: ThreadPoolExecutor = super().get_thread_pool()
        self._line = Line(self._answer_in_line, self._give_back, pool.submit)
        return pool

    def load_wsgi(self) -> None:
        """Load the application, and take over how long a request may take to arrive."""
        super().load_wsgi()
        settings = getattr(self.wsgi, "extensions", {}).get("settings")
        if settings is not None:
            self._arrival_seconds = settings.body_seconds

    def init_signals(self) -> None:
        """Leave Ctrl-C, which a terminal sends to all processes, to the master: it tells the workers."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or end to accept; at the end, take what the listener has queued, and close it.

        gunicorn leaves the queue to be reset, and open until the last worker has gone.
        """
        if self.alive:
            super().set_accept_enabled(enabled)
        elif not self._closed:
            self._closed = True
            self._take_queued()
            super().set_accept_enabled(False)
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Take a connection, and give it a thread once something has come.

        gunicorn would have a thread wait for that: as many silent connections as there are threads, and
        nobody else were answered for seconds.
        """
        if not self.alive:
            super().accept(listener)
            return
        try:
            accepted, address = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED):
                raise
            return
        self.nr_conns += 1
        conn = TConn(self.cfg, Connection(accepted), address, listener.getsockname())
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def enqueue_req(self, conn: Any) -> None:
        """Have a request answered: in line if it is there, else by a thread that may wait for it."""
        read = conn.parser.unreader.buf.getvalue() if conn.parser else b""
        come = arrived(conn.sock, read)
        # What has been read nobody in line would hear of.
        if come is Arrived.ALL and not read and isinstance(conn.sock, Connection):
            self._line.add(conn)
            return
        pool = self._slow if come is Arrived.LITTLE else self.tpool
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def handle(self, conn: Any) -> Any:
        """Answer a request."""
        if not isinstance(conn.sock, Connection):
            conn.sock = Connection(conn.sock)
        conn.sock.begin(self._arrival_seconds)
        result = super().handle(conn)
        return result if conn.sock.flush() else False

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request, and keep its connection unless others wait for one.

        gunicorn counts those only on which nobody asks.
        """
        if self.nr_conns >= self.max_keepalived:
            req.force_close()
        return super().handle_request(req, conn)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Wait for events, no longer than it takes to see that the line does not move."""
        super().wait_for_and_dispatch_events(min(timeout, PATIENCE_SECONDS) if self._line.moves else timeout)
        self._line.watch()

    def _answer_in_line(self, conn: Any) -> Any:
        """Answer a request that is there; what has to be waited for is not for the line."""
        if arrived(conn.sock) is not Arrived.ALL:
            return NOT_YET
        result = self.handle(conn)
        # The next request may have been read already, in part, and nothing more may come that tells so.
        return NOT_YET if result is True and conn.parser.unreader.buf.getvalue() else result

    def _give_back(self, conn: Any, result: Any) -> None:
        """Have the main thread go on with a connection that has left the line."""
        self.method_queue.defer(self._go_on, conn, result)

    def _go_on(self, conn: Any, result: Any) -> None:
        if result is NOT_YET:
            self.enqueue_req(conn)
            return
        done: Future[Any] = Future()
        done.set_result(result)
        self.finish_request(conn, done)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        """Tell whether the connection can be used again, the whole request having been read.

        gunicorn reads on in any case, with time limits set and lifted, and once more before the next request;
        and for seconds, with a thread that is counted as free.
        """
        body = conn.parser.mesg.body
        is_read = keepalive and not body.failed and getattr(body.reader, "length", None) == 0
        if keepalive and not is_read:
            conn.sock.hurry()
        if is_read or super()._keepalive_after(conn, keepalive):
            conn.parser.mesg = None
            return True
        return False

    def finish_request(self, conn: Any, done: Future[Any]) -> None:
        """Keep the connection; or have the poller wait for the client to close it too.

        gunicorn waits in the thread that accepts and dispatches, where all other clients wait with it.
        """
        if done.cancelled() or done.exception() is not None or done.result() is not False:
            super().finish_request(conn, done)
            return
        try:
            conn.sock.shutdown(socket.SHUT_WR)
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._read_on, conn))
        except (OSError, ValueError):
            self.nr_conns -= 1
            conn.close()
            return
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self._parting.append(conn)

    def murder_pending(self) -> None:
        """Close the connections of clients that say nothing, and of those that do not close theirs."""
        super().murder_pending()
        while self._parting and self._parting[0].timeout < time.monotonic():
            self._part(self._parting[0])

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stop, streams too, which would last for minutes."""
        stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stop at Ctrl-C as at SIGTERM.

        gunicorn's takes a lock that the code it interrupts may hold: under load Ctrl-C would often hang.
        """
        self.handle_exit(sig, frame)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Refuse a request that did not come to the application; gunicorn would in HTML."""
        refusals = getattr(self.wsgi, "extensions", {}).get("refusals")
        if refusals is None:
            super().handle_error(req, client, addr, exc)
        else:
            refusals.refuse(client, exc, req)

    def _take_queued(self) -> None:
        for listener in self.sockets:
            for _ in range(self.cfg.backlog):
                if not select.select([listener], [], [], 0)[0]:
                    break
                self.accept(listener)

    def _read_on(self, conn: Any, _: Any) -> None:
        """Read what a client is still sending, so that closing resets nothing that is on its way to it."""
        with suppress(BlockingIOError):
            try:
                if socket.socket.recv(conn.sock, 1 << 16):
                    return
            except ConnectionError:
                pass
            self._part(conn)

    def _part(self, conn: Any) -> None:
        self._parting.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()
