"""What holds for every filter: it chooses, and neither changes, reorders, guesses nor holds back."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.protocols import Filter
from cot_distill.types import Sample, Task, Trace, Usage, Verdict

ROOT = Path(__file__).parent.parent.parent

WORDS = ["one", "two", "three", "four", "five", "six", "seven"]

ALL: dict[str, Callable[..., Filter]] = {
    "balance(level, 2)": lambda **options: filters.balance(by="level", per=2, **options),
    "clean": filters.clean,
    "decontaminate(benchmark 1)": lambda **options: filters.decontaminate(
        ["one two three", "five five"], n=2, part="all", **options
    ),
    "dedup(reasoning)": filters.dedup,
    "dedup(answer)": lambda **options: filters.dedup(by="answer", **options),
    "dedup(instruction)": lambda **options: filters.dedup(by="instruction", **options),
    "dedup(both, near=0.5)": lambda **options: filters.dedup(by="both", near=0.5, **options),
    "dedup(instruction, near=0.5)": lambda **options: filters.dedup(by="instruction", near=0.5, **options),
    "longest(2)": lambda **options: filters.longest(2, **options),
    "pass_rate(0.3, 0.8)": lambda **options: filters.pass_rate(0.3, 0.8, **options),
    "passed": filters.passed,
    "per_task(2)": lambda **options: filters.per_task(2, **options),
    "sample(3)": lambda **options: filters.sample(3, **options),
    "shortest(1)": filters.shortest,
    "within_tokens(3, 8)": lambda **options: filters.within_tokens(3, 8, **options),
    "within_tokens(3, …)": lambda **options: filters.within_tokens(3, tokenizer=str.split, **options),
}
WAITING = {"longest(2)", "pass_rate(0.3, 0.8)", "sample(3)", "shortest(1)"}
"""Those that need more than the sample at hand."""


def made(name: str, **options: Any) -> Filter:
    if "near" in name:
        pytest.importorskip("rensa")
    return ALL[name](**options)


texts = st.lists(st.sampled_from([*WORDS, "<|im_end|>"]), min_size=1, max_size=9).map(" ".join)
attempts = st.tuples(texts, texts, st.sampled_from([True, False, None]), st.sampled_from([None, 2, 5, 9]))


@st.composite
def runs(draw: st.DrawFn) -> list[Sample]:
    """Samples as a run has them: by task and attempt, with holes where an attempt failed."""
    samples = []
    for number in range(draw(st.integers(0, 6))):
        task = Task(
            id=draw(st.sampled_from([number, f"t{number}"])), instruction=draw(texts), metadata={"level": number % 2}
        )
        for attempt in sorted(draw(st.sets(st.integers(0, 5), max_size=5))):
            reasoning, answer, passed, tokens = draw(attempts)
            samples.append(
                Sample(
                    task=task,
                    trace=Trace(reasoning=reasoning, answer=answer),
                    verdicts=(Verdict(by="v", passed=passed),),
                    attempt=attempt,
                    usage=Usage(reasoning_tokens=tokens),
                )
            )
    return samples


def test_every_filter_is_tested_here() -> None:
    assert {re.split(r"\W", name)[0] for name in ALL} == set(filters.__all__) - {"OnDrop", "limit"}


@pytest.mark.parametrize("name", ALL)
def test_a_filter_has_a_readable_name(name: str) -> None:
    assert made(name).__name__ == name
    assert made(name, on_drop=lambda sample, reason: None).__name__ == name


@pytest.mark.parametrize("name", ALL)
@given(samples=runs())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_came_in_was_kept_or_dropped_with_a_reason(
    name: str, samples: list[Sample], caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[Sample] = []

    def on_drop(sample: Sample, reason: str) -> None:
        assert reason
        dropped.append(sample)

    choose = made(name, on_drop=on_drop)
    caplog.clear()
    with caplog.at_level(logging.INFO, "cot_distill"):
        kept = list(choose(iter(samples)))
    # The same objects, in their old order, each in one of the two places.
    places = {id(sample): place for place, sample in enumerate(samples)}
    kept_at, dropped_at = ([places[id(sample)] for sample in part] for part in (kept, dropped))
    assert kept_at == sorted(set(kept_at))
    assert sorted(kept_at + dropped_at) == list(range(len(samples)))
    line = f"filters.{name}: {len(samples)} in, {len(kept)} kept, {len(dropped)} dropped"
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.INFO] == [line]
    # A second time, from the same filter and from a new one: the same.
    dropped.clear()
    assert list(choose(samples)) == kept
    assert list(made(name)(samples)) == kept


@pytest.mark.parametrize("name", sorted(ALL.keys() - WAITING))
def test_one_sample_is_read_at_a_time(name: str) -> None:
    read = []

    def endless() -> Iterator[Sample]:
        for number in count():
            read.append(number)
            text = f"{number} {number + 1} {number + 2} {number + 3}"
            yield Sample(
                task=Task(id=number, instruction=text, metadata={"level": number}),
                trace=Trace(reasoning=text, answer=text),
                verdicts=(Verdict(by="v", passed=True),),
            )

    kept = made(name)(endless())
    for number in range(3):
        assert next(kept).task.id == number
        assert read[-1] == number


@pytest.mark.parametrize("name", ["shortest(1)", "longest(2)", "pass_rate(0.3, 0.8)"])
def test_what_compares_attempts_reads_one_sample_beyond_a_task(name: str) -> None:
    read = []

    def endless() -> Iterator[Sample]:
        for number in count():
            read.append(number)
            yield Sample(
                task=Task(id=number // 4, instruction="2 + 2?"),
                trace=Trace(reasoning="2 and 2 make 4.", answer="4"),
                verdicts=(Verdict(by="v", passed=number % 2 == 0),),
                attempt=number % 4,
            )

    kept = made(name)(endless())
    assert next(kept).task.id == 0
    assert read == [0, 1, 2, 3, 4]


def test_the_counts_are_logged_also_when_the_consumer_stops(caplog: pytest.LogCaptureFixture) -> None:
    sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
    with caplog.at_level(logging.INFO, "cot_distill"):
        kept = filters.per_task(2)([sample] * 9)
        next(kept)
        kept.close()  # type: ignore[attr-defined]
    assert caplog.messages == ["filters.per_task(2): 1 in, 1 kept, 0 dropped (stopped early)"]


def test_what_on_drop_raises_surfaces() -> None:
    def refuse(sample: Sample, reason: str) -> None:
        raise RuntimeError(reason)

    sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
    with pytest.raises(RuntimeError, match="already has 1"):
        list(filters.per_task(1, on_drop=refuse)([sample] * 2))


def test_the_guide_has_a_row_for_each_filter() -> None:
    text = (ROOT / "docs/choose.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(\w+)", text, re.MULTILINE)
    assert sorted(table) == sorted(set(filters.__all__) - {"OnDrop"})


def test_every_option_is_in_the_docstring() -> None:
    for name in set(filters.__all__) - {"OnDrop"}:
        function = getattr(filters, name)
        for option in inspect.signature(function).parameters:
            assert re.search(rf"^ +{option}: ", function.__doc__, re.MULTILINE), f"{name}({option})"
