"""What differs between providers: a table.

This file knows names, addresses and quirks, as data, and which wire format a provider speaks. It sends nothing, reads
no environment and parses no answer: that is for the formats (:mod:`cot_distill.teachers.chat` and those beside it).
Adding a provider that speaks a known format is one entry in ``_TABLE``; a provider that is not in it is a
:class:`Preset` of your own. Model ids and ceilings change every few months and are therefore not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cot_distill.teachers import anthropic, bedrock, chat, gemini, ollama, responses
from cot_distill.teachers.wire import Format

__all__ = ["PRESETS", "Preset"]

Fields = dict[str, Any]


def _effort(effort: str | None, budget: int | None) -> Fields:  # noqa: ARG001 - a budget has no field here
    return {} if effort is None else {"reasoning_effort": effort}


def _effort_and(budget_field: str) -> Callable[[str | None, int | None], Fields]:
    def thinking(effort: str | None, budget: int | None) -> Fields:
        return _effort(effort, None) | ({} if budget is None else {budget_field: budget})

    return thinking


def _deepseek(effort: str | None, budget: int | None) -> Fields:
    if effort == "none":
        return _switch(effort, budget)
    return _switch(effort, budget) | _effort(effort, None)


def _switch(effort: str | None, budget: int | None) -> Fields:  # noqa: ARG001 - on or off is all there is
    if effort is None:
        return {}
    return {"thinking": {"type": "disabled" if effort == "none" else "enabled"}}


def _openrouter(effort: str | None, budget: int | None) -> Fields:
    if budget is not None:  # it takes one of the two; the budget is the more exact
        return {"reasoning": {"max_tokens": budget}}
    return {} if effort is None else {"reasoning": {"effort": effort}}


def _dashscope(effort: str | None, budget: int | None) -> Fields:
    if effort is None and budget is None:
        return {}
    fields: Fields = {"enable_thinking": effort != "none"}
    return fields if budget is None else fields | {"thinking_budget": budget}


def _top_logprobs(count: int) -> Fields:
    return {"logprobs": True, "top_logprobs": count}


def _logprobs_as_number(count: int) -> Fields:
    return {"logprobs": max(1, count)}  # 0 would switch them off


def _nothing_hidden(model: str) -> bool:  # noqa: ARG001
    return False


def _all_hidden(model: str) -> bool:  # noqa: ARG001
    return True


def _grok_4_or_later(model: str) -> bool:
    return re.search(r"grok-(?:[4-9]|[1-9]\d)", model) is not None and "non-reasoning" not in model


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """How one provider or server is spoken to: its wire format, and where it differs from what is usual there.

    Example:
        A provider that is not in the table:

        >>> mine = Preset(name="mine", base_url="https://llm.example.com/v1", key_env=("MINE_API_KEY",))
        >>> mine.max_tokens_field
        'max_tokens'
    """

    name: str
    """The word before the colon in ``"deepseek:deepseek-flash"``; also names the provider in errors."""
    base_url: str
    """Where the path of the format is appended. A name in braces is that of an environment variable."""
    key_env: tuple[str, ...] = ()
    """Environment variables that usually hold the key; the first that is set counts."""
    format: Format = field(default=chat.FORMAT, hash=False)
    """What is written and read, where, and which header holds the key. For a provider of your own that speaks another
    one than chat completions, take an entry of the table: ``dataclasses.replace(PRESETS["anthropic"], name=…)``."""
    local: bool = False
    """The base URL says which machine, not which teacher: no part of its identity, and no key is required."""
    max_tokens_field: str = "max_tokens"
    """Of chat completions; so is the next."""
    seed_field: str = "seed"
    fixed: frozenset[str] = frozenset()
    """Settings that the provider fixes itself and refuses to be told: never sent."""
    always: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Fields that go into every request."""
    thinking: Callable[[str | None, int | None], Fields] = _effort
    """Turns ``(reasoning_effort, reasoning_budget)`` into fields of the request. Effort ``"none"`` means off."""
    logprobs: Callable[[int], Fields] = _top_logprobs
    """Turns ``top_logprobs`` into fields of the request."""
    hides_reasoning: Callable[[str], bool] = _nothing_hidden
    """Whether this model thinks without showing it: then an answer without reasoning is ``hidden``, not ``none``."""
    stream_options: bool = True
    """Whether a stream is asked for its usage. Of chat completions."""
    streams: bool = True
    """Whether what comes as a stream is what would come whole."""
    reasoning_outside_total: bool = False
    """``completion_tokens`` does not count the reasoning."""

    @property
    def needs_key(self) -> bool:
        """Whether asking without a key is bound to fail."""
        return not self.local


_TABLE = (
    Preset(
        name="deepseek",
        base_url="https://api.deepseek.com",
        key_env=("DEEPSEEK_API_KEY",),
        thinking=_deepseek,
    ),
    Preset(
        name="openai",
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        max_tokens_field="max_completion_tokens",  # reasoning models refuse max_tokens
        hides_reasoning=_all_hidden,
    ),
    Preset(
        name="openrouter",
        base_url="https://openrouter.ai/api/v1",
        key_env=("OPENROUTER_API_KEY",),
        # Only models whose makers allow distillation; Sampling(extra={"provider": {…}}) replaces it.
        always={"provider": {"enforce_distillable_text": True}},
        thinking=_openrouter,
    ),
    Preset(
        name="together",
        base_url="https://api.together.xyz/v1",
        key_env=("TOGETHER_API_KEY",),
        logprobs=_logprobs_as_number,
    ),
    Preset(
        name="fireworks",
        base_url="https://api.fireworks.ai/inference/v1",
        key_env=("FIREWORKS_API_KEY",),
    ),
    Preset(
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        key_env=("GROQ_API_KEY",),
        always={"reasoning_format": "parsed"},
    ),
    Preset(
        name="mistral",
        base_url="https://api.mistral.ai/v1",
        key_env=("MISTRAL_API_KEY",),
        seed_field="random_seed",  # unknown fields are refused with 422
        stream_options=False,  # this is one; usage comes anyway
    ),
    Preset(
        name="cerebras",
        base_url="https://api.cerebras.ai/v1",
        key_env=("CEREBRAS_API_KEY",),
        max_tokens_field="max_completion_tokens",
    ),
    # Where there is a Chinese and an international address, the latter is the default: pass base_url for the other.
    Preset(
        name="dashscope",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key_env=("DASHSCOPE_API_KEY",),
        thinking=_dashscope,
    ),
    Preset(
        name="moonshot",
        base_url="https://api.moonshot.ai/v1",
        key_env=("MOONSHOT_API_KEY", "KIMI_API_KEY"),
        fixed=frozenset({"temperature", "top_p"}),
    ),
    Preset(
        name="zhipu",
        base_url="https://api.z.ai/api/paas/v4",
        key_env=("ZAI_API_KEY", "ZHIPUAI_API_KEY", "ZHIPU_API_KEY"),
        thinking=_switch,
    ),
    Preset(
        name="minimax",
        base_url="https://api.minimax.io/v1",
        key_env=("MINIMAX_API_KEY",),
        always={"reasoning_split": True},
        # A chunk holds what is new, or all that was thought so far: its documents and its users disagree.
        streams=False,
    ),
    Preset(
        name="xai",
        base_url="https://api.x.ai/v1",
        key_env=("XAI_API_KEY",),
        max_tokens_field="max_completion_tokens",
        hides_reasoning=_grok_4_or_later,
        reasoning_outside_total=True,
    ),
    # Providers with formats of their own.
    Preset(
        name="anthropic",
        base_url="https://api.anthropic.com",
        key_env=("ANTHROPIC_API_KEY",),
        format=anthropic.FORMAT,
        always={"max_tokens": 32_000},  # it insists on one; Sampling(max_tokens=…) goes before it
        thinking=anthropic.thinking,
        logprobs=anthropic.no_logprobs,
    ),
    Preset(
        name="gemini",
        base_url="https://generativelanguage.googleapis.com/v1beta",
        key_env=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        format=gemini.FORMAT,
        thinking=gemini.thinking,
        logprobs=gemini.logprobs,
    ),
    Preset(
        name="openai-responses",
        base_url="https://api.openai.com/v1",
        key_env=("OPENAI_API_KEY",),
        format=responses.FORMAT,
        always={"store": False},  # or the provider keeps questions and answers for a month
        thinking=responses.thinking,
        logprobs=responses.logprobs,
    ),
    Preset(
        name="azure",
        base_url="{AZURE_OPENAI_ENDPOINT}/openai/v1",
        key_env=("AZURE_OPENAI_API_KEY",),
        format=chat.FORMAT._replace(key_header="api-key"),
        max_tokens_field="max_completion_tokens",
        hides_reasoning=_all_hidden,
    ),
    Preset(
        name="bedrock",
        base_url="https://bedrock-runtime.{AWS_REGION}.amazonaws.com",
        key_env=("AWS_BEARER_TOKEN_BEDROCK",),
        format=bedrock.FORMAT,
        logprobs=anthropic.no_logprobs,
    ),
    # Servers of one's own.
    Preset(
        name="vllm",
        base_url="http://localhost:8000/v1",
        key_env=("VLLM_API_KEY",),
        local=True,
        thinking=_effort_and("thinking_token_budget"),
    ),
    Preset(
        name="sglang",
        base_url="http://localhost:30000/v1",
        key_env=("SGLANG_API_KEY",),
        local=True,
        always={"separate_reasoning": True},
    ),
    Preset(
        name="llamacpp",
        base_url="http://localhost:8080/v1",
        key_env=("LLAMA_API_KEY",),
        local=True,
        thinking=_effort_and("thinking_budget_tokens"),
    ),
    Preset(
        name="ollama",
        base_url="http://localhost:11434",
        key_env=("OLLAMA_API_KEY",),
        format=ollama.FORMAT,
        local=True,
        thinking=ollama.thinking,
    ),
    Preset(
        name="tgi",
        base_url="http://localhost:3000/v1",
        key_env=("TGI_API_KEY",),
        local=True,
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _TABLE})
"""Known providers and servers, by name."""
