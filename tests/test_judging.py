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
from cot_distill.run import Run
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
        "crashing: ZeroDivisionError: task 2",
    )
    assert booked(tmp_path)[2] == ((), None)  # held back until it is known whether the verifiers work at all
    judge.flush()
    verdicts, crash = booked(tmp_path)[2]
    assert crash == "crashing: ZeroDivisionError: task 2"
    assert [verdict.by for verdict in verdicts] == ["right"]


async def test_a_verifier_must_return_a_verdict() -> None:
    outcome = await Judge([lambda task, trace: True], None)(slot().head("verdict"), sample())  # type: ignore[list-item]
    assert isinstance(outcome, Failure)
    assert outcome.message == "<lambda>: TypeError: <lambda> returned bool, not a Verdict"


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
            await anyio.wait_all_tasks_blocked()  # the last answer has come, too
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
    assert all([v.by for v in sample.verdicts] == ["right", "paid"] for sample in run.samples())
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


# Text that is none, and verdicts that were never checked

_ODD = "half \udc80, colour \x1b[31m, title \x1b]0;x\x07, \r\x85, a line\nand a tab\t."
_PLAIN = "half \\udc80, colour \\x1b[31m, title \\x1b]0;x\\x07, \\r\\x85, a line\nand a tab\t."


class Longer(Verdict):
    """A verdict with a field that no journal knows."""

    passage: str = "here"


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(by="odd\udc80", passed=True, reason=_ODD),
        Verdict(by="odd", passed=True).model_copy(update={"by": "odd\udc80", "reason": _ODD}),
        Verdict.model_construct(by="odd\udc80", passed=True, reason=_ODD),
        Longer(by="odd\udc80", passed=True, reason=_ODD),
    ],
    ids=["made", "copied", "unchecked", "subclass"],
)
async def test_text_that_no_file_can_hold_ends_no_run(tmp_path: Path, verdict: Verdict) -> None:
    async def odd(task: Task, trace: Trace) -> Verdict:
        return verdict

    asking = teacher()
    for _ in range(2):
        run = await Distiller(asking, verifiers=[odd, right]).arun(tasks(3), tmp_path, progress=False)
        assert [sample.verdicts[0] for sample in run.samples()] == [
            Verdict(by="odd\\udc80", passed=True, reason=_PLAIN)
        ] * 3
    assert len(asking.calls) == 3
    await run._judge((odd,))
    assert run.report().passed == 3


async def test_what_is_no_verdict_is_a_crash_of_the_verifier(tmp_path: Path) -> None:
    def broken(task: Task, trace: Trace) -> Verdict:
        fine = Verdict(by="broken", passed=True)
        return fine.model_copy(update={"passed": "perhaps"}) if task.id == 1 else fine

    run = await Distiller(teacher(), verifiers=[right, broken]).arun(tasks(3), tmp_path, progress=False)
    assert run.report().failures == {"verifier_error": 1}
    [failure] = run.failures()
    assert failure.message.startswith("broken: ValidationError: 1 validation error for Verdict passed")


async def test_what_a_crash_says_is_short_and_in_one_line(tmp_path: Path) -> None:
    def odd(task: Task, trace: Trace) -> Verdict:
        if task.id == 1:
            raise ValueError(f"\udc80\x1b[31m\n\nand {'so on ' * 10_000}")
        return Verdict(by="odd", passed=True)

    for _ in range(2):
        run = await Distiller(teacher(), verifiers=[odd]).arun(tasks(3), tmp_path, progress=False)
        [failure] = run.failures()
        assert failure.message.startswith(r"odd: ValueError: \udc80\x1b[31m and so on so on")
        assert len(failure.message) == 2000


# Judging again: what stays, and what is replaced


class Checker:
    """A verifier with a name, settings and a count of its calls."""

    def __init__(self, name: str, passed: bool = True, version: int = 1) -> None:
        self.__name__ = name
        self.passed = passed
        self.digest = f"{name} {version}"
        self.asked = 0

    def __call__(self, task: Task, trace: Trace) -> Verdict:
        self.asked += 1
        return Verdict(by=self.__name__, passed=self.passed)


def said(run: Run) -> list[list[tuple[str, bool | None]]]:
    """What was said of each sample, each different list once."""
    found: list[list[tuple[str, bool | None]]] = []
    for one in run.samples():
        verdicts = [(verdict.by, verdict.passed) for verdict in one.verdicts]
        if verdicts not in found:
            found.append(verdicts)
    return found


async def test_verdicts_of_other_verifiers_stay_and_those_of_the_same_name_are_replaced(tmp_path: Path) -> None:
    run = await Distiller(teacher(), verifiers=[Checker("a", passed=False)]).arun(tasks(3), tmp_path, progress=False)
    await run._judge((Checker("b"),))
    assert said(run) == [[("a", False), ("b", True)]]
    assert run.report().wrong == 3
    await run._judge((Checker("a", version=2), Checker("c")))
    assert said(run) == [[("b", True), ("a", True), ("c", True)]]
    assert run.recipe.verifiers == Run.open(tmp_path).recipe.verifiers == ("a", "b", "c")
    await run._judge((Checker("d"),), keep=False)
    assert said(run) == [[("d", True)]]
    assert run.recipe.verifiers == ("d",)


async def test_a_verdict_is_replaced_by_its_own_name_too_where_the_verifier_has_another(tmp_path: Path) -> None:
    def first(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="checker", passed=False)

    def second(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="checker", passed=True)

    run = await Distiller(teacher(), verifiers=[first, right]).arun(tasks(2), tmp_path, progress=False)
    await run._judge((second,))
    assert said(run) == [[("right", True), ("checker", True)]]


async def test_after_adding_a_verifier_a_session_that_has_them_all_judges_nothing_anew(tmp_path: Path) -> None:
    first, second = Checker("a"), Checker("b")
    run = await Distiller(teacher(), verifiers=[first, first]).arun(tasks(3), tmp_path, progress=False)
    await run._judge((second,))
    assert (first.asked, second.asked) == (6, 3)
    run = await Distiller(teacher(), verifiers=[second, first, first]).arun(tasks(3), tmp_path, progress=False)
    assert (first.asked, second.asked) == (6, 3)
    assert said(run) == [[("a", True), ("a", True), ("b", True)]]
    run = await Distiller(teacher(), verifiers=[first]).arun(tasks(3), tmp_path, progress=False)
    assert (first.asked, second.asked) == (9, 3)  # another list: judged anew, by that list alone
    assert said(run) == [[("a", True)]]


async def test_judging_again_appends_and_the_old_verdicts_stay_in_the_journal(tmp_path: Path) -> None:
    run = await Distiller(teacher(), verifiers=[right]).arun(tasks(2), tmp_path, progress=False)
    segment = tmp_path / "journal-00000.jsonl"
    before = segment.read_bytes()
    await run._judge((Checker("b"),), keep=False)
    assert segment.read_bytes().startswith(before)


async def test_what_was_wrong_before_costs_no_verdict_of_a_judge(tmp_path: Path) -> None:
    run = await Distiller(teacher(), verifiers=[slow_and_wrong]).arun(tasks(3), tmp_path, progress=False)
    paid = Paid()
    await run._judge((paid,))
    assert paid.asked == []
    assert said(run) == [[("slow_and_wrong", False)]]
    await run._judge((paid,), keep=False)
    assert len(paid.asked) == 3
    await run._judge((Checker("b", passed=False), paid))  # paid for, so it stays although all is wrong by now
    assert said(run) == [[("b", False), ("paid", True)]]
    assert len(paid.asked) == 3


async def test_a_sample_that_a_verifier_crashed_on_does_not_pass_because_of_another(tmp_path: Path) -> None:
    def fragile(task: Task, trace: Trace) -> Verdict:
        if task.id == 1 and broken:
            raise ValueError("bug")
        return Verdict(by="fragile", passed=task.id != 1)

    broken = True
    run = await Distiller(teacher(), verifiers=[fragile]).arun(tasks(3), tmp_path, progress=False)
    await run._judge((right,))
    assert run.report().failures == {"verifier_error": 1}
    assert [failure.message for failure in run.failures()] == ["fragile: ValueError: bug"]

    def other(task: Task, trace: Trace) -> Verdict:
        if task.id == 1 and broken:
            raise KeyError("another bug")
        return Verdict(by="other", passed=True)

    await run._judge((other,))
    assert [failure.message for failure in run.failures()] == [
        "fragile: ValueError: bug\nother: KeyError: 'another bug'"
    ]
    broken = False
    await run._judge((other,))
    assert [failure.message for failure in run.failures()] == ["fragile: ValueError: bug"]
    await run._judge((fragile,))
    report = run.report()
    assert (report.passed, report.wrong, report.failures) == (2, 1, {})
    assert said(run)[1] == [("right", True), ("other", True), ("fragile", False)]
