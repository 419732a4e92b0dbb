"""Others get their turn, and no more than that is paid for it."""

from __future__ import annotations

import time

import anyio
import pytest

from cot_distill.turns import Turns

pytestmark = pytest.mark.anyio


async def test_others_run_where_nothing_else_waits() -> None:
    turns, ran = Turns(0.0), 0

    async def other() -> None:
        nonlocal ran
        while True:
            ran += 1
            await anyio.sleep(0)

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(100):
            await turns.give()
        group.cancel_scope.cancel()
    assert ran >= 50  # one time in two at least: where the loop went round by itself, it need not again


async def test_it_is_where_a_cancellation_is_raised() -> None:
    turns = Turns(0.0)
    with anyio.CancelScope() as scope:
        await turns.give()
        scope.cancel()
        for _ in range(3):
            await turns.give()
        pytest.fail("it went on")
    assert scope.cancelled_caught


async def test_it_is_due_again_when_its_time_is_over() -> None:
    turns = Turns(60.0)
    assert time.monotonic() >= turns.due
    await turns.give()
    assert 50 < turns.due - time.monotonic() <= 60


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio does not tell
async def test_a_loop_that_went_round_by_itself_is_not_sent_round_again() -> None:
    turns = Turns(0.0)
    await turns.give()
    await anyio.sleep(0.001)
    give = turns.give()
    with pytest.raises(StopIteration):  # it ends without waiting for anything
        give.send(None)
