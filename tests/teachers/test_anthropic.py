"""Anthropic's Messages: every end of an answer, every kind of thinking, every error of the table."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import TraceError
from cot_distill.teachers.anthropic import decode
from cot_distill.teachers.presets import PRESETS
from cot_distill.trace import parse_trace

THOUGHT, ANSWER = "2 and 2 make 4.", "4"
SAID = {"type": "text", "text": ANSWER}


def thinking(text: str = THOUGHT, signature: str | None = "EqQB…") -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature}


REDACTED = {"type": "redacted_thinking", "data": "EmwK…"}


def answer(*blocks: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-5",
        "content": list(blocks),
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 80}},
        **more,
    }


@pytest.mark.parametrize(
    ("payload", "finish", "raw", "kind"),
    [
        (answer(thinking(), SAID), "stop", "end_turn", "summary"),
        (answer(thinking(), SAID, stop="stop_sequence"), "stop", "stop_sequence", "summary"),
        (answer(thinking(), stop="max_tokens"), "length", "max_tokens", "summary"),
        (
            answer(thinking(), stop="model_context_window_exceeded"),
            "length",
            "model_context_window_exceeded",
            "summary",
        ),
        (answer(thinking(), {"type": "tool_use", "input": {}}, stop="tool_use"), "tool_calls", "tool_use", "summary"),
        (answer(thinking(), SAID, stop="pause_turn"), "unknown", "pause_turn", "summary"),
        (answer(stop="refusal"), "refused", "refusal", "hidden"),
        (
            answer(stop="refusal", stop_details={"type": "refusal", "category": "reasoning_extraction"}),
            "refused",
            "refusal: reasoning_extraction",
            "hidden",
        ),
        (
            answer(thinking(), stop="refusal", stop_details={"category": "frontier_llm"}),
            "refused",
            "refusal: frontier_llm",
            "summary",
        ),
        (answer(SAID, stop="refusal", stop_details=None), "refused", "refusal", "hidden"),
        (answer(SAID, stop=None), "unknown", None, "hidden"),
        (answer(thinking("", "EqQB…"), SAID), "stop", "end_turn", "hidden"),  # display: omitted
        (answer(thinking("", ""), SAID, model="m", usage=None), "stop", "end_turn", "none"),  # open weights
        (answer(REDACTED, SAID), "stop", "end_turn", "encrypted"),
        (answer(thinking(), REDACTED, SAID), "stop", "end_turn", "summary"),
        (answer(thinking(signature=""), SAID), "stop", "end_turn", "summary"),
        (answer(thinking(signature=""), SAID, model="Qwen/Qwen4"), "stop", "end_turn", "full"),  # llama-server
        (answer(thinking(signature=None), SAID, model=None), "stop", "end_turn", "full"),
        (answer(thinking(), SAID, model="behind-a-gateway"), "stop", "end_turn", "summary"),
        (answer(SAID), "stop", "end_turn", "hidden"),  # it was counted, and not shown
        (answer(SAID, usage={"input_tokens": 1, "output_tokens": 2}), "stop", "end_turn", "none"),
        (answer({"type": "text", "text": f"<think>{THOUGHT}</think>4"}, model="m"), "stop", "end_turn", "full"),
    ],
)
def test_ends_and_kinds(payload: Any, finish: str, raw: str | None, kind: str, provider: Any) -> None:
    completion = provider.completes("anthropic", payload)
    assert (completion.finish_reason, completion.raw_finish_reason) == (finish, raw)
    assert completion.trace_kind == kind
    shown = any(block.get("thinking") for block in payload["content"])
    assert completion.reasoning == (THOUGHT if shown else "")
    assert completion.request_id == "msg_1"
    assert completion.model == payload["model"]


def test_blocks_that_interleave_keep_their_order() -> None:
    blocks = [thinking("First."), {"type": "text", "text": "It is "}, thinking("Second."), SAID]
    completion = decode(answer(*blocks), preset=PRESETS["anthropic"])
    assert (completion.reasoning, completion.content) == ("First.\n\nSecond.", "It is 4")


def test_a_summary_is_a_trace_and_says_what_it_is(provider: Any) -> None:
    completion = provider.completes("anthropic", answer(thinking(), SAID))
    assert parse_trace(completion).reasoning == THOUGHT
    provider.keeps_promises("anthropic", answer(thinking(), SAID))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (answer(thinking(), stop="max_tokens"), "truncated"),
        (answer(thinking(), SAID, stop="refusal"), "refused"),
        (answer(thinking(), SAID, stop="pause_turn"), "unfinished"),
        (answer(thinking(), SAID, stop="tool_use"), "unfinished"),
        (answer(thinking("", "EqQB…"), SAID), "no_reasoning"),
        (answer(REDACTED, SAID), "no_reasoning"),
        (answer(SAID), "no_reasoning"),
        (answer(thinking()), "no_answer"),
    ],
)
def test_what_is_no_trace(payload: Any, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(decode(payload, preset=PRESETS["anthropic"]))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 12, "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 80}}, (12, 90, 80)),
        ({"input_tokens": 12, "output_tokens": 90}, (12, 90, None)),
        (
            {
                "input_tokens": 2,
                "cache_creation_input_tokens": 30,
                "cache_read_input_tokens": 400,
                "output_tokens": 90,
            },
            (432, 90, None, 400, 30),
        ),
        ({"input_tokens": 2, "cache_read_input_tokens": None, "output_tokens": 0}, (2, 0, None)),
        ({}, (None, None, None)),
        (None, (None, None, None)),
        ({"input_tokens": True, "output_tokens": "9", "output_tokens_details": [1]}, (None, None, None)),
    ],
)
def test_usage(usage: Any, expected: tuple[int | None, ...]) -> None:
    prompt, completion, reasoning, *cached = expected
    found = decode(answer(SAID, usage=usage), preset=PRESETS["anthropic"]).usage
    assert (found.prompt_tokens, found.completion_tokens, found.reasoning_tokens) == (prompt, completion, reasoning)
    assert [found.cached_tokens, found.cache_write_tokens] == (cached or [None, None])


def error(kind: str, message: str = "words") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"}


PAGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "wait"),
    [
        (400, error("invalid_request_error"), {}, "bad_request", None),
        (400, error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), {}, "too_long", None),
        (400, error("invalid_request_error", "Your credit balance is too low"), {}, "quota", None),
        (401, error("authentication_error"), {}, "auth", None),
        (402, error("billing_error"), {}, "quota", None),
        (403, error("permission_error"), {}, "auth", None),
        (404, error("not_found_error", "model: claude-y"), {}, "unknown_model", None),
        (413, error("request_too_large"), {}, "too_long", None),
        (413, PAGE, {}, "too_long", None),
        (429, error("rate_limit_error"), {"retry-after": "12"}, "rate_limited", 12.0),
        (429, error("rate_limit_error", "You have reached your specified API usage limits"), {}, "quota", None),
        (429, error("rate_limit_error"), {"x-should-retry": "false"}, "quota", None),
        (500, error("api_error"), {}, "http", None),
        (504, error("timeout_error"), {}, "timeout", None),
        (529, error("overloaded_error"), {"x-should-retry": "true"}, "http", None),
        (200, error("overloaded_error"), {}, "http", None),
        (200, error("rate_limit_error"), {}, "rate_limited", None),
        (200, error("invalid_request_error"), {}, "bad_request", None),
        (200, {}, {}, "malformed", None),
        (200, {"content": "4", "stop_reason": "end_turn"}, {}, "malformed", None),
        (200, [answer(SAID)], {}, "malformed", None),
    ],
)
def test_errors(
    status: int, body: Any, headers: dict[str, str], kind: str, wait: float | None, provider: Any
) -> None:
    met = provider.fails("anthropic", status, body, headers)
    assert (met.kind, met.retry_after, met.status) == (kind, wait, status)
    if isinstance(body, dict) and "request_id" in body:
        assert met.request_id == "req_011"
