"""Filters that look at one sample at a time, and ask nothing but whether it is good."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import overload

from cot_distill.control_tokens import CONTROL_TOKENS
from cot_distill.filters._dropping import Decisions, Dropping, OnDrop, at_least, judged
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["clean", "limit", "passed"]

log = logging.getLogger("cot_distill")

_UNCLEAN = re.compile(
    f"{CONTROL_TOKENS.pattern}"
    r"|[\ud800-\udfff]"  # half a surrogate pair, which no file in UTF-8 can hold
)


@overload
def passed(samples: Iterable[Sample], /, *, on_drop: OnDrop | None = None) -> Iterator[Sample]: ...
@overload
def passed(*, on_drop: OnDrop | None = None) -> Filter: ...
def passed(samples: Iterable[Sample] | None = None, /, *, on_drop: OnDrop | None = None) -> Iterator[Sample] | Filter:
    """Keep the samples that every verifier found right (``sample.passed is True``).

    Use it as it is, or call it with ``on_drop`` to get a filter that has it.

    Args:
        samples: The samples, with their verdicts.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        The right ones; without samples, a filter.

    Raises:
        ConfigError: A sample carries no verdict, so that nothing has been verified: without this the dataset
            would be empty for no visible reason.

    Example:
        >>> from cot_distill.types import Task, Trace, Verdict
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> right, wrong = (Verdict(by="exact", passed=passed) for passed in (True, False))
        >>> samples = [Sample(task=Task(instruction="2 + 2?"), trace=trace, verdicts=(v,)) for v in (right, wrong)]
        >>> len(list(passed(samples)))
        1
    """
    choose = Dropping("passed", _passed, on_drop)
    return choose if samples is None else choose(samples)


def limit(n: int) -> Filter:
    """Keep the first ``n`` samples. Nothing is read beyond them.

    Args:
        n: How many, at most.

    Returns:
        A filter.

    Raises:
        ConfigError: ``n`` is negative.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> len(list(limit(2)([sample] * 5)))
        2
    """
    at_least(0, n, "limit(n)")

    def first(samples: Iterator[Sample]) -> Decisions:
        for sample in islice(samples, n):
            yield sample, None

    return Dropping(f"limit({n})", first)


@overload
def clean(samples: Iterable[Sample], /, *, on_drop: OnDrop | None = None) -> Iterator[Sample]: ...
@overload
def clean(*, on_drop: OnDrop | None = None) -> Filter: ...
def clean(samples: Iterable[Sample] | None = None, /, *, on_drop: OnDrop | None = None) -> Iterator[Sample] | Filter:
    """Drop samples whose reasoning or answer holds chat control tokens, or half a surrogate pair.

    A tokenizer reads ``<|im_end|>``, ``<｜Assistant｜>``, ``[INST]`` and their kind as the end of the turn, wherever
    they stand; a student then learns to stop in mid-thought. Only teachers that write *about* chat formats give
    such samples, so this is not on by default. How many were dropped is logged as a warning.

    Use it as it is, or call it with ``on_drop`` to get a filter that has it.

    Args:
        samples: The samples.
        on_drop: Is told of each sample that is dropped, and why.

    Returns:
        Those without such text; without samples, a filter.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> odd = Trace(reasoning="It ends with <|im_end|>.", answer="4")
        >>> list(clean([Sample(task=Task(instruction="2 + 2?"), trace=odd)]))
        []
    """
    choose = Dropping("clean", _clean, on_drop)
    return choose if samples is None else choose(samples)


def _passed(samples: Iterator[Sample]) -> Decisions:
    for sample in samples:
        yield sample, None if judged(sample, "passed").passed else _why_not(sample)


def _why_not(sample: Sample) -> str:
    """What the verdict says that kept a sample from being right."""
    wrong = sample.passed is False
    verdict = next(one for one in sample.verdicts if one.passed is (False if wrong else None))
    return f"{'wrong' if wrong else 'cannot tell'}, says {verdict.by}: {verdict.reason or 'no reason given'}"


def _clean(samples: Iterator[Sample]) -> Decisions:
    dropped = 0
    try:
        for sample in samples:
            reason = _unclean(sample)
            dropped += reason is not None
            yield sample, reason
    finally:  # also when the consumer stops early
        if dropped:
            log.warning("filters.clean dropped %d samples that hold chat control tokens", dropped)


def _unclean(sample: Sample) -> str | None:
    for part, text in (("reasoning", sample.trace.reasoning), ("answer", sample.trace.answer)):
        if found := _UNCLEAN.search(text):
            return f"the {part} holds {ascii(found[0]) if len(found[0]) == 1 else found[0]}"
    return None
