"""What a user allows."""

from __future__ import annotations

import random

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cot_distill.limits import Budget, BudgetReachedError, Purse, RateLimit


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


@pytest.mark.anyio
async def test_what_was_spent_before_counts_in_tokens_and_in_dollars() -> None:
    purse = Purse(100, 90, nanos=1000, paid=400)
    for tokens, nanos in [(11, 0), (0, 601)]:
        with pytest.raises(BudgetReachedError):
            await purse.reserve(tokens, nanos)
    await purse.reserve(10, 600)


@pytest.mark.anyio
async def test_dollars_alone_leave_the_tokens_free() -> None:
    purse = Purse(None, nanos=1000)
    await purse.reserve(10**12, 1000)
    purse.settle(10**12, 10**12, 1000, 1)
    await purse.reserve(10**12, 999)
    with pytest.raises(BudgetReachedError):
        purse.settle(10**12, 10**12, 999, 999)
        await purse.reserve(1, 1)


@pytest.mark.anyio
async def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    purse = Purse(10)
    await purse.reserve(10)
    with anyio.move_on_after(0.01) as scope:
        await purse.reserve(5)
    assert scope.cancelled_caught
    purse.settle(10, 0)
    await purse.reserve(10)


class Spending:
    """Many requests at once, which take any time and use any part of what they may."""

    def __init__(self, most: tuple[int | None, int | None], seed: int) -> None:
        self.most = most
        self.purse = Purse(most[0], nanos=most[1])
        self.dice = random.Random(seed)
        self.used = [0, 0]
        self.held = [0, 0]
        self.refused: list[tuple[int, int]] = []
        self.answered = self.at_once = self.most_at_once = 0

    async def request(self) -> None:
        worst = self.dice.randint(1, 5000), self.dice.randint(1, 3_000_000)
        try:
            await self.purse.reserve(*worst)
        except BudgetReachedError:
            self.refused.append(worst)
            return
        used = tuple(self.dice.choice([0, self.dice.randint(0, most), most]) for most in worst)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        for which in (0, 1):
            self.held[which] += worst[which]
            most = self.most[which]
            assert most is None or self.used[which] + self.held[which] <= most
        for _ in range(self.dice.randint(0, 6)):
            await checkpoint()
        for which in (0, 1):
            self.held[which] -= worst[which]
            self.used[which] += used[which]
        self.at_once -= 1
        self.answered += 1
        self.purse.settle(worst[0], used[0], worst[1], used[1])

    async def run(self, requests: int, at_once: int) -> None:
        async def work() -> None:
            nonlocal requests
            while requests:
                requests -= 1
                await self.request()

        async with anyio.create_task_group() as group:
            for _ in range(at_once):
                group.start_soon(work)


def in_time(spending: Spending, requests: int, backend: str) -> None:
    async def run() -> None:
        with anyio.fail_after(30):  # a purse that wakes nobody up would wait for ever
            await spending.run(requests, 256)

    anyio.run(run, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(
    tokens=st.none() | st.integers(1, 3_000_000),
    nanos=st.none() | st.integers(1, 2_000_000_000),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_a_purse_is_never_overdrawn_at_256_at_once_and_nobody_waits_for_ever(
    backend: str, tokens: int | None, nanos: int | None, seed: int
) -> None:
    spending = Spending((tokens, nanos), seed)
    in_time(spending, 1000, backend)
    for used, most in zip(spending.used, spending.most, strict=True):
        assert most is None or used <= most
    assert spending.answered + len(spending.refused) == 1000
    assert spending.at_once == 0
    left = [None if most is None else most - used for most, used in zip(spending.most, spending.used, strict=True)]

    def fits(worst: tuple[int, int]) -> bool:
        return all(most is None or cost <= most for cost, most in zip(worst, left, strict=True))

    assert not any(map(fits, spending.refused)), "one was refused that could have been paid for"


def test_a_purse_that_is_large_enough_holds_nobody_up() -> None:
    spending = Spending((10**9, 10**13), 0)
    in_time(spending, 2000, "asyncio")
    assert spending.answered == 2000
    assert spending.most_at_once > 100


def test_dollars_become_whole_numbers_and_never_more_than_were_given() -> None:
    assert Budget(usd=0.1).nanos == 100_000_000
    assert Budget(usd=20).nanos == 20_000_000_000
    assert Budget(usd=1.0000000019).nanos == 1_000_000_001
    assert Budget(usd=1e-3).nanos == 1_000_000
    assert Budget(tokens=1).nanos is None


def test_limits_that_limit_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="requests_per_minute, tokens_per_minute or both"):
        RateLimit()
    with pytest.raises(ValidationError, match="tokens or usd"):
        Budget()
    with pytest.raises(ValidationError):
        RateLimit(requests_per_minute=0)
