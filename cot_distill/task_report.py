"""What became of one task over all its attempts: how hard it is, and whether its reference answer can be trusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from cot_distill.answers import agreement
from cot_distill.outcome import Outcome
from cot_distill.types import Failure, Sample, Task

__all__ = ["TaskReport", "task_reports"]

_SUSPECT_VOTES = 3
_SUSPECT_SHARE = 0.6


class TaskReport(BaseModel):
    """The attempts at one task."""

    model_config = ConfigDict(frozen=True)

    task: Task
    attempts: int
    samples: int
    passed: int
    """Samples that every verifier passed."""
    wrong: int
    agreed: str | None = None
    """The final answer that most of several wrong samples give, where the task has a reference answer."""
    votes: int = 0
    """How many samples give it."""

    @property
    def pass_rate(self) -> float | None:
        """Share of the judged samples that are right; None where none was judged."""
        judged = self.passed + self.wrong
        return self.passed / judged if judged else None

    @property
    def solved(self) -> bool | None:
        """Whether there is a right sample; None where there was nothing to judge."""
        return True if self.passed else False if self.wrong or not self.samples else None

    @property
    def is_suspect(self) -> bool:
        """Whether the reference answer is doubtful: most samples agree with one another, and not with it.

        At least three samples and three in five of all must give the same answer, and be wrong by the reference.
        """
        return self.votes >= _SUSPECT_VOTES and self.votes >= _SUSPECT_SHARE * self.samples


def task_reports(outcomes: Iterable[Outcome]) -> Iterator[tuple[TaskReport, list[Outcome]]]:
    """Group outcomes, which must be ordered by task, and report on each task."""
    for _, group in groupby(outcomes, key=lambda outcome: outcome.task.id):
        attempts = list(group)
        yield _report(attempts), attempts


def _report(attempts: Sequence[Outcome]) -> TaskReport:
    samples = [outcome for outcome in attempts if not isinstance(outcome, Failure)]
    wrong = [sample for sample in samples if sample.passed is False]
    task = attempts[-1].task
    agreed, votes = _disagreeing(samples) if task.answer is not None else (None, 0)
    return TaskReport(
        task=task,
        attempts=len(attempts),
        samples=len(samples),
        passed=sum(sample.passed is True for sample in samples),
        wrong=len(wrong),
        agreed=agreed,
        votes=votes,
    )


def _disagreeing(samples: Sequence[Sample]) -> tuple[str | None, int]:
    """The answer that most samples give whose *answer* a verifier called wrong, and how many do.

    A sample that is wrong in its form only says nothing about the reference.
    """
    answers = [
        sample.trace.answer
        for sample in samples
        if any(verdict.passed is False and verdict.about == "answer" for verdict in sample.verdicts)
    ]
    return agreement(answers) if len(answers) >= _SUSPECT_VOTES else (None, 0)
