"""Where in a completion the thinking is, and where the answer: the one reading that all rewards share.

This file knows the shapes in which trainers hand over prompts and completions. It judges nothing: text that is no
proper trace is read as far as it goes, since a student in training writes such text all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError
from cot_distill.trace import Prefilled

__all__ = [
    "CLOSE",
    "OPEN",
    "Reward",
    "Said",
    "Spans",
    "check_batch",
    "check_prefilled",
    "content_of",
    "is_opened_by",
    "said",
    "spans",
]

Reward: TypeAlias = Callable[..., list[float | None]]
"""``f(prompts, completions, **columns)`` with one value a completion; None means "does not apply here"."""

OPEN, CLOSE = "<think>", "</think>"
_FIELDS = ("reasoning_content", "reasoning", "thinking")


class Said(NamedTuple):
    """What the student wrote, whatever shape it came in."""

    text: str
    field: str
    """The reasoning, where it came apart from the text; else empty."""


class Spans(NamedTuple):
    """The two parts of a completion. They never overlap."""

    thinking: str | None
    """None where there is no thinking at all."""
    answer: str | None
    """What follows the last closing tag; None where the thinking never ends, or never was."""


def check_batch(prompts: object, completions: object) -> None:
    """Refuse what is no batch.

    Args:
        prompts: As the trainer gives it.
        completions: The same.

    Raises:
        ConfigError: One of the two is no list, or they differ in length.
    """
    for name, given in (("prompts", prompts), ("completions", completions)):
        if isinstance(given, str | bytes) or not isinstance(given, Sequence):
            raise ConfigError(f"a reward takes lists: `{name}` is {shown(given)}")
    if len(prompts) != len(completions):  # type: ignore[arg-type]
        numbers = f"{len(prompts)} prompts and {len(completions)} completions"  # type: ignore[arg-type]
        raise ConfigError(f"a reward was given {numbers}: give a prompt for each completion")


def check_prefilled(prefilled: object) -> None:
    """Refuse what does not say whether the prompt opened the tag.

    Args:
        prefilled: What was given.

    Raises:
        ConfigError: It is something else.
    """
    if prefilled != "auto" and not isinstance(prefilled, bool):
        raise ConfigError(f"prefilled={shown(prefilled)} is none of 'auto', True and False")


def said(completion: object) -> Said | None:
    """Read a completion: a string, a message, or a list of messages, of which the last is taken.

    Args:
        completion: As the trainer gives it.

    Returns:
        The text; None where it is in none of these shapes.
    """
    if isinstance(completion, str):
        return Said(completion, "")
    if isinstance(completion, Sequence):
        messages = [message for message in completion if isinstance(message, Mapping)]
        completion = messages[-1] if messages else None
    if not isinstance(completion, Mapping):
        return None
    text = content_of(completion)
    field = next((value for name in _FIELDS if isinstance(value := completion.get(name), str) and value.strip()), "")
    return None if text is None and not field else Said(text or "", field)


def content_of(message: Mapping[str, Any]) -> str | None:
    """The text of a message, also of one whose content is a list of parts.

    Args:
        message: The message.

    Returns:
        The text; None where there is none.
    """
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return None


def spans(prompt: object, completion: object, prefilled: Prefilled = "auto") -> Spans:
    """Find thinking and answer.

    The last closing tag ends the thinking, so that nothing a student thinks can pass for its answer.

    Args:
        prompt: As the trainer gives it.
        completion: The same.
        prefilled: Whether the prompt already opened the tag. It decides about text without any tag only.

    Returns:
        The parts, each None where there is none.
    """
    found = said(completion)
    if found is None:
        return Spans(None, None)
    before, closing, after = found.text.rpartition(CLOSE)
    if found.field:
        return Spans(found.field, after)
    body = before if closing else after
    opened = body.lstrip().startswith(OPEN)
    if opened:
        body = body.lstrip().removeprefix(OPEN)
    thinks = closing or opened or OPEN in body or is_opened_by(prompt, prefilled)
    return Spans(body if thinks else None, after if closing else None)


def is_opened_by(prompt: object, prefilled: Prefilled = "auto") -> bool | None:
    """Whether the prompt already opened the thinking tag.

    Args:
        prompt: As the trainer gives it.
        prefilled: Anything but ``"auto"`` is the answer.

    Returns:
        None where nobody can know: messages do not show what the chat template writes after them.
    """
    if prefilled != "auto":
        return prefilled
    if isinstance(prompt, str):
        return prompt.rstrip().endswith(OPEN)
    last = prompt[-1] if isinstance(prompt, Sequence) and prompt else None
    if isinstance(last, Mapping) and last.get("role") == "assistant":
        return (content_of(last) or "").rstrip().endswith(OPEN)
    return None
