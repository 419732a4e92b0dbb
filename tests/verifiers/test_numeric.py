"""Numbers are read as people and models write them, and compared without a float in between."""

from __future__ import annotations

import pickle
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import numeric


def judge(gold: str | None, answer: str, reasoning: str = "Hm.", **settings: float) -> Verdict:
    verdict = numeric(**settings)(Task(instruction="Q?", answer=gold), Trace(reasoning=reasoning, answer=answer))  # type: ignore[arg-type]
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("42", "It is 42 apples."),
        ("1,234.5", "1234.5"),
        ("1,234.5", "1 234,5"),
        ("1234", "1{,}234"),
        ("1234", "1'234"),
        ("3/4", r"\boxed{\frac{3}{4}}"),
        ("0.75", "3/4"),
        ("1.5", "1 1/2"),
        ("0.5", "½"),
        ("320000", r"3.2 \times 10^5"),
        ("1500000", "1.5 million"),
        ("50%", "0.5"),
        ("50%", "50"),
        ("50", "50 %"),
        ("42 km", "42,000 m"),
        ("42 km", "42"),
        ("-5", "\u22125"),
        ("$42", "42 dollars"),
        ("7", "x = 7"),
        ("42", "First I thought 41, but\n**Answer:** 42"),
        ("2", r"So \boxed{2}, not 3."),
    ],
)
def test_the_same_number(gold: str, answer: str) -> None:
    verdict = judge(gold, answer)
    assert (verdict.passed, verdict.about) == (True, "answer"), verdict.reason


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("42", "41"),
        ("42", "-42"),
        ("42 km", "42 m"),
        ("0.333", "1/3"),
        ("3.14", "3.14159"),
        ("1000", "1.000"),
        ("42", "Paris"),
        ("42", "between 40 and 44"),
    ],
)
def test_another_number(gold: str, answer: str) -> None:
    verdict = judge(gold, answer)
    assert verdict.passed is False
    assert verdict.reason


@pytest.mark.parametrize(("gold", "answer"), [("42 km", "42 kg"), ("42", "Answer: 41 or 42")])
def test_what_cannot_be_told(gold: str, answer: str) -> None:
    verdict = judge(gold, answer)
    assert (verdict.passed, verdict.applies) == (None, True)


@pytest.mark.parametrize("gold", [None, "", "Paris", "1e999999999", "from 3 to 5"])
def test_a_reference_that_is_no_number(gold: str | None) -> None:
    assert judge(gold, "42").applies is False


def test_tolerances() -> None:
    assert judge("3.14", "3.14159", rel_tol=0.01).passed is True
    assert judge("100", "101", abs_tol=1).passed is True
    assert judge("100", "102", abs_tol=1).passed is False
    for wrong in ({"rel_tol": -1.0}, {"abs_tol": float("nan")}):
        with pytest.raises(ConfigError):
            numeric(**wrong)


NUMBERS = st.decimals(min_value=-(10**12), max_value=10**12, places=4, allow_nan=False)


@given(NUMBERS, st.sampled_from(["{}", "{:,}", "Answer: {}", r"\boxed{{{}}}", "It is **{}**.", "$x = {}$"]))
def test_every_way_of_writing_a_number_is_read_back(number: Decimal, form: str) -> None:
    assert judge(str(number), form.format(number)).passed is True


@given(NUMBERS, NUMBERS)
def test_different_numbers_are_told_apart(one: Decimal, other: Decimal) -> None:
    assert judge(str(one), f"Answer: {other}").passed is (one == other)


@given(st.integers(-10_000, 10_000), st.integers(1, 999))
def test_fractions_are_exact(top: int, bottom: int) -> None:
    fraction = Fraction(top, bottom)
    sign = "-" if top < 0 else ""
    for text in (f"{top}/{bottom}", rf"\boxed{{{sign}\frac{{{abs(top)}}}{{{bottom}}}}}"):
        assert judge(f"{fraction.numerator}/{fraction.denominator}", text).passed is True
    assert judge(f"{top}/{bottom}", f"{top + 1}/{bottom}").passed is False


@given(st.text(max_size=60), st.text(max_size=60), st.text(min_size=1, max_size=40))
def test_any_text_gets_a_verdict_and_the_reasoning_never_moves_it(gold: str, answer: str, reasoning: str) -> None:
    try:
        traces = [Trace(reasoning=text, answer=answer) for text in ("Hm.", f"Hm. {reasoning} \\boxed{{1}}")]
    except ValueError:
        return
    first, second = (numeric()(Task(instruction="Q?", answer=gold), trace) for trace in traces)
    assert first == second


def test_it_can_be_sent_to_another_process() -> None:
    task, trace = Task(instruction="Q?", answer="4"), Trace(reasoning="r", answer="4")
    assert pickle.loads(pickle.dumps(numeric(rel_tol=0.1)))(task, trace).passed is True
