"""The attempts at one task, sorted by what the verifiers said, and the counts that explain an empty dataset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from cot_distill.arguments import shown
from cot_distill.errors import ConfigError
from cot_distill.types import Sample

__all__ = ["Attempts", "Tally", "by_task"]


log = logging.getLogger("cot_distill")

_REMEMBERED = 16
_ORDER = "the samples of a task must stand side by side"


class Attempts(NamedTuple):
    """The samples of one task: each text once, in the order of the attempts.

    A text that was found right and wrong is in neither: one of the two verdicts is a mistake.
    """

    right: list[Sample]
    wrong: list[Sample]
    unjudged: list[Sample]

    def of(self, passed: bool | None) -> list[Sample]:
        """The samples with this verdict."""
        return {True: self.right, False: self.wrong, None: self.unjudged}[passed]


@dataclass
class Tally:
    """What went by. Only numbers are kept."""

    samples: Counter[bool | None] = field(default_factory=Counter)
    tasks: int = 0
    scattered: bool = False
    """Whether a task came back after another one: then its samples did not stand side by side."""

    def nothing(self, what: str, hint: str) -> ConfigError:
        """The error to raise where not one row came out.

        Args:
            what: What there is none of.
            hint: The way out where there would be something to choose from.

        Returns:
            The error, with the counts and the way out.
        """
        right, wrong, unjudged = (self.samples[passed] for passed in (True, False, None))
        counts = f"{self.tasks} tasks, {right} samples right, {wrong} wrong, {unjudged} not judged"
        return ConfigError(f"there is no {what} ({counts}): {self._way_out(right, wrong, hint)}")

    def _way_out(self, right: int, wrong: int, hint: str) -> str:
        if not self.tasks:
            return "no sample came in; look at run.report()"
        if self.scattered:
            return f"{_ORDER}, as run.samples() gives them"
        if not right and not wrong:
            return f"give the Distiller `verifiers=[…]`, or judge the run with `run.judge(…)`; then {hint}"
        if not wrong:
            return f"pass run.samples(), which has the wrong ones too (exports leave them out), and {hint}"
        if not right:
            return f"nothing is right; look at the reasons in the verdicts of run.samples(), or {hint}"
        return hint


def by_task(samples: Iterable[Sample], tally: Tally) -> Iterator[Attempts]:
    """Sort the samples of one task after the other.

    Args:
        samples: Ordered by task.
        tally: Counts them.

    Yields:
        The attempts at each task.

    Raises:
        ConfigError: One of them is no sample.
    """
    first: set[int | str] = set()  # not of all tasks: samples that are sorted in another way show soon
    for task_id, group in groupby(map(_sample, samples), key=lambda sample: sample.task.id):
        if task_id in first and not tally.scattered:
            tally.scattered = True
            log.warning("pairs: task %r comes a second time: %s", task_id, _ORDER)
        if len(first) < _REMEMBERED:
            first.add(task_id)
        texts: dict[tuple[str, str], list[Sample]] = {}
        for sample in group:
            tally.samples[sample.passed] += 1
            texts.setdefault(_folded(sample), []).append(sample)
        attempts = Attempts([], [], [])
        for same in texts.values():
            said = {sample.passed for sample in same} - {None} or {None}
            if len(said) == 1:
                passed = said.pop()
                attempts.of(passed).append(next(sample for sample in same if sample.passed is passed))
        tally.tasks += 1
        yield attempts


def _sample(one: object) -> Sample:
    if not isinstance(one, Sample):
        raise ConfigError(f"pairs are made of samples, not of {shown(one)}: pass run.samples()")
    return one


def _folded(sample: Sample) -> tuple[str, str]:
    """Texts that differ in white space only are no pair to learn from."""
    return " ".join(sample.trace.reasoning.split()), " ".join(sample.trace.answer.split())
