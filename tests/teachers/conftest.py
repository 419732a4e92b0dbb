"""A provider on this machine: it says one thing, and what we make of it is the same as without any network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from cot_distill import open_teacher
from cot_distill.errors import TeacherError
from cot_distill.loopback import LoopbackServer, Reply, Request
from cot_distill.teachers import PRESETS
from cot_distill.teachers.faults import teacher_error
from cot_distill.testing import check_teacher
from cot_distill.types import Completion, Message, Sampling

MODEL = "maker/model:1"
KEY = "sk-live-0123456789"
ASK = [Message(role="system", content="Be brief."), Message(role="user", content="2+2?")]


class Provider:
    """Stands in for every provider that is in the table."""

    def completes(self, provider: str, payload: Any) -> Completion:
        """What a body of HTTP 200 becomes, as an object and over a real socket: the same."""
        preset = PRESETS[provider]
        completion = preset.format.decode(payload, preset=preset)
        heard: list[Request] = []

        def reply(request: Request) -> Reply:
            heard.append(request)
            return Reply.json(payload, headers={"x-request-id": "req-1"})

        with LoopbackServer(reply) as server:
            teacher = open_teacher(f"{provider}:{MODEL}", base_url=server.url, api_key=KEY)
            over_wire = anyio.run(teacher.complete, ASK, Sampling(max_tokens=99))
        (request,) = heard
        assert (request.method, request.path) == ("POST", preset.format.url_path(MODEL))
        assert request.json() == preset.format.encode(ASK, Sampling(max_tokens=99), model=MODEL, preset=preset)
        self._knocked(provider, request)
        assert over_wire.request_id == "req-1"
        assert json.loads(over_wire.raw or "") == payload  # signatures and all
        assert over_wire.latency is not None
        update = {"latency": None, "raw": None, "request_id": completion.request_id}
        assert over_wire.model_copy(update=update) == completion
        return completion

    def fails(self, provider: str, status: int, body: Any, headers: Mapping[str, str] | None = None) -> TeacherError:
        """What an error becomes, as bytes and over a real socket: the same."""
        headers = dict(headers or {})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        with LoopbackServer(lambda request: Reply(status, raw, headers)) as server:
            teacher = open_teacher(f"{provider}:{MODEL}", base_url=server.url, api_key=KEY)
            with pytest.raises(TeacherError) as caught:
                anyio.run(teacher.complete, ASK, Sampling())
        if status >= 400:
            error = teacher_error(status, headers, raw, provider=provider)
        else:
            with pytest.raises(TeacherError) as alone:
                PRESETS[provider].format.decode(json.loads(raw), preset=PRESETS[provider])
            error = alone.value
        assert (type(caught.value), str(caught.value)) == (type(error), str(error))
        assert vars(caught.value) == vars(error)
        assert error.provider == provider
        return error

    def keeps_promises(self, provider: str, payload: Any) -> None:
        """A teacher that gets this answer keeps the promises that the engine relies on."""
        with LoopbackServer(lambda request: Reply(body=json.dumps(payload).encode(), delay=0.2)) as server:
            teacher = open_teacher(f"{provider}:{MODEL}", base_url=server.url, api_key=KEY)
            anyio.run(check_teacher, teacher)

    @staticmethod
    def _knocked(provider: str, request: Request) -> None:
        """The key was in its header and nowhere else, beside what the format sends with every request."""
        wire = PRESETS[provider].format
        for name, value in {**wire.credentials(KEY), **wire.headers}.items():
            assert request.headers[name.lower()] == value
        holders = [name for name, value in request.headers.items() if KEY in value]
        assert holders == [wire.key_header.lower()]
        assert KEY not in request.path
        assert KEY.encode() not in request.body


@pytest.fixture
def provider() -> Provider:
    return Provider()
