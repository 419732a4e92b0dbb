"""Requests and tokens per minute, on a clock of our own."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
from collections.abc import Callable

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.limits import RateLimit
from cot_distill.pacing import Pacer, pacer_of
from cot_distill.types import Allowance, Quota


class Clock:
    """Time that passes when someone sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def simulate(
    pacer: Pacer, clock: Clock, seconds: float, answer: Callable[[], int], *, latency: float = 10.0, prompt: int = 50
) -> list[tuple[float, int]]:
    """Ask as fast as the pacer lets us; answers come after a while. Returns when each was sent, and its tokens."""
    sent: list[tuple[float, int]] = []

    async def run() -> None:
        under_way: list[tuple[float, int, object, int]] = []

        def come_home() -> None:
            while under_way and under_way[0][0] <= clock.now:
                _, _, admission, tokens = heapq.heappop(under_way)
                pacer.settle(admission, prompt + tokens, tokens)  # type: ignore[arg-type]

        async def sleep(pause: float) -> None:
            end = clock.now + pause
            while under_way and under_way[0][0] <= end:
                clock.now = max(clock.now, under_way[0][0])
                come_home()
            clock.now = end

        until = clock.now + seconds
        while clock.now < until:
            admission = await pacer.admit(prompt, None, sleep)
            tokens = answer()
            sent.append((clock.now, prompt + tokens))
            heapq.heappush(under_way, (clock.now + latency, len(sent), admission, tokens))
            come_home()

    anyio.run(run)
    return sent


def busiest_minute(sent: list[tuple[float, int]]) -> tuple[int, int]:
    """The most requests, and the most tokens, in any window of a minute."""
    requests = tokens = begin = held = 0
    for end, (at, amount) in enumerate(sent):
        held += amount
        while sent[begin][0] <= at - 60:
            held -= sent[begin][1]
            begin += 1
        requests, tokens = max(requests, end - begin + 1), max(tokens, held)
    return requests, tokens


@pytest.mark.parametrize("latency", [0.05, 3.0, 40.0])
def test_requests_of_a_minute(latency: float) -> None:
    clock = Clock()
    pacer = Pacer(RateLimit(requests_per_minute=600), clock=clock)
    sent = simulate(pacer, clock, 600, lambda: 100, latency=latency)
    assert busiest_minute(sent)[0] <= 600
    assert len(sent) >= 0.95 * 6000
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert min(gaps) > 0.09  # no burst


@pytest.mark.parametrize("latency", [0.05, 3.0, 20.0])
@pytest.mark.parametrize(("spread", "most", "least"), [(0.0, 1.0, 0.95), (0.5, 1.0, 0.92), (1.0, 1.08, 0.82)])
def test_requests_and_tokens_of_a_minute(latency: float, spread: float, most: float, least: float) -> None:
    """With a tail of answers twenty times the usual length, one of them may come on top of a full minute."""
    clock, dice = Clock(), random.Random(1)
    pacer = Pacer(RateLimit(requests_per_minute=600, tokens_per_minute=100_000), clock=clock)
    sent = simulate(pacer, clock, 1200, lambda: int(300 * dice.lognormvariate(0, spread)), latency=latency)
    requests, tokens = busiest_minute(sent)
    assert requests <= 600
    assert tokens <= most * 100_000
    later = [amount for at, amount in sent if at > 1000 + 120]
    assert least * 100_000 <= sum(later) / (1200 - 120) * 60 <= 100_000


def test_a_request_that_is_larger_than_the_cap_has_a_minute_for_itself() -> None:
    clock = Clock()
    pacer = Pacer(RateLimit(tokens_per_minute=1000), clock=clock)
    sent = simulate(pacer, clock, 600, lambda: 3000, latency=1.0)
    gaps = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]
    assert len(sent) >= 3
    assert min(gaps) >= 60


def test_without_a_limit_nobody_waits() -> None:
    clock = Clock()
    sent = []

    async def run() -> None:
        pacer = Pacer(clock=clock)
        for _ in range(100):
            admission = await pacer.admit(1e9, None, clock.sleep)
            pacer.settle(admission, 1e9, 5)
            sent.append(clock.now)

    anyio.run(run)
    assert set(sent) == {1000.0}


# --- what an endpoint says is left ---


def waits(allowance: Allowance, *, prompt: float = 0.0, most: int = 100, before: int = 0) -> float:
    """How long a request waits after the endpoint has said what is left, and so many others were sent."""
    clock = Clock()

    async def run() -> float:
        pacer = Pacer(clock=clock)
        pacer.observe(allowance)
        for _ in range(before):
            await pacer.admit(prompt, most, clock.sleep)
        began = clock.now
        await pacer.admit(prompt, most, clock.sleep)
        return clock.now - began

    return anyio.run(run)


def test_an_endpoint_with_something_left_is_asked_at_once() -> None:
    assert waits(Allowance(requests=Quota(3, 60, 30.0), tokens=Quota(1000, None, 60.0)), before=2) == 0


def test_when_nothing_is_left_we_wait_until_it_comes_back() -> None:
    assert waits(Allowance(requests=Quota(0, None, 30.0))) == pytest.approx(30)
    # 60 a minute come back, one a second: no need to wait for all of them
    assert waits(Allowance(requests=Quota(0, 60, 60.0))) == pytest.approx(1)
    assert waits(Allowance(requests=Quota(2, 60, 58.0)), before=2) == pytest.approx(1)
    assert waits(Allowance(tokens=Quota(40, 6040, 60.0)), most=100) == pytest.approx(0.6)


def test_a_request_larger_than_all_there_ever_is_waits_until_it_is_whole() -> None:
    assert waits(Allowance(tokens=Quota(50, 100, 5.0)), most=4000) == pytest.approx(5)


def test_what_is_said_later_counts() -> None:
    clock = Clock()

    async def run() -> None:
        pacer = Pacer(clock=clock)
        pacer.observe(Allowance(requests=Quota(0, None, 1000.0)))
        pacer.observe(Allowance(tokens=Quota(1, None, 5.0)))  # says nothing of requests
        pacer.observe(Allowance(requests=Quota(5, None, 1000.0)))
        await pacer.admit(0, 1, clock.sleep)
        assert clock.now == 1000.0

    anyio.run(run)


# --- sharing ---


def test_those_who_ask_the_same_teacher_share_a_pacer() -> None:
    teacher, other = object(), object()
    limit = RateLimit(requests_per_minute=60)
    pacer = pacer_of(teacher, limit)
    assert pacer_of(teacher, RateLimit(requests_per_minute=60)) is pacer
    assert pacer_of(other, limit) is not pacer
    assert pacer_of(teacher, None) is not pacer


def test_several_threads_share_one_allowance() -> None:
    pacer = Pacer(RateLimit(requests_per_minute=60 / 0.02))
    starts: list[float] = []

    async def run() -> None:
        for _ in range(5):
            await pacer.admit(0)
            starts.append(anyio.current_time())

    threads = [threading.Thread(target=anyio.run, args=(run,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(starts) == 20
    assert max(starts) - min(starts) >= 19 * 0.02


def test_whoever_is_sent_away_takes_nothing() -> None:
    class AwayError(Exception):
        pass

    async def away(_: float) -> None:
        raise AwayError

    async def run() -> float:
        clock = Clock()
        pacer = Pacer(RateLimit(requests_per_minute=60), clock=clock)
        await pacer.admit(0, None, clock.sleep)
        with pytest.raises(AwayError):
            await pacer.admit(0, None, away)
        began = clock.now
        await pacer.admit(0, None, clock.sleep)
        return clock.now - began

    assert anyio.run(run) == pytest.approx(61 / 60)


@settings(max_examples=40, deadline=None)
@given(
    requests=st.integers(5, 3000),
    tokens=st.one_of(st.none(), st.integers(20_000, 2_000_000)),
    seed=st.integers(0, 1000),
    latency=st.floats(0.01, 60),
)
def test_no_minute_ever_holds_more_requests(requests: int, tokens: int | None, seed: int, latency: float) -> None:
    clock, dice = Clock(), random.Random(seed)
    pacer = Pacer(RateLimit(requests_per_minute=requests, tokens_per_minute=tokens), clock=clock)
    sent = simulate(pacer, clock, 200, lambda: dice.randint(1, 2000), latency=latency)
    assert busiest_minute(sent)[0] <= requests
