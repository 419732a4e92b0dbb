"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from cot_distill.errors import VerifierError
from cot_distill.identity import identity_of, name_of
from cot_distill.judging import Judge
from cot_distill.ledger import Known, Ledger, Slot, verdict_mark
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure, Sample, Sampling, Task, Trace, Verdict

pytestmark = pytest.mark.anyio


def slot(number: int = 0) -> Slot:
    task = Task(id=number, instruction=f"question {number}")
    return Slot.make(task, 0, number, task.prompt())


def sample(number: int = 0) -> Sample:
    return Sample(task=slot(number).task, trace=Trace(reasoning="r", answer=f"answer {number}"))


def right(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="right", passed=True, score=0.5, reason=trace.answer)


async def slow_and_wrong(task: Task, trace: Trace) -> Verdict:
    await anyio.sleep(0)
    return Verdict(by="slow_and_wrong", passed=False)


class Unsure:
    def __call__(self, task: Task, trace: Trace) -> Verdict:
        return Verdict(by="unsure", passed=None)


def crashing(task: Task, trace: Trace) -> Verdict:
    if int(task.id) < 100:
        raise ZeroDivisionError(f"task {task.id}")
    return Verdict(by="crashing", passed=True)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "run", writable=True) as opened:
        for number in range(3):
            opened.completion(
                slot(number), Completion(reasoning="r", content=f"answer {number}"), Sampling(), Tries(1)
            )
        yield opened


def booked(path: Path) -> list[tuple[tuple[Verdict, ...], str | None]]:
    with Ledger(path / "run", writable=False) as ledger:
        return [(record.verdicts, record.crash) for record in ledger.records()]


async def test_all_verifiers_are_asked_in_order_sync_or_async() -> None:
    outcome = await Judge([right, slow_and_wrong, Unsure()], None)(slot().head("verdict"), sample())
    assert isinstance(outcome, Sample)
    assert [(verdict.by, verdict.passed) for verdict in outcome.verdicts] == [
        ("right", True),
        ("slow_and_wrong", False),
        ("unsure", None),
    ]
    assert outcome.passed is False


async def test_without_verifiers_samples_pass_through(tmp_path: Path, ledger: Ledger) -> None:
    given = sample()
    assert await Judge([], ledger)(slot().head("verdict"), given) is given
    assert booked(tmp_path) == [((), None)] * 3


async def test_verdicts_are_booked_with_their_answer(tmp_path: Path, ledger: Ledger) -> None:
    await Judge([right], ledger)(slot(1).head("verdict"), sample(1))
    verdict = Verdict(by="right", passed=True, score=0.5, reason="answer 1")
    assert booked(tmp_path) == [((), None), ((verdict,), None), ((), None)]


async def test_one_crash_is_a_failure_and_is_booked(tmp_path: Path, ledger: Ledger) -> None:
    judge = Judge([right, crashing], ledger)
    outcome = await judge(slot(2).head("verdict"), sample(2))
    assert isinstance(outcome, Failure)
    assert (outcome.stage, outcome.kind, outcome.message) == (
        "verify",
        "verifier_error",
        "ZeroDivisionError: task 2",
    )
    assert booked(tmp_path)[2] == ((), None)  # held back until it is known whether the verifiers work at all
    judge.flush()
    assert booked(tmp_path)[2] == ((), "ZeroDivisionError: task 2")


async def test_a_verifier_must_return_a_verdict() -> None:
    outcome = await Judge([lambda task, trace: True], None)(slot().head("verdict"), sample())  # type: ignore[list-item]
    assert isinstance(outcome, Failure)
    assert outcome.message == "TypeError: <lambda> returned bool, not a Verdict"


async def test_nothing_but_crashes_is_the_fault_of_the_verifier() -> None:
    judge = Judge([crashing], None)
    for number in range(2):
        assert isinstance(await judge(slot(number).head("verdict"), sample(number)), Failure)
    with pytest.raises(VerifierError, match=r"ZeroDivisionError: task 2 \(task 2\).*kept") as caught:
        await judge(slot(2).head("verdict"), sample(2))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


async def test_crashes_are_only_odd_traces_once_one_could_be_judged() -> None:
    judge = Judge([crashing], None)
    for number in (0, 100, 1, 2, 3, 4):
        outcome = await judge(slot(number).head("verdict"), sample(number))
        assert isinstance(outcome, Sample if number == 100 else Failure)


async def test_being_cancelled_is_no_crash(tmp_path: Path, ledger: Ledger) -> None:
    async def endless(task: Task, trace: Trace) -> Verdict:
        await anyio.sleep(60)
        raise AssertionError

    with anyio.move_on_after(0.01) as scope:
        await Judge([endless], ledger)(slot().head("verdict"), sample())
    assert scope.cancelled_caught
    assert booked(tmp_path) == [((), None)] * 3


@pytest.mark.parametrize(
    ("kind", "judged_by", "due"),
    [
        ("completion", None, True),
        ("completion", ["right", "Unsure"], False),
        ("completion", ["Unsure", "right"], False),  # the order of verifiers changes nothing
        ("completion", ["right"], True),
        ("completion", ["right", "Unsure", "more"], True),
        ("cut", None, False),
        ("failure", None, False),
        ("refusal", None, False),
        ("reopened", None, False),
    ],
)
@pytest.mark.parametrize("passed", [True, False])
async def test_an_answer_is_due_unless_just_these_verifiers_judged_it(
    kind: str, judged_by: list[str] | None, due: bool, passed: bool
) -> None:
    identities = {"right": identity_of(right), "Unsure": identity_of(Unsure())}
    judges = [*(identities.get(name, name) for name in judged_by or ()), "None"]
    mark = 0 if judged_by is None else verdict_mark(judges) << 1 | passed
    known = Known(number=0, kind=kind, prompt=b"p", content=b"c", mark=0, verdict=mark)
    assert Judge([right, Unsure()], None).is_due(known) is due
    assert Judge([], None).is_due(known) is False


async def test_a_verifier_has_the_name_of_its_function_or_class() -> None:
    assert name_of(right) == "right"
    assert name_of(slow_and_wrong) == "slow_and_wrong"
    assert name_of(Unsure()) == "Unsure"
    assert name_of(partial(right)) == "partial"
