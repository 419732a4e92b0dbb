"""Chat completions: what is asked, and what every provider's answer becomes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from cot_distill.errors import (
    AuthError,
    ConfigError,
    QuotaError,
    RateLimitError,
    RequestError,
    TeacherError,
    TraceError,
    UnavailableError,
)
from cot_distill.teachers.chat import decode, encode
from cot_distill.teachers.presets import PRESETS, Preset
from cot_distill.trace import KNOWN_TAGS, parse_trace
from cot_distill.types import Completion, Message, Sampling, Usage

MINE = Preset(name="mine", base_url="https://llm.example.com/v1")
ASK = [Message(role="system", content="Be brief."), Message(role="user", content="2+2?")]


def answer(finish: Any = "stop", *, usage: Any = None, choice: Any = None, **message: Any) -> dict[str, Any]:
    """A payload with one choice: the keywords are the message's fields."""
    one = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", **message}, **(choice or {})}
    return {"id": "chatcmpl-1", "model": "m-2026", "choices": [one], **({} if usage is None else {"usage": usage})}


def read(payload: Any, provider: str = "") -> Completion:
    return decode(payload, preset=PRESETS[provider] if provider else MINE)


# --- encode ---


def test_a_plain_request() -> None:
    assert encode(ASK, Sampling(), model="deepseek-ai/X:free", preset=MINE) == {
        "model": "deepseek-ai/X:free",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
        "stream": False,
    }


def test_all_settings() -> None:
    sampling = Sampling(temperature=0.0, top_p=0.9, max_tokens=7, seed=0, reasoning_effort="low", top_logprobs=3)
    body = encode([], sampling, model="m", preset=MINE)
    assert body == {
        "model": "m",
        "messages": [],
        "stream": False,
        "temperature": 0.0,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 0,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 3,
    }
    assert json.loads(json.dumps(body)) == body


def test_extra_wins_and_goes_through_as_it_is() -> None:
    extra = {
        "max_tokens": 1,
        "model": "other",
        "provider": {"only": ["x"]},
        "chat_template_kwargs": {"thinking": None},
    }
    body = encode(ASK, Sampling(max_tokens=7, extra=extra), model="m", preset=PRESETS["openrouter"])
    assert {key: body[key] for key in extra} == extra


@pytest.mark.parametrize("extra", [{"n": 4}, {"stream": True}])
def test_what_would_be_paid_for_and_lost_is_refused(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="attempts="):
        encode(ASK, Sampling(extra=extra), model="m", preset=MINE)
    encode(ASK, Sampling(extra={"n": 1, "stream": False}), model="m", preset=MINE)


@pytest.mark.parametrize(
    ("provider", "settings", "left_out"),
    [
        ("openai", {"reasoning_budget": 9}, {"reasoning_budget"}),
        ("zhipu", {"reasoning_budget": 9, "reasoning_effort": "high"}, {"reasoning_budget"}),
        ("openrouter", {"reasoning_budget": 9, "reasoning_effort": "high"}, {"reasoning_effort"}),
        ("moonshot", {"temperature": 0.5, "top_p": 0.5}, {"temperature", "top_p"}),
        ("vllm", {"reasoning_budget": 9, "reasoning_effort": "high", "temperature": 1}, set()),
        ("dashscope", {"reasoning_budget": 9, "reasoning_effort": "high"}, {"reasoning_effort"}),
    ],
)
def test_a_setting_without_a_field_is_left_out_with_one_warning(
    provider: str, settings: dict[str, Any], left_out: set[str], caplog: pytest.LogCaptureFixture, request: Any
) -> None:
    from dataclasses import replace

    preset = replace(PRESETS[provider], name=request.node.name)  # warnings are given once a name
    with caplog.at_level(logging.WARNING, "cot_distill"):
        for _ in range(3):
            encode(ASK, Sampling.model_validate(settings), model="m", preset=preset)
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"{preset.name} takes no {setting}: it is left out" for setting in sorted(left_out)
    ]


# --- decode: where providers put the reasoning ---

THOUGHT, ANSWER = "2 and 2 make 4.", "4"
INLINE = f"<think>\n{THOUGHT}\n</think>\n\n{ANSWER}"


def detail(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": f"reasoning.{kind}", "format": "unknown", "index": 0, **more}


FULL = {  # provider or server: the message
    "deepseek": {"reasoning_content": THOUGHT, "content": ANSWER},
    "vllm": {"reasoning": THOUGHT, "content": ANSWER, "tool_calls": []},
    "vllm, 2025": {"reasoning_content": THOUGHT, "content": ANSWER},
    "vllm, in between": {"reasoning_content": THOUGHT, "reasoning": THOUGHT, "content": ANSWER},
    "vllm without a parser": {"content": INLINE},
    "vllm, prefilled": {"content": f"{THOUGHT}\n</think>\n\n{ANSWER}"},
    "sglang": {"reasoning_content": THOUGHT, "content": ANSWER, "tool_calls": None},
    "sglang minimax-append-think": {"reasoning_content": None, "content": INLINE},
    "llamacpp": {"reasoning_content": THOUGHT + "\n", "content": ANSWER},
    "llamacpp none": {"content": INLINE},
    "llamacpp deepseek-legacy": {"reasoning_content": THOUGHT, "content": INLINE},
    "ollama": {"reasoning": THOUGHT, "content": ANSWER},
    "ollama native field": {"thinking": THOUGHT, "content": ANSWER},
    "tgi": {"content": INLINE},
    "dashscope": {"reasoning_content": THOUGHT, "content": ANSWER},
    "moonshot": {"reasoning_content": THOUGHT, "content": ANSWER},
    "zhipu": {"reasoning_content": "\n" + THOUGHT, "content": "\n" + ANSWER},
    "minimax inline": {"content": INLINE},
    "minimax split": {"reasoning_details": [detail("text", text=THOUGHT)], "content": ANSWER},
    "minimax split, both": {
        "reasoning_content": THOUGHT,
        "reasoning_details": [detail("text", text=THOUGHT)],
        "content": ANSWER,
    },
    "mistral": {
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}], "closed": True},
            {"type": "text", "text": ANSWER},
        ]
    },
    "mistral, thinking as text": {
        "content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": ANSWER}]
    },
    "groq": {"reasoning": THOUGHT, "content": ANSWER},
    "cerebras": {"reasoning": THOUGHT, "content": ANSWER},
    "together": {"reasoning": THOUGHT, "reasoning_content": "", "content": ANSWER},
    "fireworks": {"reasoning_content": THOUGHT, "content": ANSWER},
    "openrouter": {
        "reasoning": THOUGHT,
        "reasoning_details": [detail("text", text="2 and 2"), detail("text", text=" make 4.")],
        "content": ANSWER,
        "refusal": None,
    },
    "xai, small": {"reasoning_content": THOUGHT, "content": ANSWER},
    "transformers serve": {"reasoning_content": THOUGHT, "content": ANSWER},
    "litellm": {
        "reasoning_content": THOUGHT,
        "thinking_blocks": [{"type": "thinking", "thinking": THOUGHT, "signature": ""}],
        "content": ANSWER,
    },
    "parts of text": {
        "reasoning": [{"type": "text", "text": THOUGHT}],
        "content": [{"type": "text", "text": ANSWER}],
    },
    "parts of other types": {"reasoning": THOUGHT, "content": [{"type": "reference", "reference_ids": [1]}, ANSWER]},
}


@pytest.mark.parametrize("who", FULL)
def test_every_shape_of_the_same_trace(who: str) -> None:
    completion = read(answer(**FULL[who]))
    assert completion.trace_kind == "full"
    trace = parse_trace(completion)
    assert (trace.reasoning.strip(), trace.answer.strip()) == (THOUGHT, ANSWER)
    assert (completion.model, completion.request_id, completion.raw_finish_reason) == ("m-2026", "chatcmpl-1", "stop")


@pytest.mark.parametrize("family", sorted(KNOWN_TAGS.keys() - {"harmony"}))
def test_inline_tags_of_any_family_stay_in_the_content(family: str) -> None:
    tags = KNOWN_TAGS[family]
    content = f"{tags.open}{THOUGHT}{tags.close}{ANSWER}"
    completion = read(answer(content=content))
    assert (completion.content, completion.reasoning, completion.trace_kind) == (content, "", "full")


HARMONY = f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}"


@pytest.mark.parametrize("end", ["", "<|return|>"])
@pytest.mark.parametrize("also", [{}, {"reasoning": THOUGHT}, {"reasoning_content": None}])
def test_leaked_harmony_is_read(end: str, also: dict[str, Any]) -> None:
    completion = read(answer(content=HARMONY + end, **also))
    assert (completion.content, completion.reasoning, completion.trace_kind) == (ANSWER, THOUGHT, "full")
    for tags in (KNOWN_TAGS["think"], KNOWN_TAGS["harmony"]):  # whichever the run was told to look for
        assert parse_trace(completion, tags=tags).answer == ANSWER


def test_leaked_harmony_that_was_cut_is_truncated() -> None:
    completion = read(answer("length", content=HARMONY[:40]))
    assert (completion.content, completion.finish_reason) == ("", "length")
    assert THOUGHT.startswith(completion.reasoning)


@pytest.mark.parametrize("who", FULL)
def test_every_shape_over_a_socket(who: str, provider: Any) -> None:
    name = who.split()[0].strip(",")
    completion = provider.completes(name if name in PRESETS and name != "ollama" else "vllm", answer(**FULL[who]))
    assert parse_trace(completion).answer.strip() == ANSWER


ENDS = [
    *[
        ("deepseek", raw, reason)
        for raw, reason in [("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls")]
    ],
    ("deepseek", "content_filter", "refused"),
    ("azure", "function_call", "tool_calls"),
    ("azure", "content_filter", "refused"),
    ("openrouter", "stop", "stop"),
    ("together", "eos", "stop"),
    ("mistral", "model_length", "length"),
    ("zhipu", "sensitive", "refused"),
    ("zhipu", "model_context_window_exceeded", "length"),
    ("tgi", "eos_token", "stop"),
    ("tgi", "stop_sequence", "stop"),
    ("sglang", "something_new", "unknown"),
]
GAVE_UP = [
    ("deepseek", "insufficient_system_resource"),
    ("sglang", "abort"),
    ("mistral", "error"),
    ("openrouter", "error"),
    ("zhipu", "network_error"),
]


@pytest.mark.parametrize(("name", "raw", "reason"), ENDS)
def test_every_end_over_a_socket(name: str, raw: str, reason: str, provider: Any) -> None:
    completion = provider.completes(name, answer(raw, reasoning_content=THOUGHT, content=ANSWER))
    assert (completion.finish_reason, completion.raw_finish_reason) == (reason, raw)


@pytest.mark.parametrize(("name", "raw"), GAVE_UP)
def test_a_server_that_gave_up_over_a_socket(name: str, raw: str, provider: Any) -> None:
    assert provider.fails(name, 200, answer(raw, content=ANSWER)).transient


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("openrouter", {"error": {"code": 502, "message": "Provider disconnected"}}, "http"),
        ("openrouter", {"error": {"code": 402, "message": "Insufficient credits"}}, "quota"),
        (
            "openrouter",
            {"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "x"}, "message": {}}]},
            "http",
        ),
        ("minimax", {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, "rate_limited"),
        ("minimax", {"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "auth"),
        ("minimax", {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, "quota"),
        ("minimax", {"base_resp": {"status_code": 1027, "status_msg": "output sensitive"}}, "refused"),
        ("sglang", {"object": "error", "message": "Died", "type": "InternalServerError", "code": 500}, "http"),
    ],
)
def test_an_error_at_http_200_over_a_socket(name: str, body: Any, kind: str, provider: Any) -> None:
    assert provider.fails(name, 200, body).kind == kind


SIGNED = {"type": "thinking", "thinking": THOUGHT, "signature": "EqQB"}


@pytest.mark.parametrize(
    ("provider", "message", "usage", "kind"),
    [
        (
            "openrouter",
            {"reasoning": THOUGHT, "reasoning_details": [detail("summary", summary=THOUGHT)]},
            {},
            "summary",
        ),
        ("openrouter", {"reasoning_details": [detail("summary", summary=THOUGHT)]}, {}, "summary"),
        ("openrouter", {"reasoning_details": [detail("text", text=THOUGHT, signature=None)]}, {}, "full"),
        (
            "openrouter",
            {"reasoning_details": [detail("text", text=THOUGHT) | {"format": "anthropic-claude-v1"}]},
            {},
            "summary",
        ),
        ("openrouter", {"reasoning_details": [detail("encrypted", data="xx")]}, {}, "encrypted"),
        ("openrouter", {"reasoning": None, "reasoning_details": [detail("encrypted", data="xx")]}, {}, "encrypted"),
        (
            "openrouter",
            {"reasoning_details": [detail("text", text="a"), detail("encrypted", data="x")]},
            {},
            "summary",
        ),
        ("openrouter", {"reasoning_details": []}, {}, "none"),
        ("", {"reasoning_content": THOUGHT, "thinking_blocks": [SIGNED]}, {}, "summary"),
        ("", {"thinking_blocks": [{"type": "redacted_thinking", "data": "xx"}]}, {}, "encrypted"),
        ("openai", {}, {"completion_tokens_details": {"reasoning_tokens": 64}}, "hidden"),
        ("openai", {}, {"completion_tokens_details": {"reasoning_tokens": 0}}, "none"),
        ("openai", {}, {}, "hidden"),
        ("xai", {}, {"completion_tokens_details": {"reasoning_tokens": 64}}, "hidden"),
        ("xai", {}, {}, "none"),
        ("vllm", {}, {}, "none"),
        ("vllm", {"reasoning": ""}, {}, "none"),
        ("vllm", {"reasoning": None, "reasoning_content": None}, {}, "none"),
        ("vllm", {"reasoning": " \n"}, {}, "none"),
        ("groq", {"reasoning": None}, {"completion_tokens_details": {"reasoning_tokens": 9}}, "hidden"),
    ],
)
def test_trace_kind(provider: str, message: dict[str, Any], usage: dict[str, Any], kind: str) -> None:
    completion = read(answer(content=ANSWER, usage=usage, **message), provider)
    assert completion.trace_kind == kind
    assert bool(completion.reasoning) == (kind in ("full", "summary"))
    assert completion.content == ANSWER


def test_grok_4_hides_without_a_count() -> None:
    assert read(answer(content=ANSWER) | {"model": "grok-4-0709"}, "xai").trace_kind == "hidden"


def test_hidden_reasoning_is_no_trace() -> None:
    with pytest.raises(TraceError, match="hidden"):
        parse_trace(read(answer(content=ANSWER), "openai"))


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": "One way.", "reasoning_content": "Another way."},
        {"reasoning": "One way.", "thinking": "Another way."},
        {"reasoning": "One way.", "reasoning_details": [detail("text", text="Another way.")]},
    ],
)
def test_two_different_texts_are_both_kept_and_refused(fields: dict[str, Any]) -> None:
    completion = read(answer(content=ANSWER, **fields))
    assert "One way." in completion.reasoning
    assert "Another way." in completion.reasoning
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == "repeated"


def test_views_that_differ_in_white_space_are_one_text() -> None:
    details = [detail("text", text="First."), detail("text", text="Second.")]
    completion = read(answer(content=ANSWER, reasoning="First.\n\nSecond.", reasoning_details=details))
    assert completion.reasoning == "First.\n\nSecond."


# --- decode: how it ended ---


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        *[(raw, "stop") for raw in ("stop", "eos", "eos_token", "stop_sequence", "end_turn", "STOP")],
        *[(raw, "length") for raw in ("length", "max_tokens", "model_length", "model_context_window_exceeded")],
        *[(raw, "refused") for raw in ("content_filter", "sensitive", "refusal", "SAFETY", "guardrail_intervened")],
        *[(raw, "tool_calls") for raw in ("tool_calls", "function_call", "tool_use")],
        *[(raw, "unknown") for raw in ("load", "pause_turn", "whatever")],
    ],
)
def test_finish_reasons(raw: str, reason: str) -> None:
    completion = read(answer(raw, content=ANSWER))
    assert (completion.finish_reason, completion.raw_finish_reason) == (reason, raw)


@pytest.mark.parametrize("raw", [None, "", 7, {}])
def test_no_finish_reason_is_unknown(raw: Any) -> None:
    completion = read(answer(raw, content=ANSWER))
    assert (completion.finish_reason, completion.raw_finish_reason) == ("unknown", None)


@pytest.mark.parametrize("raw", ["insufficient_system_resource", "abort", "error", "network_error"])
def test_a_server_that_gave_up(raw: str) -> None:
    with pytest.raises(UnavailableError, match=raw) as caught:
        read(answer(raw, content=ANSWER, reasoning=THOUGHT))
    assert caught.value.transient


NATIVE = "native_finish_reason"


@pytest.mark.parametrize(
    ("choice", "message", "reason", "raw"),
    [
        ({NATIVE: "MAX_TOKENS"}, {}, "length", "MAX_TOKENS"),
        ({NATIVE: "STOP"}, {}, "stop", "stop"),
        ({NATIVE: "completed"}, {}, "stop", "stop"),
        ({NATIVE: None}, {}, "stop", "stop"),
        ({NATIVE: "SAFETY"}, {}, "refused", "SAFETY"),
        ({"provider_specific_fields": {NATIVE: "content_filter"}}, {}, "refused", "content_filter"),
        (
            {"provider_specific_fields": {}},
            {"provider_specific_fields": {NATIVE: "model_length"}},
            "length",
            "model_length",
        ),
        ({"finish_reason": None, NATIVE: "eos"}, {}, "stop", "eos"),
        ({"finish_reason": "length", NATIVE: "stop"}, {}, "length", "length"),
    ],
)
def test_what_a_gateway_translated(choice: Any, message: Any, reason: str, raw: str) -> None:
    completion = read(answer(content=ANSWER, choice=choice, **message))
    assert (completion.finish_reason, completion.raw_finish_reason) == (reason, raw)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({NATIVE: "network_error"}, {}),
        ({"provider_specific_fields": {NATIVE: "insufficient_system_resource"}}, {}),
        ({}, {"provider_specific_fields": {NATIVE: "insufficient_system_resource"}}),
    ],
)
def test_a_gateway_does_not_hide_that_the_server_gave_up(choice: Any, message: Any) -> None:
    with pytest.raises(UnavailableError):
        read(answer(content=ANSWER, choice=choice, **message))


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "refusal": "I cannot help with that."},
        {"content": [{"type": "refusal", "refusal": "I cannot."}]},
    ],
)
def test_a_refusal_is_no_answer(message: dict[str, Any]) -> None:
    completion = read(answer(**message))
    assert (completion.finish_reason, completion.content, completion.raw_finish_reason) == ("refused", "", "stop")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning": THOUGHT},  # vLLM
        {"content": "", "reasoning_content": THOUGHT},  # transformers serve, llama-server
        {"content": THOUGHT, "reasoning": None},  # vLLM's bug
        {"content": f"<think>\n{THOUGHT}"},  # inline
        {
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}], "closed": False}]
        },  # Mistral
    ],
)
def test_cut_inside_the_thought(message: dict[str, Any]) -> None:
    completion = read(answer("length", **message))
    assert completion.finish_reason == "length"
    if completion.reasoning:
        assert completion.content == ""  # an empty answer is never filled with the reasoning
    with pytest.raises(TraceError) as caught:
        parse_trace(completion)
    assert caught.value.kind == "truncated"


# --- decode: a 200 that is no answer ---


@pytest.mark.parametrize(
    ("payload", "error", "kind"),
    [
        (None, UnavailableError, "malformed"),
        ([], UnavailableError, "malformed"),
        ("4", UnavailableError, "malformed"),
        (4, UnavailableError, "malformed"),
        ({}, UnavailableError, "malformed"),
        ({"choices": []}, UnavailableError, "malformed"),
        ({"choices": None}, UnavailableError, "malformed"),
        ({"choices": {}}, UnavailableError, "malformed"),
        ({"choices": [None]}, UnavailableError, "malformed"),
        ({"choices": [{"finish_reason": "stop"}]}, UnavailableError, "malformed"),
        ({"choices": [{"message": None}]}, UnavailableError, "malformed"),
        ({"choices": [{"message": "4"}]}, UnavailableError, "malformed"),
        ({"choices": [{"delta": {"content": "4"}}]}, UnavailableError, "malformed"),
        ({"error": {"message": "x", "code": 502}, "choices": []}, UnavailableError, "http"),
        ({"error": {"message": "x", "code": 429}}, RateLimitError, "rate_limited"),
        ({"error": {"message": "x", "code": "invalid_api_key"}}, AuthError, "auth"),
        (answer(content=ANSWER) | {"error": {"message": "x", "code": 502}}, UnavailableError, "http"),
        ({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}, RequestError, "bad_request"),
        ({"error": "model runner has stopped"}, UnavailableError, "http"),
        ({"detail": [{"loc": ["body"], "msg": "x"}]}, UnavailableError, "http"),
        ({"detail": "Something broke"}, UnavailableError, "http"),
        ({"base_resp": {"status_code": 1008, "status_msg": "x"}, "choices": None}, QuotaError, "quota"),
        ({"base_resp": {"status_code": 1027, "status_msg": "x"}}, RequestError, "refused"),
        (answer("error", content="4", choice={"error": {"code": 502, "message": "x"}}), UnavailableError, "http"),
        (
            answer("error", content="4", choice={"error": {"code": 403, "message": "flagged"}}),
            RequestError,
            "refused",
        ),
    ],
)
def test_http_200_is_not_success(payload: Any, error: type[TeacherError], kind: str) -> None:
    with pytest.raises(error) as caught:
        read(payload)
    assert (type(caught.value), caught.value.kind) == (error, kind)
    assert caught.value.provider == "mine"
    assert caught.value.status == 200


@pytest.mark.parametrize("message", [{"content": "\ud800"}, {"content": "4", "reasoning": "\udfff"}])
def test_half_a_surrogate_pair_is_for_the_parser_to_refuse(message: dict[str, str]) -> None:
    read_back = read(answer(**message))
    assert (read_back.content, read_back.reasoning) == (message["content"], message.get("reasoning", ""))
    with pytest.raises(ValueError, match="hex escape"):
        from_json(json.dumps(answer(**message)))  # as the endpoint does


def test_the_id_goes_with_the_error() -> None:
    with pytest.raises(UnavailableError) as caught:
        read(answer("abort", content="4"))
    assert caught.value.request_id == "chatcmpl-1"


def test_no_error_where_the_field_is_empty() -> None:
    payload = answer(content=ANSWER, choice={"error": None}) | {"error": None, "base_resp": {"status_code": 0}}
    assert read(payload).content == ANSWER


# --- decode: counts ---


@pytest.mark.parametrize(
    ("provider", "usage", "expected"),
    [
        ("deepseek", {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}, (9, 12, None)),
        (
            "deepseek",
            {"prompt_tokens": 9, "completion_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 10}},
            (9, 12, 10),
        ),
        ("sglang", {"prompt_tokens": 9, "completion_tokens": 12, "reasoning_tokens": 10}, (9, 12, 10)),
        (
            "sglang",
            {"prompt_tokens": 9, "completion_tokens": 12, "completion_tokens_details": None, "reasoning_tokens": 0},
            (9, 12, 0),
        ),
        (
            "",
            {"input_tokens": 9, "output_tokens": 12, "output_tokens_details": {"reasoning_tokens": 10}},
            (9, 12, 10),
        ),
        ("", {"input_tokens": 9, "output_tokens": 12, "output_tokens_details": {"thinking_tokens": 10}}, (9, 12, 10)),
        (
            "xai",
            {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 21,
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            (9, 12, 10),
        ),
        (
            "xai",
            {"prompt_tokens": 9, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 10}},
            (9, 12, 10),
        ),
        (
            "xai",  # the sum shows that it is inside after all
            {
                "prompt_tokens": 9,
                "completion_tokens": 12,
                "total_tokens": 21,
                "completion_tokens_details": {"reasoning_tokens": 10},
            },
            (9, 12, 10),
        ),
        ("xai", {"prompt_tokens": 9, "completion_tokens": 2}, (9, 2, None)),
        ("", None, (None, None, None)),
        ("", [], (None, None, None)),
        ("", {}, (None, None, None)),
        ("", {"prompt_tokens": None, "completion_tokens": "12"}, (None, None, None)),
        ("", {"prompt_tokens": True, "completion_tokens": -1}, (None, None, None)),
        ("", {"prompt_tokens": 0, "completion_tokens": 10**400}, (0, None, None)),
    ],
)
def test_usage(provider: str, usage: Any, expected: tuple[int | None, ...]) -> None:
    prompt, completion, reasoning = expected
    found = read(answer(content=ANSWER, usage=usage), provider).usage
    assert found == Usage(prompt_tokens=prompt, completion_tokens=completion, reasoning_tokens=reasoning)


TOKEN = {"token": "4", "logprob": -0.1, "bytes": [52], "top_logprobs": []}
TOGETHER = {"tokens": ["4"], "token_logprobs": [-0.1], "top_logprobs": [{"4": -0.1}]}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, None),
        ({"logprobs": None}, None),
        ({"logprobs": {}}, None),
        ({"logprobs": {"content": None, "refusal": None}}, None),
        ({"logprobs": {"content": [TOKEN], "refusal": None}}, {"content": [TOKEN]}),
        (
            {"logprobs": {"content": [TOKEN], "reasoning_content": [TOKEN, TOKEN]}},
            {"content": [TOKEN], "reasoning": [TOKEN, TOKEN]},
        ),
        (
            {"logprobs": {"content": [TOKEN]}, "reasoning_logprobs": {"content": [TOKEN, TOKEN]}},
            {"content": [TOKEN], "reasoning": [TOKEN, TOKEN]},
        ),
        (
            {"logprobs": {"content": [TOKEN]}, "reasoning_logprobs": [TOKEN]},
            {"content": [TOKEN], "reasoning": [TOKEN]},
        ),
        ({"logprobs": TOGETHER}, TOGETHER),
    ],
)
def test_logprobs(choice: Any, expected: Any) -> None:
    assert read(answer(content=ANSWER, choice=choice)).logprobs == expected


# --- decode: anything at all ---

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3))


def fields(*names: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that hold some of the fields, each of the right type or of any other."""
    return st.fixed_dictionaries({}, optional={name: JSON | known.get(name, JSON) for name in (*names, *known)})


PARTS = st.lists(
    fields(
        "text",
        "thinking",
        "summary",
        "signature",
        "format",
        type=st.sampled_from(
            [
                "text",
                "thinking",
                "refusal",
                "reasoning.text",
                "reasoning.summary",
                "reasoning.encrypted",
                "redacted_thinking",
            ]
        ),
    ),
    max_size=3,
)
EXTRAS = fields("native_finish_reason")
MESSAGES = fields(
    "refusal",
    content=st.text() | PARTS,
    reasoning=st.text() | PARTS,
    reasoning_content=st.text(),
    thinking=st.text(),
    reasoning_details=PARTS,
    thinking_blocks=PARTS,
    provider_specific_fields=EXTRAS,
)
ERRORS = fields("message", "code", "type", "status", "details", "metadata", "innererror")
CHOICES = fields(
    "native_finish_reason",
    "reasoning_logprobs",
    message=MESSAGES,
    error=ERRORS,
    finish_reason=st.sampled_from(["stop", "length", "error", "content_filter"]),
    logprobs=fields("content", "reasoning_content", "tokens"),
    provider_specific_fields=EXTRAS,
)
COUNTS = fields(
    "prompt_tokens", "completion_tokens", "total_tokens", completion_tokens_details=fields("reasoning_tokens")
)
PAYLOADS = fields(
    "id",
    "model",
    "object",
    "detail",
    error=ERRORS,
    choices=st.lists(CHOICES, max_size=2),
    usage=COUNTS,
    base_resp=fields("status_code", "status_msg"),
)


@given(
    JSON | PAYLOADS, st.sampled_from([MINE, *(p for p in PRESETS.values() if p.format.path == "/chat/completions")])
)
def test_whatever_comes_is_a_completion_or_a_teacher_error(payload: Any, preset: Preset) -> None:
    try:
        completion = decode(payload, preset=preset)
    except TeacherError as error:
        met = error
    else:
        assert completion.finish_reason != "error"
        assert Completion.model_validate_json(completion.model_dump_json(exclude={"logprobs"}))
        return
    assert str(met).startswith(preset.name)
    assert met.provider == preset.name
    str(met).encode()


@given(MESSAGES.filter(lambda message: "None" not in repr(message).replace("None,", "").replace("None}", "")))
def test_none_never_becomes_text(message: dict[str, Any]) -> None:
    completion = read(answer(**message))
    assert "None" not in completion.content
    assert "None" not in completion.reasoning


@pytest.mark.parametrize(
    "message", [{"content": None}, {"content": [None]}, {"content": [{"type": "text", "text": None}]}, {}]
)
@pytest.mark.parametrize("reasoning", [None, [None], [{"text": None}], {"text": None}, 4, True])
def test_null_is_nothing(message: dict[str, Any], reasoning: Any) -> None:
    completion = read(answer(reasoning=reasoning, reasoning_content=reasoning, thinking=reasoning, **message))
    assert (completion.content, completion.reasoning, completion.trace_kind) == ("", "", "none")
