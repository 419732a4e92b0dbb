r"""Judging by the number in the final answer.

It compares exact fractions: no floating point is involved. How numbers are written is the business of
:mod:`cot_distill.numerals`; this file knows which of several numbers is the answer, and when two are the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from cot_distill.answers import final_answer
from cot_distill.arguments import check_function, check_number
from cot_distill.errors import ConfigError
from cot_distill.numerals import Numeral, cleaned, is_formula, read_numeral, read_numerals
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._verdicts import inapplicable, short, without_reference

__all__ = ["numeric"]

_DIGITS = 6
_LONGEST = 20_000
"""Characters of a final answer that are worth looking through."""

_BOLD = re.compile(r"\*\*([^*\n]{1,100})\*\*")
_ANSWER_IS = re.compile(r"\banswer\s+is\b", re.IGNORECASE)
_SENTENCES = re.compile(r"\n+|(?<=[.!?])\s+")
_CLAUSES = re.compile(r";|,\s|\bor\b|\band\b|\n")
_ABOUT = re.compile(
    r"\s*(?:(?:about|approximately|approx\.?|around|roughly|nearly|exactly|only|the)\s+)*", re.IGNORECASE
)


def numeric(
    *,
    rel_tol: float | None = None,
    abs_tol: float = 0.0,
    extract: Callable[[str], str] | None = None,
) -> Verifier:
    r"""Make a verifier that compares the number in the final answer with the one in ``Task.answer``.

    Numbers are read as people and models write them: ``1,234.5``, ``1 234,5``, ``1{,}234``, ``3/4``, ``\frac{3}{4}``,
    ``1 1/2``, ``½``, ``3.2 \times 10^5``, ``1.5 million``, ``50 %``, ``$42``, ``42 km``, with words around them.

    - Two known units are converted, so that 42 km is 42,000 m; where they measure different things it cannot be told.
      A unit on one side only is passed over, and so are all other words.
    - Where one side only is in percent, it may be 50 for 50 % or 0.5: both are usual.
    - Of several numbers, the one behind the last "=" counts; in an answer that marks none as final, the one in bold,
      else the one behind "the answer is", else the one in the last sentence. Where that leaves numbers that differ,
      and the right one is among them, it cannot be told.
    - Formulas such as ``2\sqrt{3}`` cannot be told: :func:`cot_distill.verifiers.math` reads them.

    Args:
        rel_tol: How far numbers may differ, as a share of the larger one. Default: they must agree in six decimal
            places, those below 1 in six digits, and whole numbers wholly.
        abs_tol: How far they may differ in any case.
        extract: Finds the final answer in ``trace.answer``. Default: :func:`cot_distill.answers.final_answer`.

    Returns:
        A verifier named "numeric". It does not apply to a task whose reference answer is not one number.

    Raises:
        ConfigError: A tolerance is negative or no number.

    Example:
        >>> verify = numeric()
        >>> task = Task(instruction="How far is it?", answer="1,500 m")
        >>> verify(task, Trace(reasoning="Hm.", answer="It is about **1.5 km** from here.")).passed
        True
        >>> verify(task, Trace(reasoning="Hm.", answer="Answer: 1.6 km")).reason
        "expected '1,500 m', got '1.6 km'"
    """
    for name, tolerance in (("rel_tol", 0.0 if rel_tol is None else rel_tol), ("abs_tol", abs_tol)):
        check_number(tolerance, f"numeric({name}=…)")
        if tolerance < 0:
            raise ConfigError("numeric(): rel_tol and abs_tol must not be negative")
    if extract is not None:
        check_function(extract, "numeric(extract=…)", "a text")
    return _Numeric(rel_tol, abs_tol, extract or final_answer)


@dataclass(frozen=True)
class _Numeric:
    rel_tol: float | None
    abs_tol: float
    extract: Callable[[str], str]
    name: ClassVar[str] = "numeric"
    __name__: ClassVar[str] = "numeric"
    light: ClassVar[bool] = True

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if (verdict := without_reference(task, self.name)) is not None:
            return verdict
        expected = _reference(final_answer(task.answer or ""))
        if expected is None:
            return inapplicable(self.name, f"the reference answer is not a number: {short(task.answer or '')}")
        passed, reason = self._judge(expected, self.extract(trace.answer), trace.answer)
        return Verdict(by=self.name, passed=passed, about="answer", reason=reason)

    def _judge(self, expected: Numeral, text: str, answer: str) -> tuple[bool | None, str]:
        if len(text) > _LONGEST:
            return None, f"the final answer is too long to look for a number in it ({len(text):,} characters)"
        is_marked = text != answer
        numerals, has_formula = concluding(text, is_marked=is_marked)
        found = {self._is_same(expected, numeral) for numeral in numerals}
        seen = ", ".join(dict.fromkeys(numeral.text for numeral in numerals))
        if has_formula or (not numerals and any(sign.isdigit() for sign in text)):
            return None, f"expected {short(expected.text)}; cannot read a plain number in {short(text)}"
        if not numerals:
            return False, f"expected {short(expected.text)}; there is no number in {short(text)}"
        reason = f"expected {short(expected.text)}, got {short(seen)}"
        if None in found:
            return None, f"{reason}: different kinds of units"
        if len(found) > 1:
            return None, f"{reason}: more than one number"
        if (
            found == {False}
            and not is_marked
            and any(self._is_same(expected, other) for other in read_numerals(text))
        ):
            return None, f"{reason}: but the expected one is there too, and none is marked as final"
        return found == {True}, reason

    def _is_same(self, expected: Numeral, got: Numeral) -> bool | None:
        return is_same_number(expected, got, self.rel_tol, self.abs_tol)


def is_same_number(
    expected: Numeral, got: Numeral, rel_tol: float | None = None, abs_tol: float = 0.0, *, digits: int = _DIGITS
) -> bool | None:
    """Whether two numbers are the same, as :func:`numeric` says; None where their units measure different things."""

    def is_close(one: Fraction, other: Fraction) -> bool:
        size = max(abs(one), abs(other))
        relative = (
            Fraction(1, 10**digits) * min(Fraction(1), size) if rel_tol is None else Fraction(str(rel_tol)) * size
        )
        return abs(one - other) <= max(relative, Fraction(str(abs_tol)))

    if expected.unit and got.unit:
        if expected.unit.dimension != got.unit.dimension:
            return None
        if expected.unit.factor != got.unit.factor:
            return is_close(expected.value * expected.unit.factor, got.value * got.unit.factor)
    if rel_tol is None and abs_tol == 0 and expected.is_integer and got.is_integer:
        same = expected.value == got.value
    else:
        same = is_close(expected.value, got.value)
    if same or expected.is_percent == got.is_percent:
        return same
    whole, share = (expected.value / 100, got.value) if expected.is_percent else (expected.value, got.value / 100)
    return is_close(whole, share)


def _reference(text: str) -> Numeral | None:
    """The number that a reference answer is: nothing but a few words around it, and nothing doubtful about it."""
    if (numeral := read_numeral(text)) is not None:
        return numeral
    if len(text) > _LONGEST or is_formula(tail := cleaned(text).rpartition("=")[2]):
        return None
    tail = _ABOUT.sub("", tail, count=1)
    numerals = read_numerals(tail)
    if len(numerals) != 1 or not numerals[0].is_certain or len(tail.split()) > 8:
        return None
    return numerals[0] if tail.lstrip(" (").startswith(numerals[0].text) else None


def concluding(text: str, *, is_marked: bool) -> tuple[list[Numeral], bool]:
    """The numbers that the text ends in, and whether there is a formula among them."""
    if (numeral := read_numeral(text)) is not None:
        return [numeral], False
    if not is_marked:
        bold = [numeral for found in _BOLD.findall(text) if (numeral := read_numeral(found)) is not None]
        if bold and len({numeral.value for numeral in bold}) == 1:
            return bold[:1], False
    text = cleaned(text)
    if not is_marked:
        sentences = [sentence for sentence in _SENTENCES.split(text) if read_numerals(sentence)]
        told = [sentence for sentence in sentences if _ANSWER_IS.search(sentence)]
        text = (told or sentences or [text])[-1]
    numerals: list[Numeral] = []
    has_formula = False
    for clause in _CLAUSES.split(text):
        tail = clause.rpartition("=")[2]
        tail = tail if read_numerals(tail) or is_formula(tail) else clause
        numerals += read_numerals(tail)
        has_formula = has_formula or is_formula(tail)
    return numerals, has_formula
