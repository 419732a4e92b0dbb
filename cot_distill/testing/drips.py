"""A server on this machine that says its answer drop by drop: for tests of what reads a stream.

Knows HTTP/1.1 over 127.0.0.1 and chunks; what they hold, and when they are sent, is up to a function. Each connection
has a thread of its own, and serves one request after the other.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

__all__ = ["Drip", "DripServer"]

_PATIENCE = 10.0


class Drip:
    """One request, and the means to answer it."""

    def __init__(self, connection: socket.socket, head: bytes, body: bytes, number: int) -> None:
        self._connection = connection
        self._has_head = False
        self.head = head
        """The request line and the headers, as they came."""
        self.body = body
        """What the client sent."""
        self.number = number
        """Requests that the server had seen before this one."""
        self.stays = True
        """The connection serves another request afterwards."""

    def start(self, status: int = 200, content_type: str = "text/event-stream", more: str = "") -> None:
        """Send the head of the response. :meth:`send` does so by itself where it was not called."""
        self._has_head = True
        lines = (f"HTTP/1.1 {status} X", f"content-type: {content_type}", "transfer-encoding: chunked")
        self._connection.sendall(("\r\n".join(lines) + f"\r\n{more}\r\n").encode())

    def send(self, *pieces: bytes) -> None:
        """Send pieces of the body, each in a chunk and a packet of its own."""
        if not self._has_head:
            self.start()
        for piece in pieces:
            self._connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))

    def end(self) -> None:
        """End the body as it should be ended."""
        self._connection.sendall(b"0\r\n\r\n")

    def close(self) -> None:
        """Close the connection where the answer stands."""
        self.stays = False

    def reset(self) -> None:
        """Reset the connection."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stays = False

    def see_it_leave(self) -> bool:
        """Wait for the client to close the connection; False if it does not for long."""
        self.stays = False
        self._connection.settimeout(_PATIENCE)
        try:
            return self._connection.recv(1) == b""
        except TimeoutError:
            return False
        except OSError:  # it left in a hurry
            return True


class DripServer:
    """Answers on 127.0.0.1 while the ``with`` block lasts.

    Args:
        answer: Answers one request, in a thread of the connection. What it raises is raised at the end of the block.

    Example:
        >>> from urllib.request import urlopen
        >>> def answer(drip):
        ...     drip.send(b"one ", b"two")
        ...     drip.end()
        >>> with DripServer(answer) as server:
        ...     urlopen(server.url).read()
        b'one two'
    """

    def __init__(self, answer: Callable[[Drip], None]) -> None:
        self._answer = answer
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._errors: list[BaseException] = []
        self.connections = 0
        """How many were made so far."""
        self.requests = 0
        """How many came so far."""

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._run(self._accept)
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_PATIENCE)
        if self._errors and error is None:
            raise self._errors[0]

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(connection)
                self.connections += 1
                self._run(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while (drip := self._read(connection)) is not None:
                    self._answer(drip)
                    if not drip.stays:
                        break
            except OSError:  # the client has left
                pass
            except BaseException as error:  # raised at the end of the block
                self._errors.append(error)
            self._open.discard(connection)

    def _read(self, connection: socket.socket) -> Drip | None:
        came = b""
        while b"\r\n\r\n" not in came:
            data = connection.recv(65536)
            if not data:
                return None
            came += data
        head, _, body = came.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", b"0"))
        while len(body) < length:
            body += connection.recv(65536)
        number, self.requests = self.requests, self.requests + 1
        return Drip(connection, head, body, number)
