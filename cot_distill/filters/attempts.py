"""Filters that compare the attempts of a task with one another.

All of them need the attempts of a task side by side, as those of a run are, and look no further than one task. A task
that comes again later in the stream counts as another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from cot_distill.arguments import check_number
from cot_distill.errors import ConfigError
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop, at_least, by_task, judged, log
from cot_distill.filters._text import check_part
from cot_distill.filters.tokens import counted_tokens
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["Unit", "longest", "pass_rate", "per_task", "shortest"]

Unit = Literal["tokens", "characters"]
"""What the length of a reasoning is measured in."""


def shortest(k: int = 1, *, by: Unit = "tokens", on_drop: OnDrop | None = None) -> Filter:
    """Keep the ``k`` attempts of each task with the shortest reasoning. Of equal ones the earlier attempt stays.

    It chooses among what comes in: put :func:`passed` before it, or the shortest may be a wrong one.

    Args:
        k: How many of each task, at most.
        by: ``"tokens"``: as the provider counted them, if it did so for *all* attempts of the task, else in
            characters. ``"characters"``: always in characters.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter. It yields the attempts of a task in their old order, and holds those of one task in memory.

    Raises:
        ConfigError: ``k`` is below 1, or there is no such unit.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> task = Task(id=1, instruction="2 + 2?")
        >>> traces = [Trace(reasoning=text, answer="4") for text in ("2 and 2, let me see…", "2 and 2 make 4.")]
        >>> attempts = [Sample(task=task, trace=trace, attempt=number) for number, trace in enumerate(traces)]
        >>> [sample.attempt for sample in shortest()(attempts)]
        [1]
    """
    return _by_length("shortest", 1, k, by, on_drop)


def longest(k: int = 1, *, by: Unit = "tokens", on_drop: OnDrop | None = None) -> Filter:
    """Keep the ``k`` attempts of each task with the longest reasoning. Else as :func:`shortest`.

    Args:
        k: How many of each task, at most.
        by: As for :func:`shortest`.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter.

    Raises:
        ConfigError: ``k`` is below 1, or there is no such unit.
    """
    return _by_length("longest", -1, k, by, on_drop)


def per_task(k: int, *, on_drop: OnDrop | None = None) -> Filter:
    """Keep the first ``k`` samples of each task.

    Args:
        k: How many of each task, at most.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter. It holds nothing.

    Raises:
        ConfigError: ``k`` is below 1.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=trace)
        >>> len(list(per_task(2)([sample] * 5)))
        2
    """
    at_least(1, k, "per_task(k)")

    def decide(samples: Iterator[Sample]) -> Decisions:
        task_id: int | str | None = None
        taken = 0
        for sample in samples:
            if sample.task.id != task_id:
                task_id, taken = sample.task.id, 0
            taken += 1
            yield sample, None if taken <= k else f"the task already has {k}"

    return Dropping(f"per_task({k})", decide, on_drop)


def pass_rate(low: float, high: float, *, on_drop: OnDrop | None = None) -> Filter:
    """Keep all samples of tasks that the teacher gets right neither too rarely nor too often.

    The rate of a task is the share of its right samples among its right and wrong ones. What could not be judged does
    not count, nor do attempts that gave no sample (cut, refused…); a task of which nothing could be judged goes.
    ``pass_rate(0.1, 0.9)`` drops what is trivial for the teacher, and what it cannot do.

    Wrong samples must reach it, since they are what it counts. So an export lets them pass as far as this filter,
    and takes them out right after it: put it first.

    Args:
        low: The lowest rate that is kept, from 0 to 1.
        high: The highest rate that is kept, from 0 to 1.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter. It holds the samples of one task in memory, and warns if not one sample was wrong.

    Raises:
        ConfigError: The rates are not ``0 <= low <= high <= 1``. When it is used: a sample carries no verdict.

    Example:
        >>> from cot_distill.types import Task, Trace, Verdict
        >>> task, trace = Task(id=1, instruction="2 + 2?"), Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> right, wrong = (
        ...     Sample(task=task, trace=trace, verdicts=(Verdict(by="exact", passed=is_right),))
        ...     for is_right in (True, False)
        ... )
        >>> keep = pass_rate(0.1, 0.9, on_drop=lambda _, reason: print(reason))
        >>> len(list(keep([right, wrong])))
        2
        >>> len(list(keep([right])))
        1 of 1 judged attempts are right, which is more than 0.9
        0
    """
    check_number(low, "pass_rate(low)")
    check_number(high, "pass_rate(high)")
    if not 0 <= low <= high <= 1:
        raise ConfigError(f"pass_rate(low, high) needs 0 <= low <= high <= 1, got {low} and {high}")

    def decide(samples: Iterator[Sample]) -> Decisions:
        right = wrong = 0
        for attempts in by_task(judged(sample, "pass_rate") for sample in samples):
            rights, wrongs = (sum(sample.passed is found for sample in attempts) for found in (True, False))
            right, wrong = right + rights, wrong + wrongs
            reason = _off_rate(rights, rights + wrongs, low, high)
            for sample in attempts:
                yield sample, reason
        if right and not wrong:
            log.warning(
                "filters.pass_rate: not one of %d judged samples is wrong. If they were taken out before it, every "
                "rate is 1: put pass_rate first",
                right,
            )

    return Dropping(f"pass_rate({low}, {high})", decide, on_drop, needs_wrong=True)


def _by_length(name: str, sign: int, k: int, by: Unit, on_drop: OnDrop | None) -> Filter:
    at_least(1, k, f"{name}(k)")
    check_part(by, f"{name}(by=…)", ("tokens", "characters"))

    def decide(samples: Iterator[Sample]) -> Decisions:
        for attempts in by_task(samples):
            lengths, unit = _lengths(attempts, by)
            ranked = sorted(range(len(attempts)), key=lambda place: (sign * lengths[place], attempts[place].attempt))
            best = set(ranked[:k])
            kept = ", ".join(f"{lengths[place]:,}" for place in ranked[:k])
            for place, sample in enumerate(attempts):
                reason = f"{lengths[place]:,} {unit} of reasoning; {name} of the task: {kept}"
                yield sample, None if place in best else reason

    return Dropping(f"{name}({k})", decide, on_drop)


def _lengths(attempts: list[Sample], by: Unit) -> tuple[list[int], Unit]:
    """How long each reasoning is, all in the same unit."""
    tokens = [counted_tokens(sample, "reasoning") for sample in attempts] if by == "tokens" else []
    known = [count for count in tokens if count is not None]
    if len(known) == len(attempts):
        return known, "tokens"
    return [len(sample.trace.reasoning) for sample in attempts], "characters"


def _off_rate(right: int, judged_ones: int, low: float, high: float) -> str | None:
    if not judged_ones:
        return "no attempt of the task could be judged"
    rate = right / judged_ones
    if low <= rate <= high:
        return None
    bound = f"less than {low}" if rate < low else f"more than {high}"
    return f"{right} of {judged_ones} judged attempts are right, which is {bound}"
