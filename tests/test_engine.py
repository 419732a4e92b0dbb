"""The engine alone: what there is to do, doing it, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import templates
from cot_distill.engine import Engine
from cot_distill.entering import entered
from cot_distill.errors import QuotaError, RequestError, TraceError
from cot_distill.gate import FixedLimit, Gate
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome
from cot_distill.pacing import Pacer
from cot_distill.planning import Job, Settings
from cot_distill.records import Slot
from cot_distill.retry import Tries
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Failure, Message, Sample, Sampling, Task, ThinkTags, Trace, Verdict

pytestmark = pytest.mark.anyio

GOOD = Completion(reasoning="r", content="a", trace_kind="full")


def right(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="right", passed=trace.answer == "a")


def engine(teacher: Any = None, **changes: Any) -> Engine:
    ledger = changes.pop("ledger", None)
    settings: dict[str, Any] = {
        "teacher": teacher or ScriptedTeacher(lambda _: GOOD),
        "template": templates.solve,
        "verifiers": (),
        "sampling": Sampling(),
        "attempts": 1,
        "until_passed": None,
        "concurrency": 4,
        "retries": 0,
        "require_reasoning": True,
        "tags": ThinkTags(),
        "prefilled": "auto",
    }
    known = None if ledger is None else ledger.known()
    earlier = changes.pop("earlier", lambda _: None)
    gate, pacer = Gate(FixedLimit(4)), Pacer()
    made = Settings(**{**settings, **changes})
    return Engine(made, gate=gate, pacer=pacer, ledger=ledger, known=known, earlier=earlier)


def task(number: int) -> Task:
    return Task(id=number, instruction=f"question {number}")


def slot(number: int, attempt: int = 0) -> Slot:
    return Slot.make(task(number), attempt, number, task(number).prompt())


async def located(count: int) -> AsyncGenerator[tuple[int, Task], None]:
    for number in range(count):
        yield number, task(number)


async def jobs(made: Engine, count: int) -> list[Job]:
    return [job async for job in made.jobs(located(count))]


def places(found: list[Job]) -> list[list[tuple[object, int]]]:
    return [[(slot.task.id, slot.attempt) for slot in job.slots] for job in found]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    """Write records as an earlier session would, and open what it left."""
    opened: list[Ledger] = []

    def make(write: Callable[[Ledger], None]) -> Ledger:
        with Ledger(tmp_path, writable=True) as ledger:
            write(ledger)
        opened.append(Ledger(tmp_path, writable=True))
        return opened[-1]

    yield make
    for ledger in opened:
        ledger.journal.close()


# What there is to do


async def test_every_attempt_is_a_job_of_its_own() -> None:
    assert places(await jobs(engine(attempts=2), 2)) == [[(0, 0)], [(0, 1)], [(1, 0)], [(1, 1)]]


async def test_attempts_that_may_not_be_needed_follow_one_another_in_one_job() -> None:
    found = await jobs(engine(attempts=3, until_passed=1, verifiers=(right,)), 2)
    assert places(found) == [[(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]]
    assert {job.passed for job in found} == {0}


async def test_tasks_are_pulled_one_by_one_as_jobs_are_taken() -> None:
    pulled: list[int] = []

    async def source() -> AsyncGenerator[tuple[int, Task], None]:
        for number in range(100):
            pulled.append(number)
            yield number, task(number)

    async with aclosing(source()) as tasks, aclosing(engine().jobs(tasks)) as found:
        for expected in (1, 2, 3):
            await anext(found)
            assert len(pulled) == expected


async def test_what_is_finished_is_no_job(book: Callable[..., Ledger]) -> None:
    def earlier(ledger: Ledger) -> None:
        cut = GOOD.model_copy(update={"finish_reason": "length"})
        refused = Failure(task=task(3), stage="request", kind="too_long", message="no")
        ledger.completion(slot(0), GOOD, Sampling(), Tries(1))
        ledger.completion(slot(1), Completion(content="no reasoning"), Sampling(), Tries(1))
        ledger.completion(slot(2), cut, Sampling(max_tokens=10), Tries(1))
        ledger.failure(slot(3), refused, Tries(1), final=True)
        ledger.failure(slot(4), refused.model_copy(update={"kind": "timeout"}), Tries(1), final=False)
        ledger.completion(slot(5), GOOD, Sampling(), Tries(1))
        ledger.reopen(slot(5).head("completion"))

    ledger = book(earlier)
    again = engine(ledger=ledger, sampling=Sampling(max_tokens=10))
    assert places(await jobs(again, 7)) == [[(4, 0)], [(5, 0)], [(6, 0)]]
    roomier = engine(ledger=ledger, sampling=Sampling(max_tokens=20))
    assert places(await jobs(roomier, 7)) == [[(2, 0)], [(4, 0)], [(5, 0)], [(6, 0)]]
    finished: list[int] = []
    await jobs(engine(ledger=ledger, sampling=Sampling(max_tokens=10), earlier=finished.append), 7)
    assert finished == [1, 1, 1, 1, 0, 0, 0]


async def test_a_task_with_enough_passed_attempts_is_no_job(book: Callable[..., Ledger]) -> None:
    def earlier(ledger: Ledger) -> None:
        for number, content in enumerate("aba"):
            ledger.completion(slot(0, number), GOOD.model_copy(update={"content": content}), Sampling(), Tries(1))

    ledger = book(earlier)
    judging = engine(ledger=ledger, attempts=3, verifiers=(right,))
    for job in await jobs(judging, 1):
        await judging.attempt(job.slots[0])
    ledger.journal.close()
    with Ledger(ledger.journal.path, writable=True) as judged:
        for wanted, due in ((1, []), (2, []), (3, [[(0, 3)]])):
            made = engine(ledger=judged, attempts=4, until_passed=wanted, verifiers=(right,))
            found = await jobs(made, 1)
            assert places(found) == due
            assert all(job.passed == 2 for job in found)


async def test_no_job_follows_once_the_session_is_ending() -> None:
    made = engine()
    async with aclosing(located(10)) as tasks, aclosing(made.jobs(tasks)) as found:
        await anext(found)
        made.end(QuotaError("used up"))
        assert [job async for job in found] == []


# Doing it


async def test_an_answer_of_an_earlier_session_is_judged_without_asking(book: Callable[..., Ledger]) -> None:
    ledger = book(lambda ledger: ledger.completion(slot(0), GOOD, Sampling(), Tries(3)))
    teacher = ScriptedTeacher([])
    made = engine(teacher, ledger=ledger, verifiers=(right,))
    (job,) = await jobs(made, 1)
    outcome = await made.attempt(job.slots[0])
    assert isinstance(outcome, Sample)
    assert outcome.passed is True
    assert not teacher.calls


async def test_an_answer_is_in_the_ledger_before_it_is_judged(book: Callable[..., Ledger]) -> None:
    seen: list[int] = []

    def verifier(task: Task, trace: Trace) -> Verdict:
        with Ledger(ledger.journal.path, writable=False) as reading:
            seen.append(len(list(reading.records())))
        return Verdict(by="verifier", passed=True)

    ledger = book(lambda ledger: None)
    made = engine(ledger=ledger, verifiers=(verifier,))
    for number in range(3):
        await made.attempt(slot(number))
    assert seen == [1, 2, 3]


async def test_a_job_stops_at_the_attempt_that_passes() -> None:
    teacher = ScriptedTeacher([("r", "b"), ("r", "a"), ("r", "a")])
    made = engine(teacher, attempts=3, until_passed=1, verifiers=(right,))
    emitted: list[Outcome] = []

    async def emit(outcome: Outcome) -> None:
        emitted.append(outcome)

    await made.work(Job((slot(0), slot(0, 1), slot(0, 2)), 0), emit)
    assert [isinstance(one, Sample) and one.passed for one in emitted] == [False, True]
    await made.work(Job((slot(0, 2),), 1), emit)
    assert len(teacher.calls) == 2


async def test_the_seed_moves_with_the_attempt() -> None:
    teacher = ScriptedTeacher(lambda _: GOOD)
    for settings in ({"sampling": Sampling(seed=40)}, {}):
        await engine(teacher, **settings).attempt(slot(0, 2))
    assert [call.sampling.seed for call in teacher.calls] == [42, None]


async def test_requests_that_are_cancelled_under_way_are_counted() -> None:
    made = engine(ScriptedTeacher(lambda _: GOOD, latency=60))
    with anyio.move_on_after(0.05):
        async with anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(made.attempt, slot(number))
    assert made.abandoned == 3


# How it ends


async def test_a_gone_quota_ends_quietly_until_everything_is_home() -> None:
    made = engine(ScriptedTeacher([QuotaError("the balance is used up")]))
    assert await made.attempt(slot(0)) is None
    assert isinstance(made.ending, QuotaError)
    with pytest.raises(QuotaError, match="balance"):
        made.finish()


async def test_only_the_first_reason_to_end_is_raised() -> None:
    made = engine()
    first, second = QuotaError("first"), QuotaError("second")
    made.end(first)
    made.end(second)
    with pytest.raises(QuotaError) as caught:
        made.finish()
    assert caught.value is first


async def test_a_refusal_is_the_failure_of_one_task() -> None:
    made = engine(ScriptedTeacher([RequestError("too long", kind="too_long", status=400)]))
    outcome = await made.attempt(slot(0))
    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.status, outcome.tries) == ("too_long", 400, 1)
    made.finish()


@pytest.mark.parametrize(("bare", "whole", "raises"), [(2, 0, True), (2, 1, False), (0, 0, False)])
async def test_at_the_end_some_answer_must_have_carried_reasoning(bare: int, whole: int, raises: bool) -> None:
    made = engine(ScriptedTeacher([Completion(content="a")] * bare + [GOOD] * whole))
    for number in range(bare + whole):
        await made.attempt(slot(number))
    if not raises:
        made.finish()
        return
    with pytest.raises(TraceError, match="answered 2 times and no answer carries reasoning"):
        made.finish()


async def test_a_teacher_that_is_a_context_manager_is_entered_and_another_is_not() -> None:
    class Door(ScriptedTeacher):
        open = 0

        async def __aenter__(self) -> Door:
            self.open += 1
            return self

        async def __aexit__(self, *_: object) -> None:
            self.open -= 1

    door = Door([])
    with pytest.raises(LookupError):
        async with entered(door):
            assert door.open == 1
            raise LookupError
    assert door.open == 0

    class Plain:
        name = "plain"

        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            return GOOD

    async with entered(Plain()):
        pass
