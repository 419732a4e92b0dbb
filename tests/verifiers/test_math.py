r"""Mathematics: a table of what is the same and what is not, where answers stand, and that nothing stalls.

Where math-verify reads a notation wrongly, or not at all, the pairs that show it are marked "mended".
"""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cot_distill import verifiers
from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.types import Task, Trace, Verdict

pytest.importorskip("math_verify")

SAME = {
    "fractions": [
        ("1/2", "0.5"), (r"\frac{1}{2}", "1/2"), (r"\frac12", r"\dfrac{2}{4}"), (r"-\frac{3}{4}", "-0.75"),
        (r"\frac{-3}{4}", r"\frac{3}{-4}"), ("1 1/2", r"\frac{3}{2}"), (r"1\frac{1}{2}", "1.5"),
        ("0.333333", r"\frac13"), (r"0.\overline{3}", "1/3"), (r"0.1\overline{6}", "1/6"),  # mended
    ],
    "surds": [
        (r"\sqrt{8}", r"2\sqrt{2}"), ("sqrt(8)", r"2\sqrt2"), (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt2}"),
        (r"\sqrt{3+2\sqrt2}", r"1+\sqrt2"), (r"\sqrt[3]{27}", "3"), ("√3/2", r"\frac{\sqrt3}{2}"),
        ("x^{1/2}", "sqrt(x)"),
    ],
    "intervals and inequalities": [
        ("[1,2)", "[1, 2)"), (r"(-\infty,3)", "x<3"), ("(1,5]", r"1<x\le 5"), (r"1<x\le 5", "(1,5]"), ("x>2", "2<x"),
        (r"x\in(1,2)", "(1,2)"), (r"\mathbb{R}", r"(-\infty,\infty)"), ("x >= 2", r"[2,\infty)"),
        (r"x\ne 0", r"(-\infty,0)\cup(0,\infty)"),
        (r"(-\infty,1)\cup(3,\infty)", r"x<1 \text{ or } x>3"), ("x<1 or x>3", "(-inf,1)∪(3,inf)"),  # mended
        ("x>2", "2x>4"), (r"\{x \mid x > 3\}", r"(3,\infty)"),  # mended
    ],
    "sets": [
        (r"\{1,2\}", r"\{2,1\}"), ("1,2", "2, 1"), ("1 and 2", r"\{1,2\}"), (r"\pm 2", "2,-2"),
        (r"6 \text{ or } -6", "-6,6"), (r"\{\}", "∅"), (r"\emptyset", r"\varnothing"),  # mended
    ],
    "matrices, vectors, tuples": [
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
        (r"\left(\begin{array}{cc}1&2\\3&4\end{array}\right)", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "[[1,2],[3,4]]"),  # mended
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\langle 1,2\rangle"),  # mended
        ("(1,2)", r"\begin{pmatrix}1\\2\end{pmatrix}"), ("(1,2,3)", "(1, 2, 3.0)"),
    ],
    "equations": [
        ("5", "x=5"), ("x=5", "5"), ("x=5", "x = 5.0"), ("y=2x", "2x=y"), ("2x", "y=2x"), (r"f(x)=2x", "2x"),
        ("x^2+y^2=1", "x^2+y^2-1=0"), ("x+y=2", "2x+2y=4"), ("x=1,y=2", "y=2, x=1"), ("x=1, y=2", "(1,2)"),
        ("3,5", "x=3 or x=5"),
    ],
    "expressions": [
        ("x^2+1", "1+x^2"), ("(x+1)^2", "x^2+2x+1"), ("n(n+1)/2", r"\frac{n^2+n}{2}"), ("|x|", r"\sqrt{x^2}"),
        ("k/(k+1)", r"1-\frac{1}{k+1}"), (r"\sin^2 x+\cos^2 x", "1"), (r"\ln e", "1"), ("2^{-3}", "1/8"),
        ("2^10", "1024"), ("5!", "120"), (r"\binom{5}{2}", "10"), (r"$\frac{a}{b}$", "a/b"),
        ("2*x**2", "2x^2"), ("e^x", "exp(x)"), ("sin(x)/cos(x)", r"\tan x"), ("log_2(8)", "3"),  # mended
        ("x^10", "x^{10}"), ("2pi", r"2\pi"), ("2π", "6.283185307"),  # mended
    ],
    "percents and units": [
        ("50%", "0.5"), ("50", r"50\%"), (r"50\%", r"\frac12"), (r"12.5 \text{ percent}", "12.5%"),
        ("$5", "5 dollars"), ("10", r"10\text{ cm}"), ("42 km", "42000 m"), (r"2\sqrt3 \text{ cm}^2", r"2\sqrt{3}"),
        (r"12\pi \text{ square units}", "12π"), ("1:2", "2:4"),
    ],
    "angles": [
        ("90", r"90^\circ"), ("45 degrees", r"45^\circ"),
        (r"\cos 60^\circ", "1/2"), (r"\frac{\pi}{2}", r"90^\circ"), ("90°", r"\pi/2"),  # mended
    ],
    "complex numbers": [
        ("3+2i", "2i+3"), (r"\sqrt{-4}", "2i"),
        ("(1+i)^2", "2i"), (r"e^{i\pi}", "-1"), ("i^2", "-1"), (r"1 + \mathrm{i}", "i + 1"),  # mended
    ],
    "large and small numbers": [
        ("1,234", "1234"), ("1000", "1{,}000"), (r"3\times10^5", "300000"), (r"\infty", "inf"), ("-oo", r"-\infty"),
        ("1.5e3", "1500"), (r"1\,000+x", "1000+x"), ("1.2e-3 x", "0.0012x"),  # mended
    ],
    "words": [(r"\text{east}", "East"), ("no solution", r"\text{No solution}"), ("42 apples", "42"), ("A", "(A)")],
}  # fmt: skip

DIFFERENT = {
    "numbers": [
        ("1/2", "1/3"), ("0.5", "0.05"), ("1/3", "0.33"), (r"\frac{3}{4}", r"\frac{4}{3}"), ("-1", "1"), ("12", "21"),
        ("1000", "10000"), ("100000.1", "100000.2"), ("0", "0.0000001"), ("1,234", "1.234"), ("1.5e3", "1.5"),
        (r"1\,000", "1"), (r"0.\overline{3}", "0.3"), (r"\infty", r"-\infty"), ("6", "3! + 1"), (r"\frac{6}{3}", "3"),
    ],
    "surds": [(r"2\sqrt{2}", r"2\sqrt{3}"), (r"\sqrt2", "1.414"), (r"\pi", "3.14")],
    "intervals and inequalities": [
        ("[1,2]", "(1,2)"), ("[1,2)", "(1,2]"), ("x>3", "x<3"), ("x>2", "y>2"), ("x>2", r"x\ge 2"),
        ("(1,5]", "1<x<5"), (r"(-\infty,1)\cup(3,\infty)", "x>1 or x<3"), (r"\mathbb{R}", r"(0,\infty)"),
    ],
    "sets": [
        ("1,2", "1,3"), ("1,2,3", "1,2"), ("5", "5,6"), ("5,6", "5"), (r"\{1,2\}", r"\{1,3\}"), (r"\emptyset", "0"),
    ],
    "matrices, vectors, tuples": [
        ("(1,2)", "(2,1)"), ("(1,2,3)", "(3,2,1)"), (r"\begin{pmatrix}1\\2\end{pmatrix}", "(2,1)"),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
        (r"\langle 1,2\rangle", "1.2"), ("5", r"\begin{pmatrix}5&0\\0&5\end{pmatrix}"),
    ],
    "equations": [
        ("x=5", "y=5"), ("x=5", "x=6"), ("x=1,y=2", "x=2,y=1"), ("5", "x=6"), ("y=2x", "y=x/2"), ("x=5", "5x"),
        (r"f(x)=2x", "g(x)=2x"),
    ],
    "expressions": [
        ("x^2", "x^3"), ("x^2", "2x"), ("a+b", "a-b"), ("e^x", "e^{-x}"), (r"\sin x", r"\cos x"),
        ("(x+1)^2", "x^2+1"), ("1/(x+1)", "1/x+1"),
    ],
    "percents, units, angles": [
        ("50%", "0.05"), ("5", "50%"), ("42 km", "42 m"), ("90°", "60°"), (r"90^\circ", r"\pi"),
        (r"\cos 60^\circ", "0"), ("1:2", "2:1"),
    ],
    "complex numbers": [("3+2i", "3-2i"), ("2i", "2"), ("i", "-i")],
    "words": [("even", "odd"), (r"\text{east}", "west"), ("yes", "no"), ("dog", "god"), ("A", "B")],
}  # fmt: skip


@pytest.fixture(scope="module")
def verify() -> Iterator[Any]:
    verifier: Any = verifiers.math(timeout=20, workers=1)
    with verifier.pool:
        yield verifier


def judge(verify: Any, expected: str | None, answer: str, reasoning: str = "Hm.") -> Verdict:
    task, trace = Task(instruction="Q?", answer=expected), Trace(reasoning=reasoning, answer=answer)
    verdict = anyio.run(partial(verify, task, trace))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("math", "answer")
    return verdict


def test_the_table_is_long() -> None:
    assert sum(map(len, SAME.values())) + sum(map(len, DIFFERENT.values())) > 160


@pytest.mark.parametrize("topic", SAME)
def test_what_is_the_same(verify: Any, topic: str) -> None:
    missed = [
        (one, other) for one, other in SAME[topic] if judge(verify, one, rf"\boxed{{{other}}}").passed is not True
    ]
    assert not missed


@pytest.mark.parametrize("topic", DIFFERENT)
def test_what_is_different(verify: Any, topic: str) -> None:
    judged = {(one, other): judge(verify, one, rf"\boxed{{{other}}}") for one, other in DIFFERENT[topic]}
    assert not [pair for pair, verdict in judged.items() if verdict.passed is not False]


@pytest.mark.parametrize(
    ("expected", "answer", "passed"),
    [
        ("42", "The answer is 42.", True),
        ("42", "So we get $x = 42$.", True),
        ("7", "First 3 + 4 = 7. So it is **7**.", True),
        (r"\frac{\sqrt2}{2}", "The answer is sqrt(2)/2.", True),
        ("x^2", r"Hence \(f(x) = x^2\).", True),
        ("18", "She makes $18 per day at the market.", True),
        (r"\frac{1}{2}", r"**Answer:** $\frac{1}{2}$", True),
        (r"\frac{1}{2}", "Final answer: 1/2 of the cake", True),
        (r"Thus $x = \boxed{4}$.", "4", True),
        ("... \n#### 72", r"\boxed{72}", True),
        ("5", "It takes 7 days.", False),
        ("5", "It takes 5 days for 3 men.", None),  # 5 is there, but so is 3
    ],
)
def test_where_the_answer_stands(verify: Any, expected: str, answer: str, passed: bool | None) -> None:
    assert judge(verify, expected, answer).passed is passed


@pytest.mark.parametrize(
    ("expected", "answer", "passed"),
    [
        ("1, 2", r"So $x=\boxed{1}$ or $x=\boxed{2}$.", True),
        ("2", r"First \boxed{1}, then \boxed{2}.", True),
        ("1", r"First \boxed{1}, then \boxed{2}.", False),
        (r"Either \boxed{1} or \boxed{2}.", r"\{2, 1\}", True),
        (r"Either \boxed{1} or \boxed{2}.", "2", False),
        (r"\boxed{3}, so \boxed{3}", "3", True),
        ("4", r"\boxed{\text{The answer is } 4}", True),
    ],
)
def test_several_boxes(verify: Any, expected: str, answer: str, passed: bool) -> None:
    assert judge(verify, expected, answer).passed is passed


@pytest.mark.parametrize(
    "expected",
    [None, " ", "??", r"\frac{1}{", "The claim follows from Zorn's lemma by induction", "(" * 4000],
)
def test_without_a_reference_that_can_be_read_it_does_not_apply(verify: Any, expected: str | None) -> None:
    verdict = judge(verify, expected, "Answer: 42")
    assert (verdict.passed, verdict.applies) == (None, False)
    assert "reference answer" in (verdict.reason or "")


def test_what_cannot_be_read_could_not_be_told(verify: Any) -> None:
    for answer in (r"\boxed{\frac{1}{}", r"\boxed{}", r"\boxed{" + "x" * 5000 + "}"):
        verdict = judge(verify, "x^2", answer)
        assert (verdict.passed, verdict.applies) == (None, True), answer
    assert judge(verify, "no solution", r"\boxed{\emptyset}").passed is None


def test_the_reference_is_the_first_argument(verify: Any) -> None:
    # A range may answer a question for an interval in any way; an equation is unwrapped only as the reference allows.
    assert judge(verify, "2x+z=1", r"\boxed{1}").passed is False
    assert judge(verify, "1", r"\boxed{2x+z=1}").passed is True


def test_precision(verify: Any) -> None:
    assert judge(verify, r"\sqrt{2}", r"\boxed{1.41421}").passed is False
    rough = replace(verify, precision=3)
    assert judge(rough, r"\sqrt{2}", r"\boxed{1.4142}").passed is True
    assert judge(rough, "0.3333", r"\boxed{1/3}").passed is True
    assert judge(rough, r"\sqrt{2}", r"\boxed{1.42}").passed is False


def test_what_never_ends_is_killed() -> None:
    hasty: Any = verifiers.math(timeout=1.5, workers=1)
    with hasty.pool:
        assert judge(hasty, r"\sqrt{4}", r"\boxed{\frac{4}{2}}").passed is True
        start = time.monotonic()
        verdict = judge(hasty, "1", r"\boxed{9^{9^{9^9}}}")
        assert (verdict.passed, verdict.applies) == (None, True)
        assert (verdict.reason or "").endswith("took longer than 1.5 s: killed")
        assert 1.5 <= time.monotonic() - start < 10
        assert judge(hasty, r"\sqrt{4}", r"\boxed{\frac{4}{2}}").passed is True


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reasoning=st.text(min_size=1, max_size=40), pair=st.sampled_from(SAME["surds"] + DIFFERENT["surds"]))
def test_the_reasoning_never_changes_a_verdict(verify: Any, reasoning: str, pair: tuple[str, str]) -> None:
    expected, answer = pair
    reasoning = rf"a{reasoning} \boxed{{17}}".replace("<", "")
    assert judge(verify, expected, answer, reasoning) == judge(verify, expected, answer)


def test_it_can_be_sent_to_another_process_and_its_settings_are_seen() -> None:
    verify: Any = verifiers.math()
    again = pickle.loads(pickle.dumps(verify))
    assert again == verify
    assert again.__name__ == "math"
    assert identity_of(again) == identity_of(verify) == identity_of(verifiers.math(workers=5))
    assert identity_of(verify) != identity_of(verifiers.math(precision=5))
    assert not verify.pool._workers


def test_bad_settings_are_refused() -> None:
    for precision in (-1, 16):
        with pytest.raises(ConfigError, match="precision"):
            verifiers.math(precision=precision)
    with pytest.raises(ConfigError, match="positive"):
        verifiers.math(timeout=0)


def test_without_the_package_the_pip_line_is_told() -> None:
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "math_verify" else find(name, *rest)
from cot_distill import verifiers
try:
    verifiers.math()
except ImportError as error:
    print(error)
print("sympy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        "verifiers.math() needs an optional package: pip install 'cot_distill[math]'",
        "False",
    ], done.stderr


def benchmark() -> ModuleType:
    path = Path(__file__).parent.parent / "benchmarks" / "math_answers.py"
    spec = importlib.util.spec_from_file_location("math_answers", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["math_answers"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_pathological_inputs_stall_nothing() -> None:
    math_answers = benchmark()
    checks = math_answers.checks(300, share=0.01)
    odd = [check for check in checks if check.same is None]
    result = anyio.run(partial(math_answers.run, checks, timeout=1.5, workers=2))
    assert len(result.verdicts) == 300
    assert len(odd) == 3
    judged = [(check, verdict) for check, verdict, _ in result.verdicts if check.same is not None]
    # On a machine that is busy with other things, an honest one may run out of time too; but none is misjudged.
    assert not [check for check, verdict in judged if verdict.passed is not check.same and verdict.passed is not None]
    assert sum(verdict.passed is check.same for check, verdict in judged) > 0.5 * len(judged)
    killed = [verdict for _, verdict, _ in result.verdicts if "killed" in (verdict.reason or "")]
    assert killed
    assert result.seconds < 110
