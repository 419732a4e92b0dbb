"""A teacher that is asked no faster than its account may."""

from __future__ import annotations

import contextlib
import itertools
import time
from typing import Any

import anyio
import pytest

from cot_distill import RateLimit
from cot_distill.errors import RequestError, UnavailableError
from cot_distill.teachers.mix import mix
from cot_distill.teachers.throttled import throttled
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Allowance, Completion, Message, Quota, Sampling, Usage

ASK = [Message(role="user", content="What is 17 + 25?")]
GOOD = ("17 and 25 make 42.", "42")

pytestmark = pytest.mark.anyio


async def ask_at_once(teacher: Any, times: int) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(teacher.complete, ASK, Sampling())


async def test_requests_come_no_faster_than_allowed() -> None:
    at: list[float] = []
    inner = ScriptedTeacher(lambda _: at.append(time.monotonic()) or GOOD, name="a")  # type: ignore[func-returns-value]
    await ask_at_once(throttled(inner, RateLimit(requests_per_minute=600)), 5)
    gaps = [late - early for early, late in itertools.pairwise(at)]
    assert len(gaps) == 4
    assert sum(gaps) > 0.1  # evenly, 0.1 s apart; whoever had to wait may catch up with a quarter of a second


async def test_the_caps_hold_for_all_that_ask_one_teacher() -> None:
    inner = ScriptedTeacher(lambda _: GOOD, name="a")
    caps = RateLimit(requests_per_minute=600)
    one, other = throttled(inner, caps), throttled(inner, caps)
    assert one._pacer is other._pacer  # type: ignore[attr-defined]
    assert throttled(inner, RateLimit(requests_per_minute=7))._pacer is not one._pacer  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("item", "settled"),
    [
        (Completion(content="42", usage=Usage(prompt_tokens=5, completion_tokens=70)), (75, 70)),
        (Completion(content="42", usage=Usage(completion_tokens=70)), ("all", 70)),
        (RequestError("too long", status=400), (0, None)),
        (UnavailableError("no answer", kind="timeout"), ("all", None)),
    ],
)
async def test_what_was_set_aside_is_put_right(item: Any, settled: tuple[Any, int | None]) -> None:
    teacher: Any = throttled(ScriptedTeacher([item], name="a"), RateLimit(tokens_per_minute=10**9))
    seen: list[tuple[Any, ...]] = []
    settle = teacher._pacer.settle
    teacher._pacer.settle = lambda *said: (seen.append(said), settle(*said))
    with contextlib.suppress(RequestError, UnavailableError):
        await teacher.complete(ASK, Sampling(max_tokens=100))
    [(admission, used, answer)] = seen
    assert admission.tokens > 100
    assert (used, answer) == (admission.tokens if settled[0] == "all" else settled[0], settled[1])


async def test_what_the_endpoint_says_is_left_is_heeded() -> None:
    spent = Allowance(requests=Quota(0, None, 0.3), tokens=None)
    answer = Completion(content="42", allowance=spent)
    teacher = throttled(ScriptedTeacher([answer, answer], name="a"), RateLimit(requests_per_minute=10**6))
    began = time.monotonic()
    await teacher.complete(ASK, Sampling())
    await teacher.complete(ASK, Sampling())
    assert time.monotonic() - began > 0.25


async def test_one_part_of_a_mix_does_not_hold_up_the_other() -> None:
    slow = ScriptedTeacher(lambda _: GOOD, name="slow")
    free = ScriptedTeacher(lambda _: GOOD, name="free")
    teacher = mix({throttled(slow, RateLimit(requests_per_minute=1)): 1, free: 1})
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(40):
                group.start_soon(teacher.complete, [Message(role="user", content=str(number))], Sampling())
            while len(free.calls) < 10:
                await anyio.sleep(0.01)
            assert len(slow.calls) <= 1
            group.cancel_scope.cancel()
