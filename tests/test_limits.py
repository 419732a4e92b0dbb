"""The gate that the whole client passes through."""

from __future__ import annotations

import itertools
import time

import anyio
import pytest
from pydantic import ValidationError

from cot_distill.limits import Budget, BudgetReachedError, Hold, Pacer, Purse, RateLimit


@pytest.mark.anyio
async def test_one_hint_holds_all_requests() -> None:
    hold = Hold()
    await hold.wait()
    hold.extend(0.3)
    hold.extend(0.1)  # a shorter hint does not shorten a longer one
    started = time.monotonic()
    woken: list[float] = []

    async def wait() -> None:
        await hold.wait()
        woken.append(time.monotonic() - started)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(wait)
    assert min(woken) >= 0.3
    assert max(woken) < 1.0
    assert len({round(seconds, 4) for seconds in woken}) > 3  # not all in the same instant


@pytest.mark.anyio
async def test_requests_are_evenly_spaced() -> None:
    pacer = Pacer(RateLimit(requests_per_minute=60 / 0.05))
    started = time.monotonic()
    starts: list[float] = []

    async def request() -> None:
        await pacer.admit(100)
        starts.append(time.monotonic() - started)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(request)
    starts.sort()
    assert starts[-1] >= 0.05 * 7
    assert all(later - earlier > 0.03 for earlier, later in itertools.pairwise(starts))


@pytest.mark.anyio
async def test_tokens_are_paced_by_what_was_really_used() -> None:
    pacer = Pacer(RateLimit(tokens_per_minute=60_000))  # a thousand a second
    await pacer.admit(1000)
    pacer.settle(1000, 200)
    started = time.monotonic()
    await pacer.admit(100)
    assert 0.1 < time.monotonic() - started < 0.6


@pytest.mark.anyio
async def test_a_purse_never_lets_more_out_than_is_in_it() -> None:
    purse = Purse(1000, spent=100)
    await purse.reserve(600)
    events: list[str] = []

    async def second() -> None:
        await purse.reserve(301)  # waits, since what is in flight may leave enough
        events.append("second")
        purse.settle(301, 300)

    async with anyio.create_task_group() as group:
        group.start_soon(second)
        await anyio.sleep(0.05)
        assert events == []
        purse.settle(600, 50)
    assert events == ["second"]
    await purse.reserve(550)
    purse.settle(550, 550)
    with pytest.raises(BudgetReachedError):
        await purse.reserve(1)


def test_limits_that_limit_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="requests_per_minute, tokens_per_minute or both"):
        RateLimit()
    with pytest.raises(ValidationError, match="tokens or usd"):
        Budget()
    with pytest.raises(ValidationError):
        RateLimit(requests_per_minute=0)
