"""Words, runs of words, and what makes two texts the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.filters._text import check_part, digest, folded, grams, question, text_of, words
from cot_distill.types import Message, Sample, Task, Trace


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is 2 + 2?", ["what", "is", "2", "2"]),
        ("It's “fine”—really.", ["it", "s", "fine", "really"]),
        ("snake_case and **bold**", ["snake", "case", "and", "bold"]),
        (r"\frac{1}{2}", ["frac", "1", "2"]),
        ("Straße ＡＢＣ", ["strasse", "abc"]),
        ("解方程x=3。", ["解", "方", "程", "x", "3"]),
        ("これは", ["こ", "れ", "は"]),
        ("Решите уравнение", ["решите", "уравнение"]),
        ("… + −", []),
        ("", []),
    ],
)
def test_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@given(st.text(st.characters(max_codepoint=127)))
def test_plain_text_is_split_like_any_other(text: str) -> None:
    assert words(text) == words(f"{text} é")[:-1]


@given(st.lists(st.text("ab", min_size=1, max_size=2), max_size=12), st.integers(1, 14))
def test_grams_are_all_the_runs_of_so_many_words(found: list[str], n: int) -> None:
    runs = list(grams(found, n))
    if len(found) < n:
        assert runs == [" ".join(found)]
    else:
        assert runs == [" ".join(found[start : start + n]) for start in range(len(found) - n + 1)]


def test_folding_leaves_what_has_a_meaning() -> None:
    assert folded(" a \n\tb ") == "a b"
    assert folded("cafe\u0301") == folded("café")
    for one, other in [("2 + 2", "2 - 2"), ("x²", "x2"), ("print('A')", "print('a')"), ("a b", "ab")]:
        assert folded(one) != folded(other)


def test_a_digest_is_the_same_in_another_process() -> None:
    text = "Ω and half a pair: \ud83d"
    code = "from cot_distill.filters._text import digest; print(digest('Ω and half a pair: \\ud83d'))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == digest(text)
    assert 0 <= digest(text) < 2**64
    assert digest("a") != digest("b")


def test_the_texts_of_a_sample() -> None:
    turns = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello"),
        Message(role="user", content="2 + 2?"),
    )
    sample = Sample(task=Task(messages=turns), trace=Trace(reasoning="2 and 2.", answer="4"))
    found = {part: text_of(sample, part) for part in ("reasoning", "answer", "both", "instruction")}
    assert found == {
        "reasoning": "2 and 2.",
        "answer": "4",
        "both": "2 and 2.\n\n4",
        "instruction": "Hi\n\nHello\n\n2 + 2?",
    }
    assert question(Task(instruction="2 + 2?", system="Be brief.")) == "2 + 2?"


def test_a_part_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="any must be 'reasoning', 'answer' or 'both', not 'thinking'"):
        check_part("thinking", "any")
