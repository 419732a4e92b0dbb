"""HTTP/1.1 on one connection, as an httpx transport.

httpx's own goes through a pool, three locks and a dozen trace points a request, which cost more than parsing, the
sockets and the loop together (measured: 0.19 ms of CPU a request with httpcore on our sockets, 0.09 ms without). This
one asks one thing after the other, keeps the connection where both sides agree to, and does nothing else. What bytes
mean is left to a :class:`Talk`: h11's, or httptools' where it is installed.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from typing import Protocol

import httpx

from cot_distill.extras import is_faster_with
from cot_distill.http1._h11 import H11Talk
from cot_distill.sockets import Socket, connect

__all__ = ["HTTP1Transport", "Talk"]

_PORTS = {"http": 80, "https": 443}


class Talk(Protocol):
    """What is said on one connection: one request and its response after the other. It does no input or output."""

    status: int
    """0 until the head of the response is there."""
    headers: list[tuple[bytes, bytes]]
    pieces: list[bytes]
    """What came of the body and was not taken yet."""
    is_over: bool
    """The whole response is there."""

    def ask(self, method: bytes, target: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        """The bytes of a request. Raises a ValueError, which may quote what it was given, where it cannot be sent."""

    def hear(self, data: bytes) -> None:
        """Take what the server sent, nothing where it ended the connection. Raises a ValueError if it is not HTTP."""

    def renew(self) -> bool:
        """Get ready for the next request. False where this response was the last on its connection."""


def new_talk() -> Talk:
    """The faster talk that is installed."""
    if not is_faster_with("httptools"):
        return H11Talk()
    from cot_distill.http1._llhttp import LlhttpTalk

    return LlhttpTalk()


class HTTP1Transport(httpx.AsyncBaseTransport):
    """One connection, made when it is needed. For asyncio, and for one request at a time.

    Of httpx's time-outs it keeps that for connecting, and one of its own: the extension ``"deadline"`` of a request,
    the seconds until all of its response must be there.

    Args:
        tls: Says whose certificates are trusted.
        keepalive: Seconds for which an idle connection may be used again.
    """

    def __init__(self, tls: ssl.SSLContext, *, keepalive: float) -> None:
        self._tls = tls
        self._keepalive = keepalive
        self._socket: Socket | None = None
        self._talk = new_talk()
        self._expires = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its response.

        Raises:
            httpx.TransportError: The one that fits what happened.
        """
        socket = self._socket
        deadline: float | None = request.extensions.get("deadline")
        # What comes on an idle connection can only be its end.
        if socket is None or socket.has_news or time.monotonic() > self._expires:
            await self.aclose()
            started = time.monotonic()
            self._socket = socket = await self._connect(request, deadline)
            self._talk = new_talk()
            deadline = None if deadline is None else deadline - (time.monotonic() - started)
        self._expires = 0.0  # until the response was read to its end
        talk = self._talk
        assert isinstance(request.stream, httpx.AsyncByteStream)  # noqa: S101 - an async transport gets no other
        body = b"".join([piece async for piece in request.stream])
        try:
            socket.write(talk.ask(request.method.encode(), request.url.raw_path, request.headers.raw, body))
        except ValueError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        if deadline is not None:
            socket.allow(deadline)
        while not talk.status:
            await self._listen(socket)
        return httpx.Response(talk.status, headers=talk.headers, stream=_Body(self._body(socket)))

    async def aclose(self) -> None:
        """Close the connection."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.aclose()

    async def _body(self, socket: Socket) -> AsyncIterator[bytes]:
        """The body of the response under way, piece by piece."""
        talk = self._talk
        while True:
            pieces, talk.pieces = talk.pieces, []
            for piece in pieces:
                yield piece
            if talk.is_over:
                break
            await self._listen(socket)
        socket.allow(None)
        if talk.renew():
            self._expires = time.monotonic() + self._keepalive
        else:
            await self.aclose()

    async def _connect(self, request: httpx.Request, deadline: float | None) -> Socket:
        url = request.url
        tls = self._tls if url.scheme == "https" else None
        timeout = request.extensions.get("timeout", {}).get("connect")
        is_last = deadline is not None and (timeout is None or deadline < timeout)
        seconds = deadline if is_last else timeout
        try:
            return await connect(url.raw_host.decode(), url.port or _PORTS[url.scheme], tls=tls, timeout=seconds)
        except TimeoutError as error:
            if is_last:
                raise httpx.ReadTimeout(str(error)) from error
            raise httpx.ConnectTimeout(str(error)) from error
        except (OSError, UnicodeError) as error:  # the latter from names that no host can have
            raise httpx.ConnectError(str(error)) from error

    async def _listen(self, socket: Socket) -> None:
        talk = self._talk
        try:
            data = await socket.read()
            if not data and not talk.status:
                raise httpx.RemoteProtocolError("the server closed the connection without an answer")
            talk.hear(data)
        except TimeoutError as error:
            raise httpx.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpx.ReadError(str(error)) from error
        except ValueError as error:
            raise httpx.RemoteProtocolError(str(error)) from error


class _Body(httpx.AsyncByteStream):
    """The body of a response, read from the connection as it is asked for."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces
