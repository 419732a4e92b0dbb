"""Ollama's own chat: what we ask as a request body, and the answer as a Completion.

This file knows ``/api/chat``. It is used rather than Ollama's imitation of chat completions because only here can a
request set the length of the context (``extra={"options": {"num_ctx": …}}``), and a prompt longer than that is cut
without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cot_distill.teachers import reading, wire
from cot_distill.teachers.reading import count, text_of
from cot_distill.teachers.wire import Fields, Format
from cot_distill.types import Completion, Message, Sampling, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "decode", "encode", "thinking"]

_NAMES: Mapping[str, str] = MappingProxyType({"max_tokens": "num_predict"})


def thinking(effort: str | None, budget: int | None) -> Fields:  # noqa: ARG001 - a budget has no field here
    """Write how hard to think.

    Args:
        effort: ``"low"``, ``"medium"``, ``"high"``, ``"max"``, which a model without degrees takes for "yes";
            ``"none"`` switches thinking off.
        budget: Has no field.

    Returns:
        The fields of the request.

    Example:
        >>> thinking("none", None)
        {'think': False}
    """
    return {} if effort is None else {"think": False if effort == "none" else effort}


def encode(messages: Sequence[Message], sampling: Sampling, *, model: str, preset: Preset) -> Fields:
    """Write the request body. What is None is not sent, and ``sampling.extra`` wins over everything else.

    Args:
        messages: The conversation.
        sampling: How to answer. ``extra`` is for fields of the body; its ``options`` are laid over ours.
        model: As the server names it.
        preset: The server's ways.

    Returns:
        The body, to be written as JSON.

    Raises:
        ConfigError: ``extra`` asks for a stream or for several answers at once.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> sampling = Sampling(max_tokens=9, extra={"options": {"num_ctx": 32768}})
        >>> encode([], sampling, model="m", preset=PRESETS["ollama"])["options"]
        {'num_predict': 9, 'num_ctx': 32768}
    """
    body: Fields = {
        "model": model,
        "messages": [message.model_dump() for message in messages],
        "stream": False,
        "options": wire.settings(sampling, preset, _NAMES),
        **wire.always(preset),
        **wire.thinking(sampling, preset),
        **wire.logprobs(sampling, preset),
    }
    return wire.overlay(body, sampling.extra, "options")


def decode(payload: Any, *, preset: Preset) -> Completion:
    """Read the answer from a parsed body of HTTP 200.

    Args:
        payload: The parsed body.
        preset: The server's ways.

    Returns:
        The completion, without what only HTTP knows.

    Raises:
        TeacherError: It is an error after all, or no completion.

    Example:
        >>> from cot_distill.teachers.presets import PRESETS
        >>> payload = {"message": {"thinking": "2+2 is 4.", "content": "4"}, "done": True, "done_reason": "stop"}
        >>> decode(payload, preset=PRESETS["ollama"]).reasoning
        '2+2 is 4.'
    """
    payload = reading.checked(payload, preset)
    message = payload.get("message")
    if not isinstance(message, dict):
        raise reading.unavailable(preset, payload, "answered without a message")
    if payload.get("done") is not True:
        raise reading.unavailable(preset, payload, "answered with a part of an answer: it is not done")
    content = text_of(message.get("content"))
    reasoning = text_of(message.get("thinking"))
    usage = Usage(
        prompt_tokens=count([payload], "prompt_eval_count"),
        completion_tokens=count([payload], "eval_count"),
    )
    chances = payload.get("logprobs")
    finish, raw = reading.finished(payload.get("done_reason"), payload, preset)
    if finish == "stop" and message.get("tool_calls"):
        finish = "tool_calls"
    return Completion(
        content=content,
        reasoning=reasoning,
        trace_kind="full" if reasoning.strip() else reading.unseen(content, usage),
        finish_reason=finish,
        raw_finish_reason=raw,
        usage=usage,
        model=reading.name_of_model(payload),
        logprobs={"content": chances} if isinstance(chances, list) and chances else None,
    )


FORMAT = Format(path="/api/chat", encode=encode, decode=decode)
