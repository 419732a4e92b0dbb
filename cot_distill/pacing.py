"""Asking no faster than an account may: requests and tokens per minute.

Times are seconds on the monotonic clock, so that a pacer may be shared by all that ask one teacher, in any thread.
It does not know what a request is, nor what the tokens are for.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import RunVar

from cot_distill.limits import RateLimit
from cot_distill.types import Allowance, Quota

__all__ = ["Admission", "Pacer", "pacer_of"]

_WINDOW = 61
"""Buckets of a second that are looked at: they hold every moment of the last 60 s, whatever the fraction."""
_CATCH_UP = 0.25
"""Seconds' worth that whoever had to wait may catch up with: sleeping takes too long, and an answer may give back
more than it was waited for. After a time without requests there is no such credit."""
_LOOK_AGAIN = 0.1
"""Seconds after which whoever waits looks again: answers that were shorter than expected make room."""
_FIRST_GUESS = 4000.0
"""Tokens that an answer is expected to take before one has come."""
_SPREADS = 3.0
"""Standard deviations by which all answers under way together may be longer than expected, and the cap holds."""
_TINY = 1e-6
_MEMORY = 1 / 50
"""Weight of an answer in what the next is expected to take."""

Sleep = Callable[[float], Awaitable[None]]


class Admission(NamedTuple):
    """What was set aside for a request."""

    tokens: float
    second: int


class Pacer:
    """Keeps requests under a :class:`~cot_distill.limits.RateLimit`, and under what an endpoint says is left.

    Requests are spaced evenly, at 60/61 of the rate: there is no burst, and no window of a minute, wherever it
    begins, holds more than the cap. Tokens are set aside by what answers took so far, and put right by what each
    really took. After a request with more tokens than the cap, the next waits for as many minutes as that took.

    Args:
        limit: The caps; None for no others than the endpoint's own.
        clock: Tells the time in seconds.
    """

    _numbers = itertools.count()

    def __init__(self, limit: RateLimit | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = _Cap(limit.requests_per_minute if limit else None)
        self._tokens = _Cap(limit.tokens_per_minute if limit else None)
        self._mean, self._square = _FIRST_GUESS, _FIRST_GUESS**2
        self._answers = self._under_way = 0
        self._is_needed = limit is not None
        self._lock = threading.Lock()  # runs may share this from several threads
        self._turns: RunVar[anyio.Lock] = RunVar(f"cot_distill pacer {next(self._numbers)}")
        self.owner: object = None

    async def admit(self, prompt: float, most: int | None = None, sleep: Sleep = anyio.sleep) -> Admission:
        """Wait for the turn of a request.

        Args:
            prompt: Its tokens.
            most: The tokens that its answer takes at most, where that is known.
            sleep: Waits for so many seconds. What it raises ends the waiting, and nothing was set aside.

        Returns:
            What :meth:`settle` wants back.
        """
        if not self._is_needed:
            return Admission(0.0, 0)
        turn = self._turns.get(None)
        if turn is None:
            turn = anyio.Lock()
            self._turns.set(turn)
        async with turn:  # one looks at the clock, the others stand in line behind it
            late = 0.0
            while True:
                with self._lock:
                    expected = prompt + min(self._mean, math.inf if most is None else most)
                    now = self._clock()
                    left = max(self._requests.wait(now, 1), self._tokens.wait(now, expected, self._doubt()))
                    if left <= 0:
                        self._under_way += 1
                        self._requests.take(now, 1, late)
                        self._tokens.take(now, expected, late)
                        return Admission(expected, int(now))
                await sleep(min(left, _LOOK_AGAIN))
                late = _CATCH_UP

    def settle(self, admission: Admission, used: float, answer: int | None = None) -> None:
        """Put right what was set aside.

        Args:
            admission: What :meth:`admit` returned.
            used: The tokens that the request took in all.
            answer: Those that were generated, where an answer came.
        """
        with self._lock:
            if admission.tokens:
                self._under_way -= 1
                self._tokens.correct(admission.second, used - admission.tokens)
            if answer is not None:
                self._answers += 1
                weight = max(_MEMORY, 1 / self._answers)
                self._mean += weight * (answer - self._mean)
                self._square += weight * (answer * answer - self._square)

    def observe(self, allowance: Allowance) -> None:
        """Take in what the endpoint says is left."""
        with self._lock:
            now = self._clock()
            self._is_needed = True
            self._requests.observe(now, allowance.requests)
            self._tokens.observe(now, allowance.tokens)

    def _doubt(self) -> float:
        """By how much the answers under way may together be longer than expected: theirs is a random walk."""
        return _SPREADS * math.sqrt(max(0.0, self._square - self._mean**2) * (self._under_way + 1))


class _Cap:
    """So many a minute, of requests or of tokens."""

    def __init__(self, per_minute: float | None) -> None:
        self._most = math.inf if per_minute is None else per_minute
        self._each = 0.0 if per_minute is None else _WINDOW / per_minute  # seconds
        self._next = -math.inf
        self._buckets: deque[list[float]] = deque()  # [second, amount]
        self._total = 0.0
        self._told: Quota | None = None
        self._told_at = self._since = 0.0  # when, and what was taken since

    def wait(self, now: float, amount: float, doubt: float = 0.0) -> float:
        """Seconds until so much may be taken; 0 or less where it may be now.

        ``doubt``: so much more may turn out to have been taken in the last minute.
        """
        return max(self._next - now, self._crowded(now, amount + doubt), self._used_up(now, amount))

    def take(self, now: float, amount: float, late: float) -> None:
        """Take so much now, by somebody who may be late by so many seconds."""
        self._since += amount
        if self._each:
            self._next = max(now - late, self._next) + amount * self._each
            if not self._buckets or self._buckets[-1][0] != int(now):
                self._buckets.append([int(now), 0.0])
            self._buckets[-1][1] += amount
            self._total += amount

    def correct(self, second: int, amount: float) -> None:
        """Take so much more, or less, in a second that may be past."""
        self._since += amount
        if self._each:
            self._next += amount * self._each
            for bucket in self._buckets:
                if bucket[0] == second:
                    bucket[1] += amount
                    self._total += amount

    def observe(self, now: float, quota: Quota | None) -> None:
        """Take in what the endpoint says."""
        if quota is not None:
            self._told, self._told_at, self._since = quota, now, 0.0

    def _crowded(self, now: float, amount: float) -> float:
        """Seconds until the last minute holds little enough."""
        while self._buckets and self._buckets[0][0] + _WINDOW <= now:
            self._total -= self._buckets.popleft()[1]
        excess = self._total + amount - self._most
        if excess <= _TINY or not self._buckets:
            return 0.0
        for second, held in self._buckets:
            excess -= held
            if excess <= _TINY:
                return second + _WINDOW - now
        return self._buckets[-1][0] + _WINDOW - now  # more than the cap allows: a minute for itself

    def _used_up(self, now: float, amount: float) -> float:
        """Seconds until what the endpoint has left is enough."""
        told = self._told
        if told is None:
            return 0.0
        passed = now - self._told_at
        if passed >= told.resets_in:
            self._told = None
            return 0.0
        missing = self._since + min(amount, told.limit or amount) - told.remaining
        if told.limit is not None and told.limit > told.remaining:  # it comes back bit by bit
            missing -= passed * (told.limit - told.remaining) / told.resets_in
            wait = missing * told.resets_in / (told.limit - told.remaining)
        else:
            wait = told.resets_in - passed
        return min(wait, told.resets_in - passed) if missing > 0 else 0.0


_PACERS: WeakValueDictionary[tuple[int, RateLimit | None], Pacer] = WeakValueDictionary()


def pacer_of(teacher: object, limit: RateLimit | None) -> Pacer:
    """The pacer for this teacher and these caps. It lasts as long as someone holds it."""
    pacer = _PACERS.get((id(teacher), limit))
    if pacer is None:
        pacer = _PACERS[id(teacher), limit] = Pacer(limit)
        pacer.owner = teacher  # so that no other object gets its number
    return pacer
