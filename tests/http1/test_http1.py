"""One connection: when it is used again, when it is closed, and which error says what."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import anyio
import anyio.to_thread
import httpx
import pytest

from cot_distill import http1
from cot_distill.http1 import HTTP1Transport, Talk
from cot_distill.http1._h11 import H11Talk

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True, params=["h11", "llhttp"])
def talk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    kind: type[Talk] = H11Talk
    if request.param == "llhttp":
        kind = pytest.importorskip("cot_distill.http1._llhttp", exc_type=ImportError).LlhttpTalk
    monkeypatch.setattr(http1, "new_talk", kind)


@contextmanager
def serving(*answers: bytes | Callable[[socket.socket], None]) -> Iterator[tuple[httpx.URL, list[int]]]:
    """A server that says one answer after the other, and keeps connections open; yields what it counts by them."""
    left = iter(answers)
    requests: list[int] = []  # the number of the connection that each request came on

    def talk(connection: socket.socket, number: int) -> None:
        with connection, suppress(OSError):
            while connection.recv(100_000):
                requests.append(number)
                answer = next(left)
                if callable(answer):
                    answer(connection)
                    return
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            threads = []
            for number in range(100):
                try:
                    connection, _ = listener.accept()
                except OSError:
                    break
                threads.append(threading.Thread(target=talk, args=(connection, number)))
                threads[-1].start()
            for thread in threads:
                thread.join()

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield httpx.URL(f"http://127.0.0.1:{listener.getsockname()[1]}/"), requests
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            server.join()


def one(keepalive: float = 5.0) -> HTTP1Transport:
    return HTTP1Transport(ssl.create_default_context(), keepalive=keepalive)


async def ask(transport: HTTP1Transport, url: httpx.URL) -> httpx.Response:
    response = await transport.handle_async_request(httpx.Request("POST", url, content=b"{}"))
    await response.aread()
    return response


async def test_a_connection_is_used_again() -> None:
    with serving(HEAD + b"\r\nab", HEAD + b"\r\ncd") as (url, requests):
        async with one() as transport:
            assert (await ask(transport, url)).content == b"ab"
            assert (await ask(transport, url)).content == b"cd"
    assert requests == [0, 0]


@pytest.mark.parametrize("answer", [HEAD + b"Connection: close\r\n\r\nab", b"HTTP/1.0 200 OK\r\n\r\nab"])
async def test_a_connection_that_the_server_will_close_is_not_used_again(answer: bytes) -> None:
    def last(connection: socket.socket) -> None:
        connection.sendall(answer)

    with serving(last, HEAD + b"\r\ncd") as (url, requests):
        async with one() as transport:
            assert (await ask(transport, url)).content == b"ab"
            assert (await ask(transport, url)).content == b"cd"
    assert requests == [0, 1]


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next() -> None:
    with serving(HEAD + b"\r\nab" + HEAD + b"\r\nxx", HEAD + b"\r\ncd") as (url, requests):
        async with one() as transport:
            assert (await ask(transport, url)).content == b"ab"
            assert (await ask(transport, url)).content == b"cd"
    assert requests == [0, 1]


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    with serving(HEAD + b"\r\nab", HEAD + b"\r\ncd") as (url, requests):
        async with one(keepalive=0.0) as transport:
            await ask(transport, url)
            await anyio.sleep(0.01)
            await ask(transport, url)
    assert requests == [0, 1]


async def test_a_body_is_there_piece_by_piece() -> None:
    more = threading.Event()

    def in_two(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\na")
        more.wait(5)
        connection.sendall(b"b")

    with serving(in_two) as (url, _):
        async with one() as transport:
            response = await transport.handle_async_request(httpx.Request("POST", url, content=b"{}"))
            pieces = aiter(response.aiter_raw())
            assert await anext(pieces) == b"a"
            more.set()
            assert await anext(pieces) == b"b"
            with pytest.raises(StopAsyncIteration):
                await anext(pieces)


async def test_a_body_that_was_not_read_to_its_end_is_not_taken_for_the_next() -> None:
    with serving(HEAD + b"\r\nab", HEAD + b"\r\ncd") as (url, requests):
        async with one() as transport:
            response = await transport.handle_async_request(httpx.Request("POST", url, content=b"{}"))
            await response.aclose()
            assert (await ask(transport, url)).content == b"cd"
    assert requests == [0, 1]


async def test_closing_after_a_cancelled_request_closes_the_connection() -> None:
    asked, left = threading.Event(), threading.Event()

    def hang(connection: socket.socket) -> None:
        asked.set()
        connection.recv(1000)
        left.set()

    with serving(hang) as (url, _):
        async with one() as transport:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, transport, url)
                    assert await anyio.to_thread.run_sync(asked.wait, 5)
                    scope.cancel()
            assert not left.is_set()
        assert await anyio.to_thread.run_sync(left.wait, 5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (b"220 mail ready\r\n", httpx.RemoteProtocolError),
        (HEAD + b"\r\na", httpx.RemoteProtocolError),
        (None, httpx.ReadError),
    ],
)
async def test_every_trouble_is_an_error_of_httpx(answer: bytes | None, error: type[Exception]) -> None:
    def talk(connection: socket.socket) -> None:
        if answer is None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            connection.sendall(answer)

    with serving(talk) as (url, _):
        async with one() as transport:
            with pytest.raises(error):
                await ask(transport, url)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "a" * 64 + ".test", "no-such-host.invalid"])
async def test_nobody_is_there(host: str) -> None:
    async with one() as transport:
        with pytest.raises(httpx.ConnectError):
            await ask(transport, httpx.URL(f"http://{host}/"))


async def test_what_cannot_be_sent() -> None:
    with serving() as (url, _):
        async with one() as transport:
            request = httpx.Request("POST", url, headers={"X": "a\nb"}, content=b"{}")
            with pytest.raises(httpx.LocalProtocolError):
                await transport.handle_async_request(request)
