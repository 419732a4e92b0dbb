"""The final answer is found where models put it, and compared without pedantry about how it is written."""

from __future__ import annotations

import pickle
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.answers import final_answer, normalise
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import exact


def judge(expected: str | None, answer: str, reasoning: str = "Hm.") -> Verdict:
    verdict = exact()(Task(instruction="Q?", answer=expected), Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("42", "42"),
        (r"So \boxed{42}.", "42"),
        (r"First \boxed{1}, no: \boxed{2}.", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed {7}", "7"),
        (r"$\boxed{\{1, 2\}}$", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a \boxed{b} c}", "b"),
        (r"} \boxed{5} { \boxed", "5"),
        (r"\boxed{5} and the torn \boxed{6", "5"),
        ("Answer: 7\nbut " + r"\boxed{8}", "8"),
        ("Answer: 1\nFinal answer: 2\nThat is all.", "2"),
        ("Words.\nANSWER: Paris", "Paris"),
        ("**Answer:** 42", "42"),
        ("**Final Answer**: 42", "42"),
        ("### Final answer: 42", "42"),
        ("> Answer: 42", "42"),
        ("Final answer:\n\n42", "42"),
        ("My answer: 42", "My answer: 42"),
        ("The answerable: 42", "The answerable: 42"),
        ("Answer:", "Answer:"),
    ],
)
def test_final_answer(text: str, found: str) -> None:
    assert final_answer(text).strip(" \n*") == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", " 42 \n"),
        ("Paris", "PARIS"),
        ("42", "$42$"),
        ("42", "$$42$$"),
        ("42", r"\(42\)"),
        ("42", "**42**"),
        ("42", '"42"'),
        ("42", "\u201c42\u201d"),
        ("42", "`42`"),
        ("42", "42."),
        ("42", "**$42$**."),
        ("-42", "\u221242"),
        ("1234567", "1,234,567"),
        ("1234.5", "1,234.5"),
        ("1234567", "1{,}234{,}567"),
        ("1234567", "1\u202f234\u202f567"),
        ("a b c", "a  b\tc"),
        ("42", "42 . ."),
        ("...", "..."),
    ],
)
def test_differences_in_writing_that_do_not_matter(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert judge(one, other).passed is True
    assert judge(other, one).passed is True


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ("42", "-42"),
        ("42", "4.2"),
        ("1/2", "0.5"),
        ("12", "1,2"),
        ("1,2,3", "123"),
        ("1234", "1,23,4"),
        ("12345", "1,2345"),
        ("ab", "a b"),
        ('"a" or "b"', 'a" or "b'),
        ("5", "$5$ and $6$"),
        ("4", "The result is 4"),
        ("4", ""),
    ],
)
def test_differences_that_do_matter(expected: str, answer: str) -> None:
    assert judge(expected, answer or "nothing").passed is False


def test_the_reasoning_is_not_looked_at() -> None:
    assert judge("42", "43", reasoning=r"\boxed{42}").passed is False
    assert judge("42", "42", reasoning=r"\boxed{43}").passed is True


@pytest.mark.parametrize("reference", [None, "", "  "])
def test_without_a_reference_there_is_no_judgement(reference: str | None) -> None:
    verdict = judge(reference, "42")
    assert verdict.passed is None
    assert verdict.reason == "the task has no reference answer"


def test_the_reason_says_both_and_stays_short() -> None:
    assert judge("42", "So 43").reason == "expected '42', got 'so 43'"
    long = judge("42", "word " * 1000).reason
    assert long is not None
    assert long.startswith("expected '42'")
    assert len(long) < 300


def test_the_reference_may_be_boxed_too() -> None:
    assert judge(r"Since … we get \boxed{42}.", "Answer: 42").passed is True


def test_another_way_to_find_the_answer() -> None:
    verify = exact(extract=lambda text: text.rpartition("####")[2])
    verdict = verify(Task(instruction="Q?", answer="72"), Trace(reasoning="Hm.", answer="So it is.\n#### 72"))
    assert isinstance(verdict, Verdict)
    assert verdict.passed is True


def test_it_is_named_and_can_be_sent_to_another_process() -> None:
    verify = pickle.loads(pickle.dumps(exact()))
    assert verify.__name__ == verify.name == "exact"
    assert verify(Task(instruction="Q?", answer="4"), Trace(reasoning="Hm.", answer="4")).by == "exact"
    assert verify == exact()


writing = st.text(alphabet=st.sampled_from(string.printable + "\u2212\u201c\u201dßé{}\\$*,."), max_size=60)


@given(writing)
def test_the_reference_itself_always_passes(text: str) -> None:
    if text.strip("\r\n").strip():
        assert judge(text.strip("\r\n"), text).passed is True


@given(writing)
def test_normalising_is_done_once_and_for_all(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(alphabet="x{}\\", max_size=12))
def test_boxes_are_found_whole(inside: str) -> None:
    box = rf"\boxed{{{inside}}}"
    found = final_answer(f"a {box}")
    assert found in box or found == f"a {box}"
    if "{" not in inside and "}" not in inside and not inside.endswith("\\"):
        assert found == inside


def test_a_model_in_a_loop_costs_no_time() -> None:
    text = r"\boxed{" * 100_000
    assert final_answer(text) == text
    assert normalise("." * 1_000_000) == "." * 1_000_000


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_thousands(number: int) -> None:
    assert judge(str(number), f"{number:,}").passed is True
