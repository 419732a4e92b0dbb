"""Ollama's own chat: every end of an answer, the field of the thinking, every error."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import TraceError
from cot_distill.teachers.ollama import decode
from cot_distill.teachers.presets import PRESETS
from cot_distill.trace import parse_trace
from cot_distill.types import Usage

THOUGHT, ANSWER = "2 and 2 make 4.", "4"


def answer(reason: Any = "stop", *, done: Any = True, more: Any = None, **message: Any) -> dict[str, Any]:
    return {
        "model": "deepseek-r1:14b",
        "created_at": "2026-11-05T12:00:00.000000Z",
        "message": {"role": "assistant", **message},
        "done": done,
        "done_reason": reason,
        "total_duration": 4_648_158_584,
        "load_duration": 4_071_084,
        "prompt_eval_count": 9,
        "prompt_eval_duration": 439_038_000,
        "eval_count": 90,
        "eval_duration": 4_196_918_000,
        **(more or {}),
    }


@pytest.mark.parametrize(
    ("payload", "finish", "raw", "kind"),
    [
        (answer(thinking=THOUGHT, content=ANSWER), "stop", "stop", "full"),
        (answer(thinking=THOUGHT, content=ANSWER, tool_calls=[]), "stop", "stop", "full"),
        (answer("length", thinking=THOUGHT, content=""), "length", "length", "full"),
        (answer("load", content=""), "unknown", "load", "none"),
        (answer("unload", content=""), "unknown", "unload", "none"),
        (answer(None, thinking=THOUGHT, content=ANSWER), "unknown", None, "full"),
        (answer(thinking=THOUGHT, content="", tool_calls=[{"function": {}}]), "tool_calls", "stop", "full"),
        (answer(content=ANSWER), "stop", "stop", "none"),
        (answer(thinking=" \n", content=ANSWER), "stop", "stop", "none"),
        (answer(thinking=None, content=ANSWER), "stop", "stop", "none"),
        (answer(content=f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"), "stop", "stop", "full"),  # think was not sent
    ],
)
def test_ends_and_kinds(payload: Any, finish: str, raw: str | None, kind: str, provider: Any) -> None:
    completion = provider.completes("ollama", payload)
    assert (completion.finish_reason, completion.raw_finish_reason) == (finish, raw)
    assert completion.trace_kind == kind
    assert completion.model == "deepseek-r1:14b"
    assert completion.usage == Usage(prompt_tokens=9, completion_tokens=90)


def test_it_keeps_the_promises_of_a_teacher(provider: Any) -> None:
    provider.keeps_promises("ollama", answer(thinking=THOUGHT, content=ANSWER))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (answer("length", thinking=THOUGHT, content=""), "truncated"),
        (answer("load", content=""), "unfinished"),
        (answer(content=ANSWER), "no_reasoning"),
        (answer(thinking=THOUGHT, content=""), "no_answer"),
    ],
)
def test_what_is_no_trace(payload: Any, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(decode(payload, preset=PRESETS["ollama"]))
    assert caught.value.kind == kind


def test_logprobs() -> None:
    chances = [{"token": "4", "logprob": -0.1, "top_logprobs": []}]
    found = decode(answer(content=ANSWER, more={"logprobs": chances}), preset=PRESETS["ollama"])
    assert found.logprobs == {"content": chances}
    assert decode(answer(content=ANSWER, more={"logprobs": []}), preset=PRESETS["ollama"]).logprobs is None


def test_counts_that_are_missing_are_not_told() -> None:
    payload = {"message": {"content": ANSWER}, "done": True, "eval_count": None}
    assert decode(payload, preset=PRESETS["ollama"]).usage == Usage()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid options: num_ctx"}, "bad_request"),
        (400, {"error": '"llama3" does not support thinking'}, "bad_request"),
        (401, {"error": "unauthorized"}, "auth"),
        (404, {"error": 'model "x" not found, try pulling it first'}, "unknown_model"),
        (500, {"error": "llama runner process has terminated"}, "http"),
        (503, {"error": "server busy, please try again. maximum pending requests exceeded"}, "http"),
        (200, {"error": "an error was encountered while running the model"}, "http"),
        (200, answer(done=False, content="4"), "malformed"),
        (200, {"done": True, "done_reason": "stop", "response": "4"}, "malformed"),
        (200, {}, "malformed"),
    ],
)
def test_errors(status: int, body: Any, kind: str, provider: Any) -> None:
    met = provider.fails("ollama", status, body)
    assert (met.kind, met.status) == (kind, status)


def test_lines_of_a_stream_are_no_answer(provider: Any) -> None:
    """Somebody's proxy may stream whatever was asked: then only the last line is done."""
    from cot_distill.teachers.faults import teacher_error

    body = b'{"message": {"content": "4"}, "done": false}\n{"message": {"content": ""}, "done": true}\n'
    assert teacher_error(200, {}, body, provider="ollama").kind == "malformed"
