r"""Judging by comparing the final answer with the reference, letter by letter.

This file knows how models mark a final answer (``\boxed{…}``, "Answer: …") and which differences in writing do not
matter. It knows no mathematics: ``1/2`` and ``0.5`` differ here. It never looks at the reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict

__all__ = ["exact", "final_answer", "normalise"]

_BRACES = re.compile(r"(?P<boxed>\\boxed\s*\{)|\\.|[{}]", re.DOTALL)  # `\\.`: braces written as \{ do not count
_ANSWER_LINE = re.compile(
    r"^[ \t>#*_]*(?:final[ \t]+)?answer[ \t*_]*[:：][ \t*_]*(.*)$", re.IGNORECASE | re.MULTILINE
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,|\{,\}|[\u2009\u202f])\d{3})+(?!,?\d)")
_MINUS = str.maketrans(dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"))
_AROUND = (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"), ('"', '"'), ("'", "'"),
           ("\u201c", "\u201d"), ("\u2018", "\u2019"))  # fmt: skip
_REASON_CHARACTERS = 200


def exact(*, extract: Callable[[str], str] | None = None) -> Verifier:
    r"""Make a verifier that compares the final answer with ``Task.answer``.

    Args:
        extract: Finds the final answer in ``trace.answer``. Default: :func:`final_answer`, by which the reference
            is read in any case.

    Returns:
        A verifier named "exact". It passes no judgement (``passed=None``) on a task without a reference answer.

    Example:
        >>> verify = exact()
        >>> task = Task(instruction="What is 1000 + 234?", answer="1,234")
        >>> verify(task, Trace(reasoning="Add.", answer=r"It is \boxed{1234}.")).passed
        True
        >>> verify(task, Trace(reasoning="It is 1234.", answer="Answer: 1235")).reason
        "expected '1234', got '1235'"
    """
    return _Exact(extract or final_answer)


def final_answer(text: str) -> str:
    r"""Find the final answer in a text.

    That is what stands in the last ``\boxed{…}``; else what follows on the last line that begins with "Answer:" or
    "Final answer:" (or, if nothing does, below that line); else the whole text.

    Args:
        text: What the model answers, without its reasoning.

    Returns:
        The final answer, as it is written.

    Example:
        >>> final_answer(r"So \boxed{1}, or rather \boxed{\frac{1}{2}}.")
        '\\frac{1}{2}'
        >>> final_answer("Some words.\n**Final answer:** 42\nMore words.")
        '42'
    """
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    lines = list(_ANSWER_LINE.finditer(text))
    if not lines:
        return text
    rest = lines[-1][1] if lines[-1][1].strip() else text[lines[-1].end() :]
    return rest if rest.strip() else text


def normalise(text: str) -> str:
    r"""Fold the differences in writing that do not matter.

    Case, outer and repeated white space, surrounding ``$``, ``**``, quotes and a final full stop, typographic
    minus signs, and commas between thousands.

    Args:
        text: A final answer.

    Returns:
        The text to compare.

    Example:
        >>> normalise(" **$\u22121,234$.** ")
        '-1234'
    """
    text = _THOUSANDS.sub(lambda number: re.sub(r"\D", "", number[0]), text.translate(_MINUS))
    text = " ".join(text.casefold().split())
    while True:
        text = text.rstrip(". ") or text
        for opening, closing in _AROUND:
            inner = text[len(opening) : len(text) - len(closing)].strip()
            # What is between two pairs of quotes is no quotation: "a" or "b".
            if inner and text.startswith(opening) and text.endswith(closing) and opening not in inner:
                text = inner
                break
        else:
            return text


@dataclass(frozen=True)
class _Exact:
    """A class and not a closure, so that it can be sent to another process."""

    extract: Callable[[str], str]
    name: ClassVar[str] = "exact"
    __name__: ClassVar[str] = "exact"

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if task.answer is None or not task.answer.strip():
            return Verdict(by=self.name, passed=None, reason="the task has no reference answer")
        expected = normalise(final_answer(task.answer))
        got = normalise(self.extract(trace.answer))
        return Verdict(by=self.name, passed=got == expected, reason=f"expected {_short(expected)}, got {_short(got)}")


def _last_boxed(text: str) -> str | None:
    """What stands in the last box that is closed. One pass: a model in a loop can open thousands of boxes."""
    opened: list[int | None] = []  # where the content of a box begins; None for any other brace
    start = end = -1
    for brace in _BRACES.finditer(text):
        if brace["boxed"]:
            opened.append(brace.end())
        elif brace[0] == "{":
            opened.append(None)
        elif brace[0] == "}" and opened:
            begin = opened.pop()
            if begin is not None and begin > start:
                start, end = begin, brace.start()
    return text[start:end] if end >= 0 else None


def _short(text: str) -> str:
    return repr(text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…")
