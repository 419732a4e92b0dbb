"""Bedrock's Converse: every end of an answer, every kind of reasoning, every error of the table."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import TraceError
from cot_distill.teachers.bedrock import decode
from cot_distill.teachers.presets import PRESETS
from cot_distill.trace import KNOWN_TAGS, parse_trace
from cot_distill.types import Usage

THOUGHT, ANSWER = "2 and 2 make 4.", "4"


def thinks(text: str = THOUGHT, **more: Any) -> dict[str, Any]:
    return {"reasoningContent": {"reasoningText": {"text": text, **more}}}


REDACTED = {"reasoningContent": {"redactedContent": "EmwK…"}}
SAYS = {"text": ANSWER}


def answer(*blocks: Any, stop: Any = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "output": {"message": {"role": "assistant", "content": list(blocks)}},
        "stopReason": stop,
        "usage": {"inputTokens": 9, "outputTokens": 90, "totalTokens": 99},
        "metrics": {"latencyMs": 1234},
        **more,
    }


SIGNED = thinks(signature="EqQB…")


@pytest.mark.parametrize(
    ("payload", "finish", "raw", "kind"),
    [
        (answer(thinks(), SAYS), "stop", "end_turn", "full"),
        (answer(SAYS, thinks()), "stop", "end_turn", "full"),  # in any order
        (answer(SIGNED, SAYS), "stop", "end_turn", "summary"),
        (answer(thinks("", signature="EqQB…"), SAYS), "stop", "end_turn", "hidden"),
        (answer(REDACTED, SAYS), "stop", "end_turn", "encrypted"),
        (answer(SIGNED, REDACTED, SAYS), "stop", "end_turn", "summary"),
        (answer(thinks(), stop="max_tokens"), "length", "max_tokens", "full"),
        (
            answer(thinks(), stop="model_context_window_exceeded"),
            "length",
            "model_context_window_exceeded",
            "full",
        ),
        (answer(thinks(), SAYS, stop="stop_sequence"), "stop", "stop_sequence", "full"),
        (answer(thinks(), {"toolUse": {}}, stop="tool_use"), "tool_calls", "tool_use", "full"),
        (answer(SAYS, stop="guardrail_intervened"), "refused", "guardrail_intervened", "none"),
        (answer(stop="content_filtered"), "refused", "content_filtered", "none"),
        (answer(thinks(), SAYS, stop="malformed_model_output"), "unknown", "malformed_model_output", "full"),
        (answer(thinks(), SAYS, stop=None), "unknown", None, "full"),
        (answer(SAYS), "stop", "end_turn", "none"),
    ],
)
def test_ends_and_kinds(payload: Any, finish: str, raw: str | None, kind: str, provider: Any) -> None:
    completion = provider.completes("bedrock", payload)
    assert (completion.finish_reason, completion.raw_finish_reason) == (finish, raw)
    assert completion.trace_kind == kind
    assert completion.reasoning == (THOUGHT if kind in ("full", "summary") else "")
    assert completion.content in ("", ANSWER)
    assert completion.usage == Usage(prompt_tokens=9, completion_tokens=90)
    assert completion.model is None


def test_kimi_writes_tags_of_its_own(provider: Any) -> None:
    completion = provider.completes("bedrock", answer({"text": f"<reasoning>{THOUGHT}</reasoning>{ANSWER}"}))
    assert completion.trace_kind == "full"
    assert parse_trace(completion, tags=KNOWN_TAGS["reasoning"]).answer == ANSWER
    with pytest.raises(TraceError, match="pass tags="):
        parse_trace(completion)


def test_it_keeps_the_promises_of_a_teacher(provider: Any) -> None:
    provider.keeps_promises("bedrock", answer(SAYS, thinks()))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (answer(thinks(), stop="max_tokens"), "truncated"),
        (answer(SAYS, stop="guardrail_intervened"), "refused"),
        (answer(thinks(), SAYS, stop="tool_use"), "unfinished"),
        (answer(REDACTED, SAYS), "no_reasoning"),
        (answer(SAYS), "no_reasoning"),
        (answer(thinks()), "no_answer"),
    ],
)
def test_what_is_no_trace(payload: Any, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(decode(payload, preset=PRESETS["bedrock"]))
    assert caught.value.kind == kind


def test_what_was_cached_counts_as_prompt() -> None:
    usage = {"inputTokens": 2, "outputTokens": 90, "cacheReadInputTokens": 400, "cacheWriteInputTokens": 30}
    found = decode(answer(SAYS, usage=usage), preset=PRESETS["bedrock"]).usage
    assert found == Usage(prompt_tokens=432, completion_tokens=90, cached_tokens=400, cache_write_tokens=30)


def kind_of(name: str) -> dict[str, str]:
    return {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/{name}/", "x-amzn-requestid": "6f1c"}


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (400, "ValidationException", "Malformed input request", "bad_request"),
        (400, "ValidationException", "The provided model identifier is invalid.", "unknown_model"),
        (400, "ValidationException", "Input is too long for requested model.", "too_long"),
        (400, "ServiceQuotaExceededException", "words", "quota"),
        (403, "AccessDeniedException", "You don't have access to the model", "auth"),
        (403, "ExpiredTokenException", "The security token is expired", "auth"),
        (404, "ResourceNotFoundException", "Could not resolve the foundation model", "unknown_model"),
        (408, "ModelTimeoutException", "words", "timeout"),
        (424, "ModelErrorException", "words", "http"),
        (429, "ThrottlingException", "Too many requests, please wait before trying again.", "rate_limited"),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", "quota"),
        (429, "ModelNotReadyException", "Model is not ready for inference.", "rate_limited"),
        (400, "ThrottlingException", "Rate exceeded", "rate_limited"),
        (500, "InternalServerException", "words", "http"),
        (503, "ServiceUnavailableException", "Bedrock is unable to process your request.", "http"),
    ],
)
def test_errors(status: int, name: str, message: str, kind: str, provider: Any) -> None:
    met = provider.fails("bedrock", status, {"message": message}, kind_of(name))
    assert (met.kind, met.status, met.request_id) == (kind, status, "6f1c")


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"Message": "Authentication failed: check the API key"}, "auth"),
        (429, b"", "rate_limited"),
        (200, {}, "malformed"),
        (200, {"output": {"message": None}, "stopReason": "end_turn"}, "malformed"),
        (200, {"__type": "ThrottlingException", "message": "Rate exceeded"}, "rate_limited"),
    ],
)
def test_errors_without_the_header(status: int, body: Any, kind: str, provider: Any) -> None:
    met = provider.fails("bedrock", status, body)
    assert (met.kind, met.status) == (kind, status)


def test_the_name_of_an_error_stands_in_for_words(provider: Any) -> None:
    met = provider.fails("bedrock", 429, {}, kind_of("ThrottlingException"))
    assert "throttlingexception" in str(met)
