"""How fast mathematics is judged, and that nothing stalls it: ``python tests/benchmarks/math_answers.py``.

One check in a hundred is pathological: giant powers and factorials, deep nesting, a hundred thousand digits, food for
regular expressions that backtrack. Prints the rate, how many were killed, and the slowest check.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import NamedTuple

import anyio

from cot_distill import Task, Trace, Verdict, verifiers
from cot_distill.workers import drive

_AT_ONCE = 64


class Check(NamedTuple):
    """A reference and an answer; ``same`` is None where only that it ends is asked."""

    expected: str
    answer: str
    same: bool | None


def _fraction(dice: Random, off: int) -> tuple[str, str]:
    over, under = dice.randint(1, 40), dice.choice((2, 4, 5, 8))
    return rf"\frac{{{over}}}{{{under}}}", f"{(over + off) / under}"


def _surd(dice: Random, off: int) -> tuple[str, str]:
    factor, root = dice.randint(2, 9), dice.choice((2, 3, 5, 7))
    return rf"\sqrt{{{factor * factor * root}}}", rf"{factor + off}\sqrt{{{root}}}"


def _square(dice: Random, off: int) -> tuple[str, str]:
    shift = dice.randint(1, 9)
    return f"(x+{shift})^2", f"x^2 + {2 * shift + off}x + {shift * shift}"


def _interval(dice: Random, off: int) -> tuple[str, str]:
    low = dice.randint(-9, 9)
    return f"({low}, {low + 3}]", rf"{low} < x \le {low + 3 + off}"


def _set(dice: Random, off: int) -> tuple[str, str]:
    one = dice.randint(1, 50)
    return rf"\{{{one}, {one + 2}\}}", f"{one + 2 + off}, {one}"


def _matrix(dice: Random, off: int) -> tuple[str, str]:
    a, b = dice.randint(0, 9), dice.randint(0, 9)
    return rf"\begin{{pmatrix}}{a}&{b}\\1&0\end{{pmatrix}}", rf"\begin{{bmatrix}}{a}&{b + off}\\1&0\end{{bmatrix}}"


def _distance(dice: Random, off: int) -> tuple[str, str]:
    far = dice.randint(1, 99)
    return f"{far} km", f"{1000 * (far + off):,} m"


def _line(dice: Random, off: int) -> tuple[str, str]:
    slope, shift = dice.randint(2, 9), dice.randint(1, 9)
    return f"y = {slope}x + {shift}", f"{slope}x + {shift + off}"


def _circle(dice: Random, off: int) -> tuple[str, str]:
    radius = dice.randint(2, 30)
    return rf"{radius * radius}\pi \text{{ cm}}^2", f"pi*{radius + off}^2"


_FAMILIES: tuple[Callable[[Random, int], tuple[str, str]], ...] = (
    _fraction, _surd, _square, _interval, _set, _matrix, _distance, _line, _circle,
)  # fmt: skip

PATHOLOGICAL = (
    ("387420489", "9^{9^{9^9}}"),
    ("9^{9^9}", "9^(9^9) + 1"),
    ("1", "(10^9)!"),
    ("1", r"\binom{10^9}{5 \cdot 10^8}"),
    ("1", "{" * 2000 + "1" + "}" * 900),
    ("1", "(" * 1400 + "1" + ")" * 1400),
    (r"\sqrt{2}", r"\sqrt{" * 300 + "2" + "}" * 300),
    ("7", "7" * 100_000),
    ("x", "9" * 2900 + "^{" + "9" * 50 + "}"),
    ("1", r"\boxed{" * 20_000),
    ("x", "a" * 2900),
    ("1", "$" + "$ $" * 900),
    ("1", "1," * 1400),
    (r"\sum_{k=1}^{\infty} \frac{1}{k^3}", r"\sum_{k=1}^{10^9} \frac{1}{k^3}"),
    (r"\int_0^1 x^x dx", r"\int_0^1 e^{\sin(x^{x^x})} dx"),
    ("(x+1)^{2000}", "(1+x)^{1999}(x+1)"),
    ("x^2", " ".join(["The result is a sum of terms = "] * 2000)),
    ("0", r"\sin(10^{10^{10}})"),
)


def checks(count: int, *, share: float = 0.01, seed: int = 0) -> list[Check]:
    """Make checks, of which a share is pathological, all kinds of them in turn."""
    dice = Random(seed)
    found = []
    every = round(1 / share) if share else 0
    for number in range(count):
        if every and number % every == every // 2:
            found.append(Check(*PATHOLOGICAL[number // every % len(PATHOLOGICAL)], None))
        else:
            same = dice.random() < 0.7
            expected, answer = _FAMILIES[number % len(_FAMILIES)](dice, 0 if same else 1)
            found.append(Check(expected, answer, same))
    return found


class Result(NamedTuple):
    """What came of some checks."""

    verdicts: list[tuple[Check, Verdict, float]]
    seconds: float


async def run(found: list[Check], *, timeout: float, workers: int | None) -> Result:
    """Judge, as many at once as a run does."""
    judged: list[tuple[Check, Verdict, float]] = []

    async def jobs() -> AsyncIterator[Check]:
        for check in found:
            yield check

    async with verifiers.math(timeout=timeout, workers=workers) as verify:

        async def work(check: Check) -> None:
            answer = check.answer if check.same is None else rf"It is \boxed{{{check.answer}}}."
            start = time.perf_counter()
            verdict = await verify(Task(instruction="?", answer=check.expected), Trace(reasoning="?", answer=answer))
            judged.append((check, verdict, time.perf_counter() - start))

        await work(Check(r"\sqrt{4}", r"\frac{4}{2}", True))  # the workers have started
        judged.clear()
        start = time.perf_counter()
        await drive(jobs(), work, _AT_ONCE)
        return Result(judged, time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.01, help="of pathological ones")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds for one check")
    parser.add_argument("--workers", type=int, default=None)
    options = parser.parse_args()
    found = checks(options.checks, share=options.share)
    result = anyio.run(lambda: run(found, timeout=options.timeout, workers=options.workers))
    odd = [(check, verdict) for check, verdict, _ in result.verdicts if check.same is None]
    killed = [verdict for _, verdict, _ in result.verdicts if "killed" in (verdict.reason or "")]
    wrong = [
        check for check, verdict, _ in result.verdicts if check.same is not None and verdict.passed is not check.same
    ]
    print(f"{len(result.verdicts):,} checks, {len(odd)} of them pathological, in {result.seconds:.0f} s")
    print(f"{len(result.verdicts) / result.seconds:.0f} checks a second")
    print(f"{len(killed)} killed after {options.timeout:g} s")
    print(f"slowest: {max(seconds for *_, seconds in result.verdicts):.1f} s, waiting for a worker included")
    print(f"misjudged, of the others: {len(wrong)} {wrong[:3]}")
    print("pathological:", dict(Counter(verdict.passed for _, verdict in odd)))


if __name__ == "__main__":
    main()
