"""A filter is a generator of decisions; the rest is done for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cot_distill.errors import ConfigError
from cot_distill.filters._dropping import Decisions, Dropping, at_least, by_task, judged
from cot_distill.identity import name_of
from cot_distill.types import Sample, Task, Trace


def sample(task: int | str, attempt: int = 0) -> Sample:
    trace = Trace(reasoning="2 and 2 make 4.", answer="4")
    return Sample(task=Task(id=task, instruction="2 + 2?"), trace=trace, attempt=attempt)


def test_a_filter_of_ones_own_in_five_lines() -> None:
    def even(samples: Iterator[Sample]) -> Decisions:
        for one in samples:
            yield one, "odd" if one.attempt % 2 else None

    reasons = []
    choose = Dropping("even", even, lambda one, reason: reasons.append((one.attempt, reason)))
    assert [one.attempt for one in choose(sample(1, attempt) for attempt in range(5))] == [0, 2, 4]
    assert reasons == [(1, "odd"), (3, "odd")]
    assert name_of(choose) == "even"


def test_the_decisions_are_closed_when_the_consumer_stops() -> None:
    closed = []

    def decide(samples: Iterator[Sample]) -> Decisions:
        try:
            for one in samples:
                yield one, None
        finally:
            closed.append(True)

    kept = Dropping("any", decide)([sample(1)] * 3)
    next(kept)
    assert not closed
    kept.close()  # type: ignore[attr-defined]
    assert closed


def test_attempts_of_a_task_are_gathered_as_long_as_they_are_side_by_side() -> None:
    stream = [sample(1), sample(1, 1), sample("1"), sample(2), sample(1, 2)]
    assert [[(one.task.id, one.attempt) for one in group] for group in by_task(stream)] == [
        [(1, 0), (1, 1)],
        [("1", 0)],
        [(2, 0)],
        [(1, 2)],
    ]


def test_only_one_task_is_held() -> None:
    read = []

    def stream() -> Iterator[Sample]:
        for number in range(100):
            read.append(number)
            yield sample(number // 3, number % 3)

    groups = by_task(stream())
    assert len(next(groups)) == 3
    assert len(read) == 4


def test_a_sample_that_nobody_judged_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"task 7 has no verdict, so `any` cannot choose.*verifiers=.*leave `any` out"
    ):
        judged(sample(7), "any")


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None])
def test_a_number_that_is_too_small_or_none_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"^any\(k\) takes a whole number from 1 on, not "):
        at_least(1, value, "any(k)")  # type: ignore[arg-type]
