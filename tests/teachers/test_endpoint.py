"""A teacher behind HTTP, over real sockets: one Trace whatever the server's ways, and a key that nobody sees."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import anyio
import pytest
from pydantic import SecretStr

from cot_distill import Distiller, open_teacher
from cot_distill.errors import AuthError, ConfigError, RequestError, UnavailableError
from cot_distill.loopback import LoopbackServer, Reply, Request
from cot_distill.protocols import Teacher
from cot_distill.run import Run
from cot_distill.teachers.endpoint import Endpoint
from cot_distill.testing import FaultServer, check_teacher
from cot_distill.testing.server import ReasoningField
from cot_distill.testing.teachers import echo_answer
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Message, Sampling, Trace

pytestmark = pytest.mark.anyio

QUESTION = [Message(role="user", content="What is 2 + 2?")]
KEY = "sk-live-0123456789"
PAYLOAD = {
    "id": "chatcmpl-1",
    "model": "big-model-0711",
    "choices": [{"message": {"reasoning_content": "2 and 2 make 4.", "content": "4"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 9},
}


def endpoint(url: str, **options: object) -> Endpoint:
    teacher = open_teacher("vllm:model", base_url=f"{url}/v1", **options)  # type: ignore[arg-type]
    assert isinstance(teacher, Endpoint)
    return teacher


async def ask(teacher: Teacher, messages: Sequence[Message] = QUESTION) -> Completion:
    return await teacher.complete(messages, Sampling())


# The answer


@pytest.mark.parametrize("field", get_args(ReasoningField))
async def test_wherever_a_server_puts_the_reasoning_the_trace_is_the_same(field: ReasoningField) -> None:
    with FaultServer(reasoning_field=field) as server:
        completion = await ask(open_teacher("vllm:model", base_url=server.base_url))
    reasoning, answer = echo_answer("What is 2 + 2?")
    assert parse_trace(completion) == Trace(reasoning=reasoning, answer=answer)
    assert completion.trace_kind == "full"
    assert completion.usage.reasoning_tokens


async def test_an_answer_brings_the_time_it_took_its_id_and_the_body_word_for_word() -> None:
    body = json.dumps(PAYLOAD, indent=1).encode() + b"\n "
    reply = Reply(200, body, {"x-request-id": "req-7"}, delay=0.2)
    with LoopbackServer(lambda request: reply) as server:
        completion = await ask(endpoint(server.url))
    assert completion.raw == body.decode()
    assert completion.request_id == "req-7"
    assert completion.latency is not None
    assert 0.2 <= completion.latency < 5
    assert (completion.model, completion.usage.completion_tokens) == ("big-model-0711", 9)


async def test_without_a_header_the_id_is_that_of_the_body() -> None:
    with LoopbackServer(lambda request: Reply.json(PAYLOAD)) as server:
        assert (await ask(endpoint(server.url))).request_id == "chatcmpl-1"


async def test_it_keeps_the_promises_of_a_teacher() -> None:
    with FaultServer(latency=0.3) as server:
        await check_teacher(open_teacher("vllm:model", base_url=server.base_url, api_key=KEY))


# What is sent


async def test_the_request_has_the_model_the_messages_and_the_headers() -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply.json(PAYLOAD)

    with LoopbackServer(handler) as server:
        teacher = endpoint(server.url, api_key=KEY, headers={"X-Team": "blue", "HTTP-Referer": "https://example.org"})
        conversation = [Message(role="system", content="ü\n\u2028"), *QUESTION]
        await teacher.complete(conversation, Sampling(temperature=0.5))
    (request,) = seen
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.json()["model"] == "model"
    assert request.json()["messages"] == [message.model_dump() for message in conversation]
    assert request.json()["temperature"] == 0.5
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["x-team"] == "blue"
    assert request.headers["http-referer"] == "https://example.org"
    assert request.headers["content-type"] == "application/json"


async def test_without_a_key_there_is_no_authorization_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    with FaultServer() as server:
        await ask(open_teacher("vllm:model", base_url=server.base_url))
        assert "authorization" not in server.log[0].headers


async def test_an_authorization_of_ones_own_goes_before_the_key() -> None:
    with FaultServer() as server:
        own = {"Authorization": "Basic abc"}
        await ask(open_teacher("vllm:model", base_url=server.base_url, api_key=KEY, headers=own))
        assert server.log[0].headers["authorization"] == "Basic abc"


@pytest.mark.parametrize("name", ["X-API-Key", "x-api-key"])
async def test_a_header_of_ones_own_goes_before_those_of_the_format(name: str) -> None:
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply.json({"content": [{"type": "text", "text": "4"}], "stop_reason": "end_turn"})

    with LoopbackServer(handler) as server:
        own = {name: "another", "anthropic-version": "2099-01-01"}
        await ask(open_teacher("anthropic:m", base_url=server.url, api_key=KEY, headers=own))
    assert (seen[0].headers["x-api-key"], seen[0].headers["anthropic-version"]) == ("another", "2099-01-01")


async def test_a_query_in_the_address_stays_there() -> None:
    """Azure's dated interface wants one, and it holds the deployment in the path."""
    seen: list[Request] = []

    def handler(request: Request) -> Reply:
        seen.append(request)
        return Reply.json(PAYLOAD)

    with LoopbackServer(handler) as server:
        url = f"{server.url}/openai/deployments/d?api-version=2024-10-21"
        teacher = open_teacher("azure:d", base_url=url, api_key=KEY)
        await ask(teacher)
    assert seen[0].path == "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    assert seen[0].headers["api-key"] == KEY
    assert "api-version" not in repr(teacher)


# The key


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_a_server_that_echoes_the_key_does_not_make_us_show_it(status: int) -> None:
    def echo(request: Request) -> Reply:
        shown = f"no access with {request.headers['authorization']} or {KEY}"
        return Reply.json({"error": {"message": shown, "code": "invalid_api_key"}}, status=status)

    with LoopbackServer(echo) as server:
        teacher = endpoint(server.url, api_key=KEY)
        with pytest.raises((AuthError, UnavailableError)) as caught:
            await ask(teacher)
    shown = [str(caught.value), repr(caught.value), repr(vars(caught.value)), repr(teacher), repr(vars(teacher))]
    assert KEY not in "".join(shown)
    assert "no access with" in str(caught.value)


async def test_a_short_placeholder_of_a_key_does_not_garble_the_message() -> None:
    error = {"error": {"message": "maximum context length is 10 tokens"}}
    with (
        LoopbackServer(lambda request: Reply.json(error, status=400)) as server,
        pytest.raises(RequestError, match="maximum context length is 10 tokens"),
    ):
        await ask(endpoint(server.url, api_key="t"))


# Connections


async def test_one_connection_serves_many_requests_inside_a_with_block() -> None:
    ports: set[int] = set()

    def handler(request: Request) -> Reply:
        ports.add(threading.get_ident())  # one thread of the server for each connection
        return Reply.json(PAYLOAD)

    with LoopbackServer(handler) as server:
        async with endpoint(server.url) as teacher:
            for _ in range(5):
                await ask(teacher)
        assert len(ports) == 1


async def test_outside_of_a_with_block_too() -> None:
    with LoopbackServer(lambda request: Reply.json(PAYLOAD)) as server:
        teacher = endpoint(server.url)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(ask, teacher)
        async with teacher:
            await ask(teacher)
        assert (await ask(teacher)).content == "4"


async def test_it_may_be_entered_again_while_it_is_in_use() -> None:
    with LoopbackServer(lambda request: Reply.json(PAYLOAD)) as server:
        async with endpoint(server.url) as teacher:
            async with teacher:
                await ask(teacher)
            await ask(teacher)


async def test_a_cancelled_request_does_not_harm_the_next() -> None:
    slow = Reply.json(PAYLOAD)
    late = Reply(slow.status, slow.body, slow.headers, delay=30)
    with LoopbackServer(lambda request: late if request.number == 0 else slow) as server:
        async with endpoint(server.url) as teacher:
            with anyio.move_on_after(0.1) as scope:
                await ask(teacher)
            assert scope.cancelled_caught
            assert (await ask(teacher)).content == "4"


async def test_the_deadline_is_that_of_the_whole_answer() -> None:
    with (
        LoopbackServer(lambda request: Reply(fault="blank-forever")) as server,
        pytest.raises(UnavailableError, match=r"within 0\.3 s") as caught,
    ):
        await ask(endpoint(server.url, timeout=0.3))
    assert caught.value.kind == "timeout"


async def test_a_base_url_that_is_none_shows_before_the_first_request() -> None:
    with pytest.raises(ConfigError, match="base_url"):
        open_teacher("vllm:model", base_url="localhost:8000")


async def test_a_key_of_pydantic_is_taken_as_it_is() -> None:
    with FaultServer() as server:
        await ask(open_teacher("vllm:model", base_url=server.base_url, api_key=SecretStr(KEY)))
        assert server.log[0].headers["authorization"] == f"Bearer {KEY}"


def test_two_runs_in_two_threads_share_one_teacher(tmp_path: Path) -> None:
    """Each thread has an event loop of its own, and connections belong to a loop."""
    errors: list[BaseException] = []
    with FaultServer(latency=0.01) as server:
        distiller = Distiller(open_teacher("vllm:model", base_url=server.base_url), concurrency=8)
        together = threading.Barrier(2)

        def run(name: str) -> None:
            try:
                together.wait(5)
                tasks = [f"question {number} of {name}" for number in range(60)]
                distiller.run(tasks, tmp_path / name, progress=False)
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not errors
        assert server.requests == 120
    for name in ("a", "b"):
        samples = list(Run.open(tmp_path / name).samples())
        assert len(samples) == 60
        assert all(f"of {name}" in sample.trace.reasoning for sample in samples)
