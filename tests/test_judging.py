"""Asking the verifiers, and booking what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from cot_distill import Distiller
from cot_distill.errors import AuthError, ConfigError, VerifierError
from cot_distill.identity import identity_of, name_of
from cot_distill.judging import Judge
from cot_distill.ledger import Ledger
from cot_distill.records import Known, Slot, digest_of, verdict_mark
from cot_distill.retry import Tries
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Failure, Sample, Sampling, Task, Trace, Usage, Verdict

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
    verdicts, crash = booked(tmp_path)[2]
    assert crash == "ZeroDivisionError: task 2"
    assert [verdict.by for verdict in verdicts] == ["right"]


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
    identities = {"right": digest_of(identity_of(right)), "Unsure": digest_of(identity_of(Unsure()))}
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


# With the engine: verdicts come while requests go on


def tasks(count: int) -> list[Task]:
    return [slot(number).task for number in range(count)]


def teacher() -> ScriptedTeacher:
    return ScriptedTeacher(lambda messages: ("r", messages[-1].content.split()[-1]))


class Paid:
    """Stands for a model that judges: it costs something, and says so."""

    paid = True

    def __init__(self, passed: bool | None = True) -> None:
        self.asked: list[object] = []
        self.entered = self.left = 0
        self.passed = passed
        self.digest = "paid"

    async def __aenter__(self) -> Paid:
        self.entered += 1
        return self

    async def __aexit__(self, *error: object) -> None:
        self.left += 1

    async def __call__(self, task: Task, trace: Trace) -> Verdict:
        assert self.entered == self.left + 1
        self.asked.append(task.id)
        return Verdict(by="paid", passed=self.passed, usage=Usage(prompt_tokens=10, completion_tokens=5))


async def test_a_verifier_that_blocks_does_not_hold_up_requests(tmp_path: Path) -> None:
    asking = teacher()

    def blocking(task: Task, trace: Trace) -> Verdict:
        until = time.monotonic() + 20
        while task.id != 0 and len(asking.calls) < 20:  # on the event loop this would never end well
            assert time.monotonic() < until
            time.sleep(0.005)
        return Verdict(by="blocking", passed=True)

    run = await Distiller(asking, verifiers=[blocking], concurrency=2).arun(tasks(20), tmp_path, progress=False)
    assert run.report().passed == 20


async def test_verdicts_that_take_longer_than_answers_are_left_for_the_end(tmp_path: Path) -> None:
    asking, together, most = teacher(), 0, 0

    async def slow(task: Task, trace: Trace) -> Verdict:
        nonlocal together, most
        together += 1
        most = max(most, together)
        with anyio.fail_after(20):
            while task.id != 0 and len(asking.calls) < 400:
                await anyio.sleep(0.005)
        together -= 1
        return Verdict(by="slow", passed=int(task.id) % 2 == 0)

    run = await Distiller(asking, verifiers=[slow], concurrency=4).arun(tasks(400), tmp_path, progress=False)
    report = run.report()
    assert (report.passed, report.wrong, report.unjudged) == (200, 200, 0)
    assert len(asking.calls) == 400
    assert most <= 128


async def test_what_was_left_for_the_end_is_judged_by_the_next_session_if_there_was_no_end(tmp_path: Path) -> None:
    asking = teacher()

    async def never(task: Task, trace: Trace) -> Verdict:
        if task.id != 0:
            await anyio.sleep(60)
        return Verdict(by="never", passed=True)

    async with anyio.create_task_group() as group:

        async def killed() -> None:
            await Distiller(asking, verifiers=[never], concurrency=4).arun(tasks(300), tmp_path, progress=False)

        group.start_soon(killed)
        with anyio.fail_after(30):
            while len(asking.calls) < 300:
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    run = await Distiller(asking, verifiers=[right]).arun(tasks(300), tmp_path, progress=False)
    assert run.report().passed == 300
    assert len(asking.calls) == 300


async def test_a_verdict_that_was_paid_for_is_not_asked_for_again(tmp_path: Path) -> None:
    asking, first, second = teacher(), Paid(), Paid()
    await Distiller(asking, verifiers=[first]).arun(tasks(5), tmp_path, progress=False)
    run = await Distiller(asking, verifiers=[right, second]).arun(tasks(6), tmp_path, progress=False)
    assert sorted(map(str, first.asked)) == ["0", "1", "2", "3", "4"]
    assert second.asked == [5]
    assert all([v.by for v in sample.verdicts] == ["right", "paid"] for sample in run.samples())
    third = Paid()
    await run._judge((third,))
    assert third.asked == []
    assert all([v.by for v in sample.verdicts] == ["paid"] for sample in run.samples())
    for paid, times in ((first, 1), (second, 1), (third, 1)):
        assert (paid.entered, paid.left) == (times, times)


async def test_a_verdict_that_could_not_be_told_is_asked_for_again(tmp_path: Path) -> None:
    unsure, sure = Paid(None), Paid(True)
    run = await Distiller(teacher(), verifiers=[unsure]).arun(tasks(3), tmp_path, progress=False)
    await run._judge((sure,))
    assert len(sure.asked) == 3
    assert run.report().passed == 3


async def test_what_is_wrong_already_costs_no_further_verdict() -> None:
    paid = Paid()
    async with paid:
        outcome = await Judge([slow_and_wrong, paid, right], None)(slot().head("verdict"), sample())
    assert paid.asked == []
    assert isinstance(outcome, Sample)
    assert [verdict.by for verdict in outcome.verdicts] == ["slow_and_wrong", "right"]


@pytest.mark.parametrize("error", [ConfigError("no sandbox here"), AuthError("the judge's key is wrong")])
async def test_a_verifier_that_cannot_work_ends_the_run_with_its_own_error(tmp_path: Path, error: Exception) -> None:
    async def broken(task: Task, trace: Trace) -> Verdict:
        raise error

    asking = teacher()
    with pytest.raises(type(error), match=str(error)):
        await Distiller(asking, verifiers=[broken], concurrency=2).arun(tasks(200), tmp_path, progress=False)
    assert len(asking.calls) <= 4
    run = await Distiller(asking, verifiers=[right]).arun(tasks(200), tmp_path, progress=False)
    assert len(asking.calls) == 200
    assert run.report().passed == 200


async def test_verdicts_are_there_after_a_verifier_was_changed_in_a_killed_judgement(tmp_path: Path) -> None:
    run = await Distiller(teacher(), verifiers=[right]).arun(tasks(100), tmp_path, progress=False)

    async def half(task: Task, trace: Trace) -> Verdict:
        if int(task.id) >= 50:
            raise AuthError("used up")
        return Verdict(by="half", passed=True)

    with pytest.raises(AuthError):
        await run._judge((half,))
    assert {verdict.by for sample in run.samples() for verdict in sample.verdicts} == {"half", "right"}
    assert run.report().passed == 100
