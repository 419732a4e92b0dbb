"""Runs of words that stand in one of many texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.filters._overlap import Overlap

TEXT = "The quick brown fox jumps over the lazy dog, and then it sleeps for an hour in the sun."


def overlap(*texts: str, n: int = 5) -> Overlap:
    made = Overlap(n)
    for place, text in enumerate(texts):
        made.add(text, place)
    return made


@pytest.mark.parametrize(
    ("text", "passage"),
    [
        ("We know: the QUICK brown fox – jumps. Really?", "the quick brown fox jumps"),
        ("Look, over the lazy dog and then it sleeps, or not.", "over the lazy dog and then it sleeps"),
        ("sleeps for an hour in the sun", "sleeps for an hour in the sun"),
        ("the quick brown fox sleeps", None),
        ("jumps fox brown quick the", None),
        ("quick brown fox jumps", None),  # shorter than a run
        ("", None),
    ],
)
def test_the_first_passage_is_found_as_long_as_it_goes_on(text: str, passage: str | None) -> None:
    assert overlap("Something else.", TEXT).find(text) == (None if passage is None else (1, passage))


words = st.lists(st.sampled_from("abcd"), max_size=20)


@given(st.lists(words, max_size=6), words, st.integers(1, 6))
def test_as_if_all_runs_had_been_compared(texts: list[list[str]], text: list[str], n: int) -> None:
    made = overlap(*(" ".join(one) for one in texts), n=n)

    def runs(one: list[str]) -> list[list[str]]:
        return [one[start : start + n] for start in range(len(one) - n + 1)]

    held = [run for one in texts for run in runs(one)]
    hits = [run for run in runs(text) if run in held]
    found = made.find(" ".join(text), whole=False)
    if not hits:
        assert found is None
    else:
        assert found is not None
        place, passage = found
        assert passage.split()[:n] == hits[0]
        assert hits[0] in runs(texts[place])
        assert all(hits[0] not in runs(one) for one in texts[:place])
        assert all(run in held for run in runs(passage.split()))


def test_a_short_text_is_found_as_a_whole_and_with_its_signs() -> None:
    made = overlap("What is 2 + 2?", "∑", TEXT, n=13)
    assert made.find("what  is 2+2") == (0, "what is 2 2")
    assert made.find("∑.") == (1, "∑.")
    for other in ("What is 2 - 2?", "What is 2 + 22?", "What is 2 + 2 now?", "What is"):
        assert made.find(other) is None
    assert made.find("what is 2+2", whole=False) is None


def test_texts_can_come_after_a_search() -> None:
    made = overlap(TEXT)
    assert made.find("one two three four five") is None
    made.add("one two three four five", 1)
    assert made.find("one two three four five") == (1, "one two three four five")
    assert made.find(TEXT) is not None


def test_nothing_is_found_in_nothing() -> None:
    assert Overlap(3).find(TEXT) is None


def test_a_run_takes_twelve_bytes() -> None:
    made = overlap(*(" ".join(f"{number}w{place}" for place in range(60)) for number in range(500)), n=13)
    made.find("")
    assert len(made) == 500 * 48
    assert made._hashes.itemsize * len(made._hashes) + made._places.itemsize * len(made._places) == 12 * len(made)
