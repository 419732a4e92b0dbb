"""The stream of chat completions: chunks, put together into the answer that would have come whole.

This file knows the fields of a chunk and where servers differ: texts that are lists of parts (Mistral), reasoning in
several views at once (OpenRouter, LiteLLM), counts in odd places (Groq, Kimi), gateways that name a finish reason in
every chunk. What the fields mean is for :mod:`cot_distill.teachers.chat`, which reads what is assembled here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cot_distill.teachers.reading import objects, text_of
from cot_distill.teachers.wire import ErrorEventError, Fields, Said, Streaming

if TYPE_CHECKING:
    from cot_distill.teachers.presets import Preset

__all__ = ["STREAMING", "Chunks"]

_REASONING = ("reasoning_content", "reasoning", "thinking")
_TEXTS = (*_REASONING, "refusal")
_PIECES = ("reasoning_details", "thinking_blocks")
_THOUGHTS = ("thinking", "reasoning")


class Chunks:
    """See :class:`cot_distill.teachers.wire.Assembler`. Of several choices the first is taken."""

    def __init__(self) -> None:
        self.finished = False
        self.over = False
        self._answer: Fields = {}
        self._usage: Any = None
        self._choice: Fields | None = None
        self._message: Fields = {}
        self._texts: dict[str, list[str]] = {}
        self._content: list[str | Fields] = []
        self._pieces: dict[str, list[Fields]] = {}

    def add(self, event: Fields, _name: str, /) -> Said:
        """Take a chunk.

        Args:
            event: The chunk.

        Returns:
            The text that it brought.

        Raises:
            ErrorEventError: The choice carries an error.
        """
        for name, value in event.items():
            if name not in ("choices", "object", "usage") and value not in (None, ""):
                self._answer[name] = value
        groq = event.get("x_groq")
        self._usage = event.get("usage") or (isinstance(groq, dict) and groq.get("usage")) or self._usage
        choice = next((choice for choice in objects(event.get("choices")) if choice.get("index") in (0, None)), None)
        return Said() if choice is None else self._add_choice(choice)

    def payload(self) -> Fields:
        """Put together what came.

        Returns:
            A chat completion.
        """
        message = dict(self._message)
        message |= {name: "".join(texts) for name, texts in self._texts.items()}
        message |= {name: _joined(name, pieces) for name, pieces in self._pieces.items()}
        if self._content:
            message["content"] = _content(self._content)
        choices = [] if self._choice is None else [{**self._choice, "message": message}]
        usage = {} if self._usage is None else {"usage": self._usage}
        return {**self._answer, "object": "chat.completion", "choices": choices, **usage}

    def _add_choice(self, choice: Fields) -> Said:
        if choice.get("error"):
            raise ErrorEventError({"id": self._answer.get("id"), "error": choice["error"]})
        if self._choice is None:
            self._choice = {"index": 0}
        self._usage = choice.get("usage") or self._usage
        delta = choice.get("delta")
        said = self._add_delta(delta) if isinstance(delta, dict) else Said()
        if choice.get("finish_reason"):
            self.finished = True
        elif any(said):
            # Translated from another format, a reason may stand in chunks that were not the last.
            self.finished, self._choice["finish_reason"] = False, None
        for name, value in choice.items():
            if name in ("logprobs", "reasoning_logprobs"):
                self._choice[name] = _longer(self._choice.get(name), value)
            elif name not in ("delta", "usage", "index") and value not in (None, ""):
                self._choice[name] = value
        return said

    def _add_delta(self, delta: Fields) -> Said:
        answer, thoughts = "", []
        for name, value in delta.items():
            if name == "content" and isinstance(value, list):
                parts = [part if isinstance(part, dict) else {"type": "text", "text": part} for part in value]
                self._content += parts
                thoughts.append("".join(map(_thought, parts)))
                answer = "".join(text_of([part]) for part in parts if _kind(part) == "text")
            elif name == "content" and isinstance(value, str):
                self._content.append(value)
                answer = value
            elif name in _TEXTS and (text := text_of(value)):
                self._texts.setdefault(name, []).append(text)
                if name in _REASONING:
                    thoughts.append(text)
            elif name in _PIECES and isinstance(value, list):
                pieces = objects(value)
                self._pieces.setdefault(name, []).extend(pieces)
                thoughts.append("".join(text_of(piece.get("text") or piece.get("thinking")) for piece in pieces))
            elif name == "tool_calls" and isinstance(value, list):
                self._message[name] = [*(self._message.get(name) or ()), *value]
            elif isinstance(value, dict) and isinstance(self._message.get(name), dict):
                self._message[name] |= {key: item for key, item in value.items() if item is not None}
            elif value is not None:
                self._message[name] = value
            else:
                self._message.setdefault(name, None)
        # The same text may stand in several fields.
        return Said(next(filter(None, thoughts), ""), answer)


def _longer(known: Any, more: Any) -> Any:
    """Lists of log-probabilities, the new behind the old."""
    if isinstance(known, list) and isinstance(more, list):
        known.extend(more)
        return known
    if isinstance(known, dict) and isinstance(more, dict):
        return known | {name: _longer(known.get(name), value) for name, value in more.items()}
    return known if more is None else more


# --- texts in parts ---


def _kind(part: Fields) -> str:
    kind = part.get("type") or "text"
    if kind in _THOUGHTS:
        return "thinking"
    return "text" if kind in ("text", "output_text") else str(kind)


def _thought(part: Fields) -> str:
    if _kind(part) != "thinking":
        return ""
    return next(filter(None, (text_of(part.get(name)) for name in (*_THOUGHTS, "text"))), "")


def _content(pieces: list[str | Fields]) -> str | list[Fields]:
    """One text; or a list of parts, if ever one came, in which pieces of the same part are joined."""
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(piece for piece in pieces if isinstance(piece, str))
    parts: list[Fields] = []
    texts: list[list[str]] = []
    for piece in pieces:
        if not piece:  # some servers begin with an empty text
            continue
        part: Fields = {"type": "text", "text": piece} if isinstance(piece, str) else piece
        kind = _kind(part)
        text = _thought(part) if kind == "thinking" else text_of([part])
        if parts and kind in ("text", "thinking") and _kind(parts[-1]) == kind:
            parts[-1] |= {name: value for name, value in part.items() if value is not None}
            texts[-1].append(text)
        else:
            parts.append(dict(part))
            texts.append([text])
    for part, said in zip(parts, texts, strict=True):
        if _kind(part) == "thinking":
            part |= {"thinking": [{"type": "text", "text": "".join(said)}]}
        elif _kind(part) == "text":
            part["text"] = "".join(said)
    return parts


def _joined(source: str, pieces: list[Fields]) -> list[Fields]:
    """Pieces of reasoning, those of the same block joined."""
    found: list[Fields] = []
    texts: list[dict[str, list[str]]] = []
    for piece in pieces:
        said = {name: text for name in ("text", "summary", "thinking") if (text := text_of(piece.get(name)))}
        same = bool(found) and all(found[-1].get(name) == piece.get(name) for name in ("type", "index"))
        if source == "thinking_blocks" and same:
            same = not (found[-1].get("signature") and said)  # a signature ends a block
        if not same or str(piece.get("type")).endswith(("encrypted", "redacted_thinking")):
            found.append(dict(piece))
            texts.append({})
        else:
            found[-1] |= {name: value for name, value in piece.items() if value not in (None, "")}
        for name, text in said.items():
            texts[-1].setdefault(name, []).append(text)
    return [
        piece | {name: "".join(text) for name, text in said.items()} for piece, said in zip(found, texts, strict=True)
    ]


def ask(body: Fields, preset: Preset) -> Fields:
    """Ask for a stream, and for its usage, which most servers give only where it is asked for.

    Args:
        body: The request.
        preset: The provider's ways.

    Returns:
        The request for a stream.
    """
    usage = {"stream_options": {"include_usage": True}} if preset.stream_options else {}
    return {**usage, **body, "stream": True}


STREAMING = Streaming(Chunks, ask)
