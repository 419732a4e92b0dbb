"""What holds for every wire format: whatever a server says becomes a completion or a teacher's error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_core import to_json

from cot_distill.errors import TeacherError
from cot_distill.teachers import PRESETS
from cot_distill.teachers.reading import gather
from cot_distill.types import Completion, Message, Sampling

calmly = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3))


def fields(*names: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects that hold all fields, of the right type; or some of them, each of the right type or of any other."""
    anything = {name: JSON | known.get(name, JSON) for name in (*names, *known)}
    whole = {name: value for name, value in known.items() if name != "error"}
    return st.fixed_dictionaries(whole) | st.fixed_dictionaries({}, optional=anything)


def some(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


def many(items: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=4)


TEXTS = many(
    fields("logprobs", text=st.text(), type=some("output_text", "refusal", "summary_text", "reasoning_text"))
)
ERROR = fields("message", "code", "type", "status", "details")
BLOCK = fields(
    "signature", "data", text=st.text(), thinking=st.text(), type=some("text", "thinking", "redacted_thinking")
)
ANTHROPIC = fields(
    "id",
    "model",
    content=many(BLOCK),
    stop_reason=some("end_turn", "max_tokens", "refusal", "error", "pause_turn"),
    stop_details=fields(category=st.text(max_size=4)),
    usage=fields("input_tokens", "output_tokens", output_tokens_details=fields("thinking_tokens")),
    error=ERROR,
)
GEMINI = fields(
    "responseId",
    "modelVersion",
    candidates=many(
        fields(
            content=fields(parts=many(fields("functionCall", text=st.text(), thought=st.booleans()))),
            finishReason=some("STOP", "MAX_TOKENS", "SAFETY", "ERROR"),
            logprobsResult=fields("chosenCandidates"),
        )
    ),
    promptFeedback=fields(blockReason=some("SAFETY", "OTHER", "ERROR")),
    usageMetadata=fields("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount"),
    error=ERROR,
)
RESPONSES = fields(
    "id",
    "model",
    output=many(
        fields("encrypted_content", type=some("message", "reasoning", "function_call"), content=TEXTS, summary=TEXTS)
    ),
    status=some("completed", "incomplete", "failed", "in_progress"),
    incomplete_details=fields(reason=some("max_output_tokens", "content_filter", "error")),
    usage=fields("input_tokens", "output_tokens", output_tokens_details=fields("reasoning_tokens")),
    error=ERROR,
)
OLLAMA = fields(
    "model",
    "prompt_eval_count",
    "eval_count",
    "logprobs",
    message=fields("tool_calls", content=st.text(), thinking=st.text()),
    done=st.just(value=True),
    done_reason=some("stop", "length", "load", "error"),
    error=st.text(),
)
BEDROCK = fields(
    output=fields(
        message=fields(
            content=many(
                fields(
                    text=st.text(),
                    reasoningContent=fields("redactedContent", reasoningText=fields("signature", text=st.text())),
                )
            )
        )
    ),
    stopReason=some("end_turn", "max_tokens", "content_filtered", "error"),
    usage=fields("inputTokens", "outputTokens"),
    message=st.text(),
)
HARMONY = many(
    some("<|start|>assistant", "<|channel|>analysis", "<|channel|>final", "<|message|>", "<|end|>", "so", "\n")
).map("".join)
CHAT = fields(
    choices=many(
        fields(
            message=fields(content=st.text() | HARMONY, reasoning=st.text()),
            finish_reason=some("stop", "length", "error"),
        )
    ),
    error=ERROR,
)
PAYLOADS = {
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "openai-responses": RESPONSES,
    "ollama": OLLAMA,
    "bedrock": BEDROCK,
    "azure": CHAT,
}


def test_every_format_is_here() -> None:
    paths = {preset.format.path for preset in PRESETS.values()}
    assert {PRESETS[name].format.path for name in PAYLOADS} == paths


@pytest.mark.parametrize("name", PAYLOADS)
def test_whatever_comes_is_a_completion_or_a_teacher_error(name: str) -> None:
    preset = PRESETS[name]

    @calmly
    @given(JSON | PAYLOADS[name])
    def check(payload: Any) -> None:
        met = None
        try:
            completion = preset.format.decode(payload, preset=preset)
        except TeacherError as error:
            met = error
        if met is not None:
            assert str(met).startswith(name)
            assert met.provider == name
            str(met).encode()
        else:
            assert completion.finish_reason != "error"
            assert not (completion.reasoning.strip() and completion.trace_kind not in ("full", "summary"))
            assert Completion.model_validate_json(completion.model_dump_json(exclude={"logprobs"}))

    check()


SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0.1, 1),
        "max_tokens": st.integers(1, 2**31 - 1),
        "seed": st.integers(-(2**40), 2**40),
        "reasoning_effort": some("none", "low", "high"),
        "reasoning_budget": st.integers(0, 2**40),
        "top_logprobs": st.integers(0, 20),
    },
)


@pytest.mark.parametrize("name", PRESETS)
def test_whatever_is_asked_can_be_sent_and_holds_the_question(name: str) -> None:
    preset = PRESETS[name]

    @calmly
    @given(st.text(), st.text(), SETTINGS)
    def check(system: str, question: str, made: dict[str, Any]) -> None:
        messages = [Message(role="system", content=system), Message(role="user", content=question)]
        sampling = Sampling.model_validate(made)
        body = preset.format.encode(messages, sampling, model="m", preset=preset)
        to_json(body)
        texts = list(_texts(body))
        assert question in texts
        assert system in texts or not system.strip()
        again = preset.format.encode(messages, sampling, model="m", preset=preset)
        assert again == body

    check()


def _texts(value: Any) -> Any:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


@pytest.mark.parametrize(
    ("pieces", "text", "kind"),
    [
        ([], "", "none"),
        ([("", "hidden")], "", "hidden"),
        ([("", "encrypted"), ("", "hidden")], "", "encrypted"),
        ([(" \n", "summary")], "", "hidden"),
        ([(" \n", "full")], "", "none"),
        ([("a", "full"), ("", "full")], "a", "full"),
        ([("a", "full"), ("", "summary")], "a", "summary"),
        ([("a", "full"), ("b", "full")], "a\n\nb", "full"),
        ([("a", "full"), ("", "encrypted")], "a", "summary"),
        ([("a", "full"), ("", "hidden")], "a", "summary"),
        ([("a", "full"), ("b", "summary")], "a\n\nb", "summary"),
    ],
)
def test_what_pieces_of_reasoning_are_together(pieces: Any, text: str, kind: str) -> None:
    assert gather(pieces) == (text, kind)
