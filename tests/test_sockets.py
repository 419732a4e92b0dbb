"""The sockets under HTTP: plain and encrypted, and every way in which a connection ends."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from cot_distill import transport
from cot_distill.errors import UnavailableError
from cot_distill.sockets import connect
from cot_distill.transport import Transport

pytestmark = pytest.mark.anyio

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(params=["asyncio", "uvloop"])  # on trio these sockets are not used
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that has one conversation after another; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


async def test_what_is_written_leaves_in_one_piece_with_the_next_read() -> None:
    pieces: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        pieces.append(connection.recv(1000))
        connection.sendall(b"answer")

    with serving(talk) as port:
        stream = await connect("127.0.0.1", port)
        stream.write(b"head ")
        stream.write(b"body")
        await anyio.sleep(0.05)
        assert pieces == []
        assert await stream.read() == b"answer"
        assert await stream.read() == b""  # the end
        assert stream.has_news
        await stream.aclose()
    assert pieces == [b"head body"]


async def test_megabytes_go_both_ways() -> None:
    size = 8_000_000

    def talk(connection: socket.socket) -> None:
        left = size
        while left:
            left -= len(connection.recv(1 << 20))
        connection.sendall(b"x" * size)

    with serving(talk) as port:
        stream = await connect("127.0.0.1", port)
        stream.write(b"y" * size)
        came = 0
        while piece := await stream.read():
            came += len(piece)
        await stream.aclose()
    assert came == size


async def test_a_connection_that_is_reset_is_an_error_and_not_an_end() -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    with serving(talk) as port:
        stream = await connect("127.0.0.1", port)
        stream.write(b"hello")
        with pytest.raises(OSError):
            await stream.read()
        await stream.aclose()


async def test_an_idle_connection_that_the_server_closed_is_not_used_again() -> None:
    served = []

    def talk(connection: socket.socket) -> None:
        connection.recv(10_000)
        connection.sendall(ANSWER)  # keeps the connection open by its words, and closes it all the same
        served.append(1)

    with serving(talk) as port:
        async with Transport(f"http://127.0.0.1:{port}", headers={}, timeout=5) as client:
            for _ in range(3):
                assert (await client.post("/", b"{}")).status == 200
                await anyio.sleep(0.05)
    assert len(served) == 3


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await connect("127.0.0.1", port)


async def test_a_connection_that_is_not_accepted_in_time() -> None:
    with pytest.raises(TimeoutError, match="within 0 s"):  # too little time for any host
        await connect("127.0.0.1", 9, timeout=0)


async def test_tls_that_is_not_agreed_on_in_time() -> None:
    left = threading.Event()

    def talk(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass
        left.set()

    with serving(talk) as port:
        with pytest.raises(TimeoutError):
            await connect("127.0.0.1", port, tls=ssl.create_default_context(), timeout=0.2)
        assert await anyio.to_thread.run_sync(left.wait, 5)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", f"{file}.key", "-out", f"{file}.crt"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    file.write_bytes(Path(f"{file}.key").read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@contextmanager
def serving_tls(certificate: Path) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True) as encrypted:
            while encrypted.recv(10_000):
                encrypted.sendall(ANSWER)

    with serving(talk) as port:
        yield port


async def test_encrypted_with_a_certificate_of_ones_own(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    transport._tls_context.cache_clear()
    with serving_tls(certificate) as port:
        async with Transport(f"https://127.0.0.1:{port}", headers={}, timeout=5) as client:
            for _ in range(3):
                assert (await client.post("/", b"{}")).body == b"{}"
    transport._tls_context.cache_clear()


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    transport._tls_context.cache_clear()
    with serving_tls(certificate) as port:
        async with Transport(f"https://127.0.0.1:{port}", headers={}, timeout=5) as client:
            with pytest.raises(UnavailableError, match="certificate verify failed") as caught:
                await client.post("/", b"{}")
    assert caught.value.kind == "unreachable"


async def test_a_server_that_does_not_speak_tls_is_one_clear_error() -> None:
    with serving(lambda connection: connection.sendall(b"220 mail ready\r\n" * 10)) as port:
        async with Transport(f"https://127.0.0.1:{port}", headers={}, timeout=5) as client:
            with pytest.raises(UnavailableError) as caught:
                await client.post("/", b"{}")
    assert caught.value.kind == "unreachable"


async def test_the_deadline_holds_while_connecting_too_and_is_told_as_such() -> None:
    """As for any answer that does not come in time: it need not mean that nobody is there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the handshake is never answered
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        async with Transport(url, headers={}, timeout=0.2) as transport:
            with pytest.raises(UnavailableError, match=f"no whole answer from {url} within 0.2 s") as caught:
                await transport.post("/", b"{}")
    assert caught.value.kind == "timeout"
