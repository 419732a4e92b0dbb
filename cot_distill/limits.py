"""What a user allows: requests and tokens a minute, and tokens in all.

Nothing here knows what a request is. How the caps of a minute are kept is in :mod:`cot_distill.pacing`.
"""

from __future__ import annotations

import anyio
from pydantic import BaseModel, ConfigDict, Field, model_validator

__all__ = ["Budget", "BudgetReachedError", "Purse", "RateLimit"]


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
