"""Gemini's generateContent: every end of an answer, thought parts, blocked prompts, every error of the table."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill.errors import TraceError
from cot_distill.teachers.gemini import decode
from cot_distill.teachers.presets import PRESETS
from cot_distill.trace import parse_trace
from cot_distill.types import Usage

THOUGHT, ANSWER = "2 and 2 make 4.", "4"
THINKS = {"text": THOUGHT, "thought": True}
SAYS = {"text": ANSWER, "thoughtSignature": "CiQB…"}
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 80, "totalTokenCount": 91}


def answer(*parts: Any, finish: Any = "STOP", usage: Any = COUNTS, **more: Any) -> dict[str, Any]:
    content = {"role": "model", **({"parts": list(parts)} if parts else {})}
    candidate = {"index": 0, "content": content, "finishReason": finish, **more}
    return {
        "responseId": "resp-1",
        "modelVersion": "gemini-x-pro",
        "candidates": [candidate],
        "usageMetadata": usage,
    }


def blocked(reason: str) -> dict[str, Any]:
    return {
        "responseId": "resp-1",
        "modelVersion": "gemini-x-pro",
        "promptFeedback": {"blockReason": reason},
        "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9},
    }


ONLY_THOUGHTS = {"promptTokenCount": 9, "thoughtsTokenCount": 80, "totalTokenCount": 89}


@pytest.mark.parametrize(
    ("payload", "finish", "raw", "kind"),
    [
        (answer(THINKS, SAYS), "stop", "STOP", "summary"),
        (answer(SAYS), "stop", "STOP", "hidden"),  # thoughts were counted, and not asked for
        (answer(SAYS, usage={"promptTokenCount": 9, "candidatesTokenCount": 2}), "stop", "STOP", "none"),
        (answer(SAYS, usage={"thoughtsTokenCount": 0}), "stop", "STOP", "none"),
        (answer(finish="MAX_TOKENS", usage=ONLY_THOUGHTS), "length", "MAX_TOKENS", "hidden"),
        (answer(THINKS, finish="MAX_TOKENS"), "length", "MAX_TOKENS", "summary"),
        *[
            (answer(THINKS, SAYS, finish=raw), "refused", raw, "summary")
            for raw in ("SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII")
        ],
        (answer(finish="SAFETY"), "refused", "SAFETY", "hidden"),
        *[
            (answer(THINKS, SAYS, finish=raw), "unknown", raw, "summary")
            for raw in ("MALFORMED_FUNCTION_CALL", "OTHER", "FINISH_REASON_UNSPECIFIED", "SOMETHING_NEW")
        ],
        (answer(THINKS, SAYS, finish=None), "unknown", None, "summary"),
        (answer(THINKS, {"functionCall": {"name": "f", "args": {}}}), "tool_calls", "STOP", "summary"),
        *[(blocked(raw), "refused", raw, "none") for raw in ("SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT")],
        ({**blocked("SAFETY"), "candidates": []}, "refused", "SAFETY", "none"),
    ],
)
def test_ends_and_kinds(payload: Any, finish: str, raw: str | None, kind: str, provider: Any) -> None:
    completion = provider.completes("gemini", payload)
    assert (completion.finish_reason, completion.raw_finish_reason) == (finish, raw)
    assert completion.trace_kind == kind
    assert completion.reasoning == (THOUGHT if kind == "summary" else "")
    assert completion.content in ("", ANSWER)
    assert (completion.model, completion.request_id) == ("gemini-x-pro", "resp-1")


def test_thoughts_and_text_come_in_pieces(provider: Any) -> None:
    parts = [{"text": "First.", "thought": True}, {"text": "Second.", "thought": True}, {"text": "It is "}, SAYS]
    completion = provider.completes("gemini", answer(*parts))
    assert (completion.reasoning, completion.content) == ("First.\n\nSecond.", "It is 4")


def test_it_keeps_the_promises_of_a_teacher(provider: Any) -> None:
    provider.keeps_promises("gemini", answer(THINKS, SAYS))


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (answer(finish="MAX_TOKENS", usage=ONLY_THOUGHTS), "truncated"),
        (answer(THINKS, SAYS, finish="SAFETY"), "refused"),
        (blocked("SAFETY"), "refused"),
        (answer(THINKS, SAYS, finish="OTHER"), "unfinished"),
        (answer(SAYS), "no_reasoning"),
        (answer(THINKS), "no_answer"),
    ],
)
def test_what_is_no_trace(payload: Any, kind: str) -> None:
    with pytest.raises(TraceError) as caught:
        parse_trace(decode(payload, preset=PRESETS["gemini"]))
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (COUNTS, (9, 82, 80)),  # thoughts are not inside of the candidates
        (ONLY_THOUGHTS, (9, 80, 80)),
        ({"promptTokenCount": 9, "candidatesTokenCount": 2}, (9, 2, None)),
        ({"promptTokenCount": 9, "toolUsePromptTokenCount": 5, "candidatesTokenCount": 2}, (14, 2, None)),
        ({"promptTokenCount": 9, "totalTokenCount": 9}, (9, None, None)),
        (None, (None, None, None)),
        ({"promptTokenCount": "9"}, (None, None, None)),
    ],
)
def test_usage(usage: Any, expected: tuple[int | None, ...]) -> None:
    prompt, completion, reasoning = expected
    found = decode(answer(SAYS, usage=usage), preset=PRESETS["gemini"]).usage
    assert found == Usage(prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning)


CHANCES = {
    "chosenCandidates": [{"token": "4", "tokenId": 236812, "logProbability": -0.1}],
    "topCandidates": [{"candidates": [{"token": "4", "tokenId": 236812, "logProbability": -0.1}]}],
}


@pytest.mark.parametrize(("given", "expected"), [(CHANCES, CHANCES), ({}, None), (None, None), ([1], None)])
def test_logprobs(given: Any, expected: Any) -> None:
    assert decode(answer(SAYS, logprobsResult=given), preset=PRESETS["gemini"]).logprobs == expected


def error(code: int, status: str, message: str = "words", *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "46.3s"}
EXHAUSTED = (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota")


@pytest.mark.parametrize(
    ("status", "body", "kind", "wait"),
    [
        (400, error(400, "INVALID_ARGUMENT"), "bad_request", None),
        (400, error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), "auth", None),
        (400, error(400, "INVALID_ARGUMENT", "words", {"reason": "API_KEY_INVALID"}), "auth", None),
        (
            400,
            error(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."
            ),
            "too_long",
            None,
        ),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "auth", None),
        (403, error(403, "PERMISSION_DENIED"), "auth", None),
        (404, error(404, "NOT_FOUND", "models/x is not found for API version v1beta"), "unknown_model", None),
        (429, error(*EXHAUSTED), "rate_limited", None),
        (429, error(*EXHAUSTED, quota("GenerateRequestsPerMinutePerProjectPerModel"), WAIT), "rate_limited", 46.3),
        (429, error(*EXHAUSTED, quota("GenerateRequestsPerDayPerProjectPerModel"), WAIT), "quota", 46.3),
        (429, [error(*EXHAUSTED, WAIT)], "rate_limited", 46.3),
        (500, error(500, "INTERNAL"), "http", None),
        (503, error(503, "UNAVAILABLE", "The model is overloaded."), "http", None),
        (504, error(504, "DEADLINE_EXCEEDED"), "timeout", None),
        (200, error(503, "UNAVAILABLE"), "http", None),
        (200, [answer(SAYS)], "malformed", None),  # the stream that is one list
        (200, {}, "malformed", None),
        (200, {"candidates": [], "promptFeedback": {}}, "malformed", None),
    ],
)
def test_errors(status: int, body: Any, kind: str, wait: float | None, provider: Any) -> None:
    met = provider.fails("gemini", status, body)
    assert (met.kind, met.retry_after, met.status) == (kind, wait, status)
