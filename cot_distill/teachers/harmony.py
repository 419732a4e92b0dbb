"""Harmony: the text that gpt-oss writes, where a server hands it over as it is.

A server without a parser for it leaks the channels into the content::

    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…<|return|>

This file knows that text and nothing else. Format: openai/harmony, docs/format.md.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Channels", "read"]

_HEAD = re.compile(r"\s*(?:<\|start\|>assistant)?<\|channel\|>(analysis|final)<\|message\|>")
_END = re.compile(r"<\|(?:end|return)\|>")
_TOKEN = re.compile(r"<\|(?:start|channel|message|constrain|call|end|return)\|>")


class Channels(NamedTuple):
    """What was thought, and what was said."""

    reasoning: str
    answer: str
    """Empty where the text was cut before the final channel."""


def read(text: str) -> Channels | None:
    """Read the channels of an answer.

    Args:
        text: The content of an answer.

    Returns:
        The channels; None where the text is not harmony from its first token to its last, or holds anything but
        thoughts followed by one answer (a tool call, a second answer): then nothing is guessed.

    Example:
        >>> read("<|channel|>analysis<|message|>2 and 2.<|end|><|start|>assistant<|channel|>final<|message|>4")
        Channels(reasoning='2 and 2.', answer='4')
        >>> read("What does <|channel|> mean?") is None
        True
    """
    thoughts: list[str] = []
    answer: str | None = None
    place = 0
    while place < len(text) and answer is None:
        head = _HEAD.match(text, place)
        if head is None:
            return None
        end = _END.search(text, head.end())
        body = text[head.end() : end.start() if end else len(text)]
        place = end.end() if end else len(text)
        if _TOKEN.search(body):
            return None
        if head[1] == "final":
            answer = body
        else:
            thoughts.append(body)
    if (not thoughts and not answer) or text[place:].strip():
        return None
    return Channels("\n\n".join(thoughts), answer or "")
