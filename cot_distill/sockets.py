"""Sockets, straight on asyncio's transports and protocols.

What httpx brings for this goes through anyio streams, whose cancel scopes and checkpoints around every read and write
cost more than HTTP itself. There are two time-outs: that of making a connection, and a deadline for what is read.
What is written is sent with the next read, so that head and body of a request leave in one piece. Works on asyncio's
own loop and on uvloop.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, cast

__all__ = ["SOCKET_OPTIONS", "Socket", "connect"]

# An answer may take 20 minutes without a byte: without probes, a NAT box forgets the connection meanwhile.
SOCKET_OPTIONS = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
if hasattr(socket, "TCP_KEEPIDLE"):
    SOCKET_OPTIONS += [
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    ]


async def connect(host: str, port: int, *, tls: ssl.SSLContext | None = None, timeout: float | None = None) -> Socket:
    """Connect, and encrypt where a TLS context is given.

    Args:
        host: A name or an address.
        port: The port.
        tls: Says whose certificates are trusted.
        timeout: Seconds that both may take together; None for no limit.

    Returns:
        The connection.

    Raises:
        TimeoutError: It took longer.
        OSError: Nobody listens, there is no such host, or this is not TLS with a certificate that is trusted.
    """
    loop = asyncio.get_running_loop()
    # Where a host has addresses of two kinds and one of them is dead, the other is tried early. uvloop cannot.
    early: dict[str, Any] = {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) else {}
    try:
        async with asyncio.timeout(timeout):
            _, connected = await loop.create_connection(Socket, host, port, **early)
            connected.keep_alive()
            if tls is not None:
                await connected.encrypt(tls, host)
            return connected
    except TimeoutError as error:
        raise TimeoutError(f"no connection within {timeout} s") from error


class Socket(asyncio.Protocol):
    """One connection: the bytes that came, and those that are to be sent. Made by :func:`connect`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._came = bytearray()
        self._to_send: list[bytes] = []
        self._ended = False
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._is_late = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to: once for the socket, and once more for TLS on top of it."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is like one, but is none

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self._came += data
        self._wake()

    def eof_received(self) -> None:
        """The other side sends no more."""
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed or broken."""
        self._ended, self._error = True, exc
        self.allow(None)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # What its user calls

    @property
    def has_news(self) -> bool:
        """Something came that was not read, or the other side has ended the connection."""
        return self._ended or bool(self._came)

    async def read(self) -> bytes:
        """Send what is to be sent, and return what has come since the last read; nothing at the end.

        Raises:
            TimeoutError: Nothing came until the deadline.
            OSError: The connection broke.
        """
        if self._to_send:
            self._transport.write(b"".join(self._to_send))
            self._to_send.clear()
        if not self._came and not self._ended and not self._is_late:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if not self._came and self._is_late:
            raise TimeoutError("nothing came until the deadline")
        if not self._came and self._error is not None:
            raise OSError(str(self._error) or type(self._error).__name__) from self._error
        came = bytes(self._came)
        self._came.clear()
        return came

    def allow(self, seconds: float | None) -> None:
        """Set the deadline for all that is read from now on; None for no deadline. It costs less than asyncio's."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._is_late = False
        self._alarm = None if seconds is None else self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self._is_late = True
        self._wake()

    def write(self, data: bytes) -> None:
        """Take bytes to be sent with the next read."""
        self._to_send.append(data)

    async def aclose(self) -> None:
        """Close at once. What was not sent yet is dropped: nobody waits for an answer to it."""
        self._transport.abort()
        await asyncio.sleep(0)  # asyncio closes the socket in its next step

    # What connect() calls

    def keep_alive(self) -> None:
        """Have the system look after a connection on which nothing is said for long."""
        connected = self._transport.get_extra_info("socket")
        for option in SOCKET_OPTIONS:
            connected.setsockopt(*option)

    async def encrypt(self, tls: ssl.SSLContext, host: str) -> None:
        """Encrypt from here on.

        Raises:
            OSError: The certificate is not trusted, or this is not TLS.
        """
        plain = self._transport
        try:
            upgraded = await self._loop.start_tls(plain, self, tls, server_hostname=host)
        except BaseException:
            plain.abort()
            raise
        self._transport = cast("asyncio.Transport", upgraded)  # None only where the loop is closing
