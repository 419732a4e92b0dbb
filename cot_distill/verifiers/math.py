r"""Judging mathematics: whether the final answer is the same as the reference, however both are written.

It finds the two answers and settles what is plain: equal writing, plain numbers, words. The rest goes to worker
processes that run math-verify (:mod:`cot_distill.verifiers._math`), since an answer such as ``9^{9^9}`` never ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from types import TracebackType
from typing import ClassVar, NamedTuple

from cot_distill._version import __version__
from cot_distill.answers import boxes, final_answer, normalise
from cot_distill.arguments import check_count, check_number
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.numerals import read_numeral, read_numerals
from cot_distill.processes import WorkerDiedError, WorkerPool, WorkerTimeoutError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import _math
from cot_distill.verifiers._math import UNREADABLE as _UNREADABLE
from cot_distill.verifiers._notation import FORMULA, is_prose, is_text
from cot_distill.verifiers._options import plain
from cot_distill.verifiers._verdicts import inapplicable, short, without_reference
from cot_distill.verifiers.numeric import concluding, is_same_number

__all__ = ["math"]

_MEBIBYTES = 4096
_LONGEST = 3000
"""Characters of an answer that are parsed. What is longer is no final answer."""
_WORDS_OF_TEXT = 5
"""A reference of more words is a sentence, and not to be compared with letter by letter."""


def math(*, timeout: float = 5.0, precision: int = 6, workers: int | None = None) -> Verifier:
    r"""Make a verifier that compares mathematics: fractions, surds, sets, intervals, matrices, equations and so on.

    Needs the extra ``math``. Read is LaTeX as well as plain notation, out of the last ``\boxed{…}`` (where boxes
    differ, also all of them together), the last line "Answer: …", or else the end of the text. Plain numbers are
    compared as :func:`cot_distill.verifiers.numeric` does, with their units; words letter by letter. ``x = 5`` and
    ``5`` are the same, ``(1, 2)`` and ``(2, 1)`` are not.

    Args:
        timeout: Seconds for one answer; then its process is killed, and it could not be told.
        precision: Decimal places to which numbers with a decimal point must agree; for plain numbers below 1, digits.
        workers: How many processes. Default: one per CPU that this process may use, but at least 2 and at most 8.

    Returns:
        A verifier named "math". It does not apply to tasks whose reference answer cannot be read.

    Raises:
        MissingExtraError: The package math-verify is not installed.
        ConfigError: ``timeout``, ``precision`` or ``workers`` is out of range.

    Example:
        ::

            run = Distiller("deepseek:deepseek-flash", verifiers=[verifiers.math()]).run("tasks.jsonl", "runs/math")
    """
    if find_spec("math_verify") is None or find_spec("antlr4") is None:
        raise MissingExtraError("verifiers.math()", "math")
    check_number(timeout, "math(timeout=…)")
    check_count(precision, "math(precision=…)", 0)
    if precision > 15:
        raise ConfigError("math(): precision is a number of decimal places from 0 to 15")
    if workers is not None:
        check_count(workers, "math(workers=…)")
    pool = WorkerPool(timeout=timeout, workers=workers, memory=_MEBIBYTES, warm=_math.load)
    return _Math(timeout, precision, pool)


@dataclass(frozen=True)
class _Math:
    timeout: float
    precision: int
    pool: WorkerPool = field(repr=False, compare=False)
    name: ClassVar[str] = "math"
    __name__: ClassVar[str] = "math"

    @property
    def digest(self) -> str:
        """Changes with the settings, and with the versions of what compares."""
        settings = repr((self.timeout, self.precision, __version__, _version()))
        return blake2b(settings.encode(), digest_size=12).hexdigest()

    async def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if (verdict := without_reference(task, self.name)) is not None:
            return verdict
        expected, got = _reference(task.answer or ""), _readings(trace.answer)
        if len(expected) > _LONGEST or (is_text(expected) and len(expected.split()) > _WORDS_OF_TEXT):
            return inapplicable(self.name, f"the reference answer is no mathematics: {short(expected)}")
        found = _plainly(expected, got, trace.answer, self.precision) or await self._compare(expected, got)
        if found.passed is None and found.reason == _UNREADABLE:
            return inapplicable(self.name, f"the reference answer cannot be read: {short(expected)}")
        if found.passed is False and _is_there(expected, trace.answer):
            found = _Finding(None, "but the expected one is there too, and none is marked as final")
        reason = f"expected {short(expected)}, got {short(got[0])}" + (f": {found.reason}" if found.reason else "")
        return Verdict(by=self.name, passed=found.passed, about="answer", reason=reason)

    async def _compare(self, expected: str, got: Sequence[str]) -> _Finding:
        readable = [text for text in got if len(text) <= _LONGEST]
        if not readable:
            return _Finding(None, f"longer than a final answer ({_LONGEST:,} characters)")
        try:
            return _Finding(*await self.pool.acall(_math.compare, expected, readable, self.precision))
        except (WorkerTimeoutError, WorkerDiedError) as error:
            return _Finding(None, str(error))
        except MemoryError:
            return _Finding(None, f"needed more than {_MEBIBYTES} MiB")

    async def __aenter__(self) -> _Math:
        self.pool.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.__exit__(kind, error, trace)


class _Finding(NamedTuple):
    passed: bool | None
    reason: str = ""


def _plainly(expected: str, got: Sequence[str], answer: str, digits: int) -> _Finding | None:
    """What can be said without computing; None where that is nothing."""
    if any(normalise(text) == normalise(expected) for text in got):
        return _Finding(True)
    if is_text(expected):
        return _in_words(normalise(plain(expected)), got)
    one = read_numeral(expected)
    if one is None:
        return None
    others = [read_numeral(text) for text in got]
    same = [other and is_same_number(one, other, digits=digits) for other in others]
    if True in same:
        return _Finding(True)
    if all(others):
        return _Finding(None, "different kinds of units") if None in same else _Finding(False)
    if not boxes(answer):
        final = final_answer(answer)[-_LONGEST:]
        numerals, has_formula = concluding(final, is_marked=final != answer)
        if numerals and not has_formula and all(is_same_number(one, other, digits=digits) for other in numerals):
            return _Finding(True)
    return None


def _is_there(expected: str, answer: str) -> bool:
    """Whether an answer that marks nothing as final holds the expected number somewhere."""
    if boxes(answer) or final_answer(answer) != answer or not is_prose(answer[-_LONGEST:]):
        return False
    one = read_numeral(expected)
    return one is not None and any(is_same_number(one, other) for other in read_numerals(answer[-_LONGEST:]))


def _in_words(expected: str, got: Sequence[str]) -> _Finding:
    found = [normalise(plain(text)) for text in got]
    if expected in found:
        return _Finding(True)
    if not is_text(got[0], shortest=2) or expected in found[0] or found[0] in expected:
        return _Finding(None, "the reference is words, and cannot be compared with this")
    return _Finding(False)


# --- finding the answers ---

_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_SAYS = re.compile(r"(?:\b(?:is|are|equals|get|obtain|be)\b:?|=)\s*")


def _reference(text: str) -> str:
    """A reference answer. Where several boxes differ, all of them are meant."""
    found = list(dict.fromkeys(box.strip() for box in boxes(text)))
    return ", ".join(found) if found else final_answer(text).strip()


def _readings(text: str) -> list[str]:
    """What may be meant as the final answer, the likeliest first. At least one."""
    if found := [box.strip() for box in boxes(text)]:
        different = list(dict.fromkeys(found))
        return [found[-1], ", ".join(different)] if len(different) > 1 else [found[-1]]
    end = final_answer(text).strip()[-_LONGEST - 1 :]
    if not is_prose(end):
        return [end]
    formulas = [next(filter(None, found.groups())) for found in FORMULA.finditer(end)]
    line = end.rstrip(" .*\n").rpartition("\n")[2]
    said = [line[found.end() :] for found in _SAYS.finditer(line)]
    found = [*formulas[-1:], *_BOLD.findall(end)[-1:], *said[-1:], end]
    return list(dict.fromkeys(part.strip() for part in found if part.strip()))


def _version() -> str:
    try:
        return version("math-verify")
    except PackageNotFoundError:  # put there in another way
        return ""
