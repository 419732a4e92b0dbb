"""An option counts by its letter and by its text, and an article is no option."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import choice

LISTED = "Capital of France?\nA) Lyon\nB) Paris\nC) Nice"


def judge(gold: str | None, answer: str, task: str = LISTED, metadata: dict[str, object] | None = None) -> Verdict:
    given = Task(instruction=task, answer=gold, metadata=metadata or {})
    verdict = choice()(given, Trace(reasoning="It is A.", answer=answer))
    assert isinstance(verdict, Verdict)
    return verdict


B = [
    "B", "b", "(B)", "B.", "B)", "(b)", "**B**", "**(B)**", "B: Paris", "B) Paris", "(B) Paris", "B - Paris",
    "**B) Paris**", "Option B", "Choice (B)", "Answer: B", "Answer: (B) Paris", "**Final answer:** b)",
    "The answer is B.", "The answer is: B", "The correct option is (B).", "The correct answer is option B: Paris.",
    "B is correct.", r"\boxed{B}", r"\boxed{\text{(B)}}", r"$\boxed{\textbf{(B) }Paris}$", "I would choose B",
    "(B) fits best",
    "So the answer is **B**, since A is in the south.", "B\n\nParis lies on the Seine.",
    "A) is wrong.\nB) is right.\nC) is wrong.\nThe answer is B.", "Option A is wrong. Option B is right.",
    "Paris", "paris.", "It is Paris, the capital.", r"\boxed{\text{Paris}}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        *(("B", answer) for answer in B),
        *((gold, "B") for gold in ("(B)", "b", "B) Paris", "Paris", r"\boxed{B}", "Answer: B")),
        *(("AC", answer) for answer in ("A and C", "C, A", "AC", "(A), (C)", "A, C", "The answers are A and C.")),
        ("A, C", "A & C"),
    ],
)
def test_the_right_option(gold: str, answer: str) -> None:
    verdict = judge(gold, answer)
    assert verdict.passed is True, verdict.reason


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        *(
            ("B", answer)
            for answer in ("A", "The answer is C.", "Nice", "A city in France", "A good question.", "None of them")
        ),
        *(("B", answer) for answer in ("A and B", "Answer: A great city", "BAC", "")),
        ("AC", "A"),
        ("A", "A and C"),
        ("A", "A city in the south"),  # an article is no option, also where it would be the right one
        ("A", "An apple"),
    ],
)
def test_another_option_or_none(gold: str, answer: str) -> None:
    verdict = judge(gold, answer or "no idea")
    assert verdict.passed is False, verdict.reason


@pytest.mark.parametrize(
    "answer",
    ["A or B", "B) Lyon", "The answer is A. No, the answer is B.", "It is Paris, not Lyon.", "It is not Paris.",
     "The answer is not A.", "Both (A) and (B) are fine with me."],
)  # fmt: skip
def test_what_cannot_be_told(answer: str) -> None:
    verdict = judge("B", answer)
    assert (verdict.passed, verdict.applies) == (None, True), verdict.reason


@pytest.mark.parametrize("gold", ["E", "1", "Rome", "", " "])
def test_a_reference_that_is_no_option(gold: str) -> None:
    assert judge(gold, "B").applies is False


def test_options_are_found_where_they_are_listed() -> None:
    inline = "Capital of France? (A) Lyon (B) Paris (C) Nice"
    twice = "Is it A) red or B) blue?\nNo, this:\nA. 12\nB. 21\n\nThink well."
    assert judge("B", "Paris", inline).passed is True
    assert judge("B", "It is 21", twice).passed is True
    assert judge("B", "It is 12", twice).passed is False
    assert judge("B", "Paris", "Capital of France?").passed is False


@pytest.mark.parametrize("text", ["A ", "answer ", "A,", "(", " ", "the ", "**", "A and ", "option A is ", "(A) "])
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    judge("B", text * 50_000 + "x")
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "choices",
    [["Lyon", "Paris"], {"A": "Lyon", "B": "Paris"}, {"b": "Paris", "a": "Lyon"}, {"1": "Lyon", "2": "Paris"},
     {"label": ["A", "B"], "text": ["Lyon", "Paris"]}],
)  # fmt: skip
def test_options_in_the_metadata(choices: object) -> None:
    assert judge("B", "Paris", "Capital?", {"choices": choices}).passed is True
    assert judge("B", "Lyon", "Capital?", {"choices": choices}).passed is False


def test_without_a_reference_it_does_not_apply() -> None:
    assert judge(None, "B").applies is False


@pytest.mark.parametrize("options", ["A", "AA", "A1", ""])
def test_options_must_be_different_letters(options: str) -> None:
    with pytest.raises(ConfigError):
        choice(options)


@given(st.text(max_size=80))
def test_any_text_gets_a_verdict(text: str) -> None:
    if text.strip() and "<think>" not in text and "</think>" not in text:
        assert judge("B", text).passed in (True, False, None)


@given(st.sampled_from(B), st.text(max_size=40))
def test_the_reasoning_never_changes_a_verdict(answer: str, reasoning: str) -> None:
    task = Task(instruction=LISTED, answer="B")
    traces = [
        Trace(reasoning=f"x{text.replace('<', '')}", answer=answer) for text in ("", f"The answer is A. {reasoning}")
    ]
    assert choice()(task, traces[0]) == choice()(task, traces[1])
