"""A chat completion as the stream in which a server would have sent it.

This file knows the shape of chunks. What is in a completion is for :mod:`cot_distill.testing.replies`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["event_stream"]

_PIECE = 24


def event_stream(payload: Mapping[str, Any], *, usage: bool) -> bytes:
    """Write a completion as server-sent events: texts in pieces of 24 characters, then why it ended, then ``[DONE]``.

    Args:
        payload: The completion.
        usage: Whether the client asked for a last chunk with the counts.

    Returns:
        The body of the response.
    """
    head = {name: value for name, value in payload.items() if name not in ("choices", "usage", "object")}
    head["object"] = "chat.completion.chunk"
    chunks = [{**head, "choices": [chunk]} for choice in payload["choices"] for chunk in _chunks(choice)]
    if usage:
        chunks.append({**head, "choices": [], "usage": payload["usage"]})
    events = [json.dumps(chunk) for chunk in chunks]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def _chunks(choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    message = dict(choice["message"])
    content = message.pop("content")
    for name, value in message.items():
        deltas += [{name: piece} for piece in _pieces(value) if name != "role"]
    if isinstance(content, str):
        deltas += [{"content": piece} for piece in _pieces(content)]
    else:
        deltas += [{"content": [part]} for part in content]
    for delta in deltas:
        yield {"index": choice["index"], "delta": delta, "finish_reason": None}
    yield {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}


def _pieces(text: str) -> list[str]:
    return [text[place : place + _PIECE] for place in range(0, len(text), _PIECE)]
