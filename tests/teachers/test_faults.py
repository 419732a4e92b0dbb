"""The retry table, row by row, and every code and phrase by which a provider says no."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from cot_distill.errors import (
    AuthError,
    QuotaError,
    RateLimitError,
    RequestError,
    TeacherError,
    UnavailableError,
    UnknownModelError,
)
from cot_distill.teachers import PRESETS
from cot_distill.teachers.error_bodies import redact
from cot_distill.teachers.faults import body_error, teacher_error
from cot_distill.teachers.waits import retry_after

KINDS = {
    "http": UnavailableError,
    "timeout": UnavailableError,
    "malformed": UnavailableError,
    "rate_limited": RateLimitError,
    "auth": AuthError,
    "quota": QuotaError,
    "unknown_model": UnknownModelError,
    "too_long": RequestError,
    "refused": RequestError,
    "bad_request": RequestError,
}


def openai(message: str = "", type_: str | None = None, code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": None, "code": code, **more}}


def error_of(status: int, body: Any, provider: str = "mine", **headers: str) -> TeacherError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return teacher_error(status, named, raw, provider=provider, now=0.0)


def check(error: TeacherError, kind: str) -> None:
    assert (error.kind, type(error)) == (kind, KINDS[kind])


# --- section 9: what a bare status means ---


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((408, 504, 522, 524), "timeout"),
        ((409, 424, 498, 500, 502, 503, 520, 521, 523, 529, 599), "http"),
        ((429,), "rate_limited"),
        ((402, 412), "quota"),
        ((401, 403), "auth"),
        ((404, 405, 410), "unknown_model"),
        ((301, 302, 307, 308), "unknown_model"),
        ((413,), "too_long"),
        ((400, 406, 415, 422, 431), "bad_request"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"  \n", b"Oops", b"<html><title>Oops</title></html>", b'{"error":{}}', b"{}"])
def test_status(statuses: tuple[int, ...], kind: str, body: bytes) -> None:
    for status in statuses:
        error = error_of(status, body)
        check(error, kind)
        assert error.status == status
        assert str(status) in str(error)


@pytest.mark.parametrize(
    "body", [b"", b" \n\n ", b"<!DOCTYPE html><title>Hi</title>", b'{"choices":[{"mess', b"data: {}"]
)
def test_200_that_is_no_json_is_malformed(body: bytes) -> None:
    check(error_of(200, body), "malformed")


@pytest.mark.parametrize(
    "body",
    [
        rb'{"choices": [{"message": {"content": "half \ud83d a pair"}}]}',
        rb'{"choices": [{"message": {"reasoning": "\udfff", "content": "4"}}]}',
        rb'[{"\ud800": 1}]',
        b'{"choices": [{"message": {"content": "caf\xe9"}}]}',
        '{"content": "\ud800"}'.encode(errors="surrogatepass"),
    ],
)
def test_200_with_text_that_is_not_unicode_is_malformed(body: bytes) -> None:
    with pytest.raises(ValueError, match="line 1"):
        from_json(body)  # as the endpoint reads it
    error = error_of(200, body)
    check(error, "malformed")
    assert str(error).startswith("mine answered 200 with text that is not Unicode, not a completion: ask again")


# --- sections 1 to 7: what the providers' own codes and phrases mean ---

CASES: list[tuple[str, int, Any, str]] = [
    # 1. DeepSeek
    ("deepseek", 400, openai("Model Not Exist", "invalid_request_error", "invalid_request_error"), "unknown_model"),
    ("deepseek", 400, openai("Failed to deserialize the JSON body"), "bad_request"),
    ("deepseek", 401, openai("Authentication Fails", "authentication_error"), "auth"),
    ("deepseek", 402, openai("Insufficient Balance", "unknown_error", "invalid_request_error"), "quota"),
    ("deepseek", 422, openai("Invalid parameter: temperature"), "bad_request"),
    ("deepseek", 429, openai("Rate limit reached"), "rate_limited"),
    ("deepseek", 500, openai("Server error"), "http"),
    ("deepseek", 503, openai("Service is too busy"), "http"),
    # 2. Servers of one's own
    ("vllm", 400, openai("This model's maximum context length is 512 tokens.", "BadRequestError", 400), "too_long"),
    ("vllm", 400, openai("top_logprobs must be at most 20", "BadRequestError", 400), "bad_request"),
    ("vllm", 404, openai("The model `x` does not exist.", "NotFoundError", 404), "unknown_model"),
    (
        "sglang",
        400,
        {"object": "error", "message": "n must be 1", "type": "BadRequestError", "code": 400},
        "bad_request",
    ),
    (
        "sglang",
        400,
        {"object": "error", "message": "Input is longer than the model's context length", "code": 400},
        "too_long",
    ),
    ("llamacpp", 503, openai("Loading model", "unavailable_error", 503), "http"),
    (
        "llamacpp",
        400,
        openai("the request exceeds it", "exceed_context_size_error", 400, n_prompt_tokens=9, n_ctx=8),
        "too_long",
    ),
    ("ollama", 404, {"error": 'model "x" not found, try pulling it first'}, "unknown_model"),
    ("ollama", 400, {"error": "invalid options"}, "bad_request"),
    ("tgi", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, "rate_limited"),
    (
        "tgi",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 9",
            "error_type": "validation",
        },
        "too_long",
    ),
    (
        "tgi",
        422,
        {"error": "Input validation error: `best_of` must be > 0", "error_type": "validation"},
        "bad_request",
    ),
    ("tgi", 424, {"error": "Request failed during generation", "error_type": "generation"}, "http"),
    ("tgi", 500, {"error": "Incomplete generation", "error_type": "incomplete_generation"}, "http"),
    ("transformers", 400, {"detail": "Server is pinned to another model"}, "unknown_model"),
    ("transformers", 422, {"detail": [{"loc": ["body"], "msg": "JSON decode error", "type": "json"}]}, "bad_request"),
    # 3. OpenAI
    ("openai", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), "rate_limited"),
    ("openai", 429, openai("Slow down", None, "slow_down"), "rate_limited"),
    ("openai", 429, openai("You exceeded your quota", "insufficient_quota", "insufficient_quota"), "quota"),
    (
        "openai",
        429,
        openai("Request too large for gpt-x on tokens per min", "tokens", "rate_limit_exceeded"),
        "too_long",
    ),
    ("openai", 400, openai("", "invalid_request_error", "context_length_exceeded"), "too_long"),
    ("openai", 400, openai("Your prompt was flagged", "invalid_request_error", "invalid_prompt"), "refused"),
    ("openai", 401, openai("Incorrect API key provided", "invalid_request_error", "invalid_api_key"), "auth"),
    ("openai", 403, openai("No access to the model", "invalid_request_error", "model_not_found"), "unknown_model"),
    ("openai", 404, openai("No such model", "invalid_request_error", "model_not_found"), "unknown_model"),
    ("openai", 503, openai("The engine is overloaded", "server_error"), "http"),
    # 4. Anthropic
    (
        "anthropic",
        400,
        {"type": "error", "error": {"type": "invalid_request_error", "message": "bad"}},
        "bad_request",
    ),
    ("anthropic", 400, openai("prompt is too long: 9 tokens > 8 maximum", "invalid_request_error"), "too_long"),
    ("anthropic", 400, openai("Your credit balance is too low", "invalid_request_error"), "quota"),
    ("anthropic", 401, {"type": "error", "error": {"type": "authentication_error", "message": "invalid"}}, "auth"),
    ("anthropic", 402, {"type": "error", "error": {"type": "billing_error", "message": "pay"}}, "quota"),
    ("anthropic", 403, {"type": "error", "error": {"type": "permission_error", "message": "no"}}, "auth"),
    (
        "anthropic",
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": "model: x"}},
        "unknown_model",
    ),
    ("anthropic", 413, b"<html><title>413 Request Entity Too Large</title></html>", "too_long"),
    ("anthropic", 413, {"type": "error", "error": {"type": "request_too_large", "message": "big"}}, "too_long"),
    ("anthropic", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": "slow"}}, "rate_limited"),
    ("anthropic", 429, openai("This would exceed your monthly spend limit", "rate_limit_error"), "quota"),
    ("anthropic", 500, {"type": "error", "error": {"type": "api_error", "message": "x"}}, "http"),
    ("anthropic", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "http"),
    # 5. Gemini
    ("gemini", 400, openai("API key not valid.", None, 400, status="INVALID_ARGUMENT"), "auth"),
    (
        "gemini",
        400,
        openai("bad", None, 400, details=[{"@type": "ErrorInfo", "reason": "API_KEY_INVALID"}]),
        "auth",
    ),
    ("gemini", 429, [openai("Resource exhausted", None, 429, status="RESOURCE_EXHAUSTED")], "rate_limited"),
    (
        "gemini",
        429,
        openai(
            "You exceeded your current quota", None, 429, details=[{"violations": [{"quotaId": "XPerMinutePerY"}]}]
        ),
        "rate_limited",
    ),
    (
        "gemini",
        429,
        openai("You exceeded your current quota", None, 429, details=[{"violations": [{"quotaId": "XPerDayPerY"}]}]),
        "quota",
    ),
    ("gemini", 503, openai("The model is overloaded", None, 503, status="UNAVAILABLE"), "http"),
    (
        "gemini",
        400,
        openai("The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        "too_long",
    ),
    # 6. Gateways
    ("openrouter", 402, openai("Insufficient credits", None, 402), "quota"),
    ("openrouter", 403, openai("Your input was flagged", None, 403, metadata={"reasons": ["x"]}), "refused"),
    ("openrouter", 408, openai("Timed out", None, 408), "timeout"),
    ("openrouter", 429, openai("Rate limit exceeded: free-models-per-day", None, 429), "quota"),
    ("openrouter", 429, openai("Rate limit exceeded: free-models-per-min", None, 429), "rate_limited"),
    ("openrouter", 400, openai("x/y is not a valid model ID", None, 400), "unknown_model"),
    (
        "openrouter",
        400,
        openai("Provider returned error", None, 400, metadata={"raw": '{"error":"maximum context length is 8"}'}),
        "too_long",
    ),
    ("openrouter", 502, openai("Provider returned error", None, 502), "http"),
    ("openrouter", 503, openai("No provider", None, 503), "http"),
    ("litellm", 400, openai("Invalid model name passed in model=x", None, "400"), "unknown_model"),
    ("litellm", 400, openai("x", "ContextWindowExceededError", "400"), "too_long"),
    (
        "azure",
        400,
        openai("filtered", None, "content_filter", innererror={"code": "ResponsibleAIPolicyViolation"}),
        "refused",
    ),
    ("azure", 400, openai("filtered", innererror={"code": "ResponsibleAIPolicyViolation"}), "refused"),
    ("bedrock", 429, {"message": "Too many tokens, please wait before trying again."}, "rate_limited"),
    ("bedrock", 400, {"__type": "ThrottlingException", "message": "Rate exceeded"}, "rate_limited"),
    ("bedrock", 429, {"__type": "ModelNotReadyException", "message": "Not ready"}, "rate_limited"),
    ("azure", 400, openai("The prompt triggered Azure OpenAI's content management policy"), "refused"),
    ("azure", 401, openai("Access denied due to invalid subscription key", None, "401"), "auth"),
    ("azure", 404, openai("The API deployment does not exist", None, "DeploymentNotFound"), "unknown_model"),
    ("azure", 429, openai("Please retry after 20 seconds.", None, "RateLimitReached"), "rate_limited"),
    ("azure", 429, openai("x", "insufficient_quota", "insufficient_quota"), "quota"),
    ("azure", 408, openai("Operation timed out", None, "Timeout"), "timeout"),
    ("azure", 500, openai("x", None, "InternalServerError"), "http"),
    ("bedrock", 403, {"Message": "You may not"}, "auth"),
    # 7. Hosted open models
    (
        "mistral",
        422,
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra"}]},
        "bad_request",
    ),
    (
        "mistral",
        429,
        {"object": "error", "message": "Requests rate limit", "type": "rate_limited", "code": "1300"},
        "rate_limited",
    ),
    (
        "mistral",
        400,
        {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
        "unknown_model",
    ),
    ("groq", 498, openai("Flex tier capacity exceeded", "capacity_exceeded"), "http"),
    ("groq", 413, openai("Request too large for model on TPM", "tokens", "rate_limit_exceeded"), "too_long"),
    ("groq", 400, openai("x", "invalid_request_error", "model_decommissioned"), "unknown_model"),
    (
        "groq",
        400,
        openai("`reasoning_format` is not supported with this model", "invalid_request_error"),
        "bad_request",
    ),
    ("fireworks", 402, openai("Account suspended"), "quota"),
    ("fireworks", 412, openai("Account suspended"), "quota"),
    ("cerebras", 401, {"message": "Wrong API Key", "type": "invalid_request_error", "code": "wrong_api_key"}, "auth"),
    ("xai", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided"}, "auth"),
    ("xai", 403, {"code": "x", "error": "Your team has used all available credits"}, "quota"),
    (
        "dashscope",
        400,
        openai("parameter.enable_thinking must be set to false for non-streaming calls"),
        "bad_request",
    ),
    ("dashscope", 400, openai("Range of input length should be [1, 8]"), "too_long"),
    ("dashscope", 400, openai("Account in arrears", "Arrearage", "Arrearage"), "quota"),
    ("dashscope", 400, openai("Input may be bad", "data_inspection_failed", "data_inspection_failed"), "refused"),
    (
        "dashscope:qwen3",
        429,
        openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        "rate_limited",
    ),
    ("moonshot", 429, openai("busy", "engine_overloaded_error"), "rate_limited"),
    ("moonshot", 429, openai("try again after 1 seconds", "rate_limit_reached_error"), "rate_limited"),
    ("moonshot", 429, openai("suspended", "exceeded_current_quota_error"), "quota"),
    ("moonshot", 400, openai("considered high risk", "content_filter"), "refused"),
    ("moonshot", 400, openai("Your request exceeded model token limit: 8"), "too_long"),
    *[("zhipu", 429, openai("x", None, code), "rate_limited") for code in ("1302", "1303", "1305", "1312")],
    *[("zhipu", 429, openai("x", None, code), "quota") for code in ("1113", "1304", "1308", "1309", "1310")],
    ("zhipu:glm-5", 400, openai("x", None, "1261"), "too_long"),
    ("zhipu", 400, openai("x", None, "1301"), "refused"),
    ("zhipu", 400, openai("x", None, "1211"), "unknown_model"),
    ("somebody-else", 429, openai("x", None, "1113"), "rate_limited"),  # a number of GLM's means nothing elsewhere
]


@pytest.mark.parametrize(("provider", "status", "body", "kind"), CASES)
def test_what_a_provider_means(provider: str, status: int, body: Any, kind: str) -> None:
    error = error_of(status, body, provider)
    check(error, kind)
    assert error.provider == provider
    assert str(error).startswith(f"{provider} answered {status}")


@pytest.mark.parametrize(("name", "status", "body", "kind"), [case for case in CASES if case[0] in PRESETS])
def test_the_same_over_a_socket(name: str, status: int, body: Any, kind: str, provider: Any) -> None:
    check(provider.fails(name, status, body), kind)


# --- errors at HTTP 200 ---


@pytest.mark.parametrize(
    ("provider", "body", "kind"),
    [
        ("openrouter", openai("Provider disconnected", None, 502), "http"),
        ("openrouter", openai("Slow down", None, 429), "rate_limited"),
        ("openrouter", openai("Flagged", None, 403), "refused"),
        ("openrouter", openai("No credits", None, "402"), "quota"),
        ("openai", openai("The server had an error", "server_error"), "http"),
        ("openai", openai("Too long", None, "context_length_exceeded"), "too_long"),
        ("openai", openai("Slow", None, "rate_limit_exceeded"), "rate_limited"),
        ("openai", openai("Broke", "insufficient_quota"), "quota"),
        ("openai", openai("Bad", "invalid_request_error"), "bad_request"),
        ("openai", openai("Wrong", None, "invalid_api_key"), "auth"),
        ("openai", openai("What model?", None, "model_not_found"), "unknown_model"),
        ("sglang", {"object": "error", "message": "Bad", "type": "BadRequestError", "code": 400}, "bad_request"),
        ("sglang", {"object": "error", "message": "Died", "type": "InternalServerError", "code": 500}, "http"),
        ("sglang", {"object": "error"}, "http"),
        ("ollama", {"error": "llama runner process has terminated"}, "http"),
        ("tgi", {"error": "Incomplete generation", "error_type": "incomplete_generation"}, "http"),
        ("fastapi", {"detail": "Something broke"}, "http"),
        ("fastapi", {"detail": [{"loc": ["body"], "msg": "x"}]}, "http"),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, "http"),
        ("anthropic", {"type": "error", "error": {"type": "timeout_error", "message": "x"}}, "timeout"),
        ("gemini", [openai("x", None, 503, status="UNAVAILABLE")], "http"),
        *[
            ("minimax", {"base_resp": {"status_code": code, "status_msg": "x"}}, kind)
            for code, kind in [
                (1000, "http"),
                (1001, "timeout"),
                (1002, "rate_limited"),
                (1039, "rate_limited"),
                (1004, "auth"),
                (1008, "quota"),
                (1026, "refused"),
                (1027, "refused"),
                (2013, "bad_request"),
            ]
        ],
        ("other-name", {"base_resp": {"status_code": "1008"}, "choices": [{}]}, "quota"),
        ("mine", {"error": True}, "http"),
        ("mine", {"error": ["a", {"message": "b"}]}, "http"),
    ],
)
def test_error_at_http_200(provider: str, body: Any, kind: str) -> None:
    error = body_error(body, provider=provider)
    assert error is not None
    check(error, kind)
    assert error.status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "4"}}]},
        {"choices": [{}], "error": None},
        {"choices": [{}], "error": {}},
        {"choices": [{}], "base_resp": {"status_code": 0, "status_msg": ""}},
        {"choices": [{}], "base_resp": None, "message": "hello", "detail": "fine"},
        {"choices": []},
        {"message": {"role": "assistant", "content": "4"}, "done": True},
        {},
        [],
        None,
        "text",
    ],
)
def test_no_error_at_http_200(body: Any) -> None:
    assert body_error(body, provider="mine") is None


# --- x-should-retry ---


@pytest.mark.parametrize(
    ("status", "body", "header", "kind", "kind_of"),
    [
        (429, b"", "false", "quota", QuotaError),
        (503, b"", "false", "http", RequestError),
        (504, b"", "FALSE", "timeout", RequestError),
        (400, b"", "true", "http", UnavailableError),
        (401, b"", "true", "http", UnavailableError),
        (429, openai("", None, "insufficient_quota"), "true", "rate_limited", RateLimitError),
        (429, b"", "true", "rate_limited", RateLimitError),
        (400, b"", "false", "bad_request", RequestError),
        (503, b"", "maybe", "http", UnavailableError),
        (302, b"", "true", "unknown_model", UnknownModelError),
    ],
)
def test_should_retry_is_obeyed(status: int, body: Any, header: str, kind: str, kind_of: type[TeacherError]) -> None:
    error = error_of(status, body, x_should_retry=header)
    assert (error.kind, type(error)) == (kind, kind_of)


# --- how long to wait ---

NOON = datetime(2026, 11, 5, 12, 0, 0, tzinfo=UTC).timestamp()


def date(offset: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOON + offset, UTC), usegmt=True)


def asks(message: str) -> dict[str, Any]:
    return openai(message)


RETRY_INFO = openai("x", details=[{"@type": "QuotaFailure"}, {"@type": "RetryInfo", "retryDelay": "46.3s"}])


@pytest.mark.parametrize(
    ("headers", "payload", "wait"),
    [
        ({}, None, None),
        ({"retry-after": "7"}, None, 7.0),
        ({"retry-after": "0.25"}, None, 0.25),
        ({"retry-after": "-3"}, None, 0.0),
        ({"retry-after": "0"}, asks("try again in 9s"), 0.0),
        ({"retry-after-ms": "1500", "retry-after": "7"}, None, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "7"}, None, 7.0),
        ({"retry-after-ms": "-1"}, None, 0.0),
        ({"retry-after": date(30)}, None, 30.0),
        ({"retry-after": date(-30)}, None, 0.0),
        ({"retry-after": "Thu, 05 Nov 2026 13:00:05 +0100"}, None, 5.0),
        ({"retry-after": "Thu, 05 Nov 2026 12:00:05 -0000"}, None, 5.0),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": ""}, None, None),
        ({"retry-after": "nan"}, None, None),
        ({"retry-after": "inf"}, None, None),
        ({"retry-after": "soon"}, asks("Please try again in 9s."), 9.0),
        ({"retry-after": "7"}, RETRY_INFO, 7.0),
        ({}, RETRY_INFO, 46.3),
        ({}, [RETRY_INFO], 46.3),
        ({}, openai("x", details=[{"retryDelay": {"seconds": 3}}]), None),
        ({}, asks("reached organization max RPM: 3, please try again after 1 seconds"), 1.0),
        ({}, asks("Limit 3 / min. Please try again in 20s. Visit us."), 20.0),
        ({}, asks("Please try again in 7.66s."), 7.66),
        ({}, asks("Please try again in 6m0s."), 360.0),
        ({}, asks("Please try again in 17ms"), 0.017),
        ({}, asks("Please retry in 3 minutes"), 180.0),
        ({}, asks("Please retry after 20 seconds."), 20.0),
        ({}, asks("Try again in 1 hour, 5 minutes"), 3900.0),
        ({}, {"detail": "wait 10 sec"}, 10.0),
        ({}, asks("we tried 3 models, try again in 3 models"), None),
        ({}, asks("try again later"), None),
        ({"x-ratelimit-reset-requests": "1s"}, None, 1.0),
        ({"x-ratelimit-reset-requests": "6m0s"}, None, 360.0),
        ({"x-ratelimit-reset-tokens": "17ms"}, None, 0.017),
        ({"x-ratelimit-reset": "2.5"}, None, 2.5),
        ({"x-ratelimit-reset": str(int(NOON) + 12)}, None, 12.0),
        ({"x-ratelimit-reset": str(int(NOON * 1000) + 12_000)}, None, 12.0),
        ({"x-ratelimit-reset": str(int(NOON) - 12)}, None, 0.0),
        ({"x-ratelimit-reset": "later"}, None, None),
        ({"x-ratelimit-reset-requests": "1s", "retry-after": "7"}, None, 7.0),
        ({"x-ratelimit-reset-requests": "1s"}, RETRY_INFO, 46.3),
        (  # the window with less room left is the one that stopped us
            {
                "x-ratelimit-limit-requests": "500",
                "x-ratelimit-remaining-requests": "499",
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-limit-tokens": "30000",
                "x-ratelimit-remaining-tokens": "20",
                "x-ratelimit-reset-tokens": "59s",
            },
            None,
            59.0,
        ),
        (  # Azure: -1 is "not known"
            {"x-ratelimit-limit": "5", "x-ratelimit-remaining": "-1", "x-ratelimit-reset": "9"},
            None,
            9.0,
        ),
        (  # a day's window that still has room is not what stopped us
            {"x-ratelimit-limit": "9", "x-ratelimit-remaining": "4", "x-ratelimit-reset": "40000"},
            None,
            None,
        ),
        ({"x-ratelimit-limit": "9", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "40000"}, None, 40000.0),
    ],
)
def test_hints(headers: dict[str, str], payload: Any, wait: float | None) -> None:
    found = retry_after(headers, payload, now=NOON)
    assert found == (wait if wait is None else pytest.approx(wait, abs=1e-3))


def test_reset_times_are_for_429_only() -> None:
    headers = {"x-ratelimit-reset": "5"}
    assert error_of(429, b"", x_ratelimit_reset="5").retry_after == 5.0
    assert error_of(503, b"", x_ratelimit_reset="5").retry_after is None
    assert retry_after(headers, None, now=0.0, status=503) is None


@pytest.mark.parametrize("status", [429, 503])
def test_the_hint_goes_with_the_error(status: int) -> None:
    assert error_of(status, b"", retry_after="12").retry_after == 12.0


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (429, {"retry_after": "900"}, b"", "rate_limited"),
        (429, {"retry_after": "901"}, b"", "quota"),
        (429, {"retry_after": "36000", "x_should_retry": "true"}, b"", "quota"),
        (503, {"retry_after": "36000"}, b"", "quota"),
        (429, {}, openai("Please try again in 5h3m1s."), "quota"),
        (400, {"retry_after": "36000"}, b"", "bad_request"),
    ],
)
def test_a_long_wait_is_a_quota_in_disguise(status: int, headers: dict[str, str], body: Any, kind: str) -> None:
    check(error_of(status, body, **headers), kind)


@given(
    st.dictionaries(
        st.sampled_from(
            ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-limit", "x-should-retry"]
        ),
        st.text(max_size=20) | st.floats().map(str) | st.integers().map(str) | st.datetimes().map(format_datetime),
    ),
    st.integers(100, 700),
    st.binary(max_size=40),
)
def test_no_response_upsets_it(headers: dict[str, str], status: int, body: bytes) -> None:
    error = teacher_error(status, headers, body, provider="mine", now=NOON)
    assert KINDS[error.kind]
    assert error.retry_after is None or error.retry_after >= 0


# --- what the message says ---


def test_the_message_is_one_readable_sentence() -> None:
    error = error_of(402, openai("Insufficient\n\n   Balance"), "deepseek")
    assert str(error) == (
        'deepseek answered 402 "Insufficient Balance": quota, balance or cap is used up; raise it or wait, then run '
        "the same command again: what was paid for is kept"
    )


def test_a_redirect_says_what_to_do() -> None:
    error = error_of(308, b"", location="https://elsewhere.example/?key=hunter2")
    assert "base_url" in str(error)
    assert "redirect" in str(error)
    assert "elsewhere" not in str(error)


def test_a_model_that_only_streams_is_told_apart() -> None:
    text = "parameter.enable_thinking must be set to false for non-streaming calls"
    assert "stream=True" in str(error_of(400, openai(text), "dashscope"))


@pytest.mark.parametrize("text", ["a-" * 2000, "*" * 4000, "1m" * 2000, "try again in " + "1m " * 1000, "0a" * 2000])
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    error_of(429, openai(text), retry_after=text)
    assert time.process_time() - started < 0.2


def test_long_texts_are_cut() -> None:
    assert len(str(error_of(400, openai("word " * 5000)))) < 500


def test_text_that_no_file_could_hold_is_mended() -> None:
    error = error_of(500, rb'{"error": {"message": "half \ud800 a pair"}, "request_id": "\ud800"}')
    assert str(error).encode()
    assert "half ? a pair" in str(error)
    assert error.request_id is None


def test_a_web_page_is_named_not_quoted() -> None:
    error = error_of(502, b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>")
    assert "a web page (502 Bad Gateway)" in str(error)
    assert "nginx" not in str(error)


def test_a_phrase_far_down_is_not_believed() -> None:
    """Validation errors echo the request: a task about an insufficient balance must not end the run."""
    echo = openai(
        f"1 validation error for Request {'.' * 400} insufficient balance, content policy, model x not found"
    )
    check(error_of(400, echo), "bad_request")


@pytest.mark.parametrize(
    ("headers", "body", "found"),
    [
        ({"x_request_id": "a", "request_id": "b"}, {"request_id": "c"}, "a"),
        ({"request_id": "b"}, b"", "b"),
        ({"x_amzn_requestid": "d"}, b"", "d"),
        ({"apim_request_id": "e"}, {"id": "f"}, "e"),
        ({}, {"error": {"message": "x"}, "responseId": "g"}, "g"),
        ({}, {"type": "error", "error": {"type": "x"}, "request_id": "req_1"}, "req_1"),
        ({}, {"error": {"message": "x", "request_id": "req_2"}}, "req_2"),
        ({}, {"error": {"message": "x"}, "id": "gen-1"}, "gen-1"),
        ({}, {"error": {"message": "x"}, "id": 7}, None),
        ({}, b"", None),
    ],
)
def test_request_id(headers: dict[str, str], body: Any, found: str | None) -> None:
    assert error_of(500, body, **headers).request_id == found


SECRETS = [
    "sk-proj-abc_DEF-123456",
    "sk-ant-api03-xyz789",
    "gsk_abcdEFGH1234",
    "xai-abcd1234efgh",
    "hf_abcdefghij",
    "AIzaSyA1234567890abcdef",
    "ABSKQmVkcm9ja0FQSUtleS1x+x/y==",
    "bedrock-api-key-YmVkcm9jay5h+x/y==",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_",
    "0123456789abcdef0123456789abcdef.AbCdEfGh12",
    "ABCDEFGH1234567890abcdefgh123456",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["Incorrect API key provided: {}", "header 'Bearer {}' refused", '{{"key":"{}"}}'])
def test_no_key_in_a_message(secret: str, around: str) -> None:
    text = around.format(secret)
    assert secret not in redact(text)
    for body in (openai(text), text.encode(), {"detail": text}):
        error = error_of(401, body, authorization=f"Bearer {secret}")
        assert secret not in str(error)
        assert "[redacted]" in str(error)
