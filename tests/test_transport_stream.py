"""Responses that are read while they come: over every engine, to every bad end."""

from __future__ import annotations

import gc
import gzip
import threading
import time

import anyio
import anyio.to_thread
import pytest

from cot_distill import http1
from cot_distill.errors import UnavailableError
from cot_distill.http1._h11 import H11Talk
from cot_distill.loopback import LoopbackServer, Reply, Request
from cot_distill.testing.drips import Drip, DripServer
from cot_distill.transport import Transport

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["h11", "httptools", "uvloop", "trio"])
def anyio_backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> str | tuple[str, dict[str, bool]]:
    """Every way in which requests are sent: all must behave alike."""
    if request.param == "trio":
        return "trio"
    if request.param == "h11":
        monkeypatch.setattr(http1, "new_talk", H11Talk)
        return "asyncio"
    llhttp = pytest.importorskip("cot_distill.http1._llhttp", exc_type=ImportError)
    monkeypatch.setattr(http1, "new_talk", llhttp.LlhttpTalk)
    if request.param == "httptools":
        return "asyncio"
    pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": True}


async def read(transport: Transport, path: str = "/", **options: float) -> bytes:
    async with transport.stream(path, b"{}", **options) as incoming:
        return b"".join([piece async for piece in incoming])


async def test_a_body_comes_piece_by_piece_while_the_server_still_writes() -> None:
    more = threading.Event()

    def answer(drip: Drip) -> None:
        drip.start(more="X-One: a\r\n")
        drip.send(b"one")
        assert more.wait(10)
        drip.send(b"two")
        drip.end()

    with DripServer(answer) as server:
        async with (
            Transport(server.url, headers={}, timeout=10) as transport,
            transport.stream("/v1/chat", b'{"a": 1}') as incoming,
        ):
            assert (incoming.status, incoming.headers["x-one"]) == (200, "a")
            assert await anext(incoming) == b"one"
            more.set()
            assert [piece async for piece in incoming] == [b"two"]


async def test_what_is_sent_is_what_post_sends() -> None:
    seen: list[bytes] = []

    def answer(drip: Drip) -> None:
        seen.append(drip.head + drip.body)
        drip.send(b"{}")
        drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url + "/v1", headers={"Authorization": "Bearer key"}, timeout=10) as transport:
            await transport.post("/chat", b'{"a": 1}')
            await read(transport, "/chat")
    posted, streamed = seen
    assert streamed == posted.replace(b'{"a": 1}', b"{}").replace(b"Length: 8", b"Length: 2")


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("/v1", "/m:stream?alt=sse", "/v1/m:stream?alt=sse"),
        ("/v1?key=a", "/m?alt=sse", "/v1/m?key=a&alt=sse"),
        ("/v1?key=a", "/m", "/v1/m?key=a"),
    ],
)
async def test_a_path_may_have_a_query(base: str, path: str, expected: str) -> None:
    seen: list[str] = []

    def echo(request: Request) -> Reply:
        seen.append(request.path)
        return Reply()

    with LoopbackServer(echo) as server:
        async with Transport(server.url + base, headers={}, timeout=10) as transport:
            await read(transport, path)
            await transport.post(path, b"{}")
    assert seen == [expected, expected]


async def test_a_connection_that_was_read_to_its_end_is_used_again() -> None:
    def answer(drip: Drip) -> None:
        drip.send(b"%d" % drip.number, b"!")
        drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            for number in range(3):
                assert await read(transport) == b"%d!" % number
            await transport.post("/", b"{}")
        assert server.connections == 1


async def test_what_is_left_early_is_closed_and_harms_nothing() -> None:
    left: list[bool] = []

    def answer(drip: Drip) -> None:
        drip.send(b"one", b"two")
        if drip.number == 0:
            left.append(drip.see_it_leave())
        else:
            drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            async with transport.stream("/", b"{}") as incoming:
                assert await anext(incoming) == b"one"
            gc.collect()  # what was not closed properly would be warned about
            assert await read(transport) == b"onetwo"
        assert server.connections == 2
    assert left == [True]


async def test_so_is_what_is_left_by_an_error() -> None:
    left: list[bool] = []

    def answer(drip: Drip) -> None:
        drip.send(b"one")
        left.append(drip.see_it_leave())

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            with pytest.raises(ZeroDivisionError):
                async with transport.stream("/", b"{}") as incoming:
                    async for _ in incoming:
                        raise ZeroDivisionError
            gc.collect()
    assert left == [True]


async def test_cancelled_in_mid_stream_the_connection_is_closed() -> None:
    left: list[bool] = []
    there = threading.Event()

    def answer(drip: Drip) -> None:
        drip.send(b"one")
        there.set()
        left.append(drip.see_it_leave())

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=30) as transport, anyio.create_task_group() as group:
            group.start_soon(read, transport)
            assert await anyio.to_thread.run_sync(there.wait, 10)
            began = time.monotonic()
            group.cancel_scope.cancel()
    assert time.monotonic() - began < 5
    assert left == [True]


async def test_the_rest_is_read_where_it_comes_soon() -> None:
    def answer(drip: Drip) -> None:
        drip.send(b"all", b"the rest")
        drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            for _ in range(2):
                async with transport.stream("/", b"{}") as incoming:
                    assert await anext(incoming) == b"all"
                    await incoming.rest()
        assert server.connections == 1


@pytest.mark.parametrize("how", ["silent", "reset", "closed"])
async def test_a_rest_that_does_not_come_does_no_harm(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cot_distill.transport._REST_SECONDS", 0.2)

    def answer(drip: Drip) -> None:
        drip.send(b"all")
        if drip.number == 0:
            {"silent": drip.see_it_leave, "reset": drip.reset, "closed": drip.close}[how]()
        else:
            drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            async with transport.stream("/", b"{}", idle=0.1) as incoming:
                assert await anext(incoming) == b"all"
                await incoming.rest()
            assert await read(transport) == b"all"


# What goes wrong


async def test_the_deadline_is_that_of_the_whole_whatever_comes() -> None:
    def answer(drip: Drip) -> None:
        for _ in range(1000):
            drip.send(b": keep-alive\n\n")
            time.sleep(0.02)

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=0.4) as transport:
            with pytest.raises(UnavailableError, match=r"no whole answer from .* within 0\.4 s") as caught:
                await read(transport)
    assert caught.value.kind == "timeout"


async def test_the_deadline_holds_before_the_first_byte_too() -> None:
    with DripServer(lambda drip: drip.see_it_leave() and None) as server:
        async with Transport(server.url, headers={}, timeout=0.3) as transport:
            with pytest.raises(UnavailableError, match=r"within 0\.3 s"):
                await read(transport, idle=0.05)  # which counts from the first piece on


async def test_nothing_for_too_long_in_the_midst_is_an_error() -> None:
    left: list[bool] = []

    def answer(drip: Drip) -> None:
        drip.send(b"one")
        left.append(drip.see_it_leave())

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=30) as transport:
            with pytest.raises(UnavailableError, match=r"nothing came from .* for 0\.2 s in the midst") as caught:
                await read(transport, idle=0.2)
    assert (caught.value.kind, left) == ("timeout", [True])


@pytest.mark.parametrize(
    ("how", "kind", "words"), [("reset", "http", "broke"), ("closed", "http", "broke"), ("nonsense", "http", "broke")]
)
async def test_a_connection_that_breaks_in_mid_stream(how: str, kind: str, words: str) -> None:
    def answer(drip: Drip) -> None:
        if drip.number:
            drip.send(b"fine")
            drip.end()
            return
        drip.send(b"one")
        if how == "nonsense":
            drip._connection.sendall(b"this is no chunk\r\n")
        else:
            {"reset": drip.reset, "closed": drip.close}[how]()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            with pytest.raises(UnavailableError, match=words) as caught:
                await read(transport)
            assert caught.value.kind == kind
            assert await read(transport) == b"fine"


async def test_nobody_listening() -> None:
    with DripServer(lambda drip: None) as server:
        url = server.url
    async with Transport(url, headers={}, timeout=5) as transport:
        with pytest.raises(UnavailableError, match="cannot connect") as caught:
            await read(transport)
    assert caught.value.kind == "unreachable"


async def test_a_compressed_stream_is_unpacked() -> None:
    packed = gzip.compress(b"data: 1\n\n" * 1000)

    def answer(drip: Drip) -> None:
        drip.start(more="content-encoding: gzip\r\n")
        drip.send(*(packed[place : place + 7] for place in range(0, len(packed), 7)))
        drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            for _ in range(2):
                assert await read(transport) == b"data: 1\n\n" * 1000
        assert server.connections == 1


async def test_a_broken_compressed_stream() -> None:
    def answer(drip: Drip) -> None:
        drip.start(more="content-encoding: gzip\r\n")
        drip.send(b"this is not gzip")
        drip.end()

    with DripServer(answer) as server:
        async with Transport(server.url, headers={}, timeout=10) as transport:
            with pytest.raises(UnavailableError, match="decode") as caught:
                await read(transport)
    assert caught.value.kind == "malformed"


async def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def proxy(drip: Drip) -> None:
        seen.append(drip.head.splitlines()[0])
        drip.send(b"one", b"two")
        if drip.number == 0:
            drip.end()
        else:
            assert drip.see_it_leave()

    with DripServer(proxy) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "elsewhere.test")
        async with Transport("http://teacher.test/v1", headers={}, timeout=10) as transport:
            assert await read(transport, "/chat") == b"onetwo"
            async with transport.stream("/chat", b"{}") as incoming:
                assert await anext(incoming) == b"one"
            gc.collect()
    assert seen == [b"POST http://teacher.test/v1/chat HTTP/1.1"] * 2
