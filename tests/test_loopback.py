"""The loopback server over real sockets: replies, faults, crowds, and how it ends."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import anyio
import httpx
import pytest

from cot_distill.errors import ConfigError
from cot_distill.loopback import Fault, LoopbackServer, Reply, Request

POST = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


def echo(request: Request) -> Reply:
    return Reply.json({"number": request.number, "body": request.body.decode()})


@contextmanager
def connection(server: LoopbackServer, timeout: float = 10.0) -> Iterator[socket.socket]:
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as client:
        yield client


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(65536), b""))


def loopback_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("loopback")]


def wait_for_threads(count: int) -> None:
    deadline = time.monotonic() + 10
    while len(loopback_threads()) != count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(loopback_threads()) == count


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert loopback_threads() == []


# Replies


def test_the_handler_sees_the_request_as_it_was_sent() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply(201, "é".encode(), {"Content-Type": "text/plain; charset=utf-8", "X-One": "1"})

    with LoopbackServer(handler) as server, httpx.Client() as client:
        response = client.put(f"{server.url}/a/b?c=d%20e", content="ü", headers={"X-Key": "secret-key"})
        client.get(f"{server.url}/")
    assert (response.status_code, response.reason_phrase, response.text) == (201, "Created", "é")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["x-one"] == "1"
    first, second = seen
    assert (first.method, first.path, first.body, first.number) == ("PUT", "/a/b?c=d%20e", "ü".encode(), 0)
    assert first.headers["x-key"] == "secret-key"
    assert "secret-key" not in repr(first)
    assert (second.method, second.body, second.number) == ("GET", b"", 1)


def test_json_both_ways() -> None:
    with LoopbackServer(
        lambda request: Reply.json({"got": request.json()}, status=418, headers={"a": "b"})
    ) as server:
        response = httpx.post(server.url, json=["\u2028", None])
    assert (response.status_code, response.json(), response.headers["a"]) == (418, {"got": ["\u2028", None]}, "b")
    assert response.headers["content-type"] == "application/json"


def test_an_unknown_status_needs_no_phrase() -> None:
    with LoopbackServer(lambda _: Reply(529)) as server:
        assert httpx.get(server.url).status_code == 529


def test_a_connection_is_kept_alive() -> None:
    with LoopbackServer(echo) as server, connection(server) as client:
        for number in range(3):
            client.sendall(POST)
            response = http.client.HTTPResponse(client)
            response.begin()
            assert json.loads(response.read()) == {"number": number, "body": "hi"}
            response.close()


def test_pipelined_requests_are_answered_in_turn() -> None:
    def handler(request: Request) -> Reply:
        return Reply(
            body=b"<%d>" % request.number, delay=0.05, headers={"connection": "close" if request.number else "x"}
        )

    with LoopbackServer(handler) as server, connection(server) as client:
        client.sendall(POST + POST)
        received = read_all(client)
    assert received.index(b"<0>") < received.index(b"<1>")


def test_connection_close_is_obeyed() -> None:
    with (
        LoopbackServer(lambda _: Reply(headers={"Connection": "close"})) as server,
        connection(server) as client,
    ):
        client.sendall(POST)
        assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_head_has_no_body() -> None:
    with LoopbackServer(echo) as server, httpx.Client() as client:
        head = client.head(server.url)
        assert (head.content, client.get(server.url).json()["number"]) == (b"", 1)
        assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("header", [b"Content-Length: x", b"Content-Length: -1", b"Transfer-Encoding: chunked"])
def test_a_body_of_unknown_length_is_refused(header: bytes) -> None:
    with LoopbackServer(echo) as server, connection(server) as client:
        client.sendall(b"POST / HTTP/1.1\r\n" + header + b"\r\n\r\n")
        assert read_all(client).startswith(b"HTTP/1.1 411 ")


def test_half_a_request_is_not_handled() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply()

    with LoopbackServer(handler) as server, connection(server) as client:
        client.sendall(POST[:-1])
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == b""
    assert seen == []


@pytest.mark.anyio
async def test_it_serves_async_clients() -> None:
    with LoopbackServer(echo) as server:
        found: list[str] = []
        async with httpx.AsyncClient() as client, anyio.create_task_group() as group:

            async def ask(text: str) -> None:
                found.append((await client.post(server.url, content=text)).json()["body"])

            for number in range(20):
                group.start_soon(ask, str(number))
    assert sorted(found, key=int) == [str(number) for number in range(20)]


def test_hundreds_of_connections_are_served_at_once() -> None:
    crowd = 300
    together = threading.Barrier(crowd)  # opens only if all of them are being handled at the same time

    def handler(request: Request) -> Reply:
        together.wait(timeout=30)
        return echo(request)

    with LoopbackServer(handler) as server, ExitStack() as stack:
        clients = [stack.enter_context(connection(server, timeout=30)) for _ in range(crowd)]
        for client in clients:
            client.sendall(POST)
        for client in clients:
            assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(loopback_threads()) == crowd + 1


def test_it_listens_on_this_machine_only() -> None:
    with LoopbackServer(echo) as server:
        assert server.url.startswith("http://127.0.0.1:")
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(OSError), socket.create_connection(("127.0.0.2", port), timeout=2):
            pass  # pragma: no cover - the connection must not come about


def test_it_prints_and_logs_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), LoopbackServer(lambda _: Reply(500)) as server:
        httpx.get(server.url)
        with connection(server) as client:
            client.sendall(b"no http at all\r\n\r\n")
            assert b"400" in read_all(client)
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name == "cot_distill"] == []


# Delays and faults


def test_delay_is_kept() -> None:
    with LoopbackServer(lambda _: Reply(delay=0.2)) as server:
        began = time.monotonic()
        httpx.get(server.url)
        assert time.monotonic() - began >= 0.2


def faulty(fault: Fault, delay: float = 0.0) -> LoopbackServer:
    return LoopbackServer(lambda _: Reply(body=b'{"a": 1}', fault=fault, delay=delay))


def test_reset_resets() -> None:
    with faulty("reset") as server, connection(server) as client:
        client.sendall(POST)
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_hang_sends_nothing_and_ends_when_the_client_leaves() -> None:
    with faulty("hang") as server:
        with connection(server, timeout=0.3) as client:
            client.sendall(POST)
            with pytest.raises(TimeoutError):
                client.recv(1)
            assert len(loopback_threads()) == 2
        wait_for_threads(1)


def test_cut_announces_more_than_it_sends() -> None:
    with faulty("cut") as server:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(server.url)
        with connection(server) as client:
            client.sendall(POST)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
    assert body == b'{"a": 1}'
    assert b"content-length: 17" in head


def test_blank_is_a_proper_response_without_a_word() -> None:
    with faulty("blank", delay=0.25) as server, httpx.Client() as client:
        response = client.get(server.url)
        assert (response.status_code, response.content.strip()) == (200, b"")
        assert len(response.content) >= 2
        assert client.get(server.url).status_code == 200


def test_blank_first_is_a_whole_answer() -> None:
    with faulty("blank-first", delay=0.25) as server:
        began = time.monotonic()
        response = httpx.get(server.url)
        assert time.monotonic() - began >= 0.25
    assert response.content.startswith(b"\n\n")
    assert response.json() == {"a": 1}


def test_blank_forever_outlives_a_read_timeout() -> None:
    with faulty("blank-forever") as server, httpx.stream("GET", server.url, timeout=1.0) as response:
        began, received = time.monotonic(), b""
        for piece in response.iter_bytes():
            received += piece
            if time.monotonic() - began > 0.5:
                break
    assert received.strip() == b""
    assert len(received) >= 4


# What was sent


def test_sent_is_called_for_whole_replies_only() -> None:
    counted: list[int] = []
    faults: list[Fault | None] = [None, "cut", "blank", "blank-first", "reset"]

    def handler(request: Request) -> Reply:
        return Reply(body=b"{}", fault=faults[request.number], sent=lambda: counted.append(request.number))

    with LoopbackServer(handler) as server:
        for _ in faults:
            with connection(server) as client:
                client.sendall(POST)
                client.shutdown(socket.SHUT_WR)
                with suppress(ConnectionResetError):
                    read_all(client)
    assert counted == [0, 3]


def test_a_client_that_leaves_during_the_delay_gets_nothing() -> None:
    counted: list[int] = []
    with LoopbackServer(lambda _: Reply(delay=0.3, sent=lambda: counted.append(1))) as server:
        with connection(server) as client:
            client.sendall(POST)
        wait_for_threads(1)
    assert counted == []


def test_settle_waits_for_the_count_of_what_a_client_has() -> None:
    counted: list[int] = []
    release = threading.Event()

    def count() -> None:
        release.wait(10)
        counted.append(1)

    with LoopbackServer(lambda _: Reply(sent=count)) as server:
        httpx.get(server.url)
        assert counted == []
        threading.Timer(0.1, release.set).start()
        server.settle(10)
        assert counted == [1]
        server.settle()
    server.settle()


def test_settle_gives_up_in_time() -> None:
    release = threading.Event()

    def sent() -> None:
        release.wait(10)

    with LoopbackServer(lambda _: Reply(sent=sent)) as server:
        httpx.get(server.url)
        began = time.monotonic()
        server.settle(0.1)
        assert 0.1 <= time.monotonic() - began < 5
        release.set()


# Errors of the handler


def test_an_error_in_the_handler_is_a_500_and_surfaces_at_the_end() -> None:
    errors = [KeyError("first"), ValueError("second")]

    def handler(request: Request) -> Reply:
        raise errors[request.number]

    server = LoopbackServer(handler).__enter__()
    for _ in errors:
        response = httpx.get(server.url)
        assert response.status_code == 500
    assert response.json() == {"error": {"message": "ValueError: second"}}
    with pytest.raises(KeyError) as caught:
        server.__exit__(None, None, None)
    assert caught.value is errors[0]


def test_an_error_in_sent_surfaces_too() -> None:
    def sent() -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), LoopbackServer(lambda _: Reply(sent=sent)) as server:
        assert httpx.get(server.url).status_code == 200


def test_the_blocks_own_error_goes_first() -> None:
    def handler(request: Request) -> Reply:
        raise KeyError("handler")

    def block() -> None:
        with LoopbackServer(handler) as server:
            httpx.get(server.url)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()


# Start and end


def test_it_stops_at_once_whatever_its_clients_do() -> None:
    replies = {
        "/hang": Reply(fault="hang"),
        "/blank": Reply(fault="blank-forever"),
        "/first": Reply(fault="blank-first", delay=60),
        "/late": Reply(delay=60),
        "/keep": Reply(),
        "/unread": Reply(body=b"x" * 20_000_000),
    }
    with ExitStack() as stack:
        with LoopbackServer(lambda request: replies[request.path]) as server:
            for path in [*replies, *replies]:
                stack.enter_context(connection(server)).sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
            stack.enter_context(connection(server))  # says nothing
            stack.enter_context(connection(server)).sendall(POST[:-1])
            time.sleep(0.2)
            wait_for_threads(2 * len(replies) + 3)
            began = time.monotonic()
        assert time.monotonic() - began < 1.0
        assert loopback_threads() == []


def test_a_handler_that_is_busy_does_not_hold_the_end_up(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def handler(request: Request) -> Reply:
        release.wait(30)
        return Reply()

    with ExitStack() as stack:
        with LoopbackServer(handler) as server:
            stack.enter_context(connection(server)).sendall(POST)
            time.sleep(0.1)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        assert "still busy with 1 request" in caplog.text
        (left,) = loopback_threads()
        release.set()
        left.join(5)


def test_a_handler_may_stop_its_server() -> None:
    def handler(request: Request) -> Reply:
        server.stop()
        return Reply()

    with LoopbackServer(handler) as server, pytest.raises(httpx.TransportError):
        httpx.get(server.url)
    for thread in loopback_threads():
        thread.join(5)


def test_nobody_answers_after_the_end() -> None:
    with LoopbackServer(echo) as server, httpx.Client() as client:
        client.get(server.url)
        server.stop()
        server.stop()
        with pytest.raises(httpx.TransportError):
            client.get(server.url)
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)


def test_it_can_be_started_again_but_not_twice_at_once() -> None:
    server = LoopbackServer(echo)
    with pytest.raises(RuntimeError, match="no URL yet"):
        _ = server.url
    for _ in range(2):
        with server:
            assert httpx.get(server.url).json()["number"] == 0
            with pytest.raises(RuntimeError, match="running already"):
                server.__enter__()


@pytest.mark.parametrize("port", [-1, 70_000])
def test_an_impossible_port_is_refused(port: int) -> None:
    with (
        pytest.raises(ConfigError, match=f"port {port} of 127.0.0.1 is not to be had; 0 takes a free one"),
        LoopbackServer(echo, port=port),
    ):
        pass


def test_a_given_port_is_used_and_a_taken_one_refused() -> None:
    with LoopbackServer(echo) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match="not to be had"), LoopbackServer(echo, port=port):
            pass
    with LoopbackServer(echo, port=port) as second:
        assert second.url == first.url
        assert httpx.get(second.url).status_code == 200
