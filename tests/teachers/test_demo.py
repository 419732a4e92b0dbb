"""The demo teacher: a program that errs in stated shares, always in the same way."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path

import anyio
import pytest

from cot_distill import Distiller, Sampling, Task
from cot_distill.errors import RateLimitError, RequestError
from cot_distill.protocols import Teacher
from cot_distill.sources import demo_tasks
from cot_distill.teachers import DemoTeacher
from cot_distill.testing import check_teacher
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Failure, Sample
from cot_distill.verifiers import exact

pytestmark = pytest.mark.anyio

NUMBERS = [task for task in demo_tasks(250) if task.answer is not None]
QUIET = functools.partial(DemoTeacher, wrong=0, cut=0, rate_limited=0, latency=0)
DEFAULTS = Sampling()


async def ask(teacher: Teacher, task: Task, sampling: Sampling = DEFAULTS) -> Completion | RateLimitError:
    try:
        return await teacher.complete(task.prompt(), sampling)
    except RateLimitError as error:
        return error


async def ask_all(teacher: Teacher, tasks: list[Task], sampling: Sampling = DEFAULTS) -> list[object]:
    """Sixteen at once; the answers in the order of the tasks."""
    answers: dict[int, object] = {}
    waiting = list(enumerate(tasks))

    async def worker() -> None:
        while waiting:
            number, task = waiting.pop()
            answers[number] = await ask(teacher, task, sampling)

    async with teacher, anyio.create_task_group() as group:  # type: ignore[attr-defined]
        for _ in range(16):
            group.start_soon(worker)
    return [answers[number] for number in range(len(tasks))]


def judged(task: Task, answer: object) -> str:
    if isinstance(answer, RateLimitError):
        return "rate limited"
    assert isinstance(answer, Completion)
    if answer.finish_reason == "length":
        return "cut"
    return "right" if exact()(task, parse_trace(answer)).passed else "wrong"  # type: ignore[union-attr]


async def test_without_faults_every_answer_is_right_and_whole() -> None:
    answers = await ask_all(QUIET(), NUMBERS[:60])
    assert {judged(task, answer) for task, answer in zip(NUMBERS, answers, strict=False)} == {"right"}
    first = answers[0]
    assert isinstance(first, Completion)
    assert first.model == "cot-distill-demo"
    assert (first.trace_kind, first.finish_reason) == ("full", "stop")
    assert first.usage.prompt_tokens
    assert first.usage.completion_tokens == (first.usage.reasoning_tokens or 0) + len(first.content.split())


@pytest.mark.parametrize(("kind", "share"), [("wrong", 0.25), ("cut", 0.25), ("rate_limited", 0.25)])
async def test_the_shares_are_kept(kind: str, share: float) -> None:
    answers = await ask_all(functools.partial(QUIET, **{kind: share})(), NUMBERS)
    found = Counter(judged(task, answer) for task, answer in zip(NUMBERS, answers, strict=True))
    word = kind.replace("_", " ")
    assert found.keys() == {"right", word}
    assert abs(found[word] / len(NUMBERS) - share) < 0.1  # the seed is fixed


@pytest.mark.parametrize("kind", ["wrong", "cut", "rate_limited"])
async def test_all_or_none(kind: str) -> None:
    answers = await ask_all(QUIET(**{kind: 1}), NUMBERS[:20])
    assert {judged(task, answer) for task, answer in zip(NUMBERS, answers, strict=False)} == {kind.replace("_", " ")}


async def test_the_same_seed_errs_at_the_same_questions_and_another_at_others() -> None:
    faulty = functools.partial(QUIET, wrong=0.3, cut=0.2, rate_limited=0.2)
    first, second, other = [
        [
            judged(task, answer)
            for task, answer in zip(NUMBERS, await ask_all(faulty(seed=seed), NUMBERS[:80]), strict=False)
        ]
        for seed in (1, 1, 2)
    ]
    assert first == second
    assert first != other


async def test_a_rate_limited_request_says_when_to_come_back_and_then_succeeds() -> None:
    teacher = QUIET(rate_limited=0.5)
    async with teacher:
        for _ in range(40):
            answer = await ask(teacher, NUMBERS[0])
            if isinstance(answer, Completion):
                break
            assert answer.retry_after == pytest.approx(0.3)
        assert isinstance(answer, Completion)


async def test_what_is_cut_has_reasoning_and_no_answer_until_there_is_room() -> None:
    (cut,) = await ask_all(QUIET(cut=1), NUMBERS[:1])
    (whole,) = await ask_all(QUIET(cut=1), NUMBERS[:1], Sampling(max_tokens=4096))
    assert isinstance(cut, Completion)
    assert isinstance(whole, Completion)
    assert (cut.finish_reason, cut.content) == ("length", "")
    assert whole.finish_reason == "stop"
    assert whole.reasoning.startswith(cut.reasoning[:20])
    assert len(cut.reasoning) < len(whole.reasoning)


@pytest.mark.parametrize("room", [1, 5, 10])
async def test_a_cap_is_obeyed(room: int) -> None:
    (answer,) = await ask_all(QUIET(), NUMBERS[:1], Sampling(max_tokens=room))
    assert isinstance(answer, Completion)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens is not None
    assert answer.usage.completion_tokens <= room


async def test_it_takes_its_time() -> None:
    teacher = DemoTeacher(wrong=0, cut=0, rate_limited=0, latency=0.2)
    async with teacher:
        answer = await ask(teacher, NUMBERS[0])
    assert isinstance(answer, Completion)
    assert answer.latency is not None
    assert 0.1 <= answer.latency < 1


@pytest.mark.parametrize("entered", [True, False])
async def test_a_foreign_task_is_refused(entered: bool) -> None:
    teacher = QUIET()
    question = Task(instruction="Who wrote Faust?").prompt()
    with pytest.raises(RequestError, match=re.escape("only the tasks of cot_distill.sources.demo_tasks()")):
        if entered:
            async with teacher:
                await teacher.complete(question, Sampling())
        else:
            await teacher.complete(question, Sampling())


async def test_in_a_run_a_foreign_task_is_a_failure_of_its_own(tmp_path: Path) -> None:
    tasks = [NUMBERS[0], Task(id="foreign", instruction="Who wrote Faust?"), NUMBERS[1]]
    run = await Distiller(QUIET()).arun(tasks, tmp_path / "run", progress=False)
    outcomes = list(run.outcomes())
    assert [type(outcome) for outcome in outcomes] == [Sample, Failure, Sample]
    assert outcomes[1].task.id == "foreign"


async def test_it_keeps_the_promises_of_a_teacher() -> None:
    await check_teacher(QUIET(latency=0.3), prompt=NUMBERS[0].instruction)


async def test_outside_of_a_with_block_it_serves_one_question() -> None:
    answer = await ask(QUIET(), NUMBERS[0])
    assert isinstance(answer, Completion)
    assert parse_trace(answer).answer


async def test_it_can_be_entered_twice_and_again() -> None:
    teacher = QUIET()
    for _ in range(2):
        async with teacher:
            async with teacher:
                assert isinstance(await ask(teacher, NUMBERS[0]), Completion)
            assert isinstance(await ask(teacher, NUMBERS[1]), Completion)
