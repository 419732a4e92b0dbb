"""A fixed set of workers over a lazy iterator: lazy, whole, cancellable, and one plain error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio
import pytest

from cot_distill.workers import _Turn, drive

pytestmark = pytest.mark.anyio


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize(("jobs", "workers"), [(100, 1), (100, 7), (3, 64), (0, 5), (64, 64)])
async def test_every_job_is_worked_off_once(jobs: int, workers: int) -> None:
    done: list[int] = []
    at_once = most = 0

    async def work(job: int) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await anyio.sleep(0)
        at_once -= 1
        done.append(job)

    await drive(numbers(jobs), work, workers)
    assert sorted(done) == list(range(jobs))
    assert most <= workers
    assert workers == 1 or jobs < 64 or most > 1


async def test_a_job_is_pulled_only_when_a_worker_is_free() -> None:
    pulled = finished = 0
    ahead: list[int] = []

    async def source() -> AsyncIterator[int]:
        nonlocal pulled
        for number in range(50):
            pulled += 1
            yield number

    async def work(job: int) -> None:
        nonlocal finished
        ahead.append(pulled - finished)
        await anyio.sleep(0.001 * (job % 3))
        finished += 1

    await drive(source(), work, 4)
    assert finished == 50
    assert max(ahead) == 4


async def test_the_first_error_comes_out_alone_though_all_workers_fail_at_once() -> None:
    class KeyIsWrongError(Exception):
        pass

    together = anyio.Event()
    errors: list[KeyIsWrongError] = []

    async def work(job: int) -> None:
        if job == 7:
            together.set()
        await together.wait()
        errors.append(KeyIsWrongError(job))
        raise errors[-1]

    with pytest.raises(KeyIsWrongError) as caught:
        await drive(numbers(1000), work, 8)
    assert caught.value is errors[0]
    assert caught.value.__context__ is None


async def test_an_error_cancels_the_others_and_they_clean_up() -> None:
    cleaned: list[int] = []

    async def work(job: int) -> None:
        if job == 3:
            await anyio.sleep(0.01)
            raise LookupError("mine")
        try:
            await anyio.sleep(60)
        finally:
            cleaned.append(job)

    with anyio.fail_after(5), pytest.raises(LookupError, match="mine"):
        await drive(numbers(100), work, 4)
    assert sorted(cleaned) == [0, 1, 2]


async def test_an_error_of_the_iterator_comes_out_as_it_is() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ValueError("line 2")

    worked: list[int] = []

    async def work(job: int) -> None:
        worked.append(job)

    with pytest.raises(ValueError, match="line 2"):
        await drive(broken(), work, 3)
    assert worked == [1]


async def test_a_group_of_errors_that_user_code_raises_is_left_alone() -> None:
    async def work(job: int) -> None:
        raise ExceptionGroup("mine", [ValueError("a"), KeyError("b")])

    with pytest.raises(ExceptionGroup, match="mine") as caught:
        await drive(numbers(1), work, 1)
    assert len(caught.value.exceptions) == 2


async def test_being_cancelled_from_outside_reaches_every_worker_and_the_source() -> None:
    closed: list[str] = []

    async def source() -> AsyncGenerator[int, None]:
        try:
            for number in range(1000):
                yield number
        finally:
            closed.append("source")

    async def work(job: int) -> None:
        try:
            await anyio.sleep(60)
        finally:
            closed.append("worker")

    with anyio.move_on_after(0.05) as scope:
        async with aclosing(source()) as jobs:
            await drive(jobs, work, 3)
    assert scope.cancelled_caught
    assert sorted(closed) == ["source", "worker", "worker", "worker"]


async def test_the_source_is_never_entered_by_two_workers() -> None:
    inside = False

    async def source() -> AsyncIterator[int]:
        nonlocal inside
        for number in range(30):
            assert not inside
            inside = True
            await anyio.sleep(0.0005)
            inside = False
            yield number

    done: list[int] = []

    async def work(job: int) -> None:
        done.append(job)

    await drive(source(), work, 8)
    assert len(done) == 30


async def endless(pulled: list[int]) -> AsyncIterator[int]:
    """Never waits for anything."""
    while True:
        pulled.append(len(pulled) + 1)
        yield pulled[-1]


async def test_others_get_a_turn_though_neither_source_nor_work_ever_waits() -> None:
    async def work(job: int) -> None:
        pass

    pulled: list[int] = []
    with anyio.move_on_after(0.05) as scope:
        await drive(endless(pulled), work, 8)
    assert scope.cancelled_caught
    assert len(pulled) > 8


async def test_no_more_is_pulled_once_it_is_cancelled_though_the_source_never_waits() -> None:
    async def work(job: int) -> None:
        if job == 3:
            scope.cancel()
        await anyio.sleep(0.001)

    pulled: list[int] = []
    with anyio.CancelScope() as scope:
        await drive(endless(pulled), work, 1000)
    assert len(pulled) < 10


async def test_a_turn_is_not_lost_where_one_that_waits_for_it_is_cancelled() -> None:
    turn, order = _Turn(), list[int]()

    async def take(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            async with turn:
                order.append(number)
                await anyio.sleep(0.001)

    scopes = [anyio.CancelScope() for _ in range(6)]
    async with anyio.create_task_group() as group:
        async with turn:
            for number, scope in enumerate(scopes):
                group.start_soon(take, number, scope)
                await anyio.wait_all_tasks_blocked()
            scopes[2].cancel()  # while it waits
            await anyio.wait_all_tasks_blocked()
        scopes[0].cancel()  # when its turn has come, and it has not woken up yet
    assert order in ([1, 3, 4, 5], [0, 1, 3, 4, 5])
    async with turn:
        order.clear()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_turn_is_not_lost_where_asyncio_itself_cancels_the_one_whose_turn_has_come() -> None:
    turn, order = _Turn(), list[int]()

    async def take(number: int) -> None:
        async with turn:
            order.append(number)

    async with turn:
        tasks = [asyncio.create_task(take(number)) for number in range(3)]
        await anyio.wait_all_tasks_blocked()
    tasks[0].cancel()  # it has not woken up yet
    await asyncio.wait(tasks, timeout=5)
    assert order == [1, 2]
