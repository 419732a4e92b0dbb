r"""Finding the final answer in what a model writes, and folding the differences in writing that do not matter.

This file knows how models mark a final answer (``\boxed{…}``, "Answer: …"). It knows no mathematics: for
:func:`normalise`, ``1/2`` and ``0.5`` differ. Whoever compares answers (verifiers, rewards, the report) reads them
through this file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cot_distill.numerals import read_numeral

__all__ = ["agreement", "boxes", "final_answer", "normalise", "vote"]

_BRACES = re.compile(r"(?P<boxed>\\boxed\s*\{)|\\.|[{}]", re.DOTALL)  # `\\.`: braces written as \{ do not count
_ANSWER_LINE = re.compile(
    r"^[ \t>#*_]*(?:final[ \t]+)?answer[ \t*_]*[:：][ \t*_]*(.*)$", re.IGNORECASE | re.MULTILINE
)
_LAST_LINE = re.compile(r"(?:^|\n)####[ \t]+([^\n]*\S)\s*\Z")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,|\{,\}|[\u2009\u202f])\d{3})+(?!,?\d)")
_MINUS = str.maketrans(dict.fromkeys("\u2212\u2010\u2011\u2012\u2013\ufe63\uff0d", "-"))
_AROUND = (("**", "**"), ("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("`", "`"), ('"', '"'), ("'", "'"),
           ("\u201c", "\u201d"), ("\u2018", "\u2019"))  # fmt: skip


def boxes(text: str) -> list[str]:
    r"""Find what stands in ``\boxed{…}``, in the order in which the boxes begin. A box that is never closed is none.

    Args:
        text: What the model answers.

    Returns:
        The contents; of a box in a box, both.

    Example:
        >>> boxes(r"\boxed{1} and \boxed{\frac{1}{2}}")
        ['1', '\\frac{1}{2}']
    """
    opened: list[int | None] = []  # where the content of a box begins; None for any other brace
    found: list[tuple[int, int]] = []
    for brace in _BRACES.finditer(text):  # one pass: a model in a loop can open thousands of boxes
        if brace["boxed"]:
            opened.append(brace.end())
        elif brace[0] == "{":
            opened.append(None)
        elif brace[0] == "}" and opened:
            begin = opened.pop()
            if begin is not None:
                found.append((begin, brace.start()))
    return [text[begin:end] for begin, end in sorted(found)]


def final_answer(text: str) -> str:
    r"""Find the final answer in a text.

    That is what stands in the last ``\boxed{…}``; else what follows on the last line that begins with "Answer:" or
    "Final answer:" (or, if nothing does, below that line); else what follows ``####`` on the very last line, as in
    GSM8K; else the whole text.

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
    found = boxes(text)
    if found:
        return found[-1]
    lines = list(_ANSWER_LINE.finditer(text))
    if not lines:
        last = _LAST_LINE.search(text)
        return last[1] if last else text
    rest = lines[-1][1]
    if rest.count("**") % 2:  # the first one was taken for the end of "**Answer:**", and was not
        rest = "".join(rest.rpartition("**")[::2])
    rest = rest if rest.strip() else text[lines[-1].end() :]
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


def agreement(answers: Sequence[str]) -> tuple[str, int]:
    """Find the final answer that most of several answers give.

    Args:
        answers: What was answered, at least one. Differences in writing that do not matter are folded, also between
            equal numbers: ``1,000`` and ``1000.0`` km agree.

    Returns:
        That final answer as it is first written, and how many give it. Of two that are equally frequent the first.

    Raises:
        ValueError: There are no answers.

    Example:
        >>> agreement(["Answer: 1/2", "Answer: 7", "0.5"])
        ('1/2', 2)
    """
    if not answers:
        raise ValueError("there are no answers that could agree")
    written: dict[str, str] = {}
    votes: dict[str, int] = {}
    for text in map(final_answer, answers):
        key = vote(text)
        written.setdefault(key, text.strip())
        votes[key] = votes.get(key, 0) + 1
    most = max(votes, key=votes.__getitem__)
    return written[most], votes[most]


def vote(text: str) -> str:
    """What a final answer stands for: the same text for all those that agree.

    A number stands for its value whatever its unit, since one attempt writes the unit and another does not.

    Args:
        text: A final answer.

    Example:
        >>> vote("1,234.50 km"), vote(" **Paris**. ")
        ('=2469/2', 'paris')
    """
    numeral = read_numeral(text)
    return normalise(text) if numeral is None else f"={numeral.value}"
