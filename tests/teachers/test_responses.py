"""OpenAI's Responses: every end of an answer, every kind of reasoning, every error of the table."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import TraceError
from cot_distill.teachers.presets import PRESETS
from cot_distill.teachers.responses import decode
from cot_distill.trace import parse_trace
from cot_distill.types import Usage

THOUGHT, ANSWER = "2 and 2 make 4.", "4"


def reasoning(*, summary: str = "", content: str = "", encrypted: str | None = None) -> dict[str, Any]:
    item: dict[str, Any] = {"id": "rs_1", "type": "reasoning", "status": "completed"}
    item["summary"] = [{"type": "summary_text", "text": summary}] if summary else []
    if content:
        item["content"] = [{"type": "reasoning_text", "text": content}]
    return item if encrypted is None else {**item, "encrypted_content": encrypted}


def message(text: str = ANSWER, **more: Any) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": [], **more}
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}


REFUSAL = {"type": "message", "content": [{"type": "refusal", "refusal": "I cannot help with that."}]}
COUNTS = {
    "input_tokens": 9,
    "output_tokens": 90,
    "output_tokens_details": {"reasoning_tokens": 80},
    "total_tokens": 99,
}


def response(*items: Any, status: str = "completed", incomplete: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-x-2026",
        "status": status,
        "error": None,
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "output": list(items),
        "usage": COUNTS,
        **more,
    }


SUMMARY = reasoning(summary=THOUGHT)
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("payload", "finish", "raw", "kind"),
    [
        (response(SUMMARY, message()), "stop", "completed", "summary"),
        (response(reasoning(content=THOUGHT), message()), "stop", "completed", "full"),
        (response(reasoning(content=THOUGHT, encrypted=""), message()), "stop", "completed", "full"),  # open weights
        (response(reasoning(content=THOUGHT, summary="Sums."), message()), "stop", "completed", "full"),
        (response(reasoning(summary=THOUGHT, encrypted="gAAA…"), message()), "stop", "completed", "summary"),
        (response(reasoning(encrypted="gAAA…"), message()), "stop", "completed", "encrypted"),
        (response(reasoning(), message()), "stop", "completed", "hidden"),  # no summary was asked for
        (response(message()), "stop", "completed", "hidden"),  # it was counted
        (response(message(), usage=None), "stop", "completed", "none"),
        (
            response(SUMMARY, message(), status="incomplete", incomplete="max_output_tokens"),
            "length",
            "max_output_tokens",
            "summary",
        ),
        (response(status="incomplete", incomplete="max_output_tokens"), "length", "max_output_tokens", "hidden"),
        (
            response(SUMMARY, status="incomplete", incomplete="content_filter"),
            "refused",
            "content_filter",
            "summary",
        ),
        (response(SUMMARY, message(), status="incomplete", incomplete="news"), "unknown", "news", "summary"),
        (response(SUMMARY, message(), status="incomplete", incomplete="stop"), "unknown", "stop", "summary"),
        (response(SUMMARY, message(), status="incomplete"), "unknown", "incomplete", "summary"),
        (response(SUMMARY, message(), status="cancelled"), "unknown", "cancelled", "summary"),
        (response(SUMMARY, message(), status="in_progress"), "unknown", "in_progress", "summary"),
        (response(SUMMARY, REFUSAL), "refused", "completed", "summary"),
        (response(SUMMARY, CALL), "tool_calls", "completed", "summary"),
    ],
)
def test_ends_and_kinds(payload: Any, finish: str, raw: str | None, kind: str, provider: Any) -> None:
    completion = provider.completes("openai-responses", payload)
    assert (completion.finish_reason, completion.raw_finish_reason) == (finish, raw)
    assert completion.trace_kind == kind
    assert completion.reasoning == (THOUGHT if kind in ("full", "summary") else "")
    assert completion.content in ("", ANSWER)
    assert (completion.model, completion.request_id) == ("gpt-x-2026", "resp_1")


def test_items_and_parts_come_in_their_order(provider: Any) -> None:
    first = {"type": "reasoning", "summary": [{"type": "summary_text", "text": text} for text in ("A.", "B.")]}
    completion = provider.completes("openai-responses", response(first, reasoning(summary="C."), message("It is 4")))
    assert (completion.reasoning, completion.content) == ("A.\n\nB.\n\nC.", "It is 4")
    provider.keeps_promises("openai-responses", response(first, message()))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (response(SUMMARY, message(), status="incomplete", incomplete="max_output_tokens"), "truncated"),
        (response(SUMMARY, status="incomplete", incomplete="content_filter"), "refused"),
        (response(SUMMARY, REFUSAL), "refused"),
        (response(SUMMARY, message(), status="in_progress"), "unfinished"),
        (response(SUMMARY, CALL), "unfinished"),
        (response(message()), "no_reasoning"),
        (response(reasoning(encrypted="x"), message()), "no_reasoning"),
        (response(SUMMARY), "no_answer"),
    ],
)
def test_what_is_no_trace(payload: Any, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(decode(payload, preset=PRESETS["openai-responses"]))
    assert caught.value.kind == kind


def test_a_server_that_does_not_say_whether_it_cut_is_refused(provider: Any) -> None:
    """llama-server calls an answer completed that its token limit cut, and has no field that says so."""
    payload = response(reasoning(content=THOUGHT), message())
    del payload["incomplete_details"]
    met = provider.fails("openai-responses", 200, payload)
    assert met.kind == "bad_request"
    assert "chat completions" in str(met)


def test_usage() -> None:
    found = decode(response(message()), preset=PRESETS["openai-responses"]).usage
    assert found == Usage(prompt_tokens=9, completion_tokens=90, reasoning_tokens=80)


def test_logprobs() -> None:
    chance = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}
    payload = response(message("It is ", logprobs=[chance]), message("4", logprobs=[chance]))
    assert decode(payload, preset=PRESETS["openai-responses"]).logprobs == {"content": [chance, chance]}


def error(code: str | None, message: str = "words", kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


FAILED = {"code": "server_error", "message": "The model gave up."}


@pytest.mark.parametrize(
    ("status", "body", "headers", "kind", "wait"),
    [
        (
            400,
            error(None, "Unsupported parameter: 'temperature' is not supported with this model."),
            {},
            "bad_request",
            None,
        ),
        (400, error("context_length_exceeded"), {}, "too_long", None),
        (400, error("invalid_prompt", "Your prompt was flagged"), {}, "refused", None),
        (401, error("invalid_api_key"), {}, "auth", None),
        (403, error("model_not_found"), {}, "unknown_model", None),
        (404, error("model_not_found"), {}, "unknown_model", None),
        (429, error("rate_limit_exceeded"), {"retry-after-ms": "250", "retry-after": "9"}, "rate_limited", 0.25),
        (429, error("slow_down"), {"retry-after": "1.5"}, "rate_limited", 1.5),
        (429, error("rate_limit_exceeded"), {"x-ratelimit-reset-tokens": "6m0s"}, "rate_limited", 360.0),
        (429, error("insufficient_quota", kind="insufficient_quota"), {}, "quota", None),
        (500, error(None, kind="server_error"), {}, "http", None),
        (503, error(None, "The engine is overloaded"), {}, "http", None),
        (200, response(status="failed", error=FAILED), {}, "http", None),
        (
            200,
            response(status="failed", error={"code": "rate_limit_exceeded", "message": "x"}),
            {},
            "rate_limited",
            None,
        ),
        (200, response(status="failed", error={"code": "invalid_prompt", "message": "x"}), {}, "refused", None),
        (200, response(SUMMARY, status="failed"), {}, "http", None),
        (200, response(), {}, "malformed", None),
        (200, {"object": "response", "status": "completed", "output": None}, {}, "malformed", None),
        (200, {}, {}, "malformed", None),
    ],
)
def test_errors(
    status: int, body: Any, headers: dict[str, str], kind: str, wait: float | None, provider: Any
) -> None:
    met = provider.fails("openai-responses", status, body, headers)
    assert (met.kind, met.retry_after, met.status) == (kind, wait, status)
