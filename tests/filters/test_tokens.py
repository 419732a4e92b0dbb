"""Length in tokens: the student's, the provider's, or about."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.errors import ConfigError
from cot_distill.lengths import Tokenizer
from cot_distill.types import Sample, Task, Trace, TraceKind, Usage


def sample(
    reasoning: str = "a b c", answer: str = "d e", *, usage: Usage | None = None, kind: TraceKind = "full"
) -> Sample:
    trace = Trace(reasoning=reasoning, answer=answer)
    return Sample(task=Task(instruction="2 + 2?"), trace=trace, usage=usage or Usage(), trace_kind=kind)


def reason(one: Sample, **options: Any) -> str:
    """What is said of a sample that is longer than a token."""
    said: list[str] = []
    assert not list(filters.within_tokens(maximum=1, on_drop=lambda _, why: said.append(why), **options)([one]))
    return said[0]


USAGE = Usage(completion_tokens=70, reasoning_tokens=50)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("reasoning", "50 tokens of reasoning, more than 1"),
        ("answer", "20 tokens of answer, more than 1"),
        ("both", "70 tokens of reasoning and answer, more than 1"),
    ],
)
def test_the_count_of_the_provider_is_taken(part: str, said: str) -> None:
    assert reason(sample(usage=USAGE), part=part) == said


def test_a_count_of_hidden_reasoning_is_not_that_of_the_text() -> None:
    summary = sample(usage=USAGE, kind="summary")
    assert reason(summary) == "about 3 tokens of reasoning, more than 1"
    assert reason(summary, part="both") == "about 6 tokens of reasoning and answer, more than 1"
    assert reason(summary, part="answer") == "20 tokens of answer, more than 1"


@pytest.mark.parametrize("usage", [Usage(), Usage(reasoning_tokens=0), Usage(completion_tokens=9)])
def test_without_a_count_it_is_about(usage: Usage) -> None:
    assert reason(sample(usage=usage)) == "about 3 tokens of reasoning, more than 1"


class Encoder:
    """Like a tokenizer of transformers: it adds a token in front, and calling it gives a dict of two lists."""

    def encode(self, text: str) -> list[int]:
        return [0, *map(len, text.split())]

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": self.encode(text), "attention_mask": []}


def count_words(text: str) -> int:
    return len(text.split())


def words_of(text: str) -> Sized:
    return text.split()


@pytest.mark.parametrize("tokenizer", [Encoder(), count_words, words_of])
def test_a_tokenizer_goes_before_the_count_of_the_provider(tokenizer: Tokenizer) -> None:
    one = sample(usage=USAGE)
    assert reason(one, tokenizer=tokenizer) == "3 tokens of reasoning, more than 1"
    assert reason(one, tokenizer=tokenizer, part="answer") == "2 tokens of answer, more than 1"
    assert reason(one, tokenizer=tokenizer, part="both") == "5 tokens of reasoning and answer, more than 1"


@given(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6))
def test_both_bounds_belong_to_it(low: int, width: int, length: int) -> None:
    one = sample("w " * length)
    keep = filters.within_tokens(low, low + width, tokenizer=count_words)
    assert bool(list(keep([one]))) == (low <= length <= low + width)
    assert bool(list(filters.within_tokens(low, tokenizer=count_words)([one]))) == (low <= length)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs a minimum, a maximum, or both"),
        ({"minimum": -1}, r"within_tokens\(minimum\) takes a whole number"),
        ({"maximum": 1.5}, r"within_tokens\(maximum\) takes a whole number"),
        ({"minimum": 5, "maximum": 4}, "keeps nothing"),
        ({"minimum": 1, "tokenizer": 7}, "a tokenizer has `encode` or is a function"),
        ({"minimum": 1, "part": "all"}, "'reasoning', 'answer' or 'both'"),
    ],
)
def test_settings_that_are_none_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        filters.within_tokens(**arguments)


def test_what_a_tokenizer_raises_surfaces() -> None:
    def broken(text: str) -> int:
        raise RuntimeError("no vocabulary")

    with pytest.raises(RuntimeError, match="no vocabulary"):
        list(filters.within_tokens(1, tokenizer=broken)([sample()]))
