"""What the workers of the math verifier do: reading two answers with math-verify, and comparing them.

This is the only file that knows math-verify and sympy. It runs in worker processes that are killed when they take too
long, so all time limits of math-verify itself are off: they use signals, and fail in threads.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from cot_distill.verifiers._notation import to_latex

__all__ = ["UNREADABLE", "compare", "load"]


UNREADABLE = "the reference cannot be read"


def load() -> None:
    """Import sympy and its parser, and use them once, which builds tables: seconds, so before the first call."""
    logging.disable(logging.CRITICAL)  # warnings about the time limits that are off
    compare(r"\frac{1}{2}", ["x = 0.5"], 6)
    compare(r"\sqrt{2}", [r"\begin{pmatrix}1\\2\end{pmatrix}"], 6)


def compare(expected: str, got: list[str], precision: int) -> tuple[bool | None, str]:
    """Whether any reading of an answer is the same as the reference.

    Args:
        expected: The reference answer.
        got: Ways to read the answer that is judged.
        precision: Decimal places to which floating-point numbers must agree.

    Returns:
        Right, wrong or None, and what there is to say of it.
    """
    every = [expected, *got]
    degrees = [re.search(r"°|\\circ|degree", text) is not None for text in (expected, "".join(got))]
    turns = [re.search(r"\\pi|π|\bpi\b", text) is not None for text in (expected, "".join(got))]
    radians = degrees[0] != degrees[1] and turns == degrees[::-1]
    imaginary = not any(re.search(r"\\(?:sum|prod)|_\s*\{?\s*i", text) for text in every)
    reference, *answers = (_parsed(text, radians=radians, imaginary=imaginary) for text in every)
    if reference is None:
        return None, UNREADABLE
    answers = [answer for answer in answers if answer is not None]
    if not answers:
        return None, "the answer cannot be read"
    try:
        return any(_is_same(reference, answer, precision) for answer in answers), ""
    except RecursionError:
        return None, "nested too deeply"


def _parsed(text: str, *, radians: bool, imaginary: bool) -> Any:
    from math_verify import LatexExtractionConfig, parse
    from sympy import Basic, I, MatrixBase

    found = parse(
        f"${to_latex(text, radians=radians)}$",
        extraction_config=[LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
    )
    if not found or not isinstance(found[0], Basic | MatrixBase):
        return None
    units = {symbol: I for symbol in found[0].free_symbols if symbol.name == "i"} if imaginary else {}
    return found[0].subs(units) if units else found[0]


def _is_same(expected: Any, got: Any, precision: int) -> bool:
    from math_verify import verify

    try:
        if _is_same_region(expected, got) or verify(
            expected,  # the reference comes first: the other way round something else is asked
            got,
            float_rounding=precision,
            allow_set_relation_comp=True,
            timeout_seconds=None,
            raise_on_error=True,  # else a lack of memory would mean "wrong"
        ):
            return True
    except (MemoryError, RecursionError):
        raise
    except Exception:  # a number and a matrix, say: sympy fails in many ways where two things are not of one kind
        return False
    return _is_same_vector(expected, got, precision)


def _is_same_region(expected: Any, got: Any) -> bool:
    """Whether two sets or inequalities allow the same numbers, such as ``2x > 4`` and ``x > 2``."""
    from sympy import FiniteSet

    variables = expected.free_symbols, got.free_symbols
    if all(variables) and variables[0] != variables[1]:
        return False
    one = _region(expected)
    if one is None or isinstance(one, FiniteSet):
        return False
    return bool(one == _region(got))


def _region(value: Any) -> Any:
    """The set of numbers that a set or an inequality allows; None where it is neither."""
    from latex2sympy2_extended.logic import And
    from sympy import Eq, FiniteSet, Intersection, Set, Union
    from sympy.core.relational import Relational

    if isinstance(value, And):
        parts = [_region(part) for part in value._unsorted_args]
        return Intersection(*parts) if None not in parts else None
    if isinstance(value, FiniteSet) and value.args and all(isinstance(part, Relational) for part in value.args):
        parts = [_region(part) for part in value.args]  # x < 1 or x > 3
        return Union(*parts) if None not in parts else None
    if isinstance(value, Eq):
        return value.rhs if isinstance(value.rhs, Set) else None  # x is in a set
    if isinstance(value, Relational):
        return _half_line(value) if len(value.free_symbols) == 1 else None
    return value if isinstance(value, Set) else None


def _half_line(value: Any) -> Any:
    """What an inequality in one variable allows; None where sympy cannot solve it."""
    from sympy import GreaterThan, Interval, LessThan, Ne, StrictGreaterThan, StrictLessThan, Symbol, oo

    plain = value.reversed if isinstance(value.rhs, Symbol) and not isinstance(value, Ne) else value
    if isinstance(plain.lhs, Symbol) and not plain.rhs.free_symbols:  # no need to solve anything, which takes long
        end = plain.rhs.doit()
        for kind, region in (
            (StrictLessThan, Interval.open(-oo, end)),
            (LessThan, Interval(-oo, end)),
            (StrictGreaterThan, Interval.open(end, oo)),
            (GreaterThan, Interval(end, oo)),
        ):
            if isinstance(plain, kind):
                return region
    try:
        return value.as_set()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None


def _is_same_vector(expected: Any, got: Any, precision: int) -> bool:
    """Whether a row or column and a tuple, or what looks like an open interval, hold the same."""
    from sympy import MatrixBase

    one, other = _elements(expected), _elements(got)
    if one is None or other is None or isinstance(expected, MatrixBase) == isinstance(got, MatrixBase):
        return False
    return len(one) == len(other) and all(_is_same(a, b, precision) for a, b in zip(one, other, strict=True))


def _elements(value: Any) -> list[Any] | None:
    from sympy import Interval, MatrixBase, Tuple

    if isinstance(value, MatrixBase) and 1 in value.shape:
        return list(value)
    if isinstance(value, Interval) and value.is_open:
        return [value.start, value.end]
    return list(value) if isinstance(value, Tuple) else None
