"""Bedrock's Converse: what we ask as a request body, and the answer as a Completion.

This file knows the format that Amazon puts before models of many makers. The key is a Bedrock API key, sent as a
bearer token: requests are not signed here. Converse gives no log-probabilities and takes no seed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cot_distill.teachers import anthropic, reading, wire
from cot_distill.teachers.reading import count, text_of
from cot_distill.teachers.wire import Fields, Format
from cot_distill.types import Completion, Message, Sampling, TraceKind, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "decode", "encode"]

_NAMES: Mapping[str, str | None] = MappingProxyType({"top_p": "topP", "max_tokens": "maxTokens", "seed": None})


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    How hard to think is a matter of the model's maker, not of Converse: a model of Anthropic's is told in its own
    words, any other as the preset says.

    Args:
        messages: The conversation. The system's turns become the field ``system``.
        sampling: How to answer. ``extra`` is for fields of the body; what it holds in ``inferenceConfig`` and
            ``additionalModelRequestFields`` is laid over ours.
        model: Not in the body: it is a part of the path.
        preset: The provider's ways.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> sampling = Sampling(reasoning_effort="high", max_tokens=9)
        >>> body = encode([], sampling, model="openai.gpt-oss-120b", preset=PRESETS["bedrock"])
        >>> body["inferenceConfig"], body["additionalModelRequestFields"]
        ({'maxTokens': 9}, {'reasoning_effort': 'high'})
    """
    if "anthropic." in model:
        preset = replace(preset, thinking=anthropic.thinking)
    own = wire.thinking(sampling, preset)
    system = [{"text": message.content} for message in messages if message.role == "system"]
    body: Fields = {
        "messages": [
            {"role": message.role, "content": [{"text": message.content}]}
            for message in messages
            if message.role != "system"
        ],
        **({"system": system} if system else {}),
        **wire.always(preset),
        "inferenceConfig": wire.settings(sampling, preset, _NAMES),
        **({"additionalModelRequestFields": own} if own else {}),
        **wire.logprobs(sampling, preset),
    }
    return wire.overlay(body, sampling.extra, "inferenceConfig", "additionalModelRequestFields")


def decode(payload: Any, *, preset: Preset) -> Completion:
    """Read the answer from a parsed body of HTTP 200.

    Args:
        payload: The parsed body.
        preset: The provider's ways.

    Returns:
        The completion, without what only HTTP knows. Converse does not name the model.

    Raises:
        TeacherError: It is an error after all, or no completion.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> blocks = [{"text": "4"}, {"reasoningContent": {"reasoningText": {"text": "2+2 is 4."}}}]
        >>> payload = {"output": {"message": {"content": blocks}}, "stopReason": "end_turn"}
        >>> decode(payload, preset=PRESETS["bedrock"]).reasoning
        '2+2 is 4.'
    """
    payload = reading.checked(payload, preset)
    output = payload.get("output")
    message = output.get("message") if isinstance(output, dict) else None
    if not isinstance(message, dict):
        raise reading.unavailable(preset, payload, "answered without a message")
    blocks = reading.objects(message.get("content"))  # in any order: the answer may come before the reasoning
    content = "".join(text_of(block.get("text")) for block in blocks)
    reasoning, kind = reading.gather(_thoughts(blocks))
    given = payload.get("usage")
    cached = ("cacheReadInputTokens", "cacheWriteInputTokens")  # not inside inputTokens
    usage = Usage(
        prompt_tokens=reading.total(*(count([given], name) for name in ("inputTokens", *cached))),
        completion_tokens=count([given], "outputTokens"),
        cached_tokens=count([given], "cacheReadInputTokens"),
        cache_write_tokens=count([given], "cacheWriteInputTokens"),
    )
    finish, raw = reading.finished(payload.get("stopReason"), payload, preset)
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=reading.unseen(content, usage) if kind == "none" else kind,
        finish_reason=finish,
        raw_finish_reason=raw,
        usage=usage,
    )


def _thoughts(blocks: Sequence[Fields]) -> Iterator[tuple[str, TraceKind]]:
    for block in blocks:
        thought = block.get("reasoningContent")
        if not isinstance(thought, dict):
            continue
        if thought.get("redactedContent"):
            yield "", "encrypted"
        said = thought.get("reasoningText")
        if isinstance(said, dict):
            # Only Anthropic's models sign what they show, and what these show is a summary.
            yield text_of(said.get("text")), "summary" if said.get("signature") else "full"


FORMAT = Format(path="/model/{model}/converse", encode=encode, decode=decode)
