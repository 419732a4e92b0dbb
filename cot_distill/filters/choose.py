"""Filters that look at one sample at a time."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import islice

from cot_distill.errors import ConfigError
from cot_distill.protocols import Filter
from cot_distill.types import Sample

__all__ = ["clean", "limit", "passed"]

log = logging.getLogger("cot_distill")

_UNCLEAN = re.compile(
    r"<\|[A-Za-z][\w:-]*\|?>"  # <|im_end|>, <|eot_id|>, <|endoftext|>, <|channel>
    r"|<｜[^<>｜]{1,64}｜>"  # DeepSeek: <｜Assistant｜>, <｜end▁of▁sentence｜>
    r"|<(?:start|end)_of_turn>|<bos>|<eos>"  # Gemma
    r"|\[/?INST\]|<</?SYS>>|</?s>"  # Mistral, Llama 2
    r"|[\ud800-\udfff]"  # half a surrogate pair, which no file in UTF-8 can hold
)


def passed(samples: Iterable[Sample], /) -> Iterator[Sample]:
    """Keep the samples that every verifier found right (``sample.passed is True``).

    Args:
        samples: The samples, with their verdicts.

    Yields:
        The right ones.

    Raises:
        ConfigError: A sample carries no verdict, so that nothing has been verified: without this the dataset
            would be empty for no visible reason.

    Example:
        >>> from cot_distill.types import Task, Trace, Verdict
        >>> trace = Trace(reasoning="2 and 2 make 4.", answer="4")
        >>> right, wrong = (Verdict(by="exact", passed=passed) for passed in (True, False))
        >>> judged = [Sample(task=Task(instruction="2 + 2?"), trace=trace, verdicts=(v,)) for v in (right, wrong)]
        >>> len(list(passed(judged)))
        1
    """
    for sample in samples:
        if not sample.verdicts:
            raise ConfigError(
                f"the sample of task {sample.task.id!r} has no verdict, so `passed` cannot choose: give the "
                "Distiller `verifiers=[…]`, judge the finished run with `run.judge(…)`, or leave `passed` out"
            )
        if sample.passed is True:
            yield sample


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
    if n < 0:
        raise ConfigError(f"limit(n) needs n >= 0, got {n}")
    return lambda samples: islice(samples, n)


def clean(samples: Iterable[Sample], /) -> Iterator[Sample]:
    """Drop samples whose reasoning or answer holds chat control tokens, or half a surrogate pair.

    A tokenizer reads ``<|im_end|>``, ``<｜Assistant｜>``, ``[INST]`` and their kind as the end of the turn, wherever
    they stand; a student then learns to stop in mid-thought. Only teachers that write *about* chat formats give
    such samples, so this is not on by default. How many were dropped is logged as a warning.

    Args:
        samples: The samples.

    Yields:
        Those without such text.

    Example:
        >>> from cot_distill.types import Task, Trace
        >>> odd = Trace(reasoning="It ends with <|im_end|>.", answer="4")
        >>> list(clean([Sample(task=Task(instruction="2 + 2?"), trace=odd)]))
        []
    """
    dropped = 0
    try:
        for sample in samples:
            if _UNCLEAN.search(sample.trace.reasoning) or _UNCLEAN.search(sample.trace.answer):
                dropped += 1
            else:
                yield sample
    finally:  # also when the consumer stops early
        if dropped:
            log.warning("filters.clean dropped %d samples that hold chat control tokens", dropped)
