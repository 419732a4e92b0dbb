"""The texts of a sample, and how filters read them: as words, or with white space folded.

This file knows characters. What is done with the words is for the filters.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from typing import Literal, get_args

from cot_distill.errors import ConfigError
from cot_distill.types import Sample, Task

__all__ = ["CJK", "Part", "check_part", "digest", "folded", "grams", "question", "text_of", "words"]

Part = Literal["reasoning", "answer", "both"]
"""Of a trace."""

CJK = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Thai and Lao, kana, Han: scripts without spaces, in which every character counts as a word."""

_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")  # the same in plain text, at half the time


def check_part(part: str, setting: str, allowed: tuple[str, ...] = get_args(Part)) -> None:
    """Refuse what is no part of a sample.

    Args:
        part: What the user gave.
        setting: Its name.
        allowed: What it may be.

    Raises:
        ConfigError: It is something else.
    """
    if part not in allowed:
        raise ConfigError(f"{setting} must be {', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}, not {part!r}")


def text_of(sample: Sample, part: str) -> str:
    """Pick a text of a sample.

    Args:
        sample: The sample.
        part: ``"reasoning"``, ``"answer"``, ``"both"`` (of these), or ``"instruction"``.

    Returns:
        The text.
    """
    trace = sample.trace
    if part == "reasoning":
        return trace.reasoning
    if part == "answer":
        return trace.answer
    return question(sample.task) if part == "instruction" else f"{trace.reasoning}\n\n{trace.answer}"


def question(task: Task) -> str:
    """What a task asks: its instruction, or all turns of its conversation.

    Without system prompts, which many tasks may share, and which would make different questions look alike.

    Args:
        task: The task.

    Returns:
        The text.
    """
    turns = [message.content for message in task.messages if message.role != "system"]
    return "\n\n".join(turns) or task.instruction


def words(text: str) -> list[str]:
    """Split a text into words in lower case, without punctuation. Full-width and other variants are made plain.

    Args:
        text: Any text.

    Returns:
        The words.

    Example:
        >>> words("Let f(x) = 2x; 求解。")
        ['let', 'f', 'x', '2x', '求', '解']
    """
    plain = unicodedata.normalize("NFKC", text).casefold()
    return (_ASCII_WORD if plain.isascii() else _WORD).findall(plain)


def grams(found: list[str], n: int) -> Iterator[str]:
    """Every ``n`` words in a row; the whole text where it is shorter.

    Args:
        found: The words of a text.
        n: How many make one gram.

    Returns:
        The grams, each as one text.

    Example:
        >>> list(grams(["a", "b", "c"], 2))
        ['a b', 'b c']
    """
    if len(found) < n:
        return iter([" ".join(found)])
    return map(" ".join, zip(*(found[start:] for start in range(n)), strict=False))


def folded(text: str) -> str:
    """A text without differences in white space, and with one code for each accented letter.

    Case and punctuation stay: ``2 - 2`` is not ``2 + 2``, and ``x²`` is not ``x2``.

    Args:
        text: Any text.

    Returns:
        The text to compare.
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def digest(text: str) -> int:
    """Eight bytes that stand for a text: among a million texts any two share one with a chance of 1 in 37 million.

    Args:
        text: Any text, also with half a surrogate pair.

    Returns:
        A number below 2**64, the same in every process.
    """
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest())
