"""The table of providers: what each entry makes of a request."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cot_distill.teachers.chat import encode
from cot_distill.teachers.presets import PRESETS, Preset
from cot_distill.types import Message, Sampling

HOSTED = (
    """deepseek openai openrouter together fireworks groq mistral cerebras dashscope moonshot zhipu minimax xai"""
)
LOCAL = "vllm sglang llamacpp ollama tgi"


def body_of(name: str, **settings: object) -> dict[str, object]:
    sampling = Sampling.model_validate(settings)
    body = encode([Message(role="user", content="2+2?")], sampling, model="m", preset=PRESETS[name])
    return {key: value for key, value in body.items() if key not in ("model", "messages", "stream")}


def test_the_table_is_the_one_that_was_asked_for() -> None:
    assert {name for name, preset in PRESETS.items() if not preset.local} == set(HOSTED.split())
    assert {name for name, preset in PRESETS.items() if preset.local} == set(LOCAL.split())


@pytest.mark.parametrize("name", PRESETS)
def test_every_entry_is_whole(name: str) -> None:
    preset = PRESETS[name]
    assert preset.name == name
    assert ":" not in name  # it is what stands before the colon
    assert preset.needs_key is not preset.local
    assert preset.key_env
    assert all(re.fullmatch("[A-Z][A-Z0-9_]*_API_KEY", variable) for variable in preset.key_env)
    scheme = "http://localhost:" if preset.local else "https://"
    assert preset.base_url.startswith(scheme)
    assert not preset.base_url.endswith("/")


def test_no_two_providers_read_the_same_key() -> None:
    variables = [variable for preset in PRESETS.values() for variable in preset.key_env]
    assert len(variables) == len(set(variables))


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PRESETS["mine"] = PRESETS["openai"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        PRESETS["openai"].name = "mine"  # type: ignore[misc]
    assert hash(PRESETS["openrouter"])


DISTILLABLE = {"provider": {"enforce_distillable_text": True}}


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("deepseek", {}, {}),
        ("deepseek", {"reasoning_effort": "max"}, {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}),
        ("deepseek", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("deepseek", {"top_logprobs": 20}, {"logprobs": True, "top_logprobs": 20}),
        ("openai", {"max_tokens": 7, "seed": 1}, {"max_completion_tokens": 7, "seed": 1}),
        ("openai", {"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ("openai", {"top_logprobs": 0}, {"logprobs": True, "top_logprobs": 0}),
        ("openrouter", {"reasoning_effort": "low"}, {**DISTILLABLE, "reasoning": {"effort": "low"}}),
        ("openrouter", {"reasoning_budget": 512}, {**DISTILLABLE, "reasoning": {"max_tokens": 512}}),
        ("together", {"top_logprobs": 5}, {"logprobs": 5}),
        ("together", {"top_logprobs": 0}, {"logprobs": 1}),
        ("fireworks", {"max_tokens": 7, "top_logprobs": 5}, {"max_tokens": 7, "logprobs": True, "top_logprobs": 5}),
        ("groq", {"reasoning_effort": "high"}, {"reasoning_format": "parsed", "reasoning_effort": "high"}),
        ("mistral", {"seed": 3, "max_tokens": 7}, {"random_seed": 3, "max_tokens": 7}),
        ("cerebras", {"max_tokens": 7}, {"max_completion_tokens": 7}),
        ("dashscope", {"reasoning_budget": 512}, {"enable_thinking": True, "thinking_budget": 512}),
        ("dashscope", {"reasoning_effort": "none"}, {"enable_thinking": False}),
        ("dashscope", {"reasoning_effort": "high"}, {"enable_thinking": True}),
        ("moonshot", {"temperature": 0.6, "top_p": 0.9, "max_tokens": 7}, {"max_tokens": 7}),
        ("zhipu", {"reasoning_effort": "high"}, {"thinking": {"type": "enabled"}}),
        ("zhipu", {"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
        ("minimax", {}, {"reasoning_split": True}),
        (
            "xai",
            {"max_tokens": 7, "reasoning_effort": "low"},
            {"max_completion_tokens": 7, "reasoning_effort": "low"},
        ),
        (
            "vllm",
            {"reasoning_effort": "low", "reasoning_budget": 512},
            {"reasoning_effort": "low", "thinking_token_budget": 512},
        ),
        ("vllm", {"temperature": 0.0, "top_p": 0.9}, {"temperature": 0.0, "top_p": 0.9}),
        ("sglang", {}, {"separate_reasoning": True}),
        ("llamacpp", {"reasoning_budget": 0}, {"thinking_budget_tokens": 0}),
        ("ollama", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ("tgi", {"max_tokens": 7}, {"max_tokens": 7}),
    ],
)
def test_what_a_provider_is_sent(name: str, settings: dict[str, object], expected: dict[str, object]) -> None:
    assert body_of(name, **settings) == expected


@pytest.mark.parametrize(
    ("name", "model", "hidden"),
    [
        ("openai", "gpt-5.4", True),
        ("xai", "grok-4-0709", True),
        ("xai", "grok-4-1-fast-reasoning", True),
        ("xai", "grok-12", True),
        ("xai", "grok-4.20-non-reasoning", False),
        ("xai", "grok-3-mini", False),
        ("deepseek", "deepseek-flash", False),
        ("vllm", "xai-org/grok-4", False),
    ],
)
def test_who_hides_reasoning(name: str, model: str, hidden: bool) -> None:
    assert PRESETS[name].hides_reasoning(model) is hidden


def test_only_xai_counts_the_reasoning_apart() -> None:
    assert [name for name, preset in PRESETS.items() if preset.reasoning_outside_total] == ["xai"]


def test_a_provider_of_ones_own_is_one_entry() -> None:
    mine = Preset(name="mine", base_url="https://llm.example.com/v1")
    body = encode([], Sampling(reasoning_effort="high", max_tokens=3), model="m", preset=mine)
    assert body == {"model": "m", "messages": [], "stream": False, "reasoning_effort": "high", "max_tokens": 3}
    assert replace(mine, local=True).needs_key is False


def test_a_request_that_is_changed_leaves_the_table_alone() -> None:
    body = encode([], Sampling(), model="m", preset=PRESETS["openrouter"])
    body["provider"]["enforce_distillable_text"] = False
    assert encode([], Sampling(), model="m", preset=PRESETS["openrouter"])["provider"] == DISTILLABLE["provider"]
