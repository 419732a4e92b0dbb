"""Code as users write it: it need not run, but it must pass ``mypy --strict``. See ``tests/test_typing.py``.

Each part is once a plain function and once an object, and nothing here inherits from a class of ours. Where a type is
spelled out on the left, mypy proves that it is what a user gets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, assert_type

from cot_distill import (
    Budget,
    Completion,
    Distiller,
    Failure,
    Message,
    RateLimit,
    Report,
    Run,
    Sample,
    Sampling,
    Task,
    ThinkTags,
    Trace,
    Usage,
    Verdict,
    filters,
    formatters,
    open_teacher,
    sources,
    templates,
    verifiers,
    writers,
)
from cot_distill.errors import DistillError, TeacherError
from cot_distill.protocols import Filter, Formatter, Row, Tasks, Teacher, Template, Verifier, Writer
from cot_distill.testing import ScriptedTeacher
from cot_distill.trace import join, parse_trace

# Parts of one's own


class Human:
    """A teacher with its name as a plain attribute."""

    name = "human"

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        return Completion(reasoning="out of my head", content=messages[-1].content, usage=Usage(prompt_tokens=1))


class Connected:
    """A teacher with its name as a property, and connections that are opened once per run."""

    def __init__(self, model: str) -> None:
        self._model = model

    @property
    def name(self) -> str:
        return f"mine:{self._model}"

    async def __aenter__(self) -> Connected:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        raise TeacherError("not today", provider="mine", status=503)


def terse(task: Task) -> list[Message]:
    return [Message(role="user", content=f"{task.instruction}\nBe brief.")]


class InLanguage:
    def __init__(self, language: str) -> None:
        self._language = language

    def __call__(self, task: Task, /) -> tuple[Message, ...]:
        return (Message(role="system", content=f"Think in {self._language}."), *task.prompt())


def short(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="short", passed=len(trace.reasoning) < 4000)


async def compiles(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="compiles", passed=None, reason="no compiler here")


class AtLeast:
    def __init__(self, length: int) -> None:
        self._length = length

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        return Verdict(by="at_least", passed=len(trace.answer) >= self._length, score=float(len(trace.answer)))


def judged_by(teacher: Teacher) -> Verifier:
    """A part that needs another one is handed it."""

    async def judge(task: Task, trace: Trace) -> Verdict:
        completion = await teacher.complete([Message(role="user", content=join(trace))], Sampling())
        return Verdict(by="judge", passed="yes" in parse_trace(completion).answer)

    return judge


def question_only(sample: Sample) -> dict[str, Any]:
    return {"question": sample.task.instruction, "length": len(sample.trace.reasoning)}


class Templated:
    def __call__(self, sample: Sample, /) -> Row:
        return {"text": join(sample.trace)}


def long_enough(samples: Iterable[Sample]) -> Iterator[Sample]:
    return (sample for sample in samples if len(sample.trace.reasoning) > 100)


def per_task(limit: int) -> Filter:
    def chosen(samples: Iterable[Sample]) -> Iterator[Sample]:
        seen: dict[int | str, int] = {}
        for sample in samples:
            seen[sample.task.id] = seen.get(sample.task.id, 0) + 1
            if seen[sample.task.id] <= limit:
                yield sample

    return chosen


def count(rows: Iterable[Row]) -> int:
    return sum(1 for _ in rows)


def csv(path: str | PathLike[str]) -> Writer[Path]:
    def write(rows: Iterable[Row], /) -> Path:
        target = Path(path)
        target.write_text("\n".join(",".join(map(str, row.values())) for row in rows))
        return target

    return write


def list_of_tasks() -> Iterator[Task]:
    yield Task(instruction="2 + 2?", answer="4")
    yield Task(id=7, messages=(Message(role="user", content="2 + 3?"),), metadata={"level": 1})


async def live() -> AsyncIterator[Task]:
    yield Task(instruction="What next?")


# They are what the protocols say

TEACHERS: list[Teacher] = [Human(), Connected("m"), ScriptedTeacher(["a"]), open_teacher("vllm:Qwen/QwQ-32B")]
TEMPLATES: list[Template] = [terse, InLanguage("French"), templates.solve, templates.from_string("{instruction}")]
VERIFIERS: list[Verifier] = [short, compiles, AtLeast(3), judged_by(Human()), verifiers.exact()]
FORMATTERS: list[Formatter] = [
    question_only,
    Templated(),
    formatters.messages,
    formatters.messages(thinking="reasoning_content"),
    formatters.prompt_completion,
    formatters.alpaca(system=True),
]
FILTERS: list[Filter] = [long_enough, per_task(2), filters.passed, filters.limit(10)]
TASKS: list[Tasks] = [[Task(instruction="q")], list_of_tasks(), live(), sources.demo_tasks(3)]


# Everything together


def with_everything(path: Path) -> Run:
    distiller = Distiller(
        Connected("m"),
        template=InLanguage("French"),
        verifiers=[short, compiles, AtLeast(3), verifiers.exact()],
        sampling=Sampling(temperature=0.6, max_tokens=32_768, seed=1, extra={"min_p": 0.1}),
        attempts=4,
        until_passed=1,
        concurrency=8,
        retries=3,
        rate_limit=RateLimit(requests_per_minute=600),
        budget=Budget(tokens=1_000_000),
        require_reasoning=False,
        tags=ThinkTags(open="[THINK]", close="[/THINK]"),
        prefilled=True,
    )
    assert_type(distiller.teacher, Teacher)
    try:
        return distiller.run(list_of_tasks(), path, progress=False)
    except DistillError:
        return Run.open(path)


def with_defaults() -> None:
    for teacher in (Human(), "demo", "deepseek:deepseek-flash"):
        Distiller(teacher)
    run = Distiller("demo").run(sources.demo_tasks(), "runs/r1")
    for tasks in ("tasks.jsonl", Path("tasks.csv"), ["2 + 2?"], [{"question": "2 + 2?", "answer": 4}], live()):
        Distiller(Human(), template=terse, concurrency="auto").run(tasks, run.path)


def what_export_returns(run: Run) -> None:
    assert_type(run.export(count), int)
    assert_type(run.export(csv("rows.csv"), long_enough, per_task(2), formatter=question_only), Path)
    assert_type(run.export(writers.jsonl("rows.jsonl")), Path)
    assert_type(run.export(writers.parquet("rows.parquet"), filters.passed, formatter=Templated()), Path)
    assert_type(run.export(lambda rows: [row["id"] for row in rows], formatter=formatters.alpaca), list[Any])
    assert_type(run.to_jsonl("rows.jsonl", filters.limit(3), formatter=formatters.messages), Path)
    run.to_dataset(formatter=formatters.messages(thinking="thinking"))


def messages_both_ways(sample: Sample) -> None:
    assert_type(formatters.messages(sample), Row)
    assert_type(formatters.messages(sample, thinking="reasoning"), Row)
    assert_type(formatters.messages(thinking="reasoning"), Formatter)
    assert_type(formatters.messages(), Formatter)
    assert_type(formatters.messages()(sample), Row)


def what_a_run_holds(run: Run) -> None:
    for sample in run.samples():
        assert_type(sample.passed, bool | None)
        assert_type(sample.trace, Trace)
    for failure in run.failures():
        assert_type(failure.kind, str)
    for outcome in run.outcomes():
        assert_type(outcome, Sample | Failure)
    assert_type(run.report(), Report)
    assert_type(run.report().failures, dict[str, int])
    assert_type(run.judge(short, compiles), Run)
    assert_type(run.reask("truncated"), int)
    assert_type(run.card(), str)


async def one_by_one() -> None:
    distiller = Distiller(Human(), verifiers=[short])
    outcome = await distiller.attempt(Task(instruction="2 + 2?"), 1)
    if isinstance(outcome, Sample):
        assert_type(outcome.verdicts, tuple[Verdict, ...])
    async with distiller.stream(live()) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Sample | Failure)
            break
    assert_type(await distiller.arun(live(), "runs/r2", progress=None), Run)


def a_verifier_as_reward(verifier: Verifier, task: Task, trace: Trace) -> float | None:
    verdict = verifier(task, trace)
    return None if isinstance(verdict, Awaitable) else verdict.score
