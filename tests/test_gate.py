"""The gate: who may ask now, and in which order."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.adaptive import AdaptiveLimit
from cot_distill.errors import AuthError, RateLimitError, RequestError, UnavailableError
from cot_distill.gate import FixedLimit, Gate, StoppedError, gate_of

pytestmark = pytest.mark.anyio

ME = object()


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


class Crowd:
    """Requests that enter a gate, and tell the order in which they do."""

    def __init__(self, gate: Gate, group: anyio.abc.TaskGroup, caller: object = ME) -> None:
        self.gate, self.group, self.caller = gate, group, caller
        self.inside: list[object] = []
        self.stopped: list[object] = []

    async def enter(self, name: object, ticket: int | None = None) -> None:
        async def pass_gate() -> None:
            try:
                await self.gate.enter(self.caller, self.gate.ticket() if ticket is None else ticket)
                self.inside.append(name)
            except StoppedError:
                self.stopped.append(name)

        self.group.start_soon(pass_gate)
        await settled()


async def test_no_more_than_the_limit_are_inside() -> None:
    gate = Gate(FixedLimit(2))
    async with anyio.create_task_group() as group:
        crowd = Crowd(gate, group)
        for name in "abcd":
            await crowd.enter(name)
        assert crowd.inside == ["a", "b"]
        gate.leave()
        await settled()
        assert crowd.inside == ["a", "b", "c"]
        gate.leave()
        gate.leave()
        await settled()
        assert crowd.inside == ["a", "b", "c", "d"]


async def test_who_was_here_first_goes_first_when_asked_again() -> None:
    gate = Gate(FixedLimit(1))
    async with anyio.create_task_group() as group:
        crowd = Crowd(gate, group)
        oldest, old = gate.ticket(), gate.ticket()
        await crowd.enter("running")
        await crowd.enter("new")
        await crowd.enter("old", old)
        await crowd.enter("oldest", oldest)
        for _ in range(4):
            gate.leave()
            await settled()
        assert crowd.inside == ["running", "oldest", "old", "new"]


async def test_there_is_no_room_while_someone_waits() -> None:
    gate = Gate(FixedLimit(1))
    await gate.room(ME)
    await gate.enter(ME, gate.ticket())
    pulled: list[str] = []
    async with anyio.create_task_group() as group:

        async def pull() -> None:
            await gate.room(ME)
            pulled.append("new")

        group.start_soon(pull)
        crowd = Crowd(gate, group)
        await crowd.enter("again", 0)
        gate.leave()
        await settled()
        assert (crowd.inside, pulled) == (["again"], [])
        gate.leave()
        await settled()
        assert pulled == ["new"]
    await gate.enter(ME, gate.ticket())  # whoever only looks for room takes no slot


async def test_a_hint_holds_everybody_back(now: Callable[[], float]) -> None:
    limit = FixedLimit(8)
    gate = Gate(limit)
    sent = gate.sent()
    gate.failed(sent, RateLimitError("slow down", retry_after=0.3))
    gate.failed(gate.sent(), RateLimitError("slow down", retry_after=0.1))  # a shorter one does not shorten a longer
    began = now()
    passed: list[float] = []

    async def ask() -> None:
        await gate.enter(ME, gate.ticket())
        passed.append(now() - began)

    async def look() -> None:
        await gate.room(ME)
        passed.append(now() - began)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
        group.start_soon(look)
        await anyio.sleep(0.1)
        gate.failed(gate.sent(), UnavailableError("busy", status=503, retry_after=0.4))  # a later one may lengthen it
    assert len(passed) == 6
    assert min(passed) >= 0.45


@pytest.fixture
def now() -> Callable[[], float]:
    return anyio.current_time


async def test_those_who_wait_are_sent_away_but_not_those_of_another() -> None:
    gate = Gate(FixedLimit(1))
    async with anyio.create_task_group() as group:
        mine, other = Crowd(gate, group), Crowd(gate, group, caller=object())
        await mine.enter("inside")
        await mine.enter("waits")
        await other.enter("other")
        stopped: list[str] = []

        async def look() -> None:
            try:
                await gate.room(ME)
            except StoppedError:
                stopped.append("look")

        group.start_soon(look)
        await settled()
        gate.dismiss(ME)
        await settled()
        assert (mine.stopped, stopped, other.inside) == (["waits"], ["look"], [])
        gate.leave()
        await settled()
        assert other.inside == ["other"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RateLimitError("r"), ("refused", None)),
        (RateLimitError("r", retry_after=7), ("refused", 7)),
        (UnavailableError("u", status=503), ("refused", None)),
        (UnavailableError("u", status=529), ("refused", None)),
        (UnavailableError("u", status=500, retry_after=3), ("refused", 3)),
        (UnavailableError("u", status=500), ("failed", False)),
        (UnavailableError("u", kind="unreachable"), ("failed", False)),
        (UnavailableError("u", kind="timeout"), ("failed", True)),
        (RequestError("b", status=400), ("abandoned", None)),
        (AuthError("a", status=401), ("abandoned", None)),
        (KeyboardInterrupt(), ("abandoned", None)),
        (ValueError("of the user's teacher"), ("abandoned", None)),
    ],
)
async def test_what_the_limit_is_told(error: BaseException, told: tuple[str, object]) -> None:
    heard: list[tuple[str, object]] = []

    class Listening(FixedLimit):
        def refused(self, now: float, sent: object, hint: float | None = None) -> None:
            heard.append(("refused", hint))

        def failed(self, now: float, sent: object, *, timed_out: bool = False) -> None:
            heard.append(("failed", timed_out))

        def abandoned(self, now: float) -> None:
            heard.append(("abandoned", None))

    gate = Gate(Listening(1))
    gate.failed(gate.sent(), error)
    assert heard == [told]
    assert gate.in_flight == 0


async def test_a_fixed_limit_gives_up_after_minutes_without_an_answer() -> None:
    limit = FixedLimit(4)
    for second in range(299):
        limit.failed(float(second), limit.sent(float(second), 1))
    limit.refused(299.0, limit.sent(299.0, 1), 0.5)
    assert limit.broken is None
    limit.failed(301.0, limit.sent(301.0, 1), timed_out=True)  # it may need longer: that is no sign
    assert limit.broken is None
    limit.failed(302.0, limit.sent(302.0, 1))
    assert limit.broken == "it has answered no request for 5 minutes"
    again = limit.sent(400.0, 1)  # somebody tries anew
    assert limit.broken is None
    limit.answered(401.0, again)
    for second in (500.0, 900.0):  # two failures are not enough, however long between them
        limit.failed(second, limit.sent(second, 1))
    assert limit.broken is None


async def test_one_gate_for_a_teacher_as_long_as_somebody_holds_it() -> None:
    class Teacher:
        pass

    teacher, other = Teacher(), Teacher()
    gate = gate_of(teacher, AdaptiveLimit)
    assert gate_of(teacher, AdaptiveLimit) is gate
    assert gate_of(other, AdaptiveLimit) is not gate
    number = id(gate)
    del gate
    fresh = gate_of(teacher, lambda: FixedLimit(3))
    assert fresh.limit.limit == 3 or id(fresh) == number


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), slots=st.integers(1, 4))
def test_whatever_happens_slots_are_neither_lost_nor_doubled(seed: int, slots: int) -> None:
    """Requests that enter, leave, are cancelled and sent away in any order."""

    async def live() -> None:
        dice = random.Random(seed)
        gate = Gate(FixedLimit(slots))
        inside = most = 0

        async def request() -> None:
            nonlocal inside, most
            try:
                with anyio.move_on_after(dice.choice((0.0, 0.001, math.inf))):
                    await gate.enter(ME, gate.ticket())
                    inside += 1
                    most = max(most, inside)
                    try:
                        await anyio.sleep(dice.choice((0, 0, 0.001)))
                    finally:
                        inside -= 1
                        gate.leave()
            except StoppedError:
                pass

        async def trouble() -> None:
            for _ in range(5):
                await anyio.sleep(0)
                if dice.random() < 0.3:
                    gate.dismiss(ME)

        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(12):
                    group.start_soon(request)
                group.start_soon(trouble)
        assert most <= slots
        assert inside == 0
        for _ in range(slots):  # all slots are there again, and no more
            await gate.enter(ME, gate.ticket())
        with pytest.raises(TimeoutError), anyio.fail_after(0.001):
            await gate.enter(ME, gate.ticket())

    anyio.run(live)
