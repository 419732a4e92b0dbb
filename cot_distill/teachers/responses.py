"""OpenAI's Responses: what we ask as a request body, and the answer as a Completion.

This file knows the output items of the format. OpenAI itself shows summaries of the reasoning, and only where they
are asked for; servers of open weights put the reasoning itself into ``content``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cot_distill.errors import RequestError
from cot_distill.teachers import reading, wire
from cot_distill.teachers.reading import text_of, usage_of
from cot_distill.teachers.wire import ErrorEventError, Fields, Format, Said, Streaming, as_stream
from cot_distill.types import Completion, FinishReason, Message, Sampling, TraceKind

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "Items", "decode", "encode", "logprobs", "thinking"]

_NAMES: Mapping[str, str | None] = MappingProxyType({"max_tokens": "max_output_tokens", "seed": None})


def thinking(effort: str | None, budget: int | None) -> Fields:  # noqa: ARG001 - a budget has no field here
    """Write how hard to think; a summary of the reasoning is always asked for.

    Args:
        effort: In the provider's words.
        budget: Has no field.

    Returns:
        The fields of the request.

    Example:
        >>> thinking("high", None)
        {'reasoning': {'summary': 'auto', 'effort': 'high'}}
    """
    return {"reasoning": {"summary": "auto", **({} if effort is None else {"effort": effort})}}


def logprobs(count: int) -> Fields:
    """Write that log-probabilities are wanted."""
    return {"include": ["message.output_text.logprobs"], "top_logprobs": count}


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    Args:
        messages: The conversation.
        sampling: How to answer. There is no seed: it is left out, with one warning.
        model: As the provider names it.
        preset: The provider's ways.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> ask = [Message(role="user", content="What is 2 + 2?")]
        >>> encode(ask, Sampling(max_tokens=9), model="m", preset=PRESETS["openai-responses"])["max_output_tokens"]
        9
    """
    body: Fields = {
        "model": model,
        "input": [message.model_dump() for message in messages],
        "stream": False,
        **wire.always(preset),
        **wire.settings(sampling, preset, _NAMES),
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
        The completion, without what only HTTP knows.

    Raises:
        TeacherError: It failed, is an error after all, or is no completion. A ``RequestError`` where the server does
            not say whether the answer was cut.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "2+2 is 4."}]}
        >>> said = {"type": "message", "content": [{"type": "output_text", "text": "4"}]}
        >>> payload = {"status": "completed", "incomplete_details": None, "output": [thought, said]}
        >>> decode(payload, preset=PRESETS["openai-responses"]).trace_kind
        'summary'
    """
    payload = reading.checked(payload, preset)
    if payload.get("status") == "failed":
        raise reading.unavailable(preset, payload, "gave up in the middle ('failed'): ask again later", kind="http")
    items = reading.objects(payload.get("output"))
    if not items and payload.get("status") != "incomplete":
        raise reading.unavailable(preset, payload, "answered without any output")
    parts = [part for item in items if item.get("type") == "message" for part in reading.objects(item.get("content"))]
    said = [part for part in parts if part.get("type") == "output_text"]
    content = "".join(text_of(part.get("text")) for part in said)
    usage = usage_of(payload.get("usage"))
    reasoning, kind = reading.gather(_thoughts(items))
    finish, raw = _finish(payload, preset)
    if finish == "stop" and any(part.get("type") == "refusal" for part in parts):
        finish = "refused"
    elif finish == "stop" and any(item.get("type") in ("function_call", "custom_tool_call") for item in items):
        finish = "tool_calls"
    chances = [chance for part in said for chance in reading.objects(part.get("logprobs"))]
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind=reading.unseen(content, usage) if kind == "none" else kind,
        finish_reason=finish,
        raw_finish_reason=raw,
        usage=usage,
        model=reading.name_of_model(payload),
        logprobs={"content": chances} if chances else None,
        request_id=reading.identity(payload),
    )


def _thoughts(items: Sequence[Fields]) -> Iterator[tuple[str, TraceKind]]:
    for item in items:
        if item.get("type") != "reasoning":
            continue
        if (text := _joined(item.get("content"))).strip():
            yield text, "full"
        elif (text := _joined(item.get("summary"))).strip():
            yield text, "summary"
        else:
            yield "", "encrypted" if item.get("encrypted_content") else "hidden"


def _joined(parts: Any) -> str:
    return "\n\n".join(text_of(part.get("text")) for part in reading.objects(parts))


def _finish(payload: Fields, preset: Preset) -> tuple[FinishReason, str | None]:
    status = payload.get("status")
    if status == "completed" and "incomplete_details" not in payload:
        # llama-server calls every answer completed, those that its token limit cut too.
        raise RequestError(
            f'{preset.name} answered "completed" without `incomplete_details`: this server does not say whether an '
            "answer was cut; ask it through chat completions",
            provider=preset.name,
            status=200,
            request_id=reading.identity(payload),
        )
    if status == "completed":
        return "stop", status
    details = payload.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    raw = reason if status == "incomplete" and isinstance(reason, str) else status
    finish = reading.ended(raw) if status == "incomplete" else "unknown"
    # Whatever it says, what is incomplete has not come to its end.
    return "unknown" if finish in ("stop", "error") else finish, raw if isinstance(raw, str) else None


# --- the stream ---

_LAST = ("response.completed", "response.incomplete")


class Items:
    """See :class:`cot_distill.teachers.wire.Assembler`. The last event repeats the whole response."""

    def __init__(self) -> None:
        self.finished = False
        self._response: Fields = {}
        self._items: dict[int, Fields] = {}

    @property
    def over(self) -> bool:
        """Nothing follows the last event."""
        return self.finished

    def add(self, event: Fields, name: str, /) -> Said:
        """Take an event.

        Args:
            event: Its data.
            name: What it is called where the data does not say so.

        Returns:
            The text that it brought.

        Raises:
            ErrorEventError: The response failed.
        """
        kind = event.get("type") or name
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
        if kind == "response.failed":
            raise ErrorEventError(self._response)
        self.finished = self.finished or kind in _LAST
        if kind == "response.output_item.done" and isinstance(event.get("item"), dict):
            number = event.get("output_index")
            self._items[number if isinstance(number, int) else len(self._items)] = event["item"]
        elif kind == "response.output_text.delta":
            return Said(answer=text_of(event.get("delta")))
        elif kind in ("response.reasoning_text.delta", "response.reasoning_summary_text.delta"):
            return Said(reasoning=text_of(event.get("delta")))
        return Said()

    def payload(self) -> Fields:
        """Put together what came.

        Returns:
            A response. Some servers repeat all of it but the output: then the items count that came one by one.
        """
        output = self._response.get("output") or [self._items[number] for number in sorted(self._items)]
        return {**self._response, "output": output}


FORMAT = Format(path="/responses", encode=encode, decode=decode, streaming=Streaming(Items, as_stream))
