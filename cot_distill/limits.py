"""How fast and how much to ask: one gate that the whole client passes through.

Nothing here knows what a request is; times are seconds on the monotonic clock, so that runs may share them.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable

import anyio
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Budget", "BudgetReachedError", "Hold", "Pacer", "Purse", "RateLimit"]

Sleep = Callable[[float], Awaitable[None]]


class Hold:
    """A pause that one reply can impose on all requests of a client: the server's ``Retry-After``."""

    def __init__(self) -> None:
        self._until = -math.inf

    def extend(self, seconds: float) -> None:
        """Let no request start for this many seconds from now."""
        self._until = max(self._until, time.monotonic() + seconds)

    async def wait(self, sleep: Sleep = anyio.sleep) -> None:
        """Return once no pause is in force."""
        while (left := self._until - time.monotonic()) > 0:  # a later reply may have extended it
            # A little apart, for the server's sake; much apart, one more refusal would hold most of them again.
            await sleep(left + random.uniform(0, min(0.05, left / 10)))  # noqa: S311 - no secret depends on it


class RateLimit(BaseModel):
    """Caps that the endpoint imposes on an account.

    Example:
        >>> RateLimit(requests_per_minute=600, tokens_per_minute=100_000).requests_per_minute
        600.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    """Prompt and completion together."""

    @model_validator(mode="after")
    def _some(self) -> RateLimit:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("give requests_per_minute, tokens_per_minute or both")
        return self


class Pacer:
    """Keeps requests under a :class:`RateLimit`, evenly spaced: no burst, so no minute holds more than the cap."""

    def __init__(self, limit: RateLimit) -> None:
        self._request_seconds = 60 / limit.requests_per_minute if limit.requests_per_minute else 0.0
        self._token_seconds = 60 / limit.tokens_per_minute if limit.tokens_per_minute else 0.0
        self._next_request = self._next_token = -math.inf

    async def admit(self, tokens: float, sleep: Sleep = anyio.sleep) -> None:
        """Wait for this request's turn. ``tokens`` is what it is expected to use; :meth:`settle` puts it right."""
        start = max(time.monotonic(), self._next_request, self._next_token)
        self._next_request = start + self._request_seconds
        self._next_token = max(start, self._next_token) + tokens * self._token_seconds
        if (left := start - time.monotonic()) > 0:
            await sleep(left)

    def settle(self, expected: float, used: float) -> None:
        """Correct the expectation once the usage is known."""
        self._next_token += (used - expected) * self._token_seconds


class Budget(BaseModel):
    """What one run may use, over all its sessions. Nothing is started that could end above it.

    Example:
        >>> Budget(tokens=2_000_000).tokens
        2000000
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: int | None = Field(default=None, gt=0)
    """Prompt and completion together."""
    usd: float | None = Field(default=None, gt=0)
    """Needs prices, which this version does not know: refused for now."""

    @model_validator(mode="after")
    def _some(self) -> Budget:
        if self.tokens is None and self.usd is None:
            raise ValueError("give tokens or usd")
        return self


class BudgetReachedError(Exception):
    """The next request could end above the budget. Internal: the engine turns it into the end of the session."""


class Purse:
    """Keeps a run within a number of tokens: what is in flight is held back at its worst case."""

    def __init__(self, tokens: int, spent: int = 0) -> None:
        self._left = tokens - spent
        self._in_flight = 0
        self._settled: anyio.Event | None = None

    async def reserve(self, worst: int) -> None:
        """Hold back what a request could use at worst. Waits while requests in flight may still leave enough.

        Raises:
            BudgetReachedError: Not that much is left, and nothing is in flight.
        """
        while worst > self._left:
            if not self._in_flight:
                raise BudgetReachedError
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()
        self._left -= worst
        self._in_flight += 1

    def settle(self, worst: int, used: int) -> None:
        """Return what was held back, and take what was used."""
        self._left += worst - used
        self._in_flight -= 1
        if self._settled is not None:
            self._settled.set()
            self._settled = None
