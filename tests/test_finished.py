"""Passing over finished tasks: it changes how long a session takes, and nothing else."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill import Distiller, Run, Sampling, Task, Verdict, session, sources, templates
from cot_distill.errors import DistillError, RequestError, SourceError, TraceError, UnavailableError
from cot_distill.journal_index import ENTRY_BYTES, order_in
from cot_distill.sources import Source
from cot_distill.sources.columns import TaskMaker
from cot_distill.types import Completion, Message, Trace, Usage

pytestmark = pytest.mark.usefixtures("passing_over")

CARDS = ("good", "good", "good", "cut", "bare", "refused", "server error")


@contextmanager
def many(records: int) -> Iterator[None]:
    """Tasks are passed over in runs of so many records."""
    before, session.MANY = session.MANY, records  # type: ignore[attr-defined]
    try:
        yield
    finally:
        session.MANY = before  # type: ignore[attr-defined]


@pytest.fixture
def passing_over() -> Iterator[None]:
    with many(0):
        yield


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The rows that tasks were made of."""
    rows: list[object] = []
    make = TaskMaker.__call__

    def noted(self: TaskMaker, row: object) -> Task:
        rows.append(row)
        return make(self, row)

    monkeypatch.setattr(TaskMaker, "__call__", noted)
    return rows


class Dealt:
    """A teacher whose answer depends on the question, the attempt, and how often that was asked before."""

    name = "dealt"

    def __init__(self, cards: Sequence[str] = ("good",)) -> None:
        self._cards = cards
        self.asked: list[tuple[str, int]] = []

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        question = messages[-1].content, sampling.seed or 0
        number = sum(map(ord, question[0])) + question[1] + 3 * self.asked.count(question)
        self.asked.append(question)
        card = self._cards[number % len(self._cards)]
        usage = Usage(prompt_tokens=1, completion_tokens=sampling.max_tokens)
        if card == "refused":
            raise RequestError("no", kind="refused", status=400)
        if card == "server error":
            raise UnavailableError("no", status=500, retry_after=0)
        if card == "bare":
            return Completion(content="4", usage=usage)
        reason = "length" if card == "cut" else "stop"
        return Completion(reasoning="r", content="4", trace_kind="full", finish_reason=reason, usage=usage)


def as_given(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="as_given", passed=trace.answer == task.answer, about="answer")


def any_answer(task: Task, trace: Trace) -> Verdict:
    return Verdict(by="any_answer", passed=True)


class Plan(NamedTuple):
    """One session."""

    rows: tuple[tuple[int, int, int], ...]
    """Id, wording, reference answer."""
    attempts: int = 1
    until_passed: bool = False
    room: int = 10
    verifiers: int = 0


ROW = st.tuples(st.integers(0, 4), st.integers(0, 1), st.sampled_from([4, 4, 5]))
ROWS = st.lists(ROW, min_size=1, max_size=3, unique_by=lambda row: row[0])
FILES = st.lists(ROWS.map(tuple), min_size=1, max_size=2)
"""Few of them, so that the next session often has the same one."""


@st.composite
def plans(draw: st.DrawFn) -> list[Plan]:
    files = draw(FILES)
    if draw(st.booleans()):  # an input that grows
        files.append((*files[0], (7, 0, 4)))
    one = st.builds(
        Plan,
        st.sampled_from(files),
        st.integers(1, 2),  # with four tasks: not enough errors in a row to end the session
        st.booleans(),
        st.sampled_from([10, 20]),
        st.integers(0, 2),
    )
    return draw(st.lists(one, min_size=2, max_size=5))


def write(path: Path, rows: Sequence[tuple[int, int, int]]) -> Path:
    lines = [{"id": one, "instruction": f"question {one} {wording}", "answer": a} for one, wording, a in rows]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


async def play(teacher: Dealt, plan: Plan, folder: Path, **changes: Any) -> Run:
    verifiers = [[], [as_given], [as_given, any_answer]][plan.verifiers]
    settings: dict[str, Any] = {"require_reasoning": False, **changes}
    distiller = Distiller(
        teacher,
        attempts=plan.attempts,
        until_passed=1 if plan.until_passed and verifiers else None,
        sampling=Sampling(max_tokens=plan.room, seed=0),
        verifiers=verifiers,
        retries=0,
        concurrency=1,
        **settings,
    )
    return await distiller.arun(write(folder / "tasks.jsonl", plan.rows), folder / "run", progress=False)


def history(cards: Sequence[str], plan: Sequence[Plan]) -> tuple[list[object], int]:
    """All that can be seen of some sessions: what each asked and how it ended, and what is there after them."""
    teacher, seen, passed_over = Dealt(cards), [], 0
    look_at = TaskMaker.look_at

    def counted(self: TaskMaker, row: object) -> None:
        nonlocal passed_over
        passed_over += 1
        look_at(self, row)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaskMaker, "look_at", counted)
        for one in plan:
            before, ended = len(teacher.asked), ""
            try:
                anyio.run(play, teacher, one, Path(folder))
            except DistillError as error:
                ended = type(error).__name__
            seen.append((sorted(teacher.asked[before:]), ended))
        run = Run.open(Path(folder) / "run")
        report = run.report()
        outcomes = [outcome.model_dump(exclude={"latency"}) for outcome in run.outcomes()]
        return [*seen, report.model_dump(exclude={"seconds", "path"}), outcomes], passed_over


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from(CARDS), min_size=1, max_size=7), plans())
def test_sessions_ask_keep_and_raise_the_same_as_if_each_task_were_looked_at(
    cards: list[str], sessions: list[Plan]
) -> None:
    with many(10**9):
        expected, passed_over = history(cards, sessions)
        assert passed_over == 0
    found, _ = history(cards, sessions)
    assert found == expected


FOUR = tuple((number, 0, 4) for number in range(4))


@pytest.mark.anyio
async def test_the_rows_of_finished_tasks_are_passed_over(tmp_path: Path, made: list[object]) -> None:
    teacher = Dealt()
    # The first one always is looked at; and all of them, where there is no verdict of these verifiers.
    for plan, looked_at in (
        (Plan(FOUR), 4),
        (Plan(FOUR), 1),
        (Plan(FOUR, verifiers=1), 4),
        (Plan(FOUR, verifiers=1), 1),
    ):
        made.clear()
        run = await play(teacher, plan, tmp_path)
        assert (len(made), len(teacher.asked), run.report().samples) == (looked_at, 4, 4)
    await play(teacher, Plan(FOUR, attempts=2, verifiers=1), tmp_path)
    assert len(teacher.asked) == 8


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("rows", "looked_at", "asked"),
    [
        ((*FOUR, (4, 0, 4)), 2, 1),
        ((*FOUR, (4, 0, 4), (5, 0, 4)), 3, 2),
        ((*FOUR[:3], (3, 1, 4), (4, 0, 4)), 5, 2),  # it grew, and was changed before that
        ((FOUR[1], FOUR[0], *FOUR[2:]), 4, 0),
        (FOUR[:3], 3, 0),
    ],
)
async def test_where_a_file_grew_the_rows_that_were_there_are_passed_over(
    rows: tuple[tuple[int, int, int], ...], looked_at: int, asked: int, tmp_path: Path, made: list[object]
) -> None:
    teacher = Dealt()
    await play(teacher, Plan(FOUR), tmp_path)
    made.clear()
    run = await play(teacher, Plan(rows), tmp_path)
    assert (len(made), len(teacher.asked)) == (looked_at, 4 + asked)
    ids = [sample.task.id for sample in run.samples()]
    assert sorted(ids) == sorted({row[0] for row in (*FOUR, *rows)})


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("template", "passes"),
    [
        (templates.solve_math, True),
        (templates.with_system(templates.solve, "Be brief."), True),
        (templates.from_string("{instruction}!"), True),
        (lambda task: task.prompt(), False),
        (templates.with_system(lambda task: task.prompt(), "Be brief."), False),
    ],
)
async def test_a_template_that_may_say_something_else_by_now_is_asked(
    template: Any, passes: bool, tmp_path: Path, made: list[object]
) -> None:
    teacher = Dealt()
    await play(teacher, Plan(FOUR), tmp_path, template=template)
    made.clear()
    await play(teacher, Plan(FOUR), tmp_path, template=template)
    assert (len(made), len(teacher.asked)) == (1 if passes else 4, 4)


@pytest.mark.anyio
async def test_a_task_with_the_id_of_one_that_was_passed_over_is_refused(tmp_path: Path) -> None:
    rows = (*FOUR, (2, 1, 4))
    teacher = Dealt()
    for words in ("line 5: the same id 2 as line 3", "tasks 3 and 5 of the input have the same id, 2"):
        with pytest.raises(SourceError, match=words):
            await play(teacher, Plan(rows), tmp_path)
        assert len(teacher.asked) == 4


@pytest.mark.anyio
async def test_what_was_opened_again_is_asked_again(tmp_path: Path, made: list[object]) -> None:
    cards = ["good"] * 4
    cards[sum(map(ord, "question 2 0")) % 4] = "refused"
    teacher = Dealt(cards)
    for _ in range(2):
        run = await play(teacher, Plan(FOUR), tmp_path)
        assert len(teacher.asked) == 4
    assert run.reask("refused") == 1
    made.clear()
    await play(teacher, Plan(FOUR), tmp_path)
    assert len(made) == 2
    assert [question for question, _ in teacher.asked[4:]] == ["question 2 0"]


@pytest.mark.anyio
async def test_a_task_that_was_corrected_for_a_while_is_looked_at(tmp_path: Path) -> None:
    other = (*FOUR[:2], (2, 0, 5), FOUR[3])
    teacher = Dealt()
    for rows in (FOUR, other, FOUR):
        run = await play(teacher, Plan(rows, verifiers=1), tmp_path)
        assert [sample.task.answer for sample in run.samples()] == [str(answer) for _, _, answer in rows]
        assert [sample.passed for sample in run.samples()] == [answer == 4 for _, _, answer in rows]
    assert len(teacher.asked) == 4


@pytest.mark.anyio
async def test_a_task_of_which_nothing_passed_yet_is_asked_again(tmp_path: Path) -> None:
    rows = (FOUR[0], (1, 0, 5), FOUR[2])  # the teacher says 4
    teacher = Dealt()
    for attempts, asked in ((1, 3), (1, 3), (2, 4), (2, 4)):
        await play(teacher, Plan(rows, attempts=attempts, until_passed=True, verifiers=1), tmp_path)
        assert len(teacher.asked) == asked
    assert teacher.asked[3] == ("question 1 0", 1)


@pytest.mark.anyio
async def test_answers_without_reasoning_are_asked_for_again_once_that_is_mended(tmp_path: Path) -> None:
    teacher = Dealt(["bare"])
    with pytest.raises(TraceError):
        await play(teacher, Plan(FOUR), tmp_path, require_reasoning=True)
    bare = len(teacher.asked)
    teacher._cards = ["good"]
    run = await play(teacher, Plan(FOUR), tmp_path, require_reasoning=True)
    assert len(teacher.asked) == bare + 4
    assert run.report().samples == 4


# What a session reads need not be what it marked


def shard(path: Path, questions: str) -> None:
    path.write_text("".join(f'{{"id": "{one}", "instruction": "{one}"}}\n' for one in questions))


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("there", "meanwhile", "asked_then"),
    [
        ("cde", "xyz", ["c", "d", "e"]),
        ("cde", "de", ["c"]),
        ("cde", "cdef", []),
        ("cde", None, []),
    ],
)
async def test_a_file_that_is_touched_while_it_is_read_is_not_taken_for_what_it_was(
    there: str, meanwhile: str | None, asked_then: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    shard(folder / "a.jsonl", "ab")
    shard(folder / "b.jsonl", there)
    teacher = Dealt()
    distiller = Distiller(teacher, concurrency=1)
    answer = teacher.complete

    async def edits(messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        if meanwhile is not None:
            shard(folder / "b.jsonl", meanwhile)
        return await answer(messages, sampling)

    teacher.complete = edits  # type: ignore[method-assign]
    await distiller.arun(folder, tmp_path / "run", progress=False)
    teacher.complete = answer  # type: ignore[method-assign]
    assert [question for question, _ in teacher.asked] == [*"ab", *(meanwhile or there)]
    shard(folder / "b.jsonl", there)
    for expected in (asked_then, []):
        teacher.asked.clear()
        await distiller.arun(folder, tmp_path / "run", progress=False)
        assert [question for question, _ in teacher.asked] == expected


@pytest.mark.anyio
async def test_a_recipe_that_was_mended_before_any_answer_came_starts_anew(tmp_path: Path) -> None:
    for name, cards in (("dealt:typo", ["refused"]), ("dealt:right", ["good"])):
        teacher = Dealt(cards)
        teacher.name = name
        run = await play(teacher, Plan(FOUR), tmp_path)
        assert len(teacher.asked) == 4
    assert run.report().samples == 4


@pytest.mark.anyio
async def test_a_place_that_is_wrong_in_the_index_is_no_second_task_of_that_id(tmp_path: Path) -> None:
    numbers = tuple((number, 0, 4) for number in range(100))  # the last entries are compared with their lines
    teacher = Dealt()
    await play(teacher, Plan(numbers), tmp_path)
    path = tmp_path / "run" / "journal.idx"
    index = bytearray(path.read_bytes())
    entry = next(at for at in range(0, len(index), ENTRY_BYTES) if order_in(index[at : at + ENTRY_BYTES]) == 20)
    for order in (21, 500, 2**40, 2**63):
        index[entry + 16 : entry + 24] = order.to_bytes(8, "little")
        path.write_bytes(index)
        await play(teacher, Plan(numbers), tmp_path)
        assert len(teacher.asked) == 100


@pytest.mark.anyio
async def test_others_get_a_turn_while_finished_tasks_are_looked_at(tmp_path: Path) -> None:
    turns = 0

    def slow(task: Task) -> Sequence[Message]:
        time.sleep(0.001)
        return task.prompt()

    async def count() -> None:
        nonlocal turns
        while True:
            await anyio.sleep(0)
            turns += 1

    tasks = [f"question {number}" for number in range(200)]
    await Distiller(Dealt(), template=slow).arun(tasks, tmp_path / "run", progress=False)
    async with anyio.create_task_group() as group:
        group.start_soon(count)
        turns = 0
        await Distiller(Dealt(), template=slow).arun(tasks, tmp_path / "run", progress=False)
        group.cancel_scope.cancel()
    assert turns > 20


# The fingerprint


def file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_fingerprint_tells_bytes_and_how_they_are_read(tmp_path: Path) -> None:
    text = '{"q": "a", "p": "b"}\n{"q": "c", "p": "d"}\n'
    one = file(tmp_path / "one.jsonl", text)
    same = file(tmp_path / "same.jsonl", text)
    assert sources.jsonl(one).fingerprint() == sources.read(same).fingerprint() is not None
    others = [
        sources.jsonl(file(tmp_path / "longer.jsonl", text + '{"q": "e"}\n')),
        sources.jsonl(file(tmp_path / "other.jsonl", text.replace("c", "C"))),
        sources.jsonl(one, instruction="q"),
        sources.jsonl(one, instruction="p"),
        sources.jsonl(one, instruction="p", answer="q"),
        sources.csv(one),
    ]
    found = [source.fingerprint() for source in [sources.jsonl(one), *others]]
    assert None not in found
    assert len(set(found)) == len(found)


def test_a_fingerprint_can_be_that_of_a_beginning(tmp_path: Path) -> None:
    lines = [f'{{"question": "{number}"}}\n' for number in range(3)]
    longer = sources.jsonl(file(tmp_path / "longer.jsonl", "".join(lines)))
    for count in (1, 2, 3):
        shorter = sources.jsonl(file(tmp_path / "shorter.jsonl", "".join(lines[:count])))
        assert shorter.size() is not None
        assert longer.fingerprint(shorter.size()) == shorter.fingerprint()
    assert longer.fingerprint(5) is None  # not the end of a line
    assert longer.fingerprint(0) is None
    assert longer.fingerprint(10**6) is None
    for source in (sources.csv(longer.files[0].path), sources.rows(["a"])):
        assert source.size() is None
        assert source.fingerprint(len(lines[0])) is None
    with gzip.open(tmp_path / "packed.jsonl.gz", "wt") as packed:
        packed.writelines(lines)
    assert sources.read(tmp_path / "packed.jsonl.gz").size() is None


def test_many_files_have_one_fingerprint(tmp_path: Path) -> None:
    for name in "ab":
        file(tmp_path / f"{name}.jsonl", f'{{"question": "{name}"}}\n')
    whole = sources.read(tmp_path).fingerprint()
    assert whole == sources.read(tmp_path / "*.jsonl").fingerprint() is not None
    (tmp_path / "a.jsonl").rename(tmp_path / "c.jsonl")
    assert sources.read(tmp_path).fingerprint() != whole


def test_rows_that_may_be_others_next_time_have_no_fingerprint(tmp_path: Path) -> None:
    path = file(tmp_path / "one.jsonl", '{"question": "a"}\n')
    without: list[Source] = [
        sources.rows(["a"]),
        sources.jsonl(path, on_error="skip"),  # a place then says nothing about the row
        sources.hub("some/where"),
    ]
    assert [source.fingerprint() for source in without] == [None, None, None]
    source = sources.jsonl(path)
    assert source.fingerprint() is not None
    path.unlink()
    assert source.fingerprint() is None


@pytest.mark.anyio
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "tasks.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=('{"question": "a"}\n{"question": "b"}\n',))
    writer.start()
    run = await Distiller(Dealt(), concurrency=1).arun(pipe, tmp_path / "run", progress=False)
    writer.join()
    assert run.report().samples == 2


def test_columns_are_settled_by_rows_that_are_passed_over(tmp_path: Path) -> None:
    rows = [{"question": "a"}, {"question": "b", "solution": "2"}, {"question": "c", "solution": "3", "answer": "4"}]
    source = sources.jsonl(file(tmp_path / "one.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    (*_, expected) = source
    ((place, found),) = filter(None, source.unfinished(b"\1\1\0"))
    assert (place, found) == (3, expected)
    assert found.answer == "3"
