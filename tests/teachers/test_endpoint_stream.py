"""A teacher that streams, over real sockets: the completions of one that does not, and answers that are stopped."""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import anyio
import anyio.to_thread
import pytest

from cot_distill import Distiller, open_teacher
from cot_distill.errors import AuthError, ConfigError, RateLimitError, RequestError, TeacherError, UnavailableError
from cot_distill.guards import fails
from cot_distill.loopback import LoopbackServer, Reply
from cot_distill.protocols import Teacher
from cot_distill.teachers import PRESETS
from cot_distill.testing import FaultServer, check_teacher
from cot_distill.testing.drips import Drip, DripServer
from cot_distill.testing.server import ReasoningField
from cot_distill.types import Completion, Message, Sampling
from cot_distill.verifiers import repetition

pytestmark = pytest.mark.anyio

QUESTION = [Message(role="user", content="What is 2 + 2?")]
KEY = "sk-live-0123456789"


def teacher(url: str, spec: str = "vllm:model", **options: Any) -> Teacher:
    return open_teacher(spec, base_url=url, stream=True, **options)


async def ask(teacher: Teacher, sampling: Sampling | None = None) -> Completion:
    return await teacher.complete(QUESTION, sampling or Sampling())


def data(*events: Any) -> list[bytes]:
    return [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events]


def chunk(finish: str | None = None, **delta: str) -> dict[str, Any]:
    return {"id": "c-1", "model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


SPOKEN = [chunk(reasoning="2 and 2 "), chunk(reasoning="make 4."), chunk(content="4")]
LAST = [chunk("stop"), {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 9}}, "[DONE]"]


# The answer


@pytest.mark.parametrize("field", get_args(ReasoningField))
async def test_a_stream_gives_the_completion_of_a_whole_answer(field: ReasoningField) -> None:
    with FaultServer(reasoning_field=field) as server:
        streamed = await ask(teacher(server.base_url))
        whole = await ask(open_teacher("vllm:model", base_url=server.base_url))
    update = {"request_id": None, "latency": None, "raw": None}
    assert streamed.model_copy(update=update) == whole.model_copy(update=update)
    assert streamed.usage.total
    assert streamed.latency is not None
    assert (streamed.request_id, whole.request_id) == ("req-0", "req-1")
    old, new = json.loads(whole.raw or ""), json.loads(streamed.raw or "")
    assert {name for name in old if old[name] != new[name]} <= {"id", "created"}


async def test_what_is_kept_as_raw_can_be_read_again() -> None:
    with FaultServer() as server:
        completion = await ask(teacher(server.base_url))
    again = PRESETS["vllm"].format.decode(json.loads(completion.raw or ""), preset=PRESETS["vllm"])
    update = {"request_id": None, "latency": None, "raw": None}
    assert again.model_copy(update=update) == completion.model_copy(update=update)


async def test_it_keeps_the_promises_of_a_teacher() -> None:
    with FaultServer(latency=0.3) as server:
        await check_teacher(teacher(server.base_url, api_key=KEY))


async def test_what_is_asked_for() -> None:
    with FaultServer() as server:
        await ask(teacher(server.base_url))
        await ask(teacher(server.base_url, "mistral:m", api_key=KEY))
        extra = {"stream_options": {"include_usage": False}}
        await ask(teacher(server.base_url), Sampling(extra=extra))
        bodies = [request.body for request in server.log]
    assert [body["stream"] for body in bodies] == [True, True, True]
    assert [body.get("stream_options") for body in bodies] == [{"include_usage": True}, None, extra["stream_options"]]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ("gemini:g-3", "/v1beta/models/g-3:streamGenerateContent?alt=sse"),
        ("anthropic:claude", "/v1beta/v1/messages"),
        ("openai-responses:m", "/v1beta/responses"),
        ("dashscope:qwq-plus", "/v1beta/chat/completions"),
        ("ollama:qwq", "/v1beta/api/chat"),
    ],
)
async def test_where_and_how_other_formats_are_asked(spec: str, path: str) -> None:
    seen: list[Drip] = []

    def answer(drip: Drip) -> None:
        seen.append(drip)
        drip.send(b"nothing of use")
        drip.end()

    with DripServer(answer) as server, pytest.raises(TeacherError):
        await ask(teacher(f"{server.url}/v1beta", spec, api_key=KEY))
    assert seen[0].head.split()[1].decode() == path
    assert json.loads(seen[0].body).get("stream") is (None if spec.startswith("gemini") else True)


async def test_one_connection_serves_many_streams() -> None:
    def answer(drip: Drip) -> None:
        drip.send(*data(*SPOKEN, *LAST))
        drip.end()

    with DripServer(answer) as server:
        async with teacher(server.url) as one:  # type: ignore[attr-defined]
            for _ in range(3):
                assert (await ask(one)).reasoning == "2 and 2 make 4."
        assert server.connections == 1


async def test_a_server_that_keeps_talking_after_the_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cot_distill.transport._REST_SECONDS", 0.1)

    def answer(drip: Drip) -> None:
        drip.send(*data(*SPOKEN, *LAST))
        drip.see_it_leave()

    with DripServer(answer) as server:
        assert (await ask(teacher(server.url))).usage.completion_tokens == 9


async def test_a_server_that_answers_whole_all_the_same() -> None:
    message = {"reasoning": "So.", "content": "4"}
    payload = {"id": "c-7", "choices": [{"message": message, "finish_reason": "stop"}]}
    with LoopbackServer(lambda request: Reply.json(payload)) as server:
        completion = await ask(teacher(server.url))
    assert (completion.content, completion.request_id, json.loads(completion.raw or "")) == ("4", "c-7", payload)


# What goes wrong


@pytest.mark.parametrize("end", ["end", "close", "reset"])
async def test_a_stream_that_breaks_off_is_no_answer(end: str) -> None:
    def answer(drip: Drip) -> None:
        drip.send(*data(*SPOKEN, chunk("stop") if end != "end" else SPOKEN[0]))
        getattr(drip, end)()

    with DripServer(answer) as server, pytest.raises(UnavailableError, match="broke") as caught:
        await ask(teacher(server.url))
    assert caught.value.transient
    assert caught.value.status is None


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        ("cut", UnavailableError, "http"),
        ("malformed", UnavailableError, "malformed"),
        ("reset", UnavailableError, "http"),
        ("blank", UnavailableError, "malformed"),
        ("html", UnavailableError, "malformed"),
        ("empty", UnavailableError, "malformed"),
        ("error-200", UnavailableError, "http"),
        ("429-ms", RateLimitError, "rate_limited"),
        ("400", RequestError, "too_long"),
        ("401", AuthError, "auth"),
        ("503", UnavailableError, "http"),
    ],
)
async def test_faults(fault: str, error: type[TeacherError], kind: str) -> None:
    with FaultServer(faults=[fault], retry_after=0.5) as server:
        one = teacher(server.base_url, timeout=5)
        with pytest.raises(error) as caught:
            await ask(one)
        assert (await ask(one)).content  # the next one is not harmed
    assert caught.value.kind == kind
    assert caught.value.retry_after == (0.5 if fault == "429-ms" else None)


async def test_the_deadline_is_that_of_the_whole_answer() -> None:
    with (
        FaultServer(faults=["blank-forever"]) as server,
        pytest.raises(UnavailableError, match=r"within 0\.3 s") as caught,
    ):
        await ask(teacher(server.base_url, timeout=0.3))
    assert caught.value.kind == "timeout"


async def test_an_error_event_has_the_id_of_the_request_and_no_key() -> None:
    def answer(drip: Drip) -> None:
        drip.start(more="x-request-id: req-9\r\n")
        drip.send(*data(*SPOKEN, {"error": {"message": f"no access with {KEY}", "code": 502}}))
        drip.end()

    words = "broke off after 16 characters"
    with DripServer(answer) as server, pytest.raises(UnavailableError, match=words) as caught:
        await ask(teacher(server.url, api_key=KEY))
    assert caught.value.request_id == "req-9"
    assert KEY not in str(caught.value)


async def test_cancelled_in_mid_stream_the_connection_is_closed() -> None:
    there, left = threading.Event(), threading.Event()

    def answer(drip: Drip) -> None:
        drip.send(*data(*SPOKEN))
        there.set()
        if drip.see_it_leave():
            left.set()

    with DripServer(answer) as server:
        async with teacher(server.url) as one, anyio.create_task_group() as group:  # type: ignore[attr-defined]
            group.start_soon(ask, one)
            assert await anyio.to_thread.run_sync(there.wait, 10)
            group.cancel_scope.cancel()
        assert await anyio.to_thread.run_sync(left.wait, 10)


# Guards


def looping(drip: Drip) -> list[bool]:
    """Says the same for ever. True if the client leaves before it is over."""
    try:
        for _ in range(100_000):
            drip.send(*data(chunk(reasoning="Wait, let me check that again. ")))
    except OSError:
        return [True]
    return [False]


async def test_a_guard_stops_a_loop_and_closes_the_connection() -> None:
    left: list[bool] = []
    with DripServer(lambda drip: left.extend(looping(drip))) as server:
        one = teacher(server.url, stop_when=fails(repetition()))
        with pytest.raises(RequestError, match=r"stopped after 4,\d\d\d characters of reasoning") as caught:
            await ask(one)
    assert caught.value.kind == "stopped"
    assert "repetition: " in str(caught.value)
    assert left == [True]


def test_a_stopped_answer_is_booked_and_not_asked_for_again(tmp_path: Path) -> None:
    def answer(drip: Drip) -> None:
        if b"circles" in drip.body:
            looping(drip)
            drip.close()
        else:
            drip.send(*data(*SPOKEN, *LAST))
            drip.end()

    tasks = ["What is 2 + 2?", "Go round in circles."]
    with DripServer(answer) as server:
        one = teacher(server.url, stop_when=[fails(repetition())])
        for _ in range(2):
            run = Distiller(one, retries=1).run(tasks, tmp_path / "run", progress=False)
        assert server.requests == 2
    assert run.report().failures == Counter({"stopped": 1})
    (failure,) = run.failures()
    assert (failure.stage, failure.tries) == ("request", 1)
    assert "times in a row" in failure.message
    assert [sample.trace.answer for sample in run.samples()] == ["4"]


async def test_a_guard_is_told_what_the_question_is() -> None:
    seen: list[str] = []

    def verify(task: Any, trace: Any) -> Any:
        seen.append(task.instruction)
        return repetition()(task, trace)

    def answer(drip: Drip) -> None:
        drip.send(*data(chunk(reasoning="".join(f"{number} " for number in range(1000, 2000))), *LAST))
        drip.end()

    with DripServer(answer) as server:
        await ask(teacher(server.url, stop_when=fails(verify)))
    assert seen == ["What is 2 + 2?"]


# Settings


@pytest.mark.parametrize("spec", ["bedrock:m", "minimax:m"])
def test_what_is_not_streamed(spec: str) -> None:
    with pytest.raises(ConfigError, match="leave out stream=True"):
        teacher("http://127.0.0.1:1", spec, api_key=KEY)


def test_guards_need_a_stream() -> None:
    with pytest.raises(ConfigError, match="pass stream=True"):
        open_teacher("vllm:m", stop_when=lambda reasoning, answer: None)


@pytest.mark.parametrize("options", [{"stream": True}, {"stop_when": lambda reasoning, answer: None, "stream": True}])
def test_the_demo_takes_no_stream(options: Any) -> None:
    with pytest.raises(ConfigError, match="demo"):
        open_teacher("demo", **options)
