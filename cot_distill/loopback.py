"""A small HTTP server on this machine, for teachers that live in the same process.

Knows HTTP/1.1 over 127.0.0.1, and how to misbehave when it is told to. Does not know what is asked or what an answer
looks like: that is the handler's part. It runs in its own threads, so it serves asyncio, trio and plain scripts.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

from cot_distill.errors import ConfigError

__all__ = ["Fault", "Handler", "LoopbackServer", "Reply", "Request"]

Fault = Literal[
    "reset",  # the connection is reset (TCP RST), nothing is sent
    "hang",  # nothing is sent until the client leaves or the server stops
    "cut",  # the headers announce more bytes than the body has, then the connection closes
    "blank",  # blank lines only, for `delay` seconds, and a proper end
    "blank-first",  # blank lines for `delay` seconds, then the whole body; no fault: DeepSeek does so while it queues
    "blank-forever",  # blank lines without an end
]
"""How a reply may misbehave."""

_BLANK_EVERY = 0.1  # seconds between two blank lines
_GRACE = 1.0  # seconds that stop() gives a handler which is still busy in its own code

log = logging.getLogger("cot_distill")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    """As sent, with the query if there is one."""
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case. The values may hold an API key, so they are in no ``repr``."""
    body: bytes
    number: int
    """Requests that this server had seen before this one."""

    def json(self) -> Any:
        """Read the body as JSON; a ValueError if it is none.

        Returns:
            The value.

        Raises:
            ValueError: The body is not JSON.
        """
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to send back.

    Example:
        >>> Reply.json({"answer": 4}).body
        b'{"answer": 4}'
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Come on top of ``content-type: application/json`` and the length. ``connection: close`` is obeyed."""
    delay: float = 0.0
    """Seconds to wait first. A client that leaves meanwhile gets nothing."""
    fault: Fault | None = None
    sent: Callable[[], None] | None = None
    """Called in the connection's thread once the last byte of a whole reply is handed to the network."""

    @classmethod
    def json(cls, value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
        """Reply with a value as JSON.

        Args:
            value: Anything that ``json.dumps`` takes.
            status: The HTTP status.
            headers: On top of those that every reply has.

        Returns:
            The reply.
        """
        return cls(status, json.dumps(value).encode(), headers or {})


Handler = Callable[[Request], Reply]
"""Answers one request. Called from many threads at once."""


class LoopbackServer:
    """Serves a handler on 127.0.0.1 while the ``with`` block lasts.

    It answers several hundred connections at once, keeps them alive, and is gone within a moment of the block's end,
    whatever its clients do. An exception in the handler becomes a 500, and the first one is raised again at the end
    of the ``with`` block, unless that is left by another exception.

    Args:
        handler: Called once per request, from many threads at once.
        port: 0 takes a free one.

    Raises:
        ConfigError: On entering, if the port cannot be had.

    Example:
        >>> from urllib.request import urlopen
        >>> with LoopbackServer(lambda request: Reply.json({"you asked": request.path})) as server:
        ...     urlopen(server.url + "/hello").read()
        b'{"you asked": "/hello"}'
    """

    def __init__(self, handler: Handler, *, port: int = 0) -> None:
        self._handler = handler
        self._port = port
        self._url: str | None = None
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``, without a slash at the end; known once the server was started.

        Raises:
            RuntimeError: The server was never started.
        """
        if self._url is None:
            raise RuntimeError("the server has no URL yet: use it in a `with` block")
        return self._url

    def __enter__(self) -> Self:
        if self._server is not None:
            raise RuntimeError("the server is running already: one `with` block at a time")
        try:
            self._server = _Server(self._handler, self._port)
        except (OSError, OverflowError) as error:
            raise ConfigError(
                f"port {self._port} of 127.0.0.1 is not to be had; 0 takes a free one: {error}"
            ) from None
        self._url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._server.acceptor.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        errors = self._server.errors if self._server else []
        self.stop()
        if errors and error is None:
            raise errors[0]

    def stop(self) -> None:
        """Close every connection and end every thread. Does nothing if the server is not running."""
        server, self._server = self._server, None
        if server is not None:
            server.halt()

    def settle(self, timeout: float = 1.0) -> None:
        """Wait until ``sent`` was called for every reply that a client can have received by now.

        A client has its reply a little before the server's thread gets to count it. Call this before you read such a
        count while the server runs; after ``stop()`` there is nothing to wait for.

        Args:
            timeout: Seconds after which replies that are stuck in a client that does not read are given up on.
        """
        if self._server is not None:
            self._server.settle(timeout)


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024  # the default of 5 resets clients that come in a burst

    def __init__(self, handler: Handler, port: int) -> None:
        self.handler = handler
        self.errors: list[Exception] = []
        self.numbers = itertools.count()
        self.stopping = threading.Event()
        self.to_reset: set[Any] = set()
        self._lock = threading.Lock()
        self._open: set[Any] = set()
        self._running: list[threading.Thread] = []
        self._quiet = threading.Condition()
        self._sending: set[object] = set()
        super().__init__(("127.0.0.1", port), _Connection)
        self.acceptor = threading.Thread(target=self._accept, name="loopback", daemon=True)

    def server_bind(self) -> None:
        # HTTPServer would ask the name service for this machine's name here, which can take seconds.
        socketserver.TCPServer.server_bind(self)

    def _accept(self) -> None:
        while not self.stopping.is_set():  # not serve_forever(), which would have to poll for the end
            self.handle_request()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's names
        log.debug("a loopback connection ended early", exc_info=True)

    def process_request(self, request: Any, client_address: Any) -> None:
        work = (request, client_address)
        thread = threading.Thread(target=self.process_request_thread, args=work, name="loopback-reply", daemon=True)
        with self._lock:
            self._open.add(request)
            thread.start()
            self._running = [*(other for other in self._running if other.is_alive()), thread]

    def shutdown_request(self, request: Any) -> None:
        # Under the lock, so that halt() never touches a descriptor that was closed and given to somebody else.
        with self._lock:
            self._open.discard(request)
            if request not in self.to_reset:
                super().shutdown_request(request)
                return
            self.to_reset.discard(request)
            # On, and lingering for no time: close() then sends RST. The two members are shorts on Windows.
            linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            request.close()

    def answer(self, request: Request) -> Reply:
        try:
            return self.handler(request)
        except Exception as error:  # raised again at the end of the `with` block: nobody waits for this thread
            self.errors.append(error)
            return Reply.json({"error": {"message": f"{type(error).__name__}: {error}"}}, status=500)

    @contextmanager
    def sending(self, sent: Callable[[], None]) -> Iterator[None]:
        ticket = object()
        with self._quiet:
            self._sending.add(ticket)
        try:
            yield
            try:
                sent()
            except Exception as error:  # as in answer()
                self.errors.append(error)
        finally:
            with self._quiet:
                self._sending.discard(ticket)
                self._quiet.notify_all()

    def settle(self, timeout: float) -> None:
        with self._quiet:
            now = set(self._sending)
            self._quiet.wait_for(lambda: now.isdisjoint(self._sending), timeout)

    def halt(self) -> None:
        self.stopping.set()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self.server_address[1]), timeout=_GRACE).close()  # wakes _accept()
        self.acceptor.join(_GRACE)
        self.server_close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads or writes there
            running = {*self._running} - {threading.current_thread()}
        deadline = time.monotonic() + _GRACE
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        if busy := sum(thread.is_alive() for thread in running):
            log.warning("the loopback server stopped while its handler was still busy with %d request(s)", busy)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """No access log: a library is quiet."""

    def _serve(self) -> None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdecimal():
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.answer(Request(self.command, self.path, headers, body, next(self.server.numbers)))
        try:
            self._reply(reply)
        except OSError:  # the client has left, or the server stops
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _serve  # noqa: N815 - looked up by name

    def _reply(self, reply: Reply) -> None:
        self.close_connection |= reply.fault is not None and not reply.fault.startswith("blank")
        if reply.fault == "hang":
            self._wait(None)
        elif reply.fault is not None and reply.fault.startswith("blank"):
            self._send_blanks(reply)
        elif not self._wait(reply.delay):
            self.close_connection = True
        elif reply.fault == "reset":
            self.server.to_reset.add(self.connection)
        elif reply.fault == "cut":
            self.connection.sendall(self._head(reply, f"content-length: {2 * len(reply.body) + 1}") + reply.body)
        else:
            body = b"" if self.command == "HEAD" else reply.body
            self._send_last(reply, self._head(reply, f"content-length: {len(reply.body)}") + body)

    def _send_blanks(self, reply: Reply) -> None:
        self.connection.sendall(self._head(reply, "transfer-encoding: chunked"))
        end = time.monotonic() + reply.delay if reply.fault != "blank-forever" else float("inf")
        left = 1.0
        while left > 0:
            self.connection.sendall(_chunk(b"\n"))
            left = end - time.monotonic()
            if not self._wait(min(left, _BLANK_EVERY)):
                self.close_connection = True
                return
        if reply.fault == "blank-first":
            self._send_last(reply, _chunk(reply.body) + _chunk(b""))
        else:
            self.connection.sendall(_chunk(b""))

    def _send_last(self, reply: Reply, data: bytes) -> None:
        if reply.sent is None:
            self.connection.sendall(data)
            return
        with self.server.sending(reply.sent):
            self.connection.sendall(data)

    def _head(self, reply: Reply, length: str) -> bytes:
        headers = {"content-type": "application/json"}
        headers |= {name.lower(): value for name, value in reply.headers.items()}
        self.close_connection |= headers.get("connection") == "close"
        phrase = HTTPStatus(reply.status).phrase if reply.status in self.responses else ""
        lines = (f"HTTP/1.1 {reply.status} {phrase}", length, *map(": ".join, headers.items()))
        return "\r\n".join((*lines, "", "")).encode("latin-1")

    def _wait(self, seconds: float | None) -> bool:
        """Wait, for ever if None; False as soon as the client leaves or the server stops."""
        if seconds is not None and seconds <= 0:
            return True
        self.connection.settimeout(seconds)
        try:
            early = self.connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return True
        finally:
            self.connection.settimeout(None)
        # The next request is here already, so this connection cannot tell any more whether its client stays.
        return early != b"" and not self.server.stopping.wait(seconds)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
