"""Who blocks the event loop is noticed, who only takes long is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable

import anyio
import pytest

from cot_distill.testing.stalls import longest_stall


async def waits() -> str:
    await anyio.sleep(0.3)
    return "done"


async def blocks_briefly() -> str:
    for _ in range(10):
        time.sleep(0.02)
        await anyio.sleep(0.01)
    return "done"


async def keeps_a_thread_busy() -> str:
    def compute() -> str:
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            sum(range(1000))
        return "done"

    return await anyio.to_thread.run_sync(compute)


async def sleeps() -> str:
    time.sleep(0.3)
    return "done"


async def computes() -> str:
    await anyio.sleep(0.01)
    until = (
        time.thread_time() + 0.5
    )  # its own time: on a busy machine that takes longer, and a stall needs some ticks
    while time.thread_time() < until:
        sum(range(1000))
    await anyio.sleep(0.01)
    return "done"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("work", "blocked"),
    [(waits, False), (blocks_briefly, False), (keeps_a_thread_busy, False), (sleeps, True), (computes, True)],
)
async def test_who_blocks_is_noticed(work: Callable[[], Awaitable[str]], blocked: bool) -> None:
    result, seconds = await longest_stall(work)
    assert result == "done"
    assert (seconds > 0.1) is blocked
    assert seconds == 0.0 or blocked
    assert not [thread for thread in threading.enumerate() if thread.name == "stalls"]


@pytest.mark.anyio
async def test_an_error_comes_through_as_it_is() -> None:
    error = KeyError("mine")

    async def fails() -> None:
        raise error

    with pytest.raises(KeyError) as caught:
        await longest_stall(fails)
    assert caught.value is error


@pytest.mark.anyio
async def test_it_can_be_cancelled() -> None:
    with anyio.move_on_after(0.05) as scope:
        await longest_stall(anyio.sleep_forever)
    assert scope.cancelled_caught
    assert not [thread for thread in threading.enumerate() if thread.name == "stalls"]
