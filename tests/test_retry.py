"""When a request is repeated, and when not."""

from __future__ import annotations

import math
import time
from typing import Any

import anyio
import pytest

from cot_distill.errors import AuthError, RateLimitError, RequestError, TeacherError, UnavailableError
from cot_distill.retry import Tries, build_retrying, hint_of

pytestmark = pytest.mark.anyio


async def ask(script: list[TeacherError | str], retries: int) -> tuple[str, Tries]:
    retrying = build_retrying(retries)
    tries = Tries()
    rest = iter(script)

    async def request(tries: Tries) -> str:
        tries.made += 1
        item = next(rest)
        if isinstance(item, TeacherError):
            tries.count(item, 0.1)
            raise item
        return item

    return await retrying(request, tries), tries


async def test_a_transient_error_is_retried() -> None:
    answer, tries = await ask([UnavailableError("a", retry_after=0), UnavailableError("b", retry_after=0), "yes"], 2)
    assert answer == "yes"
    assert tries.made == 3


async def test_the_last_error_is_raised_as_it_is() -> None:
    last = UnavailableError("last", retry_after=0)
    with pytest.raises(UnavailableError) as caught:
        await ask([UnavailableError("first", retry_after=0), last, "never"], 1)
    assert caught.value is last


@pytest.mark.parametrize("error", [AuthError("key"), RequestError("too long")])
async def test_other_errors_are_not_retried(error: TeacherError) -> None:
    with pytest.raises(type(error)):
        await ask([error, "never"], 5)


async def test_errors_of_user_code_are_not_retried() -> None:
    calls = []

    async def broken(tries: Tries) -> None:
        calls.append(1)
        raise KeyError("bug")

    with pytest.raises(KeyError, match="bug"):
        await build_retrying(5)(broken, Tries())
    assert len(calls) == 1


async def test_being_rate_limited_does_not_use_up_retries() -> None:
    script: list[TeacherError | str] = [RateLimitError("slow down", retry_after=0) for _ in range(20)]
    answer, tries = await ask([*script, "yes"], 0)
    assert answer == "yes"
    assert tries.made == 21


async def test_being_rate_limited_for_a_quarter_of_an_hour_is_enough() -> None:
    tries = Tries()
    error = RateLimitError("slow down", retry_after=0)

    async def request(tries: Tries) -> None:
        tries.made += 1
        tries.count(error, 0.1)
        tries.limited_since = time.monotonic() - 1000
        raise error

    with pytest.raises(RateLimitError):
        await build_retrying(6)(request, tries)
    assert tries.made == 1


async def test_the_servers_hint_goes_before_our_own_back_off() -> None:
    started = time.monotonic()
    await ask([UnavailableError("a", retry_after=0.3), "yes"], 1)
    assert 0.3 <= time.monotonic() - started < 1.5


async def test_one_policy_serves_many_calls_at_once() -> None:
    retrying = build_retrying(3)
    seen: list[tuple[int, int]] = []

    async def request(tries: Tries, number: int) -> int:
        tries.made += 1
        await anyio.sleep(0.001)
        if tries.made <= number % 4:
            error = UnavailableError("again", retry_after=0.001)
            tries.count(error, 0.1)
            raise error
        return number

    async def one(number: int) -> None:
        tries = Tries()
        assert await retrying(request, tries, number) == number
        seen.append((number, tries.made))

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)
    assert sorted(seen) == [(number, number % 4 + 1) for number in range(100)]


@pytest.mark.parametrize(
    ("hint", "expected"),
    [(0, 0), (2.5, 2.5), (10**9, 900), (math.inf, 900), (math.nan, None), (-1, None), ("5", None)],
)
def test_hints_that_make_no_sense_are_not_waited_for(hint: Any, expected: float | None) -> None:
    assert hint_of(RateLimitError("slow down", retry_after=hint)) == expected
    assert hint_of(ValueError()) is None
