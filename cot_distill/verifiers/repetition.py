"""Finding texts that run in circles.

Three ways of going round are looked for: the same passage again and again without a break, the same sentences again
and again with something in between, and a stretch of text that hardly says anything new at all. Numbers that count
up, tables and code repeat their form and not their words; they pass.

The thresholds were chosen on 5,660 derivations by models of 7 to 32 billion parameters. 371 of them were found to run
in circles, and a look at the doubtful ones proved no finding wrong. The third way found nothing that the others had
not.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from cot_distill.arguments import check_number
from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task
from cot_distill.verifiers._flaws import Flaw, Flawless, Part, check_part, quote

__all__ = ["repetition"]

_WORDS = 8
"""The length of a sentence that needs no more than ``times`` repetitions."""
_LETTERS_A_WORD = 6
_STEP = 64
"""A loop is at least so many characters long, so it is enough to look from every so manieth."""
_SEED = 32
"""Characters that must come again for a closer look."""
_REACH = 8192
"""Characters from one round of a loop to the next, at most."""
_LEAST_REPEATED = 10
"""Sentences that were said before, before their share counts for anything."""
_SENTENCE_BYTES = 40
"""What is shorter is a formula, a line of code, or a move: "Move disk 1 from peg A to peg C"."""
_SENTENCE_WORDS = 3
"""What says less is a row of a table."""
_WINDOW = 8192
_LEAST_COMPRESSED = 4096

_SENTENCE = re.compile(r"[^.!?。！？\n]+")
_LATIN = re.compile(r"[A-Za-z\u00aa-\u1fff]")
_DENSE = re.compile(r"[\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff]")
_DIGIT = re.compile(r"\d")


def repetition(*, part: Part = "both", times: int = 8, share: float = 0.5, ratio: float = 0.02) -> Verifier:
    """Make a verifier that finds loops.

    Args:
        part: Where to look: ``"reasoning"``, ``"answer"`` or ``"both"``.
        times: How often a sentence of eight words, or a longer passage, may be said without a break. The fewer words
            it has, the more often it may come: a single word 8 times as often, single digits some 100 times.
        share: The most of a text, from 0 to 1, that may be sentences which were said before.
        ratio: The least size that a stretch of 8,192 bytes must keep when it is compressed, as a share from 0 to 1.
            Prose has 0.4, a table 0.1 to 0.3, the 1,023 moves of a tower of ten disks 0.026, a loop 0.01.

    Returns:
        A verifier named "repetition".

    Raises:
        ConfigError: ``times`` is less than 2, or a share is not from 0 to 1.

    Example:
        >>> from cot_distill.types import Trace
        >>> verify = repetition()
        >>> stuck = Trace(reasoning="So 4. " + "Wait, let me check that again. " * 20, answer="4")
        >>> verify(Task(instruction="2 + 2?"), stuck).reason
        "20 times in a row: 'Wait, let me check that again. ' (reasoning, at character 6)"
    """
    check_part(part)
    if not isinstance(times, int) or times < 2:
        raise ConfigError(f"repetition(times={times!r}) needs a whole number, 2 or more")
    for name, value in (("share", share), ("ratio", ratio)):
        check_number(value, f"repetition({name}=…)")
        if not 0 <= value <= 1:
            raise ConfigError(f"repetition({name}={value!r}) needs a number from 0 to 1")
    return Flawless("repetition", part, _Loops(times, share, ratio))


@dataclass(frozen=True)
class _Loops:
    times: int
    share: float
    ratio: float

    def __call__(self, _task: Task, _part: str, text: str) -> Flaw | None:
        return _in_a_row(text, self.times) or _said_before(text, self.share) or _says_little(text, self.ratio)


# --- the same passage without a break ---


class _Stretch(NamedTuple):
    start: int
    period: int
    length: int


def _in_a_row(text: str, times: int) -> Flaw | None:
    for start, period, length in _stretches(text):
        unit = text[start : start + period]
        # The last round is whole without the white space that would have followed it.
        rounds = (length + len(unit) - len(unit.rstrip())) // period
        if rounds >= times and rounds * _words(unit) >= times * _WORDS:
            start += next((index for index, letter in enumerate(unit) if letter.isalnum()), 0)  # for the reader
            return Flaw(f"{rounds:,} times in a row: {quote(text[start : start + period])}", start)
    return None


def _stretches(text: str) -> Iterator[_Stretch]:
    """Stretches that repeat what stands one period before, in their order.

    From every 64th character a short piece is looked for again within reach. Where it comes again, that distance is
    the period, and the texts from both places are compared until they part.
    """
    at = 0
    while at + _SEED < len(text):
        again = text.find(text[at : at + _SEED], at + 1, at + _REACH + _SEED)
        if again < 0:
            at += _STEP
            continue
        period = again - at
        length = period + _common(text, at, again)
        start = at
        while start > 0 and at - start < _STEP + period and text[start - 1] == text[start - 1 + period]:
            start -= 1
        yield _Stretch(start, period, length + at - start)
        at += max(_STEP, length - period)


def _common(text: str, one: int, other: int) -> int:
    """How many characters two places of a text have in common from there on."""
    found, step = 0, _STEP
    while text[one + found : one + found + step] == text[other + found : other + found + step]:
        found += step
        step *= 2
        if other + found >= len(text):
            break
    while step:
        here, there = text[one + found : one + found + step], text[other + found : other + found + step]
        if len(there) == step and here == there:
            found += step
        else:
            step //= 2
    return min(found, len(text) - other)


def _words(text: str) -> float:
    """How much a passage says, in words. A row of zeros says little, and a ruler of dashes next to nothing."""
    latin, dense, digits = (len(kind.findall(text)) for kind in (_LATIN, _DENSE, _DIGIT))
    return latin / _LETTERS_A_WORD + dense / 2 + digits / 16 + (len(text) - latin - dense - digits) / 64


# --- the same sentences with something in between ---


def _said_before(text: str, share: float) -> Flaw | None:
    seen: set[str] = set()
    total = repeated = number = 0
    first: tuple[str, int] | None = None
    for found in _SENTENCE.finditer(text):
        sentence = found[0].strip(" \t*#>-")
        total += len(sentence)
        if len(sentence.encode("utf-8", "replace")) < _SENTENCE_BYTES:
            continue
        if sentence in seen and _words(sentence) >= _SENTENCE_WORDS:
            repeated += len(sentence)
            number += 1
            first = first or (sentence, found.start())
        seen.add(sentence)
    if first is None or number < _LEAST_REPEATED or repeated <= share * total:
        return None
    sentence, at = first
    what = f"{repeated / total:.0%} of the text are sentences that were said before, the first again: "
    return Flaw(what + quote(sentence), at)


# --- hardly anything new ---


def _says_little(text: str, ratio: float) -> Flaw | None:
    data = text.encode("utf-8", "replace")
    for start in range(0, max(1, len(data) - _WINDOW // 2), _WINDOW // 2):
        window = data[start : start + _WINDOW]
        if len(window) < _LEAST_COMPRESSED:
            break
        kept = len(zlib.compress(window)) / len(window)
        if kept < ratio:
            at = len(data[:start].decode("utf-8", "ignore"))
            passage = quote(text[at : at + _WINDOW])
            return Flaw(f"{len(window):,} bytes that say no more than {kept:.1%} of them would: {passage}", at)
    return None
