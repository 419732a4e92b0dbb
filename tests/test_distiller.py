"""The main job: ask, keep, resume, stop."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from cot_distill import (
    Budget,
    Distiller,
    RateLimit,
    Sampling,
    Task,
    ThinkTags,
    Trace,
    Verdict,
    formatters,
    open_teacher,
    templates,
)
from cot_distill.errors import (
    AuthError,
    ConfigError,
    QuotaError,
    RequestError,
    RunError,
    SourceError,
    TraceError,
    UnavailableError,
    UnknownModelError,
    VerifierError,
)
from cot_distill.prices import Price, Prices
from cot_distill.run import Run
from cot_distill.testing import FaultServer, ScriptedTeacher
from cot_distill.types import Completion, Failure, Message, Sample, Usage


def echo(messages: Sequence[Message]) -> Trace:
    return Trace(reasoning=f"thinking about {messages[-1].content}", answer=f"answer to {messages[-1].content}")


def tasks(number: int) -> list[Task]:
    return [Task(id=n, instruction=f"question {n}") for n in range(number)]


def asked(teacher: ScriptedTeacher) -> list[str]:
    return [call.prompt for call in teacher.calls]


# The whole way


@pytest.mark.anyio
async def test_every_task_becomes_a_sample_with_its_own_trace(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    run = await Distiller(teacher, concurrency=7).arun(tasks(50), tmp_path / "run", progress=False)
    samples = list(run.samples())
    assert [sample.task.id for sample in samples] == list(range(50))
    assert all(sample.trace.answer == f"answer to question {sample.task.id}" for sample in samples)
    assert {sample.teacher for sample in samples} == {"scripted"}
    assert not list(run.failures())
    report = run.report()
    assert (report.asked, report.tasks, report.samples, report.failures) == (50, 50, 50, {})


def test_from_a_script_twice_with_the_same_distiller(tmp_path: Path) -> None:
    with FaultServer() as server:
        distiller = Distiller(open_teacher("vllm:model", base_url=server.base_url))
        first = distiller.run(["one"], tmp_path / "a", progress=False)
        second = distiller.run(["two"], tmp_path / "b", progress=False)
    assert [len(list(run.samples())) for run in (first, second)] == [1, 1]


def test_in_a_cell_of_a_running_loop(tmp_path: Path) -> None:
    async def cell() -> tuple[Run, Run]:
        distiller = Distiller(ScriptedTeacher(echo))
        blocking = distiller.run(tasks(2), tmp_path / "a", progress=False)
        return blocking, await distiller.arun(tasks(2), tmp_path / "b", progress=False)

    assert [len(list(run.samples())) for run in asyncio.run(cell())] == [2, 2]


@pytest.mark.anyio
async def test_attempts_differ_in_their_seed_and_come_in_order(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    distiller = Distiller(teacher, attempts=3, sampling=Sampling(seed=10), concurrency=2)
    run = await distiller.arun(tasks(2), tmp_path / "run", progress=False)
    assert [(sample.task.id, sample.attempt) for sample in run.samples()] == [
        (n, k) for n in range(2) for k in range(3)
    ]
    assert sorted(call.sampling.seed or 0 for call in teacher.calls) == [10, 10, 11, 11, 12, 12]


@pytest.mark.anyio
async def test_the_source_is_pulled_only_as_fast_as_it_is_worked_off(tmp_path: Path) -> None:
    pulled: list[int] = []
    ahead: list[int] = []

    def source() -> Iterator[Task]:
        for task in tasks(100):
            pulled.append(1)
            yield task

    teacher = ScriptedTeacher(lambda messages: ahead.append(len(pulled) - len(ahead)) or echo(messages))
    await Distiller(teacher, concurrency=4).arun(source(), tmp_path / "run", progress=False)
    assert max(ahead) <= 5


class Door:
    """A teacher that counts how often it is entered."""

    name = "door"

    def __init__(self) -> None:
        self.events: list[str] = []

    async def __aenter__(self) -> Door:
        self.events.append("in")
        return self

    async def __aexit__(self, *_: object) -> None:
        self.events.append("out")

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        assert self.events[-1] == "in"
        return Completion(reasoning="r", content="a", trace_kind="full")


@pytest.mark.anyio
async def test_the_teacher_is_entered_once_per_run(tmp_path: Path) -> None:
    door = Door()
    distiller = Distiller(door)
    await distiller.arun(tasks(20), tmp_path / "run", progress=False)
    assert door.events == ["in", "out"]
    assert isinstance(await distiller.attempt(tasks(1)[0]), Sample)
    async with distiller.stream(tasks(3)) as outcomes:
        assert len([outcome async for outcome in outcomes]) == 3
    assert door.events == ["in", "out"] * 3


# Resume


@pytest.mark.anyio
async def test_the_second_run_asks_nothing(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    for _ in range(2):
        run = await Distiller(teacher).arun(tasks(20), tmp_path / "run", progress=False)
        assert len(list(run.samples())) == 20
    assert len(teacher.calls) == 20
    assert run.report().sessions == 2


@pytest.mark.anyio
async def test_more_tasks_and_more_attempts_pay_only_for_what_is_missing(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    await Distiller(teacher).arun(tasks(5), tmp_path / "run", progress=False)
    await Distiller(teacher, attempts=3).arun(tasks(8), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 8 * 3
    run = await Distiller(teacher, attempts=2).arun(tasks(3), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 8 * 3
    assert run.report().asked == 8 * 3


@pytest.mark.anyio
async def test_an_error_of_the_source_keeps_what_was_paid_for(tmp_path: Path) -> None:
    def broken() -> Iterator[Task]:
        yield from tasks(10)
        raise KeyError("my own bug")

    teacher = ScriptedTeacher(echo)
    with pytest.raises(KeyError, match="my own bug"):
        await Distiller(teacher, concurrency=1).arun(broken(), tmp_path / "run", progress=False)
    assert len(list(Run.open(tmp_path / "run").samples())) == 10
    await Distiller(teacher).arun(tasks(12), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 12


@pytest.mark.anyio
async def test_a_task_whose_text_changed_is_asked_again_and_only_that(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    await Distiller(teacher).arun(tasks(5), tmp_path / "run", progress=False)
    changed = [*tasks(4), Task(id=4, instruction="put in other words")]
    run = await Distiller(teacher).arun(changed, tmp_path / "run", progress=False)
    assert asked(teacher)[5:] == ["put in other words"]
    assert [sample.task.instruction for sample in run.samples()][4] == "put in other words"
    report = run.report()
    assert (report.asked, report.samples, report.asked_again) == (5, 5, 1)


@pytest.mark.anyio
async def test_a_corrected_reference_answer_is_judged_by_without_asking_again(tmp_path: Path) -> None:
    def right(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="right", passed=trace.answer == task.answer)

    teacher = ScriptedTeacher(lambda _: ("r", "42"))
    path = tmp_path / "run"
    for numbered in ({"id": 1}, {}):
        for gold, passed in (("41", False), ("42", True)):
            task = Task(instruction=f"question {numbered}", answer=gold, metadata={"gold": gold}, **numbered)
            run = await Distiller(teacher, verifiers=[right], attempts=2).arun([task], path, progress=False)
            found = [sample for sample in run.samples() if sample.task.instruction == task.instruction]
            assert [sample.passed for sample in found] == [passed] * 2
            assert [sample.task for sample in found] == [task] * 2
    assert len(teacher.calls) == 4
    # Without a verifier the correction arrives all the same; the old verdict is void.
    task = Task(id=1, instruction="question {'id': 1}", answer="43")
    run = await Distiller(teacher, attempts=2).arun([task], path, progress=False)
    assert [(s.task.answer, s.passed) for s in run.samples() if s.task.id == 1] == [("43", None)] * 2
    assert [s.passed for s in run.judge(right).samples() if s.task.id == 1] == [False] * 2
    assert len(teacher.calls) == 4


def cut_below(room: int) -> ScriptedTeacher:
    """A teacher that is cut on odd questions unless it has room."""

    def script(messages: Sequence[Message]) -> Completion:
        limit = teacher.calls[-1].sampling.max_tokens
        cut = int(messages[-1].content.split()[-1]) % 2 == 1 and limit is not None and limit < room
        usage = Usage(prompt_tokens=5, completion_tokens=limit if cut else 50, reasoning_tokens=20)
        if cut:
            return Completion(reasoning="thinking", finish_reason="length", trace_kind="full", usage=usage)
        return Completion(reasoning="thinking", content="done", trace_kind="full", usage=usage)

    teacher = ScriptedTeacher(script)
    return teacher


@pytest.mark.anyio
async def test_a_higher_cap_asks_only_for_what_was_cut(tmp_path: Path) -> None:
    teacher = cut_below(1000)
    path = tmp_path / "run"
    run = await Distiller(teacher, sampling=Sampling(max_tokens=100)).arun(tasks(10), path, progress=False)
    assert run.report().failures == {"truncated": 5}
    assert len(list(run.samples())) == 5
    await Distiller(teacher, sampling=Sampling(max_tokens=100)).arun(tasks(10), path, progress=False)
    await Distiller(teacher, sampling=Sampling(max_tokens=50)).arun(tasks(10), path, progress=False)
    assert len(teacher.calls) == 10
    run = await Distiller(teacher, sampling=Sampling(max_tokens=500)).arun(tasks(10), path, progress=False)
    assert len(teacher.calls) == 15
    run = await Distiller(teacher, sampling=Sampling(max_tokens=1000)).arun(tasks(10), path, progress=False)
    assert len(teacher.calls) == 20
    report = run.report()
    assert (report.samples, report.failures, report.asked_again) == (10, {}, 10)
    assert report.completion_tokens == 10 * 50 + 5 * 100 + 5 * 500
    assert (report.reasoning_tokens, report.answer_tokens) == (20 * 20, 10 * 30 + 5 * 80 + 5 * 480)


@pytest.mark.anyio
async def test_no_cap_at_all_is_higher_than_any(tmp_path: Path) -> None:
    teacher = cut_below(1000)
    await Distiller(teacher, sampling=Sampling(max_tokens=100)).arun(tasks(4), tmp_path / "run", progress=False)
    run = await Distiller(teacher).arun(tasks(4), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 6
    assert len(list(run.samples())) == 4


def shout(task: Task) -> list[Message]:
    return [Message(role="user", content=task.instruction.upper())]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"teacher": ScriptedTeacher(echo, name="other")}, "the teacher was 'scripted' and is now 'other'"),
        ({"template": shout}, "the template .solve, now shout. asks in other words"),
        ({"sampling": Sampling(temperature=1.0)}, "temperature was 0.6 and is now 1.0"),
        ({"sampling": Sampling(temperature=0.6, extra={"a": 1})}, "extra was {} and is now {'a': 1}"),
        ({"sampling": Sampling()}, "temperature was 0.6 and is now None"),
    ],
)
async def test_another_recipe_in_the_same_directory_is_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    settings: dict[str, object] = {"teacher": ScriptedTeacher(echo), "sampling": Sampling(temperature=0.6)}
    await Distiller(**settings).arun(tasks(3), tmp_path / "run", progress=False)  # type: ignore[arg-type]
    other = Distiller(**{**settings, **change})  # type: ignore[arg-type]
    with pytest.raises(RunError, match=words) as caught:
        await other.arun(tasks(3), tmp_path / "run", progress=False)
    assert "another path" in str(caught.value)
    await Distiller(**settings, retries=1, concurrency=3).arun(tasks(3), tmp_path / "run", progress=False)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    async def second(messages: object = None) -> None:
        with pytest.raises(RunError, match="in use by process"):
            await Distiller(ScriptedTeacher(echo)).arun(tasks(1), tmp_path / "run", progress=False)

    class Nested(Door):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            await second()
            return await super().complete(messages, sampling)

    await Distiller(Nested()).arun(tasks(1), tmp_path / "run", progress=False)


# Failures are data; fatal errors are one plain error


@pytest.mark.anyio
async def test_the_ledger_adds_up(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> object:
        number = int(messages[-1].content.split()[-1])
        return [
            Trace(reasoning="r", answer="a"),
            Completion(reasoning="r", finish_reason="length"),
            Completion(content="a"),
            Completion(content="", finish_reason="refused"),
            "<think>r",
            "<think>a</think><think>b</think>c",
            Completion(reasoning="r"),
            RequestError("too long", kind="too_long", status=400),
            UnavailableError("broken", kind="http", status=500, retry_after=0),
            UnavailableError("nothing", kind="timeout", retry_after=0),
        ][number % 10]

    teacher = ScriptedTeacher(script)
    path = tmp_path / "run"
    run = await Distiller(teacher, retries=1, concurrency=1).arun(tasks(40), path, progress=False)
    report = run.report()
    kinds = [
        "truncated",
        "no_reasoning",
        "refused",
        "unbalanced",
        "repeated",
        "no_answer",
        "too_long",
        "http",
        "timeout",
    ]
    assert report.failures == dict.fromkeys(kinds, 4)
    assert report.asked == 40 == report.samples + sum(report.failures.values())
    assert report.retries == 8
    failures = list(run.failures())
    assert [failure.task.id for failure in failures] == [n for n in range(40) if n % 10]
    assert {failure.stage for failure in failures} == {"request", "parse"}
    assert all(failure.message for failure in failures)
    # What got no answer is asked again by the next session; what was answered or refused for good is not.
    before = len(teacher.calls)
    await Distiller(teacher, retries=0).arun(tasks(40), path, progress=False)
    assert len(teacher.calls) == before + 8
    # Anything else on demand.
    assert run.reask("no_reasoning", "too_long") == 8
    await Distiller(teacher, retries=0).arun(tasks(40), path, progress=False)
    assert len(teacher.calls) == before + 8 + 8 + 8
    assert Run.open(path).report().asked == 40


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("401", AuthError, "401"),
        ("404", UnknownModelError, "model"),
        ("quota", QuotaError, "quota"),
    ],
)
async def test_a_fatal_error_ends_the_run_at_once_and_plainly(
    tmp_path: Path, fault: str, error: type[Exception], words: str
) -> None:
    with FaultServer(faults=lambda request: fault if request.number >= 20 else None) as server:
        distiller = Distiller(open_teacher("vllm:model", base_url=server.base_url), concurrency=8)
        with pytest.raises(error, match=words) as caught:
            await distiller.arun(tasks(500), tmp_path / "run", progress=False)
        assert server.requests <= 20 + 2 * 8
    assert type(caught.value) is error
    assert len(list(Run.open(tmp_path / "run").samples())) == 20
    assert not list(Run.open(tmp_path / "run").failures())


@pytest.mark.anyio
async def test_a_gone_quota_brings_home_what_is_under_way(tmp_path: Path) -> None:
    class Last(Door):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            if messages[-1].content == "question 3":
                await anyio.sleep(0.1)
                raise QuotaError("the balance is used up")
            await anyio.sleep(0.3)
            return Completion(reasoning="r", content="a", trace_kind="full")

    with pytest.raises(QuotaError):
        await Distiller(Last(), concurrency=8).arun(tasks(100), tmp_path / "run", progress=False)
    assert [sample.task.id for sample in Run.open(tmp_path / "run").samples()] == [0, 1, 2, 4, 5, 6, 7]


@pytest.mark.anyio
async def test_a_server_that_is_down_is_one_clear_error(tmp_path: Path) -> None:
    distiller = Distiller(open_teacher("vllm:model", base_url="http://127.0.0.1:9/v1"), retries=1)
    with pytest.raises(UnavailableError, match=r"cannot connect to http://127.0.0.1:9.*Is the server up"):
        await distiller.arun(tasks(500), tmp_path / "run", progress=False)


@pytest.mark.anyio
async def test_a_server_that_dies_ends_the_run_which_can_go_on_later(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    gone = UnavailableError("gone", retry_after=0)
    dying = ScriptedTeacher(lambda messages: echo(messages) if len(dying.calls) <= 30 else gone)
    with pytest.raises(UnavailableError, match="run again to go on"):
        await Distiller(dying, retries=1, concurrency=4).arun(tasks(500), tmp_path / "run", progress=False)
    assert len(list(Run.open(tmp_path / "run").samples())) == 30
    run = await Distiller(teacher).arun(tasks(100), tmp_path / "run", progress=False)
    assert len(list(run.samples())) == 100
    assert len(teacher.calls) == 70


@pytest.mark.anyio
async def test_errors_of_user_code_surface_as_they_are(tmp_path: Path) -> None:
    def template(task: Task) -> list[Message]:
        raise LookupError("my template")

    with pytest.raises(LookupError, match="my template"):
        await Distiller(ScriptedTeacher(echo), template=template).arun(tasks(3), tmp_path / "a", progress=False)
    with pytest.raises(ZeroDivisionError):
        await Distiller(ScriptedTeacher(lambda _: 1 // 0)).arun(tasks(3), tmp_path / "b", progress=False)


# No silent empty dataset


@pytest.mark.anyio
async def test_a_teacher_without_reasoning_is_stopped_after_three_answers(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: Completion(content="only an answer"))
    path = tmp_path / "run"
    with pytest.raises(TraceError, match="--reasoning-parser") as caught:
        await Distiller(teacher, concurrency=1).arun(tasks(100), path, progress=False)
    assert caught.value.kind == "no_reasoning"
    assert len(teacher.calls) == 3
    # Mended, the same command asks those three again.
    mended = ScriptedTeacher(echo)
    run = await Distiller(mended).arun(tasks(100), path, progress=False)
    assert len(list(run.samples())) == len(mended.calls) == 100


@pytest.mark.anyio
async def test_also_where_there_are_fewer_than_three_tasks(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: Completion(content="only an answer"))
    with pytest.raises(TraceError):
        await Distiller(teacher).arun(tasks(1), tmp_path / "run", progress=False)


@pytest.mark.anyio
async def test_the_probe_can_be_turned_off(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: Completion(content="only an answer"))
    run = await Distiller(teacher, require_reasoning=False).arun(tasks(10), tmp_path / "run", progress=False)
    assert run.report().failures == {"no_reasoning": 10}


@pytest.mark.anyio
async def test_reasoning_in_other_tags(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(lambda _: "[THINK]r[/THINK]a")
    tags = ThinkTags(open="[THINK]", close="[/THINK]")
    run = await Distiller(teacher, tags=tags).arun(tasks(2), tmp_path / "run", progress=False)
    assert [sample.trace for sample in run.samples()] == [Trace(reasoning="r", answer="a")] * 2
    assert [sample.trace for sample in Run.open(tmp_path / "run").samples()] == [Trace(reasoning="r", answer="a")] * 2


# Verifiers


def even(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="even", passed=int(task.id) % 2 == 0, reason=trace.answer)


async def later(task: Task, trace: Trace) -> Verdict:
    await anyio.sleep(0)
    return Verdict(by="later", passed=None)


@pytest.mark.anyio
async def test_verdicts_are_kept_and_wrong_samples_stay_out_of_datasets(tmp_path: Path) -> None:
    run = await Distiller(ScriptedTeacher(echo), verifiers=[even]).arun(tasks(10), tmp_path / "run", progress=False)
    assert [sample.passed for sample in run.samples()] == [True, False] * 5
    report = run.report()
    assert (report.samples, report.passed, report.wrong, report.unjudged) == (10, 5, 5, 0)
    assert len(run.to_jsonl(tmp_path / "right.jsonl").read_text().splitlines()) == 5
    assert len(run.to_jsonl(tmp_path / "all.jsonl", include_wrong=True).read_text().splitlines()) == 10


@pytest.mark.anyio
async def test_new_verifiers_judge_what_is_there_without_asking(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    await Distiller(teacher).arun(tasks(6), tmp_path / "run", progress=False)
    run = await Distiller(teacher, verifiers=[even, later]).arun(tasks(6), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 6
    assert [[verdict.passed for verdict in sample.verdicts] for sample in run.samples()] == [
        [True, None],
        [False, None],
    ] * 3
    judged = []

    def counting(task: Task, trace: Trace) -> Verdict:
        judged.append(task.id)
        return Verdict(by="counting", passed=True)

    for _ in range(2):
        run = await Distiller(teacher, verifiers=[counting]).arun(tasks(6), tmp_path / "run", progress=False)
    assert sorted(judged) == list(range(6))
    assert len(teacher.calls) == 6
    assert [sample.passed for sample in run.samples()] == [True] * 6


def test_a_finished_run_is_judged_again_without_asking(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    run = Distiller(teacher).run(tasks(4), tmp_path / "run", progress=False)
    assert [sample.passed for sample in run.judge(even).samples()] == [True, False] * 2
    assert [sample.passed for sample in run.judge(later, keep=False).samples()] == [None] * 4
    assert len(teacher.calls) == 4
    Distiller(teacher, verifiers=[later]).run(tasks(4), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 4


@pytest.mark.anyio
async def test_a_verifier_that_crashes_on_one_trace_does_not_end_the_run(tmp_path: Path) -> None:
    def picky(task: Task, trace: Trace) -> Verdict:
        if task.id == 5:
            raise ValueError("cannot read that")
        return Verdict(by="picky", passed=True)

    teacher = ScriptedTeacher(echo)
    run = await Distiller(teacher, verifiers=[picky]).arun(tasks(10), tmp_path / "run", progress=False)
    report = run.report()
    assert (report.samples, report.failures) == (9, {"verifier_error": 1})
    assert [failure.message for failure in run.failures()] == ["picky: ValueError: cannot read that"]

    def mended(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="picky", passed=True)

    mended.__name__ = "picky"
    run = await Distiller(teacher, verifiers=[mended]).arun(tasks(10), tmp_path / "run", progress=False)
    assert run.report().passed == 10
    assert len(teacher.calls) == 10


@pytest.mark.anyio
async def test_a_verifier_that_always_crashes_is_raised(tmp_path: Path) -> None:
    def broken(task: Task, trace: Trace) -> Verdict:
        raise ZeroDivisionError("bug")

    teacher = ScriptedTeacher(echo)
    with pytest.raises(VerifierError, match="ZeroDivisionError: bug") as caught:
        await Distiller(teacher, verifiers=[broken], concurrency=2).arun(tasks(50), tmp_path / "run", progress=False)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert 3 <= len(teacher.calls) <= 6
    run = await Distiller(teacher, verifiers=[even]).arun(tasks(50), tmp_path / "run", progress=False)
    assert len(teacher.calls) == 50
    assert run.report().passed == 25


@pytest.mark.anyio
async def test_asking_stops_once_enough_attempts_have_passed(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> tuple[str, str]:
        seed = teacher.calls[-1].sampling.seed or 0
        return "r", "right" if seed >= int(messages[-1].content.split()[-1]) else "not yet"

    def right(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="right", passed=trace.answer == "right")

    teacher = ScriptedTeacher(script)
    settings = {"attempts": 4, "until_passed": 1, "sampling": Sampling(seed=0), "verifiers": [right]}
    run = await Distiller(teacher, **settings).arun(tasks(6), tmp_path / "run", progress=False)  # type: ignore[arg-type]
    assert Counter(asked(teacher)) == {f"question {n}": min(n + 1, 4) for n in range(6)}
    assert [sample.task.id for sample in run.samples() if sample.passed] == [0, 1, 2, 3]
    calls = len(teacher.calls)
    await Distiller(teacher, **settings).arun(tasks(6), tmp_path / "run", progress=False)  # type: ignore[arg-type]
    assert len(teacher.calls) == calls
    settings["attempts"] = 6
    run = await Distiller(teacher, **settings).arun(tasks(6), tmp_path / "run", progress=False)  # type: ignore[arg-type]
    assert len(teacher.calls) == calls + 1 + 2
    assert len({sample.task.id for sample in run.samples() if sample.passed}) == 6


# Streaming, cancelling


@pytest.mark.anyio
async def test_stream_yields_outcomes_and_ends(tmp_path: Path) -> None:
    async with Distiller(ScriptedTeacher(echo), concurrency=3).stream(tasks(20)) as outcomes:
        found = [outcome async for outcome in outcomes]
    assert sorted(outcome.task.id for outcome in found) == list(range(20))


@pytest.mark.anyio
async def test_leaving_an_endless_stream_cancels_what_is_under_way() -> None:
    async def endless() -> AsyncIterator[Task]:
        for number in itertools.count():
            yield Task(id=number, instruction=f"question {number}")

    teacher = ScriptedTeacher(echo, latency=0.01)
    async with Distiller(teacher, concurrency=4).stream(endless()) as outcomes:
        count = 0
        async for _ in outcomes:
            count += 1
            if count == 10:
                break
    calls = len(teacher.calls)
    assert calls <= 10 + 2 * 4 + 1
    await anyio.sleep(0.05)
    assert len(teacher.calls) == calls


@pytest.mark.anyio
async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with Distiller(ScriptedTeacher(echo)).stream(tasks(100)) as outcomes:
            async for _ in outcomes:
                raise KeyError("mine")


@pytest.mark.anyio
async def test_a_fatal_error_comes_out_of_the_stream_as_it_is() -> None:
    teacher = ScriptedTeacher(lambda _: AuthError("wrong key"))
    with pytest.raises(AuthError, match="wrong key"):
        async with Distiller(teacher).stream(tasks(100)) as outcomes:
            async for _ in outcomes:
                pass


@pytest.mark.anyio
async def test_cancelling_a_run_keeps_the_journal_whole(tmp_path: Path) -> None:
    class Slower(Door):
        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            await anyio.sleep(0.001 if int(messages[-1].content.split()[-1]) < 20 else 60)
            return await super().complete(messages, sampling)

    with anyio.move_on_after(0.5) as scope:
        await Distiller(Slower(), concurrency=4).arun(tasks(1000), tmp_path / "run", progress=False)
    assert scope.cancelled_caught
    report = Run.open(tmp_path / "run").report()
    assert (report.samples, report.killed, report.abandoned) == (20, 0, 4)


CTRL_C = """
import sys
from cot_distill import Distiller
from cot_distill.testing import ScriptedTeacher
teacher = ScriptedTeacher(lambda messages: ("r", messages[-1].content), latency=0.05)
print("ready", flush=True)
Distiller(teacher, concurrency=4).run((f"question {n}" for n in range(10000)), sys.argv[1], progress=False)
"""


def test_ctrl_c_returns_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CTRL_C, str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        time.sleep(1.0)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        error = process.stderr.read()
        process.wait()
    assert time.monotonic() - started < 3
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert "Group" not in error
    report = Run.open(tmp_path / "run").report()
    assert report.samples > 4
    assert report.killed == 0


# Limits


@pytest.mark.anyio
async def test_one_hint_slows_the_whole_client(tmp_path: Path) -> None:
    with FaultServer(faults=["429"], retry_after=1) as server:
        distiller = Distiller(open_teacher("vllm:model", base_url=server.base_url), concurrency=1)
        started = time.monotonic()
        run = await distiller.arun(tasks(10), tmp_path / "run", progress=False)
        assert time.monotonic() - started >= 1
        assert server.requests == 11
    assert run.report().retries == 1


@pytest.mark.anyio
async def test_a_rate_limit_is_kept(tmp_path: Path) -> None:
    distiller = Distiller(ScriptedTeacher(echo), rate_limit=RateLimit(requests_per_minute=1200))
    started = time.monotonic()
    await distiller.arun(tasks(11), tmp_path / "run", progress=False)
    assert time.monotonic() - started >= 0.5


@pytest.mark.anyio
async def test_a_budget_is_never_overspent_and_can_be_raised(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> Completion:
        usage = Usage(prompt_tokens=10, completion_tokens=90)
        return Completion(reasoning="r", content="a", trace_kind="full", usage=usage)

    teacher = ScriptedTeacher(script, latency=0.001)
    sampling = Sampling(max_tokens=100)
    path = tmp_path / "run"
    for tokens in (8000, 16000):
        distiller = Distiller(teacher, sampling=sampling, budget=Budget(tokens=tokens), concurrency=4)
        with pytest.raises(RunError, match="the budget is reached"):
            await distiller.arun(tasks(300), path, progress=False)
        report = Run.open(path).report()
        assert 0.8 * tokens < report.prompt_tokens + report.completion_tokens <= tokens
        assert report.samples == len(teacher.calls)
        assert not report.failures


def test_a_budget_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(
        ConfigError,
        match=r"no price is known for scripted: give it|a price for scripted, .* needs an optional package",
    ):
        Distiller(ScriptedTeacher(echo), budget=Budget(usd=1), sampling=Sampling(max_tokens=9))
    with pytest.raises(ConfigError, match="max_tokens"):
        Distiller(ScriptedTeacher(echo), budget=Budget(tokens=1000))


# Settings and input


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attempts": 0}, "attempts=0"),
        ({"retries": -1}, "retries=-1"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"attempts": 2, "until_passed": 3, "verifiers": [even]}, "until_passed=3"),
        ({"attempts": 2, "until_passed": 1}, "until_passed needs verifiers"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Distiller(ScriptedTeacher(echo), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (None, "no teacher given"),
        ("nobody:model", "no provider 'nobody'. Known: anthropic"),
        ("deepseek", "names no model"),
        ("deepseek:deepseek-flash", "set DEEPSEEK_API_KEY"),
    ],
)
def test_a_teacher_that_cannot_be_made_is_explained(
    spec: str | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=words) as caught:
        Distiller(spec)
    if spec in (None, "deepseek:deepseek-flash"):
        assert 'Distiller("demo")' in str(caught.value)


def test_a_key_is_shown_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer(faults=["500", "401"]) as server:
        teacher = open_teacher("openai:model", base_url=server.base_url, api_key="sk-very-secret")
        distiller = Distiller(teacher, concurrency=1)
        with pytest.raises(AuthError) as caught:
            distiller.run(tasks(3), tmp_path / "run", progress=False)
    shown = [repr(teacher), repr(distiller), str(caught.value), caplog.text, repr(vars(teacher))]
    shown += [path.read_text(errors="replace") for path in (tmp_path / "run").iterdir()]
    assert "very-secret" not in "".join(shown)


def test_empty_input_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no tasks in the list"):
        Distiller(ScriptedTeacher(echo)).run([], tmp_path / "run", progress=False)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(SourceError, match=r"empty\.jsonl"):
        Distiller(ScriptedTeacher(echo)).run(tmp_path / "empty.jsonl", tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_duplicate_ids_are_an_error_that_names_both(tmp_path: Path) -> None:
    lines = [{"id": "a", "question": "one"}, {"id": "b", "question": "two"}, {"id": "a", "question": "three"}]
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(SourceError, match=r"line 3.*'a'.*line 1"):
        Distiller(ScriptedTeacher(echo), concurrency=1).run(path, tmp_path / "run", progress=False)
    assert len(list(Run.open(tmp_path / "run").samples())) == 2


def test_attempt_alone_returns_a_failure_as_data() -> None:
    async def ask() -> object:
        distiller = Distiller(ScriptedTeacher(lambda _: Completion(content="no reasoning")))
        return await distiller.attempt(tasks(1)[0])

    outcome = anyio.run(ask)
    assert isinstance(outcome, Failure)
    assert (outcome.stage, outcome.kind) == ("parse", "no_reasoning")


def test_the_template_is_what_the_teacher_sees(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(echo)
    template = templates.from_string("Solve: {instruction}", system="Be brief.")
    run = Distiller(teacher, template=template).run(tasks(1), tmp_path / "run", progress=False)
    assert [message.content for message in teacher.calls[0].messages] == ["Be brief.", "Solve: question 0"]
    assert next(run.samples()).task.instruction == "question 0"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["template"]["digest"]


def test_what_the_cap_cuts_is_asked_again_with_more_room(tmp_path: Path) -> None:
    """The server gives four characters a token, so each answer needs as many tokens as it is long."""
    plain = templates.from_string("{instruction}")
    said = {"short": 40, "middle": 100, "long": 250, "endless": 2000}
    path, names = tmp_path / "run", list(said)
    with FaultServer(lambda prompt: ("x" * said[prompt.split()[-1]], "a")) as server:
        teacher = open_teacher("vllm:model", base_url=server.base_url)
        ladder = Sampling(max_tokens=16, max_tokens_limit=100)
        tasks = [Task(id=name, instruction=f"Be {name}") for name in names]
        run = Distiller(teacher, sampling=ladder, template=plain).run(tasks, path, progress=False)
        caps = [(entry.prompt.split()[-1], entry.body["max_tokens"]) for entry in server.log]
        assert {name: [cap for one, cap in caps if one == name] for name in names} == {
            "short": [16],
            "middle": [16, 32],
            "long": [16, 32, 64],
            "endless": [16, 32, 64, 100],
        }
        report = run.report()
        assert (report.samples, report.failures) == (3, {"truncated": 1})
        assert report.cut == {16: 3, 32: 2, 64: 1, 100: 1}
        assert all(report.cut_tokens[cap] >= cap * count for cap, count in report.cut.items())
        assert "cut at 16" in str(report)
        asked = server.requests
        run = Distiller(teacher, sampling=ladder, template=plain).run(tasks, path, progress=False)
        assert server.requests == asked  # what is cut at the limit is left alone
        higher = Sampling(max_tokens=16, max_tokens_limit=800)
        run = Distiller(teacher, sampling=higher, template=plain).run(tasks, path, progress=False)
        assert [entry.body["max_tokens"] for entry in server.log][asked:] == [200, 400, 800]
    assert run.report().failures == {}


@pytest.mark.anyio
async def test_a_budget_in_dollars_is_never_overspent_and_can_be_raised(tmp_path: Path) -> None:
    """$10 and $20 a million tokens: an answer here costs 0.0001 + 0.0018 dollars, and 0.0053 or so at worst."""
    dice = Random(3)

    def script(messages: Sequence[Message]) -> Completion:
        usage = Usage(prompt_tokens=10, completion_tokens=dice.randint(1, 100))
        return Completion(reasoning="r", content="a", trace_kind="full", usage=usage)

    teacher, path = ScriptedTeacher(script, latency=0.001), tmp_path / "run"
    prices = Prices({teacher.name: Price(input=10, output=20)})
    for usd in (0.1, 0.25):
        distiller = Distiller(
            teacher, sampling=Sampling(max_tokens=100), budget=Budget(usd=usd), prices=prices, concurrency=256
        )
        with pytest.raises(RunError, match="the budget is reached"):
            await distiller.arun(tasks(1000), path, progress=False)
        run = Run.open(path)
        cost = run.report().cost
        assert cost is not None
        assert usd - 0.006 < cost <= usd
        assert cost == pytest.approx(sum(sample.cost or 0 for sample in run.samples()))
    assert run.report().samples == len(teacher.calls)  # bought once
    assert f"${cost:,.4f}" in str(run.report())


@pytest.mark.anyio
async def test_without_a_price_the_cost_is_not_known(tmp_path: Path) -> None:
    run = await Distiller(ScriptedTeacher(echo)).arun(tasks(3), tmp_path / "run", progress=False)
    assert run.report().cost is None
    assert {sample.cost for sample in run.samples()} == {None}


def test_an_estimate_costs_a_few_answers_and_these_count(tmp_path: Path) -> None:
    def script(messages: Sequence[Message]) -> Completion:
        usage = Usage(prompt_tokens=10, completion_tokens=100)
        return Completion(reasoning="r", content="a", trace_kind="full", usage=usage, latency=2.0)

    teacher, path, many = ScriptedTeacher(script), tmp_path / "run", tasks(200)
    distiller = Distiller(teacher, prices=Prices({teacher.name: Price(input=0, output=10)}), concurrency=10)
    found = distiller.estimate(many, path, sample=8, progress=False)
    assert len(teacher.calls) == 8
    assert (found.answers, found.seen, found.completion_tokens.expected) == (200, 8, 20_000)
    assert found.usd is not None
    assert found.usd.expected == pytest.approx(0.2)
    assert found.seconds.expected == pytest.approx(40)
    run = distiller.run(many, path, progress=False)
    assert len(teacher.calls) == 200
    assert [sample.task.id for sample in run.samples()] == [task.id for task in many]
    assert distiller.estimate(many, path, sample=8, progress=False) == found  # nothing is asked again
    assert len(teacher.calls) == 200
    with pytest.raises(ConfigError, match="twice"):
        distiller.estimate(iter(many), path)
    with pytest.raises(ConfigError, match="sample=0"):
        distiller.estimate(many, path, sample=0)


# Several side by side, and endless sources


@pytest.mark.anyio
async def test_distillers_with_one_teacher_share_its_limits_and_others_do_not(tmp_path: Path) -> None:
    most = in_flight = 0

    class Counting:
        name = "counting"

        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            nonlocal most, in_flight
            in_flight += 1
            most = max(most, in_flight)
            await anyio.sleep(0.02)
            in_flight -= 1
            return Completion(reasoning="r", content="a", trace_kind="full")

    teacher, limit = Counting(), RateLimit(requests_per_minute=60 * 100)
    started = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(3):
            distiller = Distiller(teacher, rate_limit=limit)
            group.start_soon(partial(distiller.arun, tasks(20), tmp_path / f"{number}", progress=False))
    assert time.monotonic() - started >= 59 * 0.0098  # sixty requests at a hundred a second
    assert most <= 8  # where the search for the limit starts: all of them count
    assert [len(list(Run.open(tmp_path / f"{number}").samples())) for number in range(3)] == [20, 20, 20]
    started = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(3, 6):  # each with a teacher of its own
            distiller = Distiller(Counting(), rate_limit=limit)
            group.start_soon(partial(distiller.arun, tasks(20), tmp_path / f"{number}", progress=False))
    assert most > 8 or time.monotonic() - started < 59 * 0.0098


@pytest.mark.anyio
async def test_an_endless_stream_beside_other_work_is_left_at_any_point() -> None:
    """As in a training loop: it takes a few outcomes, does something else, and stops in the middle."""
    pulled = 0

    async def endless() -> AsyncIterator[str]:
        nonlocal pulled
        while True:
            pulled += 1
            yield f"question {pulled}"

    for take in (1, 5, 40):
        pulled = 0
        teacher = ScriptedTeacher(echo, latency=0.001)
        async with Distiller(teacher).stream(endless()) as outcomes:
            taken = 0
            async for outcome in outcomes:
                assert isinstance(outcome, Sample)
                taken += 1
                await anyio.sleep(0)
                if taken == take:
                    break
        assert pulled < take + 150  # only as far as was needed
        asked = len(teacher.calls)
        await anyio.sleep(0.02)
        assert len(teacher.calls) == asked  # and nothing goes on behind our back


def test_log_probabilities_come_with_the_rows_and_take_little_room(tmp_path: Path) -> None:
    def chance(token: str, number: int) -> dict[str, Any]:
        return {"token": token, "id": number, "logprob": -0.1 * number, "bytes": list(token.encode())}

    def script(messages: Sequence[Message]) -> Completion:
        words = ["<think>", "2 and 2", "</think>", "4"]
        said = [
            {**chance(word, place), "top_logprobs": [chance(word, place), chance("x", 9)]}
            for place, word in enumerate(words)
        ]
        return Completion(content="<think>2 and 2</think>4", logprobs={"content": said}, raw="{}" * 1000)

    path, sampling = tmp_path / "run", Sampling(top_logprobs=2)
    run = Distiller(ScriptedTeacher(script), sampling=sampling).run(tasks(1), path, progress=False)
    (row,) = run.to_dataset(formatter=formatters.topk(formatters.prompt_completion))
    assert row["token_ids"] == [0, 1, 2, 3]
    assert row["topk_ids"] == [[0, 9], [1, 9], [2, 9], [3, 9]]
    assert row["topk_logprobs"][3] == pytest.approx([-0.3, -0.9])
    assert row["completion"]
    assert (path / "journal-00000.jsonl").stat().st_size < 2000
    without = Distiller(ScriptedTeacher(echo)).run(tasks(1), tmp_path / "without", progress=False)
    with pytest.raises(ConfigError, match=r"task 0 has no log-probabilities: ask with Sampling\(top_logprobs=k\)"):
        without.to_dataset(formatter=formatters.topk())


def test_more_log_probabilities_than_there_are_is_refused_up_front(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"at most 20 log-probabilities a token: Sampling\(top_logprobs=20\)"):
        Distiller(open_teacher("openai:m", api_key="k"), sampling=Sampling(top_logprobs=21))
    Distiller("vllm:m", sampling=Sampling(top_logprobs=50))
    assert "unless started with a larger --max-logprobs" in caplog.text


# What escapes from other people's code


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_cancellation_that_escapes_from_a_teacher_is_a_failed_request(tmp_path: Path) -> None:
    calls = 0

    class Odd:
        name = "odd"

        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            nonlocal calls
            calls += 1
            if calls % 5 == 0:
                raise asyncio.CancelledError
            await anyio.sleep(0)
            return Completion(reasoning="r", content="a", trace_kind="full")

    run = await Distiller(Odd()).arun(tasks(40), tmp_path / "run", progress=False)
    report = run.report()
    assert report.samples == 40
    assert report.retries == calls - 40 > 5


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_cancellation_that_escapes_from_elsewhere_ends_the_run_with_an_error(tmp_path: Path) -> None:
    async def source() -> AsyncIterator[Task]:
        for number in range(100):
            if number == 17:
                raise asyncio.CancelledError
            yield Task(id=number, instruction=f"question {number}")

    with pytest.raises(RuntimeError, match="raised CancelledError, and nobody had cancelled it"):
        await Distiller(ScriptedTeacher(echo)).arun(source(), tmp_path / "source", progress=False)

    async def verifier(task: Task, trace: Trace) -> Verdict:
        if task.id == 7:
            raise asyncio.CancelledError
        return Verdict(by="verifier", passed=True)

    run = await Distiller(ScriptedTeacher(echo), verifiers=[verifier]).arun(
        tasks(20), tmp_path / "verifier", progress=False
    )
    assert (run.report().passed, run.report().failures) == (19, {"verifier_error": 1})


@pytest.mark.anyio
async def test_what_was_perhaps_billed_counts_in_the_next_session_too(tmp_path: Path) -> None:
    """The connection breaks in the middle of every answer: nobody knows whether it was billed."""
    with FaultServer(faults={"cut": 1.0}) as server:
        teacher = open_teacher("vllm:model", base_url=server.base_url)
        for _ in range(3):
            distiller = Distiller(
                teacher, sampling=Sampling(max_tokens=100), budget=Budget(tokens=3000), retries=50, concurrency=4
            )
            with pytest.raises(RunError, match="budget is reached"):
                await distiller.arun(tasks(50), tmp_path / "run", progress=False)
        assert server.requests <= 3000 // 100


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("timeout", 0), ("timeout", -1), ("timeout", "600"), ("timeout", float("nan")), ("timeout", float("inf")),
        ("base_url", ""), ("base_url", 5), ("name", ""), ("api_key", 5), ("headers", {"X": 5}), ("headers", "X: 5"),
    ],
)  # fmt: skip
def test_options_of_a_teacher_are_checked_when_they_are_given(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        open_teacher("vllm:model", **{option: value})


def test_settings_that_could_not_be_kept_are_refused(tmp_path: Path) -> None:
    for settings in ({"temperature": float("inf")}, {"extra": {"a": float("nan")}}, {"extra": {"a": object()}}):
        with pytest.raises(ValidationError):
            Sampling(**settings)
    with pytest.raises(ConfigError, match="prices="):
        Distiller(ScriptedTeacher(echo), prices={"demo": Price(input=1, output=1)})  # type: ignore[arg-type]
    for path in ("", None, 5, "a\0b"):
        with pytest.raises(ConfigError, match="path="):
            Distiller(ScriptedTeacher(echo)).run(tasks(1), path, progress=False)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_what_never_reached_the_server_uses_up_no_budget(tmp_path: Path) -> None:
    usage = Usage(prompt_tokens=10, completion_tokens=10)
    answer = Completion(reasoning="r", content="a", trace_kind="full", usage=usage)
    down: list[Any] = [UnavailableError("nobody listens", kind="unreachable") for _ in range(2)]
    teacher = ScriptedTeacher([*down, answer])
    prices = Prices({teacher.name: Price(input=1, output=1)})
    distiller = Distiller(
        teacher, sampling=Sampling(max_tokens=1000), budget=Budget(tokens=2000), prices=prices, concurrency=1
    )
    run = await distiller.arun(tasks(1), tmp_path / "run", progress=False)
    assert run.report().cost == pytest.approx(20e-6)
    with pytest.raises(ConfigError, match="path="):
        await distiller.aestimate(tasks(1), "")
