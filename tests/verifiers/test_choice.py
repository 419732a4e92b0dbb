"""An option counts by its letter and by its text, and an article is no option."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        *(("B", text) for text in ("B", "(B)", "B.", "**B**", "b", "Option B", "The answer is B.", "B) Paris")),
        *(("B", text) for text in (r"\boxed{B}", r"\boxed{\text{(B)}}", "Paris", "It is Paris, the capital.")),
        ("Paris", "B"),
        ("AC", "A and C"),
        ("AC", "C, A"),
    ],
)
def test_the_right_option(gold: str, answer: str) -> None:
    assert judge(gold, answer).passed is True


@pytest.mark.parametrize(
    ("gold", "answer"), [("B", "A"), ("B", "A city in France"), ("B", "Nice"), ("AC", "A"), ("A", "A and C")]
)
def test_another_option_or_none(gold: str, answer: str) -> None:
    assert judge(gold, answer).passed is False


@pytest.mark.parametrize("answer", ["A or B", "B) Lyon"])
def test_what_cannot_be_told(answer: str) -> None:
    verdict = judge("B", answer)
    assert (verdict.passed, verdict.applies) == (None, True)


@pytest.mark.parametrize("choices", [["Lyon", "Paris"], {"A": "Lyon", "B": "Paris"}])
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
