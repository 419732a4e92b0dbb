"""What every filter here is made of: it decides about each sample, and says why one is dropped.

A filter is written as a generator that hands every sample on with its decision, ``(sample, None)`` for one that stays
and ``(sample, "too long")`` for one that goes. :class:`Dropping` makes a filter of it, and does the rest: it yields
those that stay, tells ``on_drop`` of those that go, and logs how many there were. This file knows no criterion.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

from cot_distill.arguments import check_count, check_function
from cot_distill.errors import ConfigError
from cot_distill.types import Sample

__all__ = ["Decide", "Decisions", "Dropping", "OnDrop", "at_least", "by_task", "judged"]

log = logging.getLogger("cot_distill")

OnDrop = Callable[[Sample, str], None]
"""Is told of each sample that is dropped, and why."""

Decisions = Generator[tuple[Sample, str | None], None, None]
"""Every sample once, those that stay in their old order, with why it is dropped, or None."""

Decide = Callable[[Iterator[Sample]], Decisions]
"""Called anew for each stream, so what it remembers belongs in local variables."""


@dataclass(frozen=True)
class Dropping:
    """A filter made of decisions.

    Args:
        name: What it is called in the funnel and in the log, such as ``shortest(1)``.
        decide: Decides about the samples of one stream.
        on_drop: Is told of each sample that is dropped, and why.
        needs_wrong: It compares right samples with wrong ones, so wrong ones must not be taken out before it.

    Raises:
        ConfigError: ``on_drop`` is no function of a sample and a reason.
    """

    name: str
    decide: Decide
    on_drop: OnDrop | None = None
    needs_wrong: bool = False

    def __post_init__(self) -> None:
        if self.on_drop is not None:
            check_function(self.on_drop, f"{self.name.partition('(')[0]}(on_drop=…)", "a sample", "a reason")

    @property
    def __name__(self) -> str:
        """The name, where functions have theirs."""
        return self.name

    def __call__(self, samples: Iterable[Sample], /) -> Iterator[Sample]:
        """Yield the samples that stay.

        Args:
            samples: The stream. One is read when it is needed.

        Yields:
            The samples that stay, in the order in which they came.
        """
        came = stayed = dropped = 0
        whole = False

        def counted() -> Iterator[Sample]:
            nonlocal came
            for sample in samples:
                came += 1
                yield sample

        try:
            with closing(self.decide(counted())) as decisions:
                for sample, reason in decisions:
                    if reason is None:
                        stayed += 1
                        yield sample
                    else:
                        dropped += 1
                        if self.on_drop is not None:
                            self.on_drop(sample, reason)
            whole = True
        finally:  # also when the consumer stops early
            end = "" if whole else " (stopped early)"
            log.info("filters.%s: %d in, %d kept, %d dropped%s", self.name, came, stayed, dropped, end)


def by_task(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    """Gather the attempts of each task, which must stand side by side, as those of a run do.

    Only one task is held at a time. That the same task comes again later is not noticed, since to notice it every id
    would have to be remembered: it then is a task of its own.

    Args:
        samples: The samples.

    Yields:
        The samples of one task.
    """
    for _, attempts in groupby(samples, key=lambda sample: sample.task.id):
        yield list(attempts)


def judged(sample: Sample, asking: str) -> Sample:
    """Make sure that somebody judged a sample.

    Args:
        sample: The sample.
        asking: The filter that wants to know.

    Returns:
        The sample.

    Raises:
        ConfigError: It carries no verdict, so that nothing has been verified: without this the dataset would be
            empty for no visible reason.
    """
    if not sample.verdicts:
        raise ConfigError(
            f"the sample of task {sample.task.id!r} has no verdict, so `{asking}` cannot choose: give the "
            f"Distiller `verifiers=[…]`, judge the finished run with `run.judge(…)`, or leave `{asking}` out"
        )
    return sample


def at_least(minimum: int, value: int, setting: str) -> None:
    """Refuse a number that is too small.

    Args:
        minimum: The least that makes sense.
        value: What the user gave.
        setting: The filter and its setting, such as ``limit(n)``.

    Raises:
        ConfigError: The value is below the minimum, or no whole number.
    """
    check_count(value, setting, minimum)
