"""Reading a conversation from a row: the OpenAI layout (role, content) or ShareGPT's (from, value).

This file knows lists of turns and nothing else of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from cot_distill.types import Message, Role

__all__ = ["is_conversation", "read_turns"]

_ROLES: dict[object, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}

_Turn = Message | Mapping[str, Any]


def is_conversation(value: object) -> TypeGuard[Sequence[_Turn]]:
    """Whether a value is a list of turns.

    Args:
        value: Any value of a row.

    Returns:
        Whether each item has a speaker; what is said may still be unfit.

    Example:
        >>> is_conversation([{"from": "human", "value": "Hello"}]), is_conversation(["Hello"])
        (True, False)
    """
    return isinstance(value, list | tuple) and bool(value) and all(map(_is_turn, value))


def read_turns(turns: Sequence[_Turn]) -> tuple[Message, ...]:
    """Read a conversation. What the assistant said last is dropped: that is the teacher's part.

    Args:
        turns: The turns in their order.

    Returns:
        Messages of which the last is the user's.

    Raises:
        ValueError: A turn has no text or another role, or the user asks nothing.

    Example:
        >>> read_turns([{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hi"}])
        (Message(role='user', content='Hello'),)
    """
    messages = [_read(turn, f"message {number}") for number, turn in enumerate(turns, start=1)]
    while messages and messages[-1].role == "assistant":
        messages.pop()
    if not messages or messages[-1].role != "user":
        raise ValueError("it does not end with a question: there is no turn of the user")
    return tuple(messages)


def _is_turn(value: object) -> bool:
    return isinstance(value, Message) or (isinstance(value, Mapping) and bool(value.keys() & {"role", "from"}))


def _read(turn: _Turn, where: str) -> Message:
    if isinstance(turn, Message):
        return turn
    speaker = turn.get("role") or turn.get("from")
    role = _ROLES.get(speaker)
    if role is None:
        raise ValueError(f"{where} is by {speaker!r}: only system, user (human) and assistant (gpt) can be used")
    content = turn.get("content") or turn.get("value")
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    ):
        content = "\n".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        raise ValueError(f"{where} has no text")  # noqa: TRY004 - it is about the data, like the others here
    return Message(role=role, content=content)
