"""Numbers are read as people and models write them, and compared without a float in between."""

from __future__ import annotations

import pickle
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

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


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("42 km", "42 kg"),
        ("$5", "5 €"),
        ("42", "Answer: 41 or 42"),
        ("7", "x = 7 or x = -7"),
        ("42", "There are 42 apples in 3 boxes."),
        ("6", "The answer is 42, since 6 * 7 = 42."),  # the reference is there, but not as the answer
        ("3.5", r"\boxed{2\sqrt{3}}"),
        ("5", "Answer: 2 + 3"),
        ("3", "Answer: 3:30"),
        ("5", "Answer: 1e999999999"),
        ("5", "5 and 6, " * 5000),
    ],
)
def test_what_cannot_be_told(gold: str, answer: str) -> None:
    verdict = judge(gold, answer)
    assert (verdict.passed, verdict.applies) == (None, True), verdict.reason


@pytest.mark.parametrize(
    ("gold", "answer", "passed"),
    [
        ("42", "Answer: 3 + 39 = 42", True),
        ("42", "42 = x", True),
        ("42", "So $x \\approx 42$ km.", True),
        ("72", "Therefore, she sold 48 + 24 = 72 clips altogether in April and May.", True),
        ("42", "**42** is it, which is 6 times 7.", True),
        ("42", "Step **1** and step **2**.\nThe answer is 42.", True),
        ("14", "Step 1: 3+4 = 7\nStep 2: 7*2 = 14", True),
        ("0.5", "Answer: 0.5 (50%)", True),
        ("41", "There are 42 apples in 3 boxes.", False),
        ("3", "Answer: 3 + 39 = 42", False),
    ],
)
def test_which_of_several_numbers_counts(gold: str, answer: str, passed: bool) -> None:
    verdict = judge(gold, answer)
    assert verdict.passed is passed, verdict.reason


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("1/3", "0.3333333", True),
        ("1/3", "0.33333", False),
        ("0.3", "0.30000000000000004", True),
        ("100000.1", "100000.2", False),
        ("10000000", "10000001", False),
        ("1e-9", "2e-9", False),
        ("0", "0.0000001", False),
    ],
)
def test_how_close_is_the_same(gold: str, answer: str, same: bool) -> None:
    assert judge(gold, answer).passed is same


@pytest.mark.parametrize("gold", ["about 42 apples", "x = 42", "So it is 42.\n#### 42", r"\boxed{42}", "42 (in km)"])
def test_a_reference_may_have_words_around(gold: str) -> None:
    verdict = judge(gold, "42")
    assert verdict.passed is True, verdict.reason


@pytest.mark.parametrize(
    "gold", [None, "", "Paris", "Apollo 11", "1,5", "(3, 4)", r"2\sqrt{3}", "1e999999999", "from 3 to 5"]
)
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


def test_the_table_in_the_guide_is_true() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8").partition("### Numbers")[2]
    says = {
        "right": (True, True),
        "wrong": (False, True),
        "cannot tell": (None, True),
        "does not apply": (None, False),
    }
    rows = [
        line.strip("| \n").split(" | ") for line in guide.partition("###")[0].splitlines() if line.startswith("| ")
    ]
    assert len(rows) > 8
    for golds, answer, verdict, _ in rows[1:]:
        for gold in golds.split(" or "):
            found = judge(gold.strip("` "), answer.strip("` "))
            assert (found.passed, found.applies) == says[verdict], (gold, answer)
