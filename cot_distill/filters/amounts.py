"""Filters that look at how many there are: of a kind, or in all."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Hashable, Iterator

from cot_distill.arguments import check_function, check_text, shown
from cot_distill.errors import ConfigError
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop, at_least
from cot_distill.filters._text import digest
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["balance", "sample"]


def balance(*, by: str | Callable[[Sample], Hashable], per: int, on_drop: OnDrop | None = None) -> Filter:
    """Keep at most ``per`` samples of each kind: the first ones that come.

    Args:
        by: What the kind is: a key of ``Task.metadata``, or a function of the sample.
        per: How many of each kind, at most.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter. It remembers a number for each kind.

    Raises:
        ConfigError: ``per`` is below 1, or ``by`` neither text nor function. When it is used: a task has no such
            key, or its value cannot be counted.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> tasks = [Task(id=n, instruction="2 + 2?", metadata={"level": n // 3}) for n in range(4)]
        >>> [one.task.id for one in balance(by="level", per=2)(Sample(task=task, trace=trace) for task in tasks)]
        [0, 1, 3]
    """
    at_least(1, per, "balance(per=…)")
    if callable(by):
        check_function(by, "balance(by=…)", "a sample")
    else:
        check_text(by, "balance(by=…)")
    kind_of = by if callable(by) else _metadata(by)

    def decide(samples: Iterator[Sample]) -> Decisions:
        taken: Counter[Hashable] = Counter()
        for one in samples:
            kind = kind_of(one)
            try:
                taken[kind] += 1
            except TypeError:
                text = f"task {one.task.id!r}: balance(by=…) gives {kind!r}, which cannot be counted: give text"
                raise ConfigError(text) from None
            yield one, None if taken[kind] <= per else f"there are {per} of {kind!r} already"

    name = by if isinstance(by, str) else getattr(by, "__name__", "…")
    return Dropping(f"balance({name}, {per})", decide, on_drop)


def sample(n: int, seed: int = 0, *, on_drop: OnDrop | None = None) -> Filter:
    """Keep ``n`` samples, drawn at random, in the order in which they came.

    Every sample has the same chance. Which ones are drawn depends on their task's id, their attempt and the seed
    alone, so a run that has grown gives mostly the same ones again.

    Args:
        n: How many, at most.
        seed: Another seed draws other ones.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        A filter. It holds ``n`` samples in memory, and yields the first one when all have come.

    Raises:
        ConfigError: ``n`` is negative.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> samples = [Sample(task=Task(id=n, instruction="2 + 2?"), trace=trace) for n in range(100)]
        >>> [one.task.id for one in sample(3)(samples)] == [one.task.id for one in sample(3)(samples)]
        True
    """
    at_least(0, n, "sample(n)")
    if not isinstance(seed, int):
        raise ConfigError(f"sample(seed=…) takes a whole number, not {shown(seed)}")

    def decide(samples: Iterator[Sample]) -> Decisions:
        # The n smallest of as many random numbers. The heap has the largest of them on top, hence the minus.
        drawn: list[tuple[int, int, Sample]] = []
        for place, one in enumerate(samples):
            entry = (-digest(repr((seed, one.task.id, one.attempt))), -place, one)
            out = entry if not n else heapq.heappushpop(drawn, entry) if len(drawn) == n else None
            if out is None:
                heapq.heappush(drawn, entry)
            else:
                yield out[2], "not drawn"
        for _, _, one in sorted(drawn, key=lambda entry: -entry[1]):
            yield one, None

    return Dropping(f"sample({n})", decide, on_drop)


def _metadata(key: str) -> Callable[[Sample], Hashable]:
    def value(one: Sample) -> Hashable:
        metadata = one.task.metadata
        if key not in metadata:
            there = ", ".join(map(repr, metadata)) or "nothing"
            raise ConfigError(
                f"the metadata of task {one.task.id!r} has no {key!r}, but {there}: name another key, or pass a "
                "function such as lambda sample: sample.task.metadata.get(…)"
            )
        found: Hashable = metadata[key]
        return found

    return value
