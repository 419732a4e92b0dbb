"""HTTP over real sockets: connections are reused, broken ones are not, and every trouble has its error."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import anyio
import pytest

from cot_distill import http1, transport
from cot_distill.errors import ConfigError, UnavailableError
from cot_distill.http1._h11 import H11Talk
from cot_distill.loopback import LoopbackServer, Reply, Request
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


def echo(request: Request) -> Reply:
    return Reply.json({"path": request.path, "body": request.body.decode(), "headers": dict(request.headers)})


async def test_a_body_goes_out_and_a_reply_comes_back() -> None:
    with LoopbackServer(echo) as server:
        async with Transport(f"{server.url}/v1/", headers={"Authorization": "Bearer key"}, timeout=5) as transport:
            reply = await transport.post("/chat/completions", b'{"a": 1}')
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert b'"path": "/v1/chat/completions"' in reply.body
    assert b'"authorization": "Bearer key"' in reply.body
    assert 0 < reply.seconds < 5


async def test_connections_are_reused() -> None:
    with counting_proxy(lambda request: Reply.json({})) as (url, connections):
        async with Transport(url, headers={}, timeout=5) as transport:
            for _ in range(5):
                await transport.post("/", b"{}")
            assert len(connections) == 1
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(transport.post, "/", b"{}")
            assert len(connections) <= 9


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_KEEPALIVE_SECONDS", 0.1)
    with counting_proxy(lambda request: Reply.json({})) as (url, connections):
        async with Transport(url, headers={}, timeout=5) as client:
            for _ in range(2):
                await client.post("/", b"{}")
                await anyio.sleep(0.2)
    assert len(connections) == 2


@contextmanager
def counting_proxy(handler: object) -> Iterator[tuple[str, list[int]]]:
    """A byte-for-byte relay before a server, that counts the connections made to it."""
    connections: list[int] = []
    with LoopbackServer(handler) as server, socket.create_server(("127.0.0.1", 0), backlog=64) as listener:  # type: ignore[arg-type]
        target = int(server.url.rpartition(":")[2])
        relays: list[threading.Thread] = []

        def pump(source: socket.socket, sink: socket.socket) -> None:
            with source, sink:
                while data := source.recv(65536):
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            while True:
                try:
                    client, address = listener.accept()
                except OSError:
                    return
                connections.append(address[1])
                upstream = socket.create_connection(("127.0.0.1", target))
                for pair in ((client, upstream), (upstream.dup(), client.dup())):
                    relays.append(threading.Thread(target=quiet, args=(pump, *pair), daemon=True))
                    relays[-1].start()

        def quiet(function: object, *args: object) -> None:
            with suppress(OSError):
                function(*args)  # type: ignore[operator]

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(2)
    for relay in relays:
        relay.join(2)


async def test_headers_that_are_given_replace_those_that_are_sent_anyway() -> None:
    given = {"user-agent": "mine", "X-Team": "research"}
    with LoopbackServer(echo) as server:
        async with Transport(server.url, headers=given, timeout=5) as transport:
            sent = json.loads((await transport.post("/", b"{}")).body)["headers"]
    assert sent["user-agent"] == "mine"
    assert sent["x-team"] == "research"
    assert sent["accept-encoding"] == "identity"
    assert sent["content-length"] == "2"
    assert sent["host"] == server.url.removeprefix("http://")


async def test_cookies_are_not_kept() -> None:
    def bake(request: Request) -> Reply:
        return Reply(200, request.headers.get("cookie", "none").encode(), {"set-cookie": "a=b; Path=/"})

    with LoopbackServer(bake) as server:
        async with Transport(server.url, headers={}, timeout=5) as transport:
            for _ in range(2):
                assert (await transport.post("/", b"{}")).body == b"none"


@pytest.mark.parametrize(
    "headers", [{"X-Key": "secret\r\nX: y"}, {"X-Key": "secret\n"}, {"a b": "secret"}, {"Content-Length": "secret"}]
)
async def test_headers_that_cannot_be_sent_are_refused_and_not_shown(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(headers))) as caught:
        Transport("http://127.0.0.1", headers=headers, timeout=5)
    assert "secret" not in str(caught.value)


async def test_headers_come_back_with_names_in_lower_case() -> None:
    with LoopbackServer(lambda request: Reply(200, b"", {"X-One": "a", "x-two": "b  "})) as server:
        async with Transport(server.url, headers={}, timeout=5) as transport:
            headers = (await transport.post("/", b"{}")).headers
    assert headers["x-one"] == "a"
    assert headers["x-two"] == "b"


async def test_long_bodies_both_ways() -> None:
    body = b"x" * 3_000_000
    with LoopbackServer(lambda request: Reply(200, request.body)) as server:
        async with Transport(server.url, headers={}, timeout=20) as transport:
            for _ in range(2):
                assert (await transport.post("/", body)).body == body


async def test_a_body_in_chunks() -> None:
    slow = Reply(200, b'{"whole": true}', delay=0.3, fault="blank-first")
    with LoopbackServer(lambda request: slow) as server:
        async with Transport(server.url, headers={}, timeout=5) as transport:
            for _ in range(2):
                assert (await transport.post("/", b"{}")).body.strip() == slow.body


async def test_errors_are_handed_back_with_their_status() -> None:
    with LoopbackServer(lambda request: Reply.json({"error": "x"}, status=503)) as server:
        async with Transport(server.url, headers={}, timeout=5) as transport:
            assert (await transport.post("/", b"{}")).status == 503


async def test_a_redirect_is_not_followed() -> None:
    with LoopbackServer(lambda request: Reply(307, b"", {"location": "http://127.0.0.1:1/elsewhere"})) as server:
        async with Transport(server.url, headers={"Authorization": "Bearer key"}, timeout=5) as transport:
            assert (await transport.post("/", b"{}")).status == 307


async def test_a_compressed_body_is_unpacked_though_it_was_not_asked_for() -> None:
    body = gzip.compress(b'{"big": "' + b"x" * 1000 + b'"}')
    with LoopbackServer(lambda request: Reply(200, body, {"content-encoding": "gzip"})) as server:
        async with Transport(server.url, headers={}, timeout=5) as transport:
            assert (await transport.post("/", b"{}")).body == gzip.decompress(body)


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(fault="hang"), "timeout", "within 0.4 s"),
        (Reply(fault="blank-forever"), "timeout", "within 0.4 s"),
        (Reply(fault="reset"), "http", "broke"),
        (Reply(200, b'{"a": 1}', fault="cut"), "http", "broke"),
        (Reply(200, b"not gzip", {"content-encoding": "gzip"}), "malformed", "decode"),
    ],
)
async def test_every_trouble_is_one_clear_error(reply: Reply, kind: str, words: str) -> None:
    """Blank bytes that keep the connection alive must not extend the deadline."""
    with LoopbackServer(lambda request: reply if request.number == 0 else Reply.json({})) as server:
        async with Transport(server.url, headers={}, timeout=0.4) as transport:
            with pytest.raises(UnavailableError, match=words) as caught:
                await transport.post("/", b"{}")
            assert caught.value.kind == kind
            assert (await transport.post("/", b"{}")).status == 200  # the next request is not harmed


async def test_nobody_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with Transport(f"http://127.0.0.1:{port}", headers={}, timeout=5) as transport:
        with pytest.raises(UnavailableError, match=f"cannot connect to http://127.0.0.1:{port}") as caught:
            await transport.post("/", b"{}")
    assert caught.value.kind == "unreachable"


async def test_a_deadline_that_passed_between_two_requests_is_forgotten() -> None:
    with LoopbackServer(lambda request: Reply.json({"n": request.number})) as server:
        async with Transport(server.url, headers={}, timeout=0.3) as transport:
            for number in range(2):
                assert json.loads((await transport.post("/", b"{}")).body) == {"n": number}
                await anyio.sleep(0.4)


async def test_a_cancelled_request_does_not_harm_the_next() -> None:
    with LoopbackServer(lambda request: Reply.json({"n": request.number}, status=200)) as server:
        slow = Reply.json({"late": True})
        with LoopbackServer(lambda request: Reply(slow.status, slow.body, slow.headers, delay=5)) as slow_server:
            async with Transport(slow_server.url, headers={}, timeout=9) as transport:
                with anyio.move_on_after(0.2) as scope:
                    await transport.post("/", b"{}")
                assert scope.cancelled_caught
        async with Transport(server.url, headers={}, timeout=5) as transport:
            assert (await transport.post("/", b"{}")).body == b'{"n": 0}'


async def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def proxy(request: Request) -> Reply:
        seen.append(request.path)
        return Reply.json({})

    with LoopbackServer(proxy) as server:
        monkeypatch.setenv("http_proxy", server.url)
        monkeypatch.setenv("no_proxy", "elsewhere.test")
        async with Transport("http://teacher.test/v1", headers={}, timeout=5) as transport:
            assert (await transport.post("/chat/completions", b"{}")).status == 200
    assert seen == ["http://teacher.test/v1/chat/completions"]


@pytest.mark.parametrize(
    "url", ["api.example.com/v1", "ftp://example.com", "http://", "", "http://user:secret@example.com"]
)
async def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        Transport(url, headers={}, timeout=5)
    assert "secret" not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("base", "path", "asked"),
    [
        ("", "/v1/messages", "/v1/messages"),
        ("/", "/v1/messages", "/v1/messages"),
        ("/v1", "/chat/completions", "/v1/chat/completions"),
        ("/v1/", "/chat/completions", "/v1/chat/completions"),
        ("/a?version=2", "/b?c=d", "/a/b?version=2&c=d"),
    ],
)
async def test_what_is_asked_for_on_the_wire(base: str, path: str, asked: str) -> None:
    """The request line itself: servers of the standard library tidy it up before anybody sees it."""
    lines: list[bytes] = []

    async def answer(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            lines.append((await stream.receive()).partition(b"\r\n")[0])
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as group,
    ):
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        group.start_soon(listener.serve, answer)
        async with Transport(f"http://127.0.0.1:{port}{base}", headers={}, timeout=10) as transport:
            assert (await transport.post(path, b"{}")).body == b"{}"
        group.cancel_scope.cancel()
    assert lines == [f"POST {asked} HTTP/1.1".encode()]
