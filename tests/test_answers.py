"""What several answers agree on, and marks of a final one. What else is read is tested with `exact`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.answers import agreement, final_answer, normalise, vote


@pytest.mark.parametrize(
    ("answers", "agreed", "votes"),
    [
        (["Answer: 4"], "4", 1),
        (["Answer: 1,000", r"\boxed{1000}", "1000.0", "Answer: 7"], "1,000", 3),
        ([r"\boxed{\frac{1}{2}}", "0.5", "½", "1/3"], r"\frac{1}{2}", 3),
        (["Answer: 42 km", "Answer: 42"], "42 km", 2),
        (["It is Paris", "Answer: Paris", r"\boxed{paris}", "Answer: **Paris**."], "Paris", 3),
        (["a", "b", "b", "a"], "a", 2),  # of two the first
        (["50%", "0.5"], "50%", 1),  # which may well mean the same, but a vote must not guess
    ],
)
def test_agreement(answers: list[str], agreed: str, votes: int) -> None:
    assert agreement(answers) == (agreed, votes)


def test_nobody_agrees_on_nothing() -> None:
    with pytest.raises(ValueError, match="no answers"):
        agreement([])


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=12))
def test_a_majority_is_one(answers: list[str]) -> None:
    agreed, votes = agreement(answers)
    same = [vote(final_answer(text)) for text in answers]
    assert votes == max(map(same.count, same))
    assert agreed in [final_answer(text).strip() for text in answers]


@given(st.text(max_size=40))
def test_what_is_written_alike_votes_alike(text: str) -> None:
    assert vote(text) == vote(text.strip() + " ")
    if not vote(text).startswith("="):
        assert vote(text) == normalise(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("She sold 48 / 2 = 24.\n#### 72", "72"),
        ("#### 72", "72"),
        ("#### 1,000 \n", "1,000"),
        ("#### Summary\nIt is 5.", "#### Summary\nIt is 5."),  # a heading
        ("####72", "####72"),
        ("#### 72\n" + r"\boxed{5}", "5"),
        ("Answer: 5\n#### 72", "5"),
    ],
)
def test_the_mark_of_gsm8k_counts_on_the_last_line_only(text: str, found: str) -> None:
    assert final_answer(text) == found


@pytest.mark.parametrize(
    "text",
    ["Answer: **Paris**", "**Answer:** Paris", "**Answer: Paris**", "**Answer:** **Paris**", "Answer: **Paris**.",
     "### Final answer: **Paris**", "**Final Answer**: Paris."],
)  # fmt: skip
def test_bold_letters_are_no_part_of_an_answer(text: str) -> None:
    assert normalise(final_answer(text)) == "paris"


def test_bold_letters_within_an_answer_stay() -> None:
    assert final_answer("Answer: Paris is **big**, not **small**.") == "Paris is **big**, not **small**."
