"""Files over HTTP, against a real server."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cot_distill.errors import ConfigError, UnavailableError
from cot_distill.http_files import Files
from cot_distill.loopback import LoopbackServer, Reply, Request

KEY = {"Authorization": "Bearer sk-secret-secret"}

pytestmark = pytest.mark.anyio


async def test_what_is_sent_arrives(tmp_path: Path) -> None:
    seen: list[Request] = []

    def handle(request: Request) -> Reply:
        seen.append(request)
        return Reply.json({"ok": True}, status=201)

    file = tmp_path / "file"
    file.write_bytes(b"0123456789" * 50_000)
    with LoopbackServer(handle) as server:
        async with Files(f"{server.url}/v1/", headers=KEY) as files:
            assert (await files.get("/a", {"limit": "2"})).status == 201
            assert (await files.post("/b", {"x": "ü"})).body == b'{"ok": true}'
            await files.post_file("/c", file)
            await files.upload("/d", file, "name.jsonl", {"purpose": "batch"})
            await files.post_form("/e", {"purpose": "batch"})
            await files.put(f"{server.url}/f", file)
    assert [f"{one.method} {one.path}" for one in seen] == [
        "GET /v1/a?limit=2",
        "POST /v1/b",
        "POST /v1/c",
        "POST /v1/d",
        "POST /v1/e",
        "PUT /f",
    ]
    assert seen[1].json() == {"x": "ü"}
    assert seen[2].body == seen[5].body == file.read_bytes()
    assert file.read_bytes() in seen[3].body
    assert b'filename="name.jsonl"' in seen[3].body
    assert seen[4].body == b"purpose=batch"
    assert ["authorization" in one.headers for one in seen] == [True] * 5 + [False]


async def test_a_download_goes_to_disk_and_its_redirect_gets_no_key(tmp_path: Path) -> None:
    seen: list[Request] = []

    def far(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, b"line\n" * 100_000)

    with LoopbackServer(far) as other:

        def near(request: Request) -> Reply:
            seen.append(request)
            if request.path == "/none":
                return Reply.json({"error": "no"}, status=404)
            return Reply(302, b"", {"location": f"{other.url}/signed"})

        with LoopbackServer(near) as server:
            async with Files(server.url, headers=KEY) as files:
                target = tmp_path / "target"
                assert (await files.download("/there", target)).status == 200
                assert target.read_bytes() == b"line\n" * 100_000
                assert (await files.download("/none", target)).body == b'{"error": "no"}'
                await files.download(f"{other.url}/elsewhere", target)
    assert [one.path for one in seen] == ["/there", "/signed", "/none", "/elsewhere"]
    assert ["authorization" in one.headers for one in seen] == [True, False, True, False]


async def test_errors_of_the_network_are_those_of_the_transport(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        async with Files(url, headers=KEY) as files:
            with pytest.raises(UnavailableError) as failed:
                await files.get("/")
            assert failed.value.kind == "unreachable"
            with pytest.raises(UnavailableError):
                await files.download("/", tmp_path / "target")
    with LoopbackServer(lambda _: Reply(200, b"half", fault="cut")) as server:
        async with Files(server.url, headers=KEY) as files:
            with pytest.raises(UnavailableError) as failed:
                await files.download("/", tmp_path / "target")
            assert failed.value.kind == "http"


async def test_what_cannot_be_sent_shows_at_once() -> None:
    with pytest.raises(ConfigError, match="must start with http"):
        Files("ftp://example.com", headers={})
    with pytest.raises(ConfigError, match="character that no HTTP header can hold"):
        Files("http://example.com", headers={"Authorization": "a\nb"})
    with pytest.raises(RuntimeError, match="async with"):
        await Files("http://example.com", headers={}).get("/")
