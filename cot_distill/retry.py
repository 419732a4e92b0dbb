"""When to ask again: the only file that knows tenacity.

A transient error is retried at once when its time comes, whatever the other requests do. A server's hint goes before
our own back-off. Being rate limited does not use up ``retries``: the endpoint works, it only wants to be asked later;
so it is bounded by time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.stop import stop_base

from cot_distill.errors import RateLimitError, TeacherError

__all__ = ["AsyncRetrying", "RetryBudget", "Tries", "build_retrying", "hint_of"]

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_RATE_LIMIT_SECONDS = 900.0
_REMEMBERED = 16
"""Failed requests of one attempt that are told one by one; of more, the latest."""
_SAVED = 100.0
"""Retries that a client may make at once, after a time without."""
_EARNED = 2.0
"""Retries that each answer pays for. Above 1, so that after an outage the client is soon back at full speed."""
_A_SECOND = 1.0
"""Retries a second that there always are: one that is back must be found out."""


@dataclass(slots=True)
class Tries:
    """What became of the requests of one attempt so far."""

    made: int = 0
    """Requests sent."""
    failed: int = 0
    """Those of them that count against ``retries``."""
    used: int = 0
    """Tokens that they took, as far as the provider told; else at worst."""
    cost: int | None = 0
    """Billionths of a dollar that they cost; None where that is not known of one."""
    paid: int = 0
    """The same, for a budget: what is not known counts as it could be at worst."""
    limited_since: float | None = None
    """When the present series of rate-limited requests began, on the monotonic clock."""
    history: list[dict[str, Any]] = field(default_factory=list)
    """How the requests failed that did: ``at`` (Unix time), ``seconds`` that it took, ``kind``, ``status``, and the
    ``hint`` of the server, in seconds."""

    def add_cost(self, nanos: int | None) -> None:
        """Book what a request cost."""
        self.cost = None if self.cost is None or nanos is None else self.cost + nanos

    def count(self, error: TeacherError, seconds: float) -> None:
        """Book a failed request that took so many seconds."""
        told = {"at": round(time.time(), 3), "seconds": round(seconds, 3), "kind": error.kind}
        told |= {"status": error.status} if error.status is not None else {}
        told |= {"hint": error.retry_after} if error.retry_after is not None else {}
        self.history = [*self.history[1 - _REMEMBERED :], told]
        if not isinstance(error, RateLimitError):
            self.failed += 1
            self.limited_since = None
        elif self.limited_since is None:
            self.limited_since = time.monotonic()


class RetryBudget:
    """Keeps a client from asking a dying endpoint again and again: retries live on answers.

    Being rate limited is no such failure: the endpoint works, and says itself how much it takes.

    Args:
        clock: Tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._saved = _SAVED
        self._at = clock()

    def earn(self) -> None:
        """An answer came."""
        self._saved = min(_SAVED, self._saved + _EARNED)

    async def spend(self, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        """Wait until a retry may be made."""
        while not self._is_spent():
            await sleep(random.uniform(0.2, 1.0))  # noqa: S311 - no secret depends on it

    def _is_spent(self) -> bool:
        now = self._clock()
        self._saved = min(_SAVED, self._saved + (now - self._at) * _A_SECOND)
        self._at = now
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


def build_retrying(retries: int, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> AsyncRetrying:
    """The retry policy, to be called as ``await retrying(function, tries, …)``.

    ``function`` gets the :class:`Tries` as its first argument and keeps it up to date. The last error is raised as it
    is. One policy serves any number of concurrent calls.

    Args:
        retries: How often one attempt may be asked again after errors other than a rate limit.
        sleep: Waits for so many seconds between two requests.
    """
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, TeacherError) and error.transient),
        stop=_Exhausted(retries),
        wait=_wait,
        sleep=sleep,
        reraise=True,
    )


class _Exhausted(stop_base):
    def __init__(self, retries: int) -> None:
        self._retries = retries

    def __call__(self, retry_state: RetryCallState) -> bool:
        tries: Tries = retry_state.args[0]
        limited = 0.0 if tries.limited_since is None else time.monotonic() - tries.limited_since
        return tries.failed > self._retries or limited > _RATE_LIMIT_SECONDS


_backoff = wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT, min=0.05)


def hint_of(error: BaseException | None) -> float | None:
    """The seconds that a server asks to wait, bounded as our patience is; None where it says nothing of use."""
    hint = error.retry_after if isinstance(error, TeacherError) and error.transient else None
    if not isinstance(hint, int | float) or not hint >= 0:  # also a NaN
        return None
    return min(float(hint), _RATE_LIMIT_SECONDS)


def _wait(retry_state: RetryCallState) -> float:
    outcome = retry_state.outcome
    hint = hint_of(outcome.exception() if outcome is not None else None)
    return _backoff(retry_state) if hint is None else hint
