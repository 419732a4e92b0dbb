"""HTTP: one base URL, many requests at once.

It sends one JSON body and brings back status, headers and bytes, whole or while they come. It does not know what is
in them, does not retry and does not limit: those have their own files.

Shape: one single-connection httpx transport per request in flight, kept on a free list, all on one TLS context.
httpx's own pool is not used with more than one connection, since its cost per request grows with the connections in
it (measured: 7 ms of CPU a request at 64 connections), and neither is its client layer: a chat endpoint needs no
cookies, redirects or auth flow. A redirect is handed back as it is, so the key never follows one. The transport is
our own (:mod:`cot_distill.http1`) where the loop is asyncio's; on trio and through a proxy it is httpx's stock one.
"""

from __future__ import annotations

import asyncio
import functools
import math
import re
import ssl
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import NamedTuple

import anyio
import httpx

from cot_distill._version import __version__
from cot_distill.errors import ConfigError, UnavailableError
from cot_distill.http1 import HTTP1Transport
from cot_distill.sockets import SOCKET_OPTIONS

__all__ = ["Incoming", "Reply", "Transport"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_SET_PER_REQUEST = ("content-length", "transfer-encoding")
_CONNECT_SECONDS = 15.0
_WRITE_SECONDS = 60.0
# A model may think for minutes between two pieces of a summary; most servers say something every few seconds.
_IDLE_SECONDS = 600.0
_REST_SECONDS = 2.0
# Below the 5 s after which uvicorn, and with it most self-hosted servers, closes an idle connection.
_KEEPALIVE_SECONDS = 4.0
_HEADS = 1024
"""Lengths of bodies whose headers are kept."""


_TROUBLE = (httpx.HTTPError, TimeoutError, ssl.SSLError)


class Reply(NamedTuple):
    """An HTTP response, read to the end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    seconds: float
    """From sending the request to having the whole body."""


class Incoming:
    """An HTTP response that is still coming: iterate over it once, to get its body piece by piece."""

    def __init__(
        self,
        response: httpx.Response,
        scope: anyio.CancelScope,
        idle: float,
        trouble: Callable[[Exception], Exception],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers.items())
        """Names in lower case."""
        self.is_whole = False
        """It was read to its end."""
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - of an async transport
        self._pieces = aiter(response.stream)
        self._scope = scope
        self._end = scope.deadline
        self._idle = idle
        self._trouble = trouble

    def __aiter__(self) -> Incoming:
        return self

    async def __anext__(self) -> bytes:
        try:
            if "content-encoding" in self.headers and not self.is_whole:  # which nobody has asked for
                piece = _unpacked(self.status, self.headers, b"".join([piece async for piece in self._pieces]))
                self.is_whole = True
            else:
                piece = await anext(self._pieces)
        except StopAsyncIteration:
            self.is_whole = True
            raise
        except _TROUBLE as error:
            raise self._trouble(error) from error
        self._scope.deadline = min(self._end, anyio.current_time() + self._idle)
        return piece

    async def rest(self) -> None:
        """Read on to the end of the body where that comes soon, so that the connection can be used again."""
        self._scope.deadline = self._end = self._idle = math.inf  # what matters is there
        with anyio.move_on_after(_REST_SECONDS), suppress(UnavailableError):
            async for _ in self:
                pass

    async def aclose(self) -> None:
        """Read no more."""
        # httpx's stream is one generator in another, and trio warns of each that is left alone. Closing the outermost
        # leaves the others; a cancellation ends them all.
        with anyio.CancelScope() as leaving, suppress(StopAsyncIteration, *_TROUBLE):
            leaving.cancel()
            while True:
                await anext(self._pieces)


class Transport:
    """Posts JSON bodies to one base URL. Use as an async context manager.

    Args:
        base_url: Such as ``https://api.example.com/v1``. Proxies and custom CAs come from the usual environment
            variables (``HTTPS_PROXY``, ``NO_PROXY``, ``SSL_CERT_FILE``…).
        headers: Sent with every request. They replace those that are sent anyway (``User-Agent``…).
        timeout: Seconds a request may take in all. Bytes that only keep the connection alive do not extend it.

    Raises:
        ConfigError: ``base_url`` is no http(s) URL, or a header cannot be sent.
    """

    def __init__(self, base_url: str, *, headers: Mapping[str, str], timeout: float) -> None:
        self._base = _parse(base_url)
        self._headers = _headers(self._base, headers)
        self._where = f"{self._base.scheme}://{self._base.netloc.decode()}"
        self._timeout = timeout
        # `read` is as long as the whole: a server that is thinking sends nothing at all.
        self._extensions: dict[str, object] = {
            "timeout": {"connect": _CONNECT_SECONDS, "read": timeout, "write": _WRITE_SECONDS, "pool": None}
        }
        self._in_time = {**self._extensions, "deadline": timeout}
        self._heads: dict[int, httpx.Headers] = {}
        self._urls: dict[str, httpx.URL] = {}
        self._idle: list[httpx.AsyncBaseTransport] = []

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            while self._idle:
                await self._idle.pop().aclose()

    async def post(self, path: str, body: bytes) -> Reply:
        """Send ``body`` to ``base_url + path`` and wait for the whole reply, whatever its status.

        Raises:
            UnavailableError: No connection, a broken one, or no whole reply in time.
        """
        request = self._request(path, body, self._in_time)
        slot = self._idle.pop() if self._idle else self._connect()
        healthy = False
        started = time.monotonic()
        try:
            if isinstance(slot, HTTP1Transport):  # it keeps the deadline itself, for a tenth of the cost
                status, headers, content = await _exchange(slot, request)
            else:
                with anyio.fail_after(self._timeout):
                    status, headers, content = await _exchange(slot, request)
            if "content-encoding" in headers:
                content = _unpacked(status, headers, content)
            healthy = True
        except _TROUBLE as error:
            raise self._unavailable(error) from error
        finally:
            # A connection that was cancelled or broke half-way through is in no state to be used again.
            if healthy:
                self._idle.append(slot)
            else:
                with anyio.CancelScope(shield=True):
                    await slot.aclose()
        # The last connection used is the first to be used again, so the free list stays warm at its top only.
        return Reply(status, headers, content, time.monotonic() - started)

    @asynccontextmanager
    async def stream(self, path: str, body: bytes, *, idle: float = _IDLE_SECONDS) -> AsyncIterator[Incoming]:
        """Send ``body`` to ``base_url + path``, and hand over the response while it comes.

        Use as an async context manager. The time-out of the whole holds for its block; where that is left before the
        response was read to its end, the connection is closed.

        Args:
            path: May have a query of its own.
            body: What is sent.
            idle: Seconds that may pass between two pieces of the body. Waiting for the first of them may take as long
                as the whole: a server with a long queue says nothing.

        Yields:
            The response, whatever its status.

        Raises:
            UnavailableError: As for :meth:`post`; while the response is read, too. Nothing came for too long.
        """
        slot = self._idle.pop() if self._idle else self._connect()
        incoming: Incoming | None = None
        healthy = False
        end = anyio.current_time() + self._timeout
        try:
            with anyio.CancelScope(deadline=end) as scope:
                try:
                    response = await slot.handle_async_request(self._request(path, body, self._extensions))
                except _TROUBLE as error:
                    raise self._unavailable(error) from error
                incoming = Incoming(response, scope, idle, self._unavailable)
                yield incoming
                if incoming.is_whole:
                    await response.aclose()
                    healthy = True
            if scope.cancelled_caught:
                raise self._too_slow(None if scope.deadline >= end else idle)
        finally:
            if healthy:
                self._idle.append(slot)
            else:
                with anyio.CancelScope(shield=True):
                    if incoming is not None:
                        await incoming.aclose()
                    await slot.aclose()

    def _request(self, path: str, body: bytes, extensions: dict[str, object]) -> httpx.Request:
        url = self._urls.get(path) or self._urls.setdefault(path, self._url(path))
        return httpx.Request("POST", url, headers=self._head(len(body)), stream=_Body(body), extensions=extensions)

    def _head(self, length: int) -> httpx.Headers:
        """The headers of a body of this length. To copy them takes httpx a tenth of making them."""
        if length not in self._heads:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[length] = httpx.Headers([*self._headers, (b"Content-Length", b"%d" % length)])
        return self._heads[length]

    def _url(self, path: str) -> httpx.URL:
        path, _, query = path.partition("?")
        queries = [part for part in (self._base.query, query.encode()) if part]
        return self._base.copy_with(path=self._base.path.rstrip("/") + path, query=b"&".join(queries) or None)

    def _connect(self) -> httpx.AsyncBaseTransport:
        tls, proxy = _tls_context(self._base.scheme), _proxy_for(self._base)
        if proxy is None and _on_asyncio():
            return HTTP1Transport(tls, keepalive=_KEEPALIVE_SECONDS)
        return httpx.AsyncHTTPTransport(
            verify=tls,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEPALIVE_SECONDS),
            proxy=proxy,
            socket_options=SOCKET_OPTIONS,
        )

    def _unavailable(self, error: Exception) -> UnavailableError:
        where = self._where
        # What we sent wrongly is quoted by the error, and may be the key.
        detail = "" if isinstance(error, httpx.LocalProtocolError) else str(error)
        detail = detail or type(error).__name__
        if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError)):
            return UnavailableError(f"cannot connect to {where}: {detail}", kind="unreachable")
        if isinstance(error, (httpx.TimeoutException, TimeoutError)):
            return self._too_slow()
        if isinstance(error, httpx.DecodingError):
            return UnavailableError(f"cannot decode the answer of {where}: {detail}", kind="malformed")
        return UnavailableError(f"the connection to {where} broke: {detail}", kind="http")

    def _too_slow(self, idle: float | None = None) -> UnavailableError:
        """The error of an answer that did not come in time, or of which nothing came for so many seconds."""
        what = f"no whole answer from {self._where} within {self._timeout:g} s"
        if idle is not None:
            what = f"nothing came from {self._where} for {idle:g} s in the midst of an answer"
        return UnavailableError(what, kind="timeout")


class _Body(httpx.AsyncByteStream):
    """A body in one piece. httpx's own is a generator, which trio warns about when a request is cancelled."""

    def __init__(self, body: bytes) -> None:
        self._pieces = [body]

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces:
            raise StopAsyncIteration
        return self._pieces.pop()


def _unpacked(status: int, headers: Mapping[str, str], content: bytes) -> bytes:
    return httpx.Response(status, headers=headers, content=content).content


def _parse(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"base_url {base_url!r} is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(f"base_url {base_url!r} must start with http:// or https:// and name a host")
    if url.userinfo:
        raise ConfigError("base_url must not hold a user name or password: pass api_key instead")
    return url.copy_with(path=url.path.rstrip("/"))


def _headers(url: httpx.URL, given: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """What is sent with every request, checked once, so that no value (it may be the key) gets into a later error."""
    ours = {
        "Accept": "application/json",
        "Accept-Encoding": "identity",  # an answer is small; unpacking costs more than it saves
        "Content-Type": "application/json",
        "Host": url.netloc.decode(),
        "User-Agent": f"cot_distill/{__version__}",
    }
    for name, value in given.items():
        if _NAME.fullmatch(name) is None:
            raise ConfigError(f"{name!r} cannot be the name of an HTTP header")
        if name.lower() in _SET_PER_REQUEST:
            raise ConfigError(f"the header {name!r} cannot be given: it depends on the request")
        if _VALUE.fullmatch(value) is None:
            raise ConfigError(f"the value of the header {name!r} holds a character that no HTTP header can hold")
    replaced = {name.lower() for name in given}
    kept = {name: value for name, value in ours.items() if name.lower() not in replaced}
    return [(name.encode(), value.encode()) for name, value in (kept | dict(given)).items()]


@functools.cache
def _tls_context(scheme: str) -> ssl.SSLContext:
    # Loading the CA bundle takes 20 ms and a megabyte: once a process, and not at all for plain http.
    tls = httpx.create_ssl_context() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.set_alpn_protocols(["http/1.1"])
    return tls


async def _exchange(slot: httpx.AsyncBaseTransport, request: httpx.Request) -> tuple[int, dict[str, str], bytes]:
    """Send a request. Status, headers and body of its response."""
    response = await slot.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - of an async transport
    content = b"".join([piece async for piece in response.stream])
    await response.stream.aclose()
    # A plain dict is read ten times as fast as httpx's headers.
    return response.status_code, dict(response.headers.items()), content


def _on_asyncio() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _proxy_for(url: httpx.URL) -> str | None:
    # httpx reads these variables in its client layer, which is left out here.
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return None if proxy is None or urllib.request.proxy_bypass(url.host) else proxy
