"""What a user allows."""

from __future__ import annotations

import anyio
import pytest
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


def test_limits_that_limit_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="requests_per_minute, tokens_per_minute or both"):
        RateLimit()
    with pytest.raises(ValidationError, match="tokens or usd"):
        Budget()
    with pytest.raises(ValidationError):
        RateLimit(requests_per_minute=0)
