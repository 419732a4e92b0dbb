"""The table of providers: what each entry makes of a request."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from cot_distill.errors import ConfigError
from cot_distill.teachers import chat
from cot_distill.teachers.presets import PRESETS, Preset
from cot_distill.types import Message, Sampling

HOSTED = (
    "deepseek openai openrouter together fireworks groq mistral cerebras dashscope moonshot zhipu minimax xai "
    "anthropic gemini openai-responses azure bedrock"
)
LOCAL = "vllm sglang llamacpp ollama tgi"


def body_of(name: str, **settings: object) -> dict[str, object]:
    sampling = Sampling.model_validate(settings)
    preset = PRESETS[name]
    body = preset.format.encode([Message(role="user", content="2+2?")], sampling, model="m", preset=preset)
    asked = ("model", "messages", "stream", "input", "contents")
    return {key: value for key, value in body.items() if key not in asked}


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
    usual = "[A-Z][A-Z0-9_]*_API_KEY|AWS_BEARER_TOKEN_BEDROCK"
    assert all(re.fullmatch(usual, variable) for variable in preset.key_env)
    scheme = "http://localhost:" if preset.local else "https://"
    assert preset.base_url.startswith((scheme, "{AZURE_OPENAI_ENDPOINT}"))
    assert preset.format.path.startswith("/")
    assert not preset.base_url.endswith("/")


def test_no_two_providers_read_the_same_key() -> None:
    others = [preset for name, preset in PRESETS.items() if name != "openai-responses"]
    assert PRESETS["openai-responses"].key_env == PRESETS["openai"].key_env
    variables = [variable for preset in others for variable in preset.key_env]
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
        ("ollama", {"reasoning_effort": "low"}, {"options": {}, "think": "low"}),
        ("ollama", {"reasoning_effort": "none"}, {"options": {}, "think": False}),
        (
            "ollama",
            {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "seed": 1, "top_logprobs": 3},
            {
                "options": {"num_predict": 7, "temperature": 0.5, "top_p": 0.9, "seed": 1},
                "logprobs": True,
                "top_logprobs": 3,
            },
        ),
        (
            "ollama",
            {"max_tokens": 7, "extra": {"options": {"num_ctx": 9}, "keep_alive": "1h"}},
            {"options": {"num_predict": 7, "num_ctx": 9}, "keep_alive": "1h"},
        ),
        ("anthropic", {}, {"max_tokens": 32_000}),
        ("anthropic", {"max_tokens": 7, "temperature": 1.0}, {"max_tokens": 7, "temperature": 1.0}),
        (
            "anthropic",
            {"reasoning_effort": "high"},
            {
                "max_tokens": 32_000,
                "thinking": {"type": "adaptive", "display": "summarized"},
                "output_config": {"effort": "high"},
            },
        ),
        (
            "anthropic",
            {"reasoning_budget": 2048},
            {"max_tokens": 32_000, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            "anthropic",
            {"reasoning_budget": 2048, "reasoning_effort": "low"},
            {
                "max_tokens": 32_000,
                "thinking": {"type": "enabled", "budget_tokens": 2048},
                "output_config": {"effort": "low"},
            },
        ),
        ("anthropic", {"reasoning_effort": "none"}, {"max_tokens": 32_000, "thinking": {"type": "disabled"}}),
        ("gemini", {}, {"generationConfig": {"thinkingConfig": {"includeThoughts": True}}}),
        (
            "gemini",
            {"max_tokens": 7, "top_p": 0.9, "seed": 1, "reasoning_effort": "low", "top_logprobs": 3},
            {
                "generationConfig": {
                    "maxOutputTokens": 7,
                    "topP": 0.9,
                    "seed": 1,
                    "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "low"},
                    "responseLogprobs": True,
                    "logprobs": 3,
                }
            },
        ),
        (
            "gemini",
            {"reasoning_budget": 2048, "extra": {"generationConfig": {"topK": 9}, "safetySettings": []}},
            {
                "generationConfig": {
                    "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2048},
                    "topK": 9,
                },
                "safetySettings": [],
            },
        ),
        ("gemini", {"reasoning_effort": "none"}, {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}),
        ("openai-responses", {}, {"store": False, "reasoning": {"summary": "auto"}}),
        (
            "openai-responses",
            {"max_tokens": 7, "reasoning_effort": "low", "top_logprobs": 3},
            {
                "store": False,
                "max_output_tokens": 7,
                "reasoning": {"summary": "auto", "effort": "low"},
                "include": ["message.output_text.logprobs"],
                "top_logprobs": 3,
            },
        ),
        ("azure", {"max_tokens": 7}, {"max_completion_tokens": 7}),
        ("bedrock", {}, {"inferenceConfig": {}}),
        (
            "bedrock",
            {"max_tokens": 7, "top_p": 0.9, "extra": {"inferenceConfig": {"stopSequences": ["x"]}}},
            {"inferenceConfig": {"maxTokens": 7, "topP": 0.9, "stopSequences": ["x"]}},
        ),
        (
            "bedrock",
            {"reasoning_effort": "low"},
            {"inferenceConfig": {}, "additionalModelRequestFields": {"reasoning_effort": "low"}},
        ),
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
    body = chat.encode([], Sampling(reasoning_effort="high", max_tokens=3), model="m", preset=mine)
    assert body == {"model": "m", "messages": [], "stream": False, "reasoning_effort": "high", "max_tokens": 3}
    assert replace(mine, local=True).needs_key is False


def test_a_request_that_is_changed_leaves_the_table_alone() -> None:
    body = chat.encode([], Sampling(), model="m", preset=PRESETS["openrouter"])
    body["provider"]["enforce_distillable_text"] = False
    assert chat.encode([], Sampling(), model="m", preset=PRESETS["openrouter"])["provider"] == DISTILLABLE["provider"]


def test_a_model_of_anthropic_s_on_bedrock_is_told_in_its_own_words() -> None:
    preset = PRESETS["bedrock"]
    sampling = Sampling(reasoning_budget=2048)
    body = preset.format.encode([], sampling, model="us.anthropic.claude-x-v1:0", preset=preset)
    assert body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2048}}


CONVERSATION = [
    Message(role="system", content="Be brief."),
    Message(role="user", content="1+1?"),
    Message(role="assistant", content="2"),
    Message(role="user", content="2+2?"),
]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "anthropic",
            {
                "system": "Be brief.",
                "messages": [
                    {"role": "user", "content": "1+1?"},
                    {"role": "assistant", "content": "2"},
                    {"role": "user", "content": "2+2?"},
                ],
            },
        ),
        (
            "gemini",
            {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [
                    {"role": "user", "parts": [{"text": "1+1?"}]},
                    {"role": "model", "parts": [{"text": "2"}]},
                    {"role": "user", "parts": [{"text": "2+2?"}]},
                ],
            },
        ),
        ("openai-responses", {"input": [message.model_dump() for message in CONVERSATION]}),
        ("ollama", {"messages": [message.model_dump() for message in CONVERSATION]}),
        (
            "bedrock",
            {
                "system": [{"text": "Be brief."}],
                "messages": [
                    {"role": "user", "content": [{"text": "1+1?"}]},
                    {"role": "assistant", "content": [{"text": "2"}]},
                    {"role": "user", "content": [{"text": "2+2?"}]},
                ],
            },
        ),
    ],
)
def test_a_conversation_in_the_words_of_each_format(name: str, expected: dict[str, object]) -> None:
    preset = PRESETS[name]
    body = preset.format.encode(CONVERSATION, Sampling(), model="m", preset=preset)
    assert {key: body[key] for key in expected} == expected
    asked_alone = preset.format.encode(CONVERSATION[1:2], Sampling(), model="m", preset=preset)
    assert not asked_alone.keys() & {"system", "systemInstruction"}


@pytest.mark.parametrize(
    ("name", "settings", "left_out"),
    [
        ("anthropic", {"seed": 1, "top_logprobs": 3, "reasoning_effort": "high"}, {"seed", "top_logprobs"}),
        ("gemini", {"reasoning_budget": 9, "reasoning_effort": "high", "seed": 1}, {"reasoning_effort"}),
        ("openai-responses", {"seed": 1, "reasoning_budget": 9}, {"seed", "reasoning_budget"}),
        ("ollama", {"seed": 1, "reasoning_budget": 9}, {"reasoning_budget"}),
        (
            "bedrock",
            {"seed": 1, "top_logprobs": 3, "reasoning_budget": 9},
            {"seed", "top_logprobs", "reasoning_budget"},
        ),
    ],
)
def test_what_a_format_has_no_field_for_is_left_out_with_one_warning(
    name: str, settings: dict[str, object], left_out: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    preset = replace(PRESETS[name], name=f"{name}, warned")  # warnings are given once a name
    with caplog.at_level("WARNING", "cot_distill"):
        for _ in range(3):
            preset.format.encode([], Sampling.model_validate(settings), model="m", preset=preset)
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"{preset.name} takes no {setting}: it is left out" for setting in sorted(left_out)
    ]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("extra", [{"stream": True}, {"n": 2}])
def test_no_format_streams_or_gives_several_answers(name: str, extra: dict[str, object]) -> None:
    preset = PRESETS[name]
    with pytest.raises(ConfigError, match="attempts="):
        preset.format.encode([], Sampling(extra=extra), model="m", preset=preset)


def test_gemini_gives_one_candidate() -> None:
    preset = PRESETS["gemini"]
    for many in ({"candidateCount": 2}, {"candidateCount": 1}):
        sampling = Sampling(extra={"generationConfig": many})
        if many["candidateCount"] == 1:
            preset.format.encode([], sampling, model="m", preset=preset)
            continue
        with pytest.raises(ConfigError, match="attempts="):
            preset.format.encode([], sampling, model="m", preset=preset)


@pytest.mark.parametrize(
    ("name", "model", "path"),
    [
        ("openai", "a/b:c", "/chat/completions"),
        ("anthropic", "claude-x", "/v1/messages"),
        ("gemini", "gemini-9-pro", "/models/gemini-9-pro:generateContent"),
        ("gemini", "../x?key={model}", "/models/..%2Fx%3Fkey%3D%7Bmodel%7D:generateContent"),
        ("openai-responses", "gpt-9", "/responses"),
        ("ollama", "deepseek-r1:14b", "/api/chat"),
        ("bedrock", "us.deepseek.r1-v1:0", "/model/us.deepseek.r1-v1%3A0/converse"),
        ("bedrock", "arn:aws:bedrock:us-east-1::p/x", "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Ap%2Fx/converse"),
    ],
)
def test_where_a_model_is_asked(name: str, model: str, path: str) -> None:
    assert PRESETS[name].format.url_path(model) == path


@pytest.mark.parametrize("name", PRESETS)
def test_how_the_key_is_shown(name: str) -> None:
    own = {"anthropic": "x-api-key", "gemini": "x-goog-api-key", "azure": "api-key"}
    expected = {own[name]: "k"} if name in own else {"Authorization": "Bearer k"}
    assert PRESETS[name].format.credentials("k") == expected


def test_what_goes_with_every_request() -> None:
    sent = {name: dict(preset.format.headers) for name, preset in PRESETS.items() if preset.format.headers}
    assert sent == {"anthropic": {"anthropic-version": "2023-06-01"}}
