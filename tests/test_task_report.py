"""What became of each task, and which reference answers are doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cot_distill.task_report import TaskReport, task_reports
from cot_distill.types import Failure, Sample, Task, Trace, Verdict


def sample(
    answer: str, passed: bool | None, number: int = 0, *, about: Any = "answer", gold: str | None = "42"
) -> Sample:
    return Sample(
        task=Task(id=number, instruction="q", answer=gold),
        trace=Trace(reasoning="r", answer=answer),
        verdicts=(Verdict(by="v", passed=passed, about=about),),
    )


def failure(number: int = 0) -> Failure:
    return Failure(task=Task(id=number, instruction="q"), stage="request", kind="http", message="no")


def only(outcomes: Sequence[Sample | Failure]) -> TaskReport:
    ((report, attempts),) = task_reports(outcomes)
    assert attempts == list(outcomes)
    return report


def test_attempts_are_grouped_by_task_and_counted() -> None:
    outcomes = [
        sample("42", True),
        sample("1", False),
        failure(),
        sample("2", None, 1),
        failure(2),
        sample("3", False, 3),
    ]
    reports = [report for report, _ in task_reports(outcomes)]
    assert [(one.task.id, one.attempts, one.samples, one.passed, one.wrong) for one in reports] == [
        (0, 3, 2, 1, 1),
        (1, 1, 1, 0, 0),
        (2, 1, 0, 0, 0),
        (3, 1, 1, 0, 1),
    ]
    assert [one.pass_rate for one in reports] == [0.5, None, None, 0.0]
    assert [one.solved for one in reports] == [True, None, False, False]


def test_a_reference_that_most_samples_contradict_is_doubtful() -> None:
    report = only(
        [sample("Answer: 17", False), sample("It is\nAnswer: $17$", False), sample("42", True), sample("17", False)]
    )
    assert (report.agreed, report.votes, report.is_suspect) == ("17", 3, True)


@pytest.mark.parametrize(
    "outcomes",
    [
        [sample("17", False)] * 2,  # too few
        [sample(str(n), False) for n in range(5)],  # wrong, each in another way
        [*[sample("17", False)] * 3, *[sample("42", True)] * 3],  # as many say what the reference says
        [sample("17", False, about="quality")] * 5,  # not the answer was wrong
        [sample("17", False, gold=None)] * 5,  # there is no reference
        [sample("17", None)] * 5,  # nobody called it wrong
    ],
)
def test_other_references_are_not(outcomes: list[Sample]) -> None:
    assert not only(outcomes).is_suspect
