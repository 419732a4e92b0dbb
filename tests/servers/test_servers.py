"""The same tasks through servers that nobody here wrote: each gives the same traces, in its own shape."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

from cot_distill import Distiller, Task, open_teacher
from cot_distill.errors import RequestError, TeacherError, TraceError
from cot_distill.logprobs import read_logprobs, topk_columns
from cot_distill.protocols import Teacher
from cot_distill.testing import check_teacher
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Message, Sampling, Trace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Server:
    """How a real server is reached through one of its interfaces."""

    fixture: str
    spec: str
    """``{place}`` is where the servers are."""
    path: str


SERVERS = {
    "transformers-chat": Server("transformers_serve", "openai:{place}/tiny", "/v1"),
    "llama-chat": Server("llama_server", "llamacpp:tiny", "/v1"),
    "llama-anthropic": Server("llama_server", "anthropic:tiny", ""),
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    return SERVERS[request.param]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def teacher(server: Server, place: Path, request: pytest.FixtureRequest) -> Teacher:
    url = request.getfixturevalue(server.fixture)
    spec = server.spec.format(place=place)
    stream: bool = request.param
    return open_teacher(
        spec, base_url=url + server.path, api_key="none", name=server.spec, timeout=120, stream=stream
    )  # fmt: skip


def ask(teacher: Teacher, tiny: ModuleType, pair: tuple[int, int] = (17, 25), **settings: Any) -> Completion:
    question = [Message(role="user", content=tiny.question(*pair))]
    return anyio.run(teacher.complete, question, Sampling(**settings))


def expected(tiny: ModuleType, pair: tuple[int, int]) -> Trace:
    return Trace(reasoning=tiny.reasoning(*pair), answer=tiny.answer(*pair))


def test_keeps_the_promises_of_a_teacher(teacher: Teacher, tiny: ModuleType) -> None:
    """The same check as the demo teacher's."""
    completion = anyio.run(check_teacher, teacher)
    assert parse_trace(completion) == expected(tiny, (17, 25))
    assert completion.trace_kind == "full"
    assert completion.finish_reason == "stop"
    assert completion.usage.prompt_tokens == 26
    assert completion.usage.completion_tokens is not None


def test_the_same_tasks_give_the_same_traces(teacher: Teacher, tiny: ModuleType, tmp_path: Path) -> None:
    tasks = [Task(instruction=tiny.question(*pair)) for pair in tiny.SUMS]
    run = Distiller(teacher, concurrency=4).run(tasks, tmp_path / "run", progress=False)
    assert {sample.task.instruction: sample.trace for sample in run.samples()} == {
        tiny.question(*pair): expected(tiny, pair) for pair in tiny.SUMS
    }


def test_cut_in_the_middle_of_a_thought(teacher: Teacher, tiny: ModuleType) -> None:
    completion = ask(teacher, tiny, max_tokens=9)
    assert completion.finish_reason == "length"
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == "truncated"


def test_llama_server_leaves_out_logprobs_over_a_stream(llama_server: str, tiny: ModuleType) -> None:
    """Those of tags, of line breaks between the parts, and of all but one token of a character."""
    teacher = open_teacher("llamacpp:tiny", base_url=f"{llama_server}/v1", stream=True)
    found = read_logprobs(ask(teacher, tiny, top_logprobs=3))
    assert found is not None
    assert found.missing is not None
    assert found.missing > 1


def test_llama_server_gives_logprobs_with_ids(llama_server: str, tiny: ModuleType) -> None:
    """One list for reasoning, tags and answer, in which a character is two tokens."""
    teacher = open_teacher("llamacpp:tiny", base_url=f"{llama_server}/v1")
    completion = ask(teacher, tiny, top_logprobs=3)
    found = read_logprobs(completion)
    assert found is not None
    assert found.covers == "all"
    assert found.missing in (0, 1)
    assert found.text is not None
    trace = expected(tiny, (17, 25))
    assert found.text.decode().startswith(f"<think>\n{trace.reasoning}\n</think>\n\n{trace.answer}")
    for part, text in ((found.reasoning, trace.reasoning), (found.answer, trace.answer)):
        assert b"".join(token.said.text or b"" for token in found.tokens[part]).strip().decode() == text
    columns = topk_columns(found)
    assert set(map(len, columns["topk_ids"])) == {3}
    likeliest = [ids[0] for ids in columns["topk_ids"]]
    assert columns["token_ids"] == likeliest  # at temperature 0


def test_transformers_serve_gives_no_logprobs(transformers_serve: str, place: Path, tiny: ModuleType) -> None:
    """It ignores the setting, and says nothing."""
    teacher = open_teacher(f"openai:{place}/tiny", base_url=f"{transformers_serve}/v1", api_key="none")
    assert read_logprobs(ask(teacher, tiny, top_logprobs=3)) is None


def test_llama_server_does_not_say_over_responses_whether_an_answer_was_cut(
    llama_server: str, tiny: ModuleType
) -> None:
    teacher = open_teacher("openai-responses:tiny", base_url=f"{llama_server}/v1", api_key="none")
    with pytest.raises(RequestError, match="does not say whether an answer was cut"):
        ask(teacher, tiny)


def test_transformers_serve_refuses_another_model(transformers_serve: str, tiny: ModuleType) -> None:
    teacher = open_teacher("openai:somebody/else", base_url=f"{transformers_serve}/v1", api_key="none")
    with pytest.raises(TeacherError, match="pinned"):
        ask(teacher, tiny)


def test_too_long_for_llama_server(llama_server: str) -> None:
    teacher = open_teacher("llamacpp:tiny", base_url=f"{llama_server}/v1")
    question = [Message(role="user", content="2 + " * 4000)]
    with pytest.raises(RequestError) as caught:
        anyio.run(teacher.complete, question, Sampling())
    assert caught.value.kind == "too_long"
