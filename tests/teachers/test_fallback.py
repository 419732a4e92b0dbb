"""Which teacher is asked when one is out of order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cot_distill.errors import (
    AuthError,
    ConfigError,
    QuotaError,
    RateLimitError,
    RequestError,
    TeacherError,
    UnavailableError,
    UnknownModelError,
)
from cot_distill.teachers.fallback import fallback
from cot_distill.testing import ScriptedTeacher
from cot_distill.types import Completion, Message, Sampling

ASK = [Message(role="user", content="What is 17 + 25?")]
GOOD = ("17 and 25 make 42.", "42")
UNREACHABLE = UnavailableError("cannot connect", kind="unreachable")
REFUSED = RequestError("declined", kind="refused", status=400)
BUSY = UnavailableError("overloaded", status=503)

pytestmark = pytest.mark.anyio


def scripted(name: str, *items: Any) -> ScriptedTeacher:
    return ScriptedTeacher(list(items), name=name)


def at(teacher: Any, seconds: float) -> None:
    teacher._clock = lambda: 1000.0 + seconds


async def ask(teacher: Any, times: int = 1) -> list[str | None]:
    """Who answers, or the error."""
    said: list[str | None] = []
    for _ in range(times):
        try:
            said.append((await teacher.complete(ASK, Sampling())).model)
        except TeacherError as error:
            said.append(str(error))
    return said


@pytest.mark.parametrize("error", [AuthError("key"), QuotaError("balance"), UnknownModelError("model"), UNREACHABLE])
async def test_the_next_one_answers_at_once_where_the_first_is_out_of_order(error: TeacherError) -> None:
    a, b = scripted("a", error), scripted("b", GOOD, GOOD, GOOD)
    assert await ask(fallback(a, b), 3) == ["b", "b", "b"]
    assert len(a.calls) == 1  # it is remembered


@pytest.mark.parametrize(("error", "seconds"), [(QuotaError("balance"), 900), (UNREACHABLE, 60)])
async def test_it_is_tried_again_after_a_while(error: TeacherError, seconds: float) -> None:
    a, b = scripted("a", error, GOOD), scripted("b", GOOD, GOOD)
    teacher = fallback(a, b)
    at(teacher, 0)
    assert await ask(teacher) == ["b"]
    at(teacher, seconds - 1)
    assert await ask(teacher) == ["b"]
    at(teacher, seconds)
    assert await ask(teacher) == ["a"]


async def test_a_new_run_begins_with_all_of_them() -> None:
    teacher: Any = fallback(scripted("a", QuotaError("balance"), GOOD), scripted("b", GOOD))
    assert await ask(teacher) == ["b"]
    async with teacher:
        assert await ask(teacher) == ["a"]


async def test_a_transient_error_is_left_to_the_engine_until_there_are_three_in_a_row() -> None:
    a, b = scripted("a", BUSY, BUSY, GOOD, BUSY, BUSY, BUSY), scripted("b", GOOD)
    answers = ["overloaded", "overloaded", "a", "overloaded", "overloaded", "overloaded", "b"]
    assert await ask(fallback(a, b), 7) == answers


async def test_one_call_costs_one_answer_at_most() -> None:
    # A time-out may have been generated and billed: the engine must see it before anything else is asked.
    a, b = scripted("a", UnavailableError("no answer", kind="timeout")), scripted("b", GOOD)
    assert await ask(fallback(a, b)) == ["no answer"]
    assert not b.calls


async def test_a_teacher_that_wants_to_be_asked_later_is_asked_later() -> None:
    a, b = scripted("a", *[RateLimitError("slow down", status=429)] * 5, GOOD), scripted("b")
    assert await ask(fallback(a, b), 6) == ["slow down"] * 5 + ["a"]


async def test_a_task_that_is_declined_goes_to_the_next_and_only_this_task() -> None:
    a, b = scripted("a", REFUSED, GOOD), scripted("b", GOOD)
    assert await ask(fallback(a, b), 2) == ["b", "a"]


async def test_a_task_that_is_declined_by_all_is_a_failure_of_the_task() -> None:
    assert await ask(fallback(scripted("a", REFUSED), scripted("b", REFUSED))) == ["declined"]


async def test_an_answer_that_declines_was_paid_for_and_is_kept() -> None:
    declined = Completion(content="I cannot help.", finish_reason="refused", model="a")
    b = scripted("b")
    teacher = fallback(scripted("a", declined), b)
    assert (await teacher.complete(ASK, Sampling())).finish_reason == "refused"
    assert not b.calls


async def test_the_tasks_own_error_is_raised() -> None:
    a, b = scripted("a", RequestError("too long", kind="too_long")), scripted("b")
    assert await ask(fallback(a, b)) == ["too long"]


async def test_a_fatal_error_ends_the_run_only_if_all_are_out_of_order() -> None:
    with pytest.raises(AuthError, match="key of a"):
        await fallback(scripted("a", AuthError("key of a")), scripted("b", QuotaError("b"))).complete(ASK, Sampling())
    with pytest.raises(RequestError, match="declined"):
        await fallback(scripted("a", REFUSED), scripted("b", QuotaError("b"))).complete(ASK, Sampling())
    with pytest.raises(RequestError, match="declined"):
        await fallback(scripted("a", QuotaError("a")), scripted("b", REFUSED)).complete(ASK, Sampling())


async def test_where_all_are_out_of_order_all_are_tried() -> None:
    a, b = scripted("a", QuotaError("a"), QuotaError("a"), QuotaError("a")), scripted("b", UNREACHABLE, BUSY, GOOD)
    assert await ask(fallback(a, b), 3) == ["cannot connect", "overloaded", "b"]
    assert (len(a.calls), len(b.calls)) == (3, 3)


async def test_within_another_the_answer_still_says_who_gave_it() -> None:
    inner = fallback(scripted("a", QuotaError("a")), scripted("b", Completion(content="42", model="m")))
    assert await ask(fallback(scripted("c", UNREACHABLE), inner)) == ["b (m)"]


async def test_what_is_no_teacher_error_is_raised_as_it_is() -> None:
    class Broken:
        name = "broken"

        async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
            raise ConfigError("Sampling(extra=…) must not hold `stream`")

    b = scripted("b")
    with pytest.raises(ConfigError, match="stream"):
        await fallback(Broken(), b).complete(ASK, Sampling())
    assert not b.calls


async def test_the_first_of_many_requests_tells_that_one_is_out_of_order(caplog: pytest.LogCaptureFixture) -> None:
    a, b = scripted("a", *[QuotaError("balance is used up")] * 3), scripted("b", *[GOOD] * 3)
    teacher: Any = fallback(a, b)
    at(teacher, 0)
    await ask(teacher)
    teacher._is_for_the_next(0, QuotaError("balance is used up"))  # one that was on its way
    assert [record.getMessage() for record in caplog.records] == [
        "a is left alone for 900 s: balance is used up",
    ]
