"""What there is to do for a task, given what earlier sessions left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from cot_distill import templates
from cot_distill.identity import identity_of
from cot_distill.judging import Judge
from cot_distill.ledger import Ledger
from cot_distill.planning import Job, Planner, Settings
from cot_distill.protocols import Verifier
from cot_distill.records import Slot, digest_of, verdict_mark
from cot_distill.retry import Tries
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Message, Sampling, Task, ThinkTags, Trace, Usage, Verdict

GOOD = Completion(reasoning="r", content="a", trace_kind="full")


def right(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="right", passed=True)


MARK = verdict_mark([digest_of(identity_of(right)), "None"])


def task(number: int = 0, **changes: object) -> Task:
    return Task.model_validate({"id": number, "instruction": f"question {number}", "answer": "4", **changes})


def slot(one: Task, attempt: int = 0) -> Slot:
    return Slot.make(one, attempt, 0, one.prompt())


class Desk:
    """A planner over what an earlier session wrote."""

    def __init__(self, path: Path, write: Callable[[Ledger], None]) -> None:
        with Ledger(path, writable=True) as ledger:
            write(ledger)
        self.path = path
        self.earlier: list[int] = []

    def open(self, *, verifiers: Sequence[Verifier] = (), attempts: int = 1, until_passed: int | None = None) -> Desk:
        self.ledger = Ledger(self.path, writable=True)
        settings = Settings(
            teacher=ScriptedTeacher([]),
            template=self.template,
            verifiers=tuple(verifiers),
            sampling=Sampling(),
            attempts=attempts,
            until_passed=until_passed,
            concurrency=1,
            retries=0,
            require_reasoning=True,
            tags=ThinkTags(),
            prefilled="auto",
        )
        judge = Judge(verifiers, self.ledger)
        self.rendered = 0
        self.planner = Planner(
            settings, judge, self.ledger, self.ledger.known(said=True), earlier=self.earlier.append
        )  # fmt: skip
        return self

    def template(self, task: Task) -> Sequence[Message]:
        self.rendered += 1
        return templates.solve(task)

    def jobs(self, *tasks: Task) -> list[Job]:
        return [job for order, one in enumerate(tasks) for job in self.planner.jobs(one, order)]

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.journal.close()


def kinds(path: Path) -> list[str]:
    with Ledger(path, writable=False) as ledger:
        return [entry.head.kind for entry in ledger.journal.index.entries()]


def answered(*tasks: Task, judged: bool = False, attempts: int = 1) -> Callable[[Ledger], None]:
    def write(ledger: Ledger) -> None:
        for one in tasks:
            for attempt in range(attempts):
                ledger.completion(slot(one, attempt), GOOD, Sampling(), Tries(1))
                if judged:
                    said = {"id": Verdict(by="right", passed=True, usage=Usage())}
                    ledger.verdicts(slot(one, attempt).head("verdict"), said, mark=MARK << 1 | 1)

    return write


def test_a_task_is_rendered_once_for_all_its_attempts(tmp_path: Path) -> None:
    with Desk(tmp_path, answered()).open(attempts=3) as desk:
        jobs = desk.jobs(task(1))
        assert desk.rendered == 1
    assert [job.slots for job in jobs] == [(slot(task(1), attempt),) for attempt in range(3)]


def test_what_needs_nothing_is_counted_and_is_no_job(tmp_path: Path) -> None:
    with Desk(tmp_path, answered(task(0), task(1), judged=True)).open(verifiers=[right]) as desk:
        assert [job.slots[0].task.id for job in desk.jobs(task(0), task(1), task(2))] == [2]
        assert desk.earlier == [1, 1, 0]
        assert desk.planner.answer_to(slot(task(2))) is None
    assert kinds(tmp_path) == ["completion", "verdict"] * 2


def test_what_lacks_a_verdict_is_a_job_and_its_answer_is_there(tmp_path: Path) -> None:
    with Desk(tmp_path, answered(task(0))).open(verifiers=[right]) as desk:
        (job,) = desk.jobs(task(0))
        known = desk.planner.answer_to(job.slots[0])
        assert known is not None
        assert desk.ledger.answer(known).completion == GOOD


def test_a_corrected_task_is_booked_once_and_its_verdict_is_void(tmp_path: Path) -> None:
    corrected = task(0, answer="5")
    with Desk(tmp_path, answered(task(0), judged=True)).open(verifiers=[right]) as desk:
        (job,) = desk.jobs(corrected)
        known = desk.planner.answer_to(job.slots[0])
        assert known is not None
        assert (known.content, known.verdict, desk.ledger.said_of(known)) == (slot(corrected).content, 0, {})
    assert kinds(tmp_path) == ["completion", "verdict", "task"]
    with Desk(tmp_path, answered()).open(verifiers=[right]) as desk:  # the next session
        assert len(desk.jobs(corrected)) == 1
    assert kinds(tmp_path) == ["completion", "verdict", "task"]
    with Desk(tmp_path, answered()).open() as desk:  # back again, and nobody judges
        assert desk.jobs(task(0)) == []
    assert kinds(tmp_path) == ["completion", "verdict", "task", "task"]


def test_a_task_in_other_words_is_asked_again_and_not_corrected(tmp_path: Path) -> None:
    reworded = task(0, instruction="another question", answer="5")
    with Desk(tmp_path, answered(task(0), judged=True)).open(verifiers=[right]) as desk:
        (job,) = desk.jobs(reworded)
        assert desk.planner.answer_to(job.slots[0]) is None
    assert kinds(tmp_path) == ["completion", "verdict"]


@pytest.mark.parametrize(("wanted", "jobs"), [(1, []), (2, []), (3, [[2, 3]])])
def test_attempts_that_passed_are_counted(tmp_path: Path, wanted: int, jobs: list[list[int]]) -> None:
    desk = Desk(tmp_path, answered(task(0), judged=True, attempts=2))
    with desk.open(verifiers=[right], attempts=4, until_passed=wanted):
        found = desk.jobs(task(0))
    assert [[one.attempt for one in job.slots] for job in found] == jobs
    assert all(job.passed == 2 for job in found)


def test_what_only_needs_judging_comes_before_what_is_asked(tmp_path: Path) -> None:
    def write(ledger: Ledger) -> None:
        ledger.completion(slot(task(0), 1), GOOD, Sampling(), Tries(1))

    with Desk(tmp_path, write).open(verifiers=[right], attempts=3, until_passed=1) as desk:
        (job,) = desk.jobs(task(0))
    assert [one.attempt for one in job.slots] == [1, 0, 2]
