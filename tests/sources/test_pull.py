"""Pulling tasks from whatever a user hands over, one at a time and in flat memory."""

from __future__ import annotations

import json
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError
from cot_distill.sources import Source, TaskInput, open_tasks
from cot_distill.types import Task

QA = {"question": "What is 2 + 2?", "answer": 4}


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


async def pull(tasks: TaskInput, *, unique: bool = True) -> list[tuple[int, Task]]:
    async with aclosing(open_tasks(tasks, unique=unique)) as located:
        return [pair async for pair in located]


def ask(n: int) -> dict[str, Any]:
    return {"id": n, "question": f"What is {n} + {n}?", "answer": 2 * n}


@pytest.mark.anyio
async def test_everything_can_be_opened(tmp_path: Path) -> None:
    import datasets
    import pandas  # type: ignore[import-untyped]

    async def asynchronous() -> AsyncIterator[dict[str, Any]]:
        for n in (1, 2):
            await anyio.sleep(0)
            yield ask(n)

    path = lines(tmp_path / "tasks.jsonl", ask(1), ask(2))
    tasks = [Task(id=n, instruction=f"What is {n} + {n}?", answer=str(2 * n)) for n in (1, 2)]
    kinds: list[TaskInput] = [
        tasks,
        tuple(tasks),
        iter(tasks),
        (task for task in tasks),
        cast(Any, [tasks[0], ask(2)]),
        [ask(1), ask(2)],
        asynchronous(),
        path,
        str(path),
        sources.read(path),
        sources.rows([ask(1), ask(2)]),
        cast(Any, pandas.DataFrame([ask(1), ask(2)])),
        cast(Any, datasets.Dataset.from_list([ask(1), ask(2)])),
        cast(Any, datasets.Dataset.from_list([ask(1), ask(2)]).to_iterable_dataset()),
    ]
    for kind in kinds:
        assert await pull(kind) == [(1, tasks[0]), (2, tasks[1])], kind
    assert await pull(["a", "b"]) == [(1, Task(instruction="a")), (2, Task(instruction="b"))]
    assert await pull([]) == []


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (Task(instruction="q"), ConfigError, r"a single Task: pass a list, \[task\]"),
        ({"question": "q"}, ConfigError, "a single dict: pass a list"),
        ("What is 2 + 2?", SourceError, "put it in a list"),
        (b"bytes", ConfigError, "not bytes"),
        (None, ConfigError, "tasks must be a path, .* not NoneType"),
        (7, ConfigError, "not int"),
    ],
)
def test_what_cannot_be_opened_says_so_at_once(tasks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_tasks(tasks)


def test_a_dict_of_splits_says_what_to_pass() -> None:
    import datasets

    with pytest.raises(ConfigError, match=r"data\['train'\]"):
        open_tasks(cast(Any, datasets.DatasetDict(train=datasets.Dataset.from_list([QA]))))


def watched(log: list[object], items: Iterator[Any]) -> Iterator[Any]:
    try:
        for item in items:
            log.append(item)
            yield item
    finally:
        log.append("closed")


async def watched_async(log: list[object], items: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        for item in items:
            log.append(item)
            yield item
    finally:
        await anyio.sleep(0)
        log.append("closed")


@pytest.mark.anyio
@pytest.mark.parametrize("watch", [watched, watched_async])
@pytest.mark.parametrize("unique", [True, False])
async def test_an_endless_generator_is_pulled_one_at_a_time_and_closed(
    watch: Callable[..., Any], unique: bool
) -> None:
    log: list[object] = []
    questions = (str(n) for n in count())
    async with aclosing(open_tasks(watch(log, questions), unique=unique)) as located:
        assert log == []
        for n in range(3):
            assert (await anext(located))[0] == n + 1
            assert log == [str(i) for i in range(n + 1)], "never ahead"
    assert log[-1] == "closed"


@pytest.mark.anyio
@pytest.mark.parametrize("watch", [watched, watched_async])
async def test_what_a_generator_raises_comes_through_unchanged(watch: Callable[..., Any]) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise KeyError("mine")

    log: list[object] = []
    with pytest.raises(KeyError, match="mine"):
        await pull(watch(log, broken()))
    assert log == ["a", "closed"]


@pytest.mark.anyio
async def test_bad_items_of_an_async_generator_are_named() -> None:
    with pytest.raises(SourceError, match=r"^input, row 2: not an object with columns but a number"):
        await pull(watched_async([], iter(["a", 7])))


@pytest.mark.anyio
async def test_a_cancelled_pull_closes_the_generator() -> None:
    log: list[object] = []

    async def slow() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            log.append("closed")

    with anyio.move_on_after(0.05):
        await pull(slow())
    assert log == ["closed"]


@pytest.mark.anyio
async def test_the_same_id_twice_names_both_places(tmp_path: Path) -> None:
    path = lines(tmp_path / "tasks.jsonl", {"id": "a", "question": "1"}, "", {"id": "a", "question": "2"})
    with pytest.raises(
        SourceError, match=r"^tasks.jsonl, line 3: the same id 'a' as line 1; ids must be unique.*id=None"
    ):
        await pull(path)
    assert len(await pull(path, unique=False)) == 2
    assert len(await pull(sources.read(path, id=None))) == 2
    source = sources.read(path, on_error="skip")
    assert [position for position, _ in await pull(source)] == [1]
    assert source.skipped == 1


@pytest.mark.anyio
async def test_the_same_content_twice_and_repeats_across_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^input, row 3: the same task as row 1; remove one, give both an id"):
        await pull(["a", "b", "a"])
    with pytest.raises(SourceError, match=r"^input, row 2: the same task as row 1"):
        await pull(watched_async([], iter(["a", "a"])))
    lines(tmp_path / "a.jsonl", ask(1), ask(2))
    lines(tmp_path / "b.jsonl", ask(3), ask(2))
    with pytest.raises(SourceError, match=r"^b.jsonl, line 2: the same id 2 as a.jsonl, line 2;"):
        await pull(tmp_path)


@pytest.mark.anyio
async def test_what_a_repeat_can_do_about_it_depends_on_the_input() -> None:
    def twice() -> AsyncIterator[Any]:
        return watched_async([], iter([{"id": 1, "question": "a"}, {"id": 1, "question": "b"}]))

    with pytest.raises(SourceError, match=r"^input, row 2: the same id 1 as row 1; ids must be unique: change one$"):
        await pull(twice())
    assert len(await pull(twice(), unique=False)) == 2
    with pytest.raises(SourceError, match=r"^input, row 2: the same task as row 1; remove one, or give both an id$"):
        await pull(watched_async([], iter(["a", "a"])))


@pytest.mark.anyio
async def test_a_number_and_its_text_are_different_ids() -> None:
    tasks = [Task(id=1, instruction="a"), Task(id="1", instruction="b"), Task(id="int 1", instruction="c")]
    assert len(await pull(tasks)) == 3
    with pytest.raises(SourceError, match="the same id 1 as row 1"):
        await pull([*tasks, Task(id=1, instruction="d")])


@pytest.mark.anyio
async def test_a_waiting_stream_does_not_block_the_event_loop() -> None:
    import datasets

    def slow() -> Iterator[dict[str, Any]]:
        for n in range(4):
            time.sleep(0.1)
            yield ask(n)

    ticks = 0

    async def watch() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.005)
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        pulled = await pull(cast(Any, datasets.IterableDataset.from_generator(slow)))
        group.cancel_scope.cancel()
    assert [task.id for _, task in pulled] == [0, 1, 2, 3]
    assert ticks > 15, "0.4 s of waiting leave room for 80"


@pytest.mark.anyio
async def test_tasks_before_an_error_in_a_stream_still_come() -> None:
    rows = [ask(1), ask(2), {"question": ""}]
    source = Source("stream", lambda: iter(list(enumerate(rows, start=1))), blocking=True)
    got = []
    with pytest.raises(SourceError, match="stream, row 3: column 'question' is empty"):
        async for position, _ in open_tasks(source):
            got.append(position)
    assert got == [1, 2]


@pytest.mark.anyio
async def test_a_stream_is_closed_and_a_hanging_one_is_left_behind() -> None:
    log: list[object] = []
    source = Source("stream", lambda: watched(log, ((n, ask(n)) for n in count(1))), blocking=True)
    async with aclosing(open_tasks(source)) as located:
        await anext(located)
    assert log[-1] == "closed"
    assert len(log) < 100, "a few at once"

    go = threading.Event()

    def hanging() -> Iterator[tuple[int, object]]:
        go.wait(10)
        yield 1, ask(1)

    start = time.monotonic()
    try:
        with anyio.move_on_after(0.05):
            await pull(Source("hanging", hanging, blocking=True))
        assert time.monotonic() - start < 5
    finally:
        go.set()


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_flat(tmp_path: Path) -> None:
    """50 000 lines are 14 MB; reading holds next to nothing of them, and the check for repeats a small table."""
    rows = [ask(n) | {"note": "x" * 200} for n in range(50_000)]
    path = lines(tmp_path / "big.jsonl", *rows)
    array = tmp_path / "big.json"
    array.write_text(json.dumps({"data": rows[:10_000]}, indent=1))
    assert peak(lambda: sum(1 for _ in sources.read(path))) < 200_000
    assert peak(lambda: sum(1 for _ in sources.read(array))) < 500_000

    async def first(n: int, unique: bool) -> None:
        async with aclosing(open_tasks(path, unique=unique)) as located:
            async for position, _ in located:
                if position == n:
                    break

    started = peak(lambda: anyio.run(first, 10, True))  # the event loop itself
    assert peak(lambda: anyio.run(first, 5_000, False)) < started + 200_000
    assert peak(lambda: anyio.run(first, 10_000, True)) < started + 10_000 * 150
