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
from cot_distill.teachers.events import JSONLines
from cot_distill.teachers.reading import count, text_of
from cot_distill.teachers.wire import Fields, Format, Said, Streaming, as_stream
from cot_distill.types import Completion, Message, Sampling, Usage

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["FORMAT", "Lines", "decode", "encode", "thinking"]

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


# --- the stream ---


class Lines:
    """See :class:`cot_distill.teachers.wire.Assembler`. Every line is a piece of the answer; the last has counts."""

    def __init__(self) -> None:
        self._answer: Fields = {}
        self._message: Fields = {}
        self._texts: dict[str, list[str]] = {}
        self._lists: dict[str, list[Any]] = {}

    @property
    def finished(self) -> bool:
        """The last line came."""
        return self._answer.get("done") is True

    over = finished

    def add(self, event: Fields, _name: str, /) -> Said:
        """Take a line.

        Args:
            event: The line.

        Returns:
            The text that it brought.
        """
        message = event.get("message")
        message = message if isinstance(message, dict) else {}
        self._answer |= event
        for name, value in message.items():
            if name in ("content", "thinking") and isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
            elif name != "tool_calls":
                self._message[name] = value
        for name, value in (("tool_calls", message.get("tool_calls")), ("logprobs", event.get("logprobs"))):
            if isinstance(value, list):
                self._lists.setdefault(name, []).extend(value)
        return Said(text_of(message.get("thinking")), text_of(message.get("content")))

    def payload(self) -> Fields:
        """Put together what came.

        Returns:
            An answer.
        """
        lists = dict(self._lists)
        calls = {"tool_calls": lists.pop("tool_calls")} if "tool_calls" in lists else {}
        message = {**self._message, **{name: "".join(texts) for name, texts in self._texts.items()}, **calls}
        return {**self._answer, **lists, "message": message}


FORMAT = Format(
    path="/api/chat", encode=encode, decode=decode, streaming=Streaming(Lines, as_stream, events=JSONLines)
)
