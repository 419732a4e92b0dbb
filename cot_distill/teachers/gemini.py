"""Gemini's generateContent: what we ask as a request body, and the answer as a Completion.

This file knows the format's candidates, parts and blocked prompts. Parts that are marked as thoughts are summaries.
Signatures of thoughts are for sending a turn back; they stay in ``Completion.raw``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cot_distill.errors import ConfigError
from cot_distill.teachers import reading, wire
from cot_distill.teachers.reading import count, text_of
from cot_distill.teachers.wire import Fields, Format, Said, Streaming
from cot_distill.types import Completion, Message, Sampling, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "Parts", "decode", "encode", "logprobs", "thinking"]

_NAMES: Mapping[str, str] = MappingProxyType({"top_p": "topP", "max_tokens": "maxOutputTokens"})


def thinking(effort: str | None, budget: int | None) -> Fields:
    """Write how hard to think; summaries of the thoughts are always asked for.

    Args:
        effort: ``"low"``, ``"high"``…, for Gemini 3 and later; ``"none"`` switches thinking off where that can be.
        budget: Tokens, for earlier models; it wins, since only one of the two is taken.

    Returns:
        Fields of ``generationConfig``.

    Example:
        >>> thinking(None, 2048)
        {'thinkingConfig': {'includeThoughts': True, 'thinkingBudget': 2048}}
    """
    config: Fields = {"includeThoughts": True}
    if budget is not None:
        config["thinkingBudget"] = budget
    elif effort == "none":
        config = {"thinkingBudget": 0}
    elif effort is not None:
        config["thinkingLevel"] = effort
    return {"thinkingConfig": config}


def logprobs(count: int) -> Fields:
    """Write that log-probabilities are wanted: fields of ``generationConfig``."""
    return {"responseLogprobs": True, "logprobs": count}


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:  # noqa: ARG001
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    Args:
        messages: The conversation. The system's turns become the field ``systemInstruction``.
        sampling: How to answer. ``extra`` is for fields of the body; its ``generationConfig`` is laid over ours.
        model: Not in the body: it is a part of the path.
        preset: The provider's ways.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> ask = [Message(role="user", content="What is 2 + 2?")]
        >>> encode(ask, Sampling(max_tokens=9), model="m", preset=PRESETS["gemini"])["contents"]
        [{'role': 'user', 'parts': [{'text': 'What is 2 + 2?'}]}]
    """
    given = sampling.extra.get("generationConfig")
    if isinstance(given, dict) and given.get("candidateCount") not in (None, 1):
        raise ConfigError(
            "Sampling(extra=…) must not hold `candidateCount`: for several answers a task, use attempts=…"
        )
    system = [{"text": message.content} for message in messages if message.role == "system"]
    body: Fields = {
        "contents": [
            {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
            for message in messages
            if message.role != "system"
        ],
        **({"systemInstruction": {"parts": system}} if system else {}),
        **wire.always(preset),
        "generationConfig": {
            **wire.settings(sampling, preset, _NAMES),
            **wire.thinking(sampling, preset),
            **wire.logprobs(sampling, preset),
        },
    }
    return wire.overlay(body, sampling.extra, "generationConfig")


def decode(payload: Any, *, preset: Preset) -> Completion:
    """Read the answer from a parsed body of HTTP 200.

    Args:
        payload: The parsed body.
        preset: The provider's ways.

    Returns:
        The completion, without what only HTTP knows. A blocked prompt is one too: refused, and without any text.

    Raises:
        TeacherError: It is an error after all, or no completion.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> parts = [{"text": "2+2 is 4.", "thought": True}, {"text": "4"}]
        >>> payload = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
        >>> decode(payload, preset=PRESETS["gemini"]).trace_kind
        'summary'
    """
    payload = reading.checked(payload, preset)
    candidates = reading.objects(payload.get("candidates"))
    feedback = payload.get("promptFeedback")
    blocked = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not candidates and not blocked:
        raise reading.unavailable(preset, payload, "answered without any candidate")
    candidate = candidates[0] if candidates else {}
    holder = candidate.get("content")
    # Cut inside of the thoughts there is a role, and no parts at all.
    parts = reading.objects(holder.get("parts")) if isinstance(holder, dict) else []
    content = "".join(text_of(part.get("text")) for part in parts if not part.get("thought"))
    reasoning, kind = reading.gather((text_of(part.get("text")), "summary") for part in parts if part.get("thought"))
    usage = _usage(payload.get("usageMetadata"))
    finish, raw = reading.finished(candidate.get("finishReason") if candidates else blocked, payload, preset)
    if not candidates:
        finish = "refused"
    elif finish == "stop" and any("functionCall" in part for part in parts):
        finish = "tool_calls"
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=reading.unseen(content, usage) if kind == "none" else kind,
        finish_reason=finish,
        raw_finish_reason=raw,
        usage=usage,
        model=reading.name_of_model(payload, "modelVersion"),
        logprobs=_logprobs(candidate),
        request_id=reading.identity(payload),
    )


def _usage(given: Any) -> Usage:
    thoughts = count([given], "thoughtsTokenCount")
    return Usage(
        prompt_tokens=reading.total(count([given], "promptTokenCount"), count([given], "toolUsePromptTokenCount")),
        completion_tokens=reading.total(count([given], "candidatesTokenCount"), thoughts),
        reasoning_tokens=thoughts,
        cached_tokens=count([given], "cachedContentTokenCount"),
    )


def _logprobs(candidate: Fields) -> Fields | None:
    found = candidate.get("logprobsResult")
    return found if isinstance(found, dict) and found else None


# --- the stream ---


class Parts:
    """See :class:`cot_distill.teachers.wire.Assembler`. Every event is an answer of its own, with some more parts.

    A stream has no last event that could be told from the others: it is over when the server ends it.
    """

    def __init__(self) -> None:
        self.finished = False
        self.over = False
        self._answer: Fields = {}
        self._candidate: Fields | None = None
        self._content: Fields = {}
        self._parts: list[Fields] = []
        self._texts: list[list[str]] = []

    def add(self, event: Fields, _name: str, /) -> Said:
        """Take an event.

        Args:
            event: Its data.

        Returns:
            The text that it brought.
        """
        for name, value in event.items():
            if name == "usageMetadata" and isinstance(value, dict):
                known = self._answer.get(name)
                self._answer[name] = {**known, **value} if isinstance(known, dict) else value  # the sums so far
            elif name != "candidates" and value is not None:
                self._answer[name] = value
        feedback = event.get("promptFeedback")
        self.finished = self.finished or (isinstance(feedback, dict) and bool(feedback.get("blockReason")))
        candidates = (one for one in reading.objects(event.get("candidates")) if one.get("index") in (0, None))
        candidate = next(candidates, None)
        return Said() if candidate is None else self._add_candidate(candidate)

    def _add_candidate(self, candidate: Fields) -> Said:
        known = self._candidate = {} if self._candidate is None else self._candidate
        content = candidate.get("content")
        content = content if isinstance(content, dict) else {}
        self._content |= {name: value for name, value in content.items() if name != "parts"}
        parts = reading.objects(content.get("parts"))
        if candidate.get("finishReason"):
            self.finished = True
        elif parts:  # older models give a reason with every event
            self.finished, known["finishReason"] = False, None
        for name, value in candidate.items():
            lists = known.get(name)
            if name == "logprobsResult" and isinstance(value, dict) and isinstance(lists, dict):
                for kind, found in value.items():
                    if isinstance(found, list) and isinstance(lists.get(kind), list):
                        lists[kind].extend(found)
                    else:
                        lists[kind] = found
            elif name != "content" and value is not None:
                known[name] = value
        for number, part in enumerate(parts):
            self._add_part(part, goes_on=number == 0)
        thought = "".join(text_of(part.get("text")) for part in parts if part.get("thought"))
        return Said(thought, "".join(text_of(part.get("text")) for part in parts if not part.get("thought")))

    def _add_part(self, part: Fields, *, goes_on: bool) -> None:
        """Take a part. The first of an event goes on with the last of the event before, if that is of its kind."""
        text = part.get("text")
        last = self._parts[-1] if self._parts else {}
        alike = bool(last.get("thought")) == bool(part.get("thought")) and "text" in last
        if goes_on and alike and isinstance(text, str):
            last |= part
            self._texts[-1].append(text)
        else:
            self._parts.append(dict(part))
            self._texts.append([text] if isinstance(text, str) else [])

    def payload(self) -> Fields:
        """Put together what came.

        Returns:
            An answer.
        """
        parts = [
            part | ({"text": "".join(texts)} if texts else {})
            for part, texts in zip(self._parts, self._texts, strict=True)
        ]
        content = {"content": {**self._content, **({"parts": parts} if parts else {})}}
        candidates = {} if self._candidate is None else {"candidates": [{**self._candidate, **content}]}
        return {**self._answer, **candidates}


def _ask(body: Fields, _preset: Preset) -> Fields:
    return body  # it is asked by its path


FORMAT = Format(
    path="/models/{model}:generateContent",
    encode=encode,
    decode=decode,
    key_header="x-goog-api-key",
    streaming=Streaming(Parts, _ask, path="/models/{model}:streamGenerateContent?alt=sse"),
)
