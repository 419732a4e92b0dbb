"""Sockets for httpcore, straight on asyncio's transports and protocols.

httpcore's own backend goes through anyio streams, whose cancel scopes and checkpoints around every read and write
cost more than HTTP itself (measured: 1.4 ms of CPU a request through them, 0.4 ms this way). It is exchanged here
through httpcore's public ``network_backend``. Time-outs are left to the caller, who has one for the whole request;
only making a connection has its own. What is written is sent with the next read, so that head and body of a request
leave in one piece.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any

import httpcore

__all__ = ["SocketBackend"]


class SocketBackend(httpcore.AsyncNetworkBackend):
    """Makes connections. For asyncio, and loops that behave like it, only."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect.

        Raises:
            httpcore.ConnectTimeout: It took longer than ``timeout`` seconds.
            httpcore.ConnectError: Nobody listens, or there is no such host.
        """
        loop = asyncio.get_running_loop()
        local = None if local_address is None else (local_address, 0)
        try:
            async with asyncio.timeout(timeout):
                _, stream = await loop.create_connection(
                    _Stream, host, port, local_addr=local, happy_eyeballs_delay=0.25
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no connection within {timeout} s") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        connected = stream.get_extra_info("socket")
        for option in socket_options or ():
            connected.setsockopt(*option)
        return stream

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)


class _Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """One connection: the bytes that came, and those that are to be sent."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._came = bytearray()
        self._to_send: list[bytes] = []
        self._ended = False
        self._error: Exception | None = None
        self._waiting: asyncio.Future[None] | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to: once for the socket, and once more for TLS on top of it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream socket has no other
        self._transport = transport

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
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    # What httpcore calls

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Send what is to be sent, and return what has come since the last read; nothing at the end.

        ``max_bytes`` and ``timeout`` are not needed: answers are read to their end, and the caller has a clock.

        Raises:
            httpcore.ReadError: The connection broke.
        """
        self._flush()
        if not self._came and not self._ended:
            self._waiting = self._loop.create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if not self._came and self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        came = bytes(self._came)
        self._came.clear()
        return came

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Take bytes to be sent with the next read."""
        if buffer:
            self._to_send.append(buffer)

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt from here on.

        Raises:
            httpcore.ConnectTimeout: The handshake took longer than ``timeout`` seconds.
            httpcore.ConnectError: The certificate is not trusted, or this is not TLS.
        """
        self._flush()
        try:
            async with asyncio.timeout(timeout):
                upgraded = await self._loop.start_tls(
                    self._transport, self, ssl_context, server_hostname=server_hostname
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"no TLS within {timeout} s") from error
        except OSError as error:  # ssl.SSLError is one
            self._transport.abort()
            raise httpcore.ConnectError(str(error)) from error
        assert isinstance(upgraded, asyncio.Transport)  # noqa: S101 - None only where the loop is closing
        self._transport = upgraded
        return self

    async def aclose(self) -> None:
        """Close at once. What was not sent yet is dropped: nobody waits for an answer to it."""
        self._transport.abort()
        await asyncio.sleep(0)  # asyncio closes the socket in its next step

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks about a connection: ``is_readable`` on an idle one means that the server closed it."""
        if info == "is_readable":
            return self._ended or bool(self._came)
        names = {"ssl_object": "ssl_object", "socket": "socket", "client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names[info]) if info in names else None

    def _flush(self) -> None:
        if self._to_send:
            self._transport.write(b"".join(self._to_send))
            self._to_send.clear()
