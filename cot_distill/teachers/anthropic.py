"""Anthropic's Messages: what we ask as a request body, and the answer as a Completion.

This file knows the content blocks of the format, which some servers of open weights speak as well (llama-server,
DeepSeek). Claude 4 and later show a summary of their thoughts, signed, or nothing but the signature. Signatures are
for sending a turn back; they stay in ``Completion.raw``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from cot_distill.teachers import reading, wire
from cot_distill.teachers.reading import count, text_of
from cot_distill.teachers.wire import Fields, Format, Said, Streaming, as_stream
from cot_distill.types import Completion, Message, Sampling, TraceKind, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "Blocks", "decode", "encode", "no_logprobs", "thinking"]


def thinking(effort: str | None, budget: int | None) -> Fields:
    """Write how hard Claude shall think.

    A budget is the form for models before Opus 4.7, an effort (adaptive thinking) that for those since Claude 4.6;
    each refuses the other with 400. Since newer models leave the text out unless they are asked for it, the effort
    asks.

    Args:
        effort: ``"low"``, ``"high"``…; ``"none"`` switches thinking off.
        budget: Tokens, 1024 or more.

    Returns:
        The fields of the request.

    Example:
        >>> thinking("high", None)["thinking"]
        {'type': 'adaptive', 'display': 'summarized'}
    """
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    fields: Fields = {} if effort is None else {"output_config": {"effort": effort}}
    if budget is not None:
        return {"thinking": {"type": "enabled", "budget_tokens": budget}, **fields}
    return {"thinking": {"type": "adaptive", "display": "summarized"}, **fields} if fields else {}


def no_logprobs(count: int) -> Fields:  # noqa: ARG001 - there are none to be had
    """The format gives no log-probabilities."""
    return {}


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    Args:
        messages: The conversation. The system's turns become the field ``system``.
        sampling: How to answer. There is no seed: it is left out, with one warning.
        model: As the provider names it.
        preset: The provider's ways. The format insists on ``max_tokens``, so ``always`` should hold one.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> ask = [Message(role="system", content="Be brief."), Message(role="user", content="What is 2 + 2?")]
        >>> encode(ask, Sampling(max_tokens=9), model="m", preset=PRESETS["anthropic"])["system"]
        'Be brief.'
    """
    system = "\n\n".join(message.content for message in messages if message.role == "system")
    body: Fields = {
        "model": model,
        "messages": [message.model_dump() for message in messages if message.role != "system"],
        **({"system": system} if system.strip() else {}),
        **wire.always(preset),
        **wire.settings(sampling, preset, {"seed": None}),
        **wire.thinking(sampling, preset),
        **wire.logprobs(sampling, preset),
    }
    return body | sampling.extra


def decode(payload: Any, *, preset: Preset) -> Completion:
    """Read the answer from a parsed body of HTTP 200.

    Args:
        payload: The parsed body.
        preset: The provider's ways.

    Returns:
        The completion, without what only HTTP knows. A refusal is one too; its category is in the raw finish reason.

    Raises:
        TeacherError: It is an error after all, or no completion.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> thought = {"type": "thinking", "thinking": "2+2 is 4.", "signature": "EqQB"}
        >>> payload = {"content": [thought, {"type": "text", "text": "4"}], "stop_reason": "end_turn"}
        >>> decode(payload, preset=PRESETS["anthropic"]).trace_kind
        'summary'
    """
    payload = reading.checked(payload, preset)
    if not isinstance(payload.get("content"), list):
        raise reading.unavailable(preset, payload, "answered without content")
    blocks = reading.objects(payload["content"])
    content = "".join(text_of(block.get("text")) for block in blocks if block.get("type") == "text")
    model = reading.name_of_model(payload)
    reasoning, kind = reading.gather(_thoughts(blocks, claude="claude" in (model or "").lower()))
    usage = _usage(payload.get("usage"))
    finish, raw = reading.finished(payload.get("stop_reason"), payload, preset)
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=reading.unseen(content, usage) if kind == "none" else kind,
        finish_reason=finish,
        raw_finish_reason=f"{raw}: {category}" if raw and (category := _category(payload)) else raw,
        usage=usage,
        model=model,
        request_id=reading.identity(payload),
    )


def _thoughts(blocks: Sequence[Fields], *, claude: bool) -> Iterator[tuple[str, TraceKind]]:
    for block in blocks:
        if block.get("type") == "redacted_thinking":
            yield "", "encrypted"
        elif block.get("type") == "thinking":
            # Only Anthropic signs. A server of open weights leaves the signature empty, and shows what was thought.
            yield text_of(block.get("thinking")), "summary" if claude or block.get("signature") else "full"


def _category(payload: Fields) -> str | None:
    """Why it was refused, such as ``reasoning_extraction`` or ``frontier_llm``."""
    details = payload.get("stop_details")
    category = details.get("category") if isinstance(details, dict) else None
    return category if isinstance(category, str) else None


def _usage(given: Any) -> Usage:
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")  # not inside input_tokens
    details = given.get("output_tokens_details") if isinstance(given, dict) else None
    return Usage(
        prompt_tokens=reading.total(*(count([given], name) for name in ("input_tokens", *cached))),
        completion_tokens=count([given], "output_tokens"),  # the thoughts are inside
        reasoning_tokens=count([details], "thinking_tokens"),
        cached_tokens=count([given], "cache_read_input_tokens"),
        cache_write_tokens=count([given], "cache_creation_input_tokens"),
    )


# --- the stream ---


class Blocks:
    """See :class:`cot_distill.teachers.wire.Assembler`. Every event names its block by number."""

    def __init__(self) -> None:
        self.over = False
        self._message: Fields = {}
        self._blocks: dict[Any, Fields] = {}
        self._texts: dict[tuple[Any, str], list[str]] = {}

    @property
    def finished(self) -> bool:
        """It was said why the answer ended, which comes after all blocks."""
        return isinstance(self._message.get("stop_reason"), str)

    def add(self, event: Fields, name: str, /) -> Said:
        """Take an event.

        Args:
            event: Its data.
            name: What it is called where the data does not say so.

        Returns:
            The text that it brought.
        """
        kind = event.get("type") or name
        number = event.get("index")
        number = number if isinstance(number, int) else 0
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self._message = dict(event["message"])
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            self._blocks[number] = block = dict(event["content_block"])
            return self._say(number, block)
        elif kind == "content_block_delta" and isinstance(event.get("delta"), dict):
            return self._say(number, event["delta"])
        elif kind == "message_delta":
            delta, usage = event.get("delta"), event.get("usage")
            self._message |= _told(delta)
            self._message["usage"] = _told(self._message.get("usage")) | _told(usage)  # the sums so far
        self.over = kind == "message_stop"
        return Said()

    def _say(self, number: int, piece: Fields) -> Said:
        for name in ("thinking", "text", "signature", "partial_json"):
            if isinstance(piece.get(name), str):
                self._texts.setdefault((number, name), []).append(piece[name])
        return Said(text_of(piece.get("thinking")), text_of(piece.get("text")))

    def payload(self) -> Fields:
        """Put together what came.

        Returns:
            A message.
        """
        blocks = {number: dict(block) for number, block in self._blocks.items()}
        for (number, name), texts in self._texts.items():
            block, text = blocks.setdefault(number, {}), "".join(texts)
            if name != "partial_json":
                block[name] = text
                continue
            with suppress(ValueError):  # what a tool is called with, in pieces of JSON
                block["input"] = from_json(text)
        return {**self._message, "content": [blocks[number] for number in sorted(blocks)]}


def _told(value: Any) -> Fields:
    return {name: item for name, item in value.items() if item is not None} if isinstance(value, dict) else {}


FORMAT = Format(
    path="/v1/messages",
    encode=encode,
    decode=decode,
    key_header="x-api-key",
    headers=MappingProxyType({"anthropic-version": "2023-06-01"}),
    streaming=Streaming(Blocks, as_stream),
)
