"""Bounds on length are inclusive, in the unit that was asked for, and a guess says that it is one."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from cot_distill import verifiers
from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="2 + 2?")


def judge(trace: Trace, *bounds: int | None, **settings: Any) -> Verdict:
    verdict = verifiers.length(*bounds, **settings)(TASK, trace)
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about, verdict.applies) == ("length", "quality", True)
    return verdict


FIVE = Trace(reasoning="2 and 2 make 4.", answer="It is 4.")


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [(5, None, True), (6, None, False), (None, 5, True), (None, 4, False), (5, 5, True), (0, 9, True)],
)
def test_bounds_are_inclusive(low: int | None, high: int | None, passed: bool) -> None:
    assert judge(FIVE, low, high, unit="words").passed is passed


def test_the_reason_says_how_long_it_is_and_what_is_wanted() -> None:
    assert judge(FIVE, 6, unit="words").reason == "5 words of reasoning, fewer than 6"
    assert judge(FIVE, None, 4, unit="words").reason == "5 words of reasoning, more than 4"
    assert judge(FIVE, 1, 9, unit="words").reason == "5 words of reasoning"
    long = Trace(reasoning="word " * 12_000, answer="4")
    assert judge(long, None, 10_000, unit="words").reason == "12,000 words of reasoning, more than 10,000"


def test_parts_and_units() -> None:
    assert judge(FIVE, 1, part="answer", unit="words").reason == "3 words of answer"
    assert judge(FIVE, 1, part="both", unit="words").reason == "8 words of reasoning and answer"
    assert judge(FIVE, 1, unit="characters").reason == "15 characters of reasoning"
    assert judge(FIVE, 1, tokenizer=str.split).reason == "5 tokens of reasoning"


def test_an_estimate_says_about() -> None:
    assert judge(FIVE, 1000).reason == "about 8 tokens of reasoning, fewer than 1,000"


@pytest.mark.parametrize(
    ("bounds", "settings", "says"),
    [
        ((), {}, "at least one"),
        ((9, 3), {}, "passes nothing"),
        ((-1,), {}, "minimum=-1"),
        ((None, True), {}, "maximum=True"),
        ((1.5,), {}, "minimum=1.5"),
        (("9",), {}, "minimum='9'"),
        ((1,), {"part": "thoughts"}, "part='thoughts'"),
        ((1,), {"unit": "bytes"}, "unit='bytes'"),
        ((1,), {"tokenizer": "gpt2"}, "'gpt2' is none"),
        ((1,), {"tokenizer": str.split, "unit": "words"}, "no use for a tokenizer"),
    ],
)
def test_nonsense_is_refused(bounds: tuple[Any, ...], settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        verifiers.length(*bounds, **settings)


def test_only_what_is_quick_is_called_light() -> None:
    assert verifiers.length(1, unit="words").light  # type: ignore[attr-defined]
    assert not verifiers.length(1).light  # type: ignore[attr-defined]


class Named:
    def __init__(self, name: str) -> None:
        self.name_or_path = name
        self.vocabulary = {str(number): number for number in range(10)}

    def encode(self, text: str) -> list[str]:
        return list(text)


def test_changed_settings_are_seen_and_a_tokenizer_goes_by_its_name() -> None:
    one = identity_of(verifiers.length(1))
    assert one == identity_of(verifiers.length(1))
    others = [verifiers.length(2), verifiers.length(None, 1), verifiers.length(1, part="answer")]
    others += [verifiers.length(1, unit="words"), verifiers.length(1, tokenizer=str.split)]
    others += [verifiers.length(1, tokenizer=Named("a")), verifiers.length(1, tokenizer=Named("b"))]
    assert len({one, *map(identity_of, others)}) == 1 + len(others)
    assert identity_of(verifiers.length(1, tokenizer=Named("a"))) == identity_of(others[-2])


def test_it_can_be_sent_to_another_process() -> None:
    verify = pickle.loads(pickle.dumps(verifiers.length(6, tokenizer=str.split)))
    assert verify(TASK, FIVE).passed is False
    assert verify.__name__ == verify.name == "length"
