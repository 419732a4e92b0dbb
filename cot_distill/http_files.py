"""HTTP for files: what batch jobs need beside the transport's one POST.

GET, an upload from disk, a download to disk. Nothing here is held in memory but a piece at a time, so that a file of
hundreds of megabytes takes no room. It does not know what is in them, does not retry and does not limit. Speed does
not matter here as it does for :mod:`cot_distill.transport`, so this is the client of httpx as it comes, and with it
the second file that knows httpx. What an error of the network means is the transport's to say.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

import httpx
from pydantic_core import to_json

from cot_distill._version import __version__
from cot_distill.transport import Reply, Transport

__all__ = ["Files"]

_CONNECT_SECONDS = 15.0
_SILENCE_SECONDS = 600.0  # a provider that has taken 200 MB reads them before it says anything
_PIECE = 1 << 16
_LARGEST_ERROR = 1 << 16


class Files:
    """Talks to one base URL. Use as an async context manager.

    Args:
        base_url: Such as ``https://api.example.com/v1``.
        headers: Sent with every request to it; never to another machine that a reply points to.

    Raises:
        ConfigError: ``base_url`` is no http(s) URL, or a header cannot be sent.
    """

    def __init__(self, base_url: str, *, headers: Mapping[str, str]) -> None:
        self._base = base_url.rstrip("/")
        self._headers = dict(headers)
        # Checks both, and says what an error means.
        self._transport = Transport(base_url, headers=headers, timeout=_SILENCE_SECONDS)
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Files:
        self._client = httpx.AsyncClient(
            headers={"Accept": "application/json", "User-Agent": f"cot_distill/{__version__}"},
            timeout=httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS),
            follow_redirects=False,  # the key follows none
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Reply:
        """Read what is at ``base_url + path``, whatever the status.

        Raises:
            UnavailableError: No connection, a broken one, or silence for ten minutes. So do all of these.
        """
        return await self._whole("GET", self._base + path, headers=self._headers, params=params)

    async def post(self, path: str, body: Mapping[str, object]) -> Reply:
        """Send a JSON object."""
        headers = {**self._headers, "Content-Type": "application/json"}
        return await self._whole("POST", self._base + path, headers=headers, content=to_json(body))

    async def post_file(self, path: str, file: Path) -> Reply:
        """Send a file that is a JSON document as the body."""
        headers = {**self._headers, "Content-Type": "application/json", "Content-Length": _size(file)}
        return await self._whole("POST", self._base + path, headers=headers, content=_pieces(file))

    async def upload(self, path: str, file: Path, name: str, fields: Mapping[str, str]) -> Reply:
        """Send a file, under this name, and plain fields as a form."""
        with file.open("rb") as content:
            part = {"file": (name, content, "application/jsonl")}
            return await self._whole("POST", self._base + path, headers=self._headers, data=fields, files=part)

    async def post_form(self, path: str, fields: Mapping[str, str]) -> Reply:
        """Send plain fields as a form."""
        return await self._whole("POST", self._base + path, headers=self._headers, data=fields)

    async def put(self, url: str, file: Path) -> Reply:
        """Send a file to an address that a reply named. It gets no key: such an address is signed itself."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": _size(file)}
        return await self._whole("PUT", url, headers=headers, content=_pieces(file))

    async def download(self, path: str, target: Path) -> Reply:
        """Write what is at ``base_url + path`` into a file. One redirect is followed, without the key.

        Args:
            path: Or a whole URL of the same machine.
            target: The file, replaced if it is there. What it holds after an error is to be thrown away.

        Returns:
            The reply; its body is empty where the status is 200, and else the beginning of what came instead.
        """
        url = path if path.startswith(("http://", "https://")) else self._base + path
        reply = await self._into(url, target, self._headers if self._is_ours(url) else {})
        if reply.status in (301, 302, 303, 307, 308) and "location" in reply.headers:
            reply = await self._into(urljoin(url, reply.headers["location"]), target, {})
        return reply

    async def _into(self, url: str, target: Path, headers: Mapping[str, str]) -> Reply:
        started = time.monotonic()
        body = b""
        try:
            async with self._open().stream("GET", url, headers=dict(headers)) as response:
                if response.status_code == httpx.codes.OK:
                    with target.open("wb") as file:
                        async for piece in response.aiter_bytes(_PIECE):
                            file.write(piece)
                else:
                    async for piece in response.aiter_bytes():
                        body += piece
                        if len(body) > _LARGEST_ERROR:
                            break
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._transport._unavailable(error) from error
        return _reply(response, body, started)

    async def _whole(self, method: str, url: str, **options: Any) -> Reply:
        started = time.monotonic()
        try:
            response = await self._open().request(method, url, **options)
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise self._transport._unavailable(error) from error
        return _reply(response, response.content, started)

    def _open(self) -> httpx.AsyncClient:
        if self._client is None:
            raise RuntimeError("use Files in an `async with` block")
        return self._client

    def _is_ours(self, url: str) -> bool:
        ours, other = httpx.URL(self._base), httpx.URL(url)
        return (ours.scheme, ours.netloc) == (other.scheme, other.netloc)


def _reply(response: httpx.Response, body: bytes, started: float) -> Reply:
    return Reply(response.status_code, dict(response.headers.items()), body, time.monotonic() - started)


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


def _size(file: Path) -> str:
    return str(file.stat().st_size)
