"""What a user allows: requests and tokens a minute, and tokens and dollars in all.

Nothing here knows what a request is, nor what anything costs. How the caps of a minute are kept is in
:mod:`cot_distill.pacing`.
"""

from __future__ import annotations

from fractions import Fraction

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
    """US dollars. Needs a price for whoever is asked: see :class:`cot_distill.prices.Prices`."""

    @model_validator(mode="after")
    def _some(self) -> Budget:
        if self.tokens is None and self.usd is None:
            raise ValueError("give tokens or usd")
        return self

    @property
    def nanos(self) -> int | None:
        """The dollars as whole billionths, rounded down."""
        return None if self.usd is None else int(Fraction(str(self.usd)) * 10**9)


class BudgetReachedError(Exception):
    """The next request could end above the budget. Internal: the engine turns it into the end of the session."""


class Purse:
    """Keeps a run within tokens, dollars or both: what is in flight is held back at its worst case.

    Amounts are whole numbers, so that nothing is lost in adding up. It is for one event loop.

    Args:
        tokens: All that may be used; None for any number.
        spent: Tokens that were used before.
        nanos: All that may be paid, in billionths of a dollar; None for any amount.
        paid: What was paid before.
    """

    def __init__(self, tokens: int | None, spent: int = 0, *, nanos: int | None = None, paid: int = 0) -> None:
        self._tokens = None if tokens is None else tokens - spent
        self._nanos = None if nanos is None else nanos - paid
        self._in_flight = 0
        self._settled: anyio.Event | None = None

    @property
    def counts_dollars(self) -> bool:
        """Whether requests must be reserved in dollars as well."""
        return self._nanos is not None

    async def reserve(self, worst: int, nanos: int = 0) -> None:
        """Hold back what a request could use at worst. Waits while requests in flight may still leave enough.

        Every reservation must be settled, whatever comes of the request.

        Args:
            worst: Tokens.
            nanos: Billionths of a dollar.

        Raises:
            BudgetReachedError: Not that much is left, and nothing is in flight.
        """
        while not self._holds(worst, nanos):
            if not self._in_flight:
                raise BudgetReachedError
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()
        self._put_back(-worst, -nanos)
        self._in_flight += 1

    def settle(self, worst: int, used: int, nanos: int = 0, paid: int = 0) -> None:
        """Return what was held back, and take what was used.

        Args:
            worst: The tokens that were reserved.
            used: Those that it took.
            nanos: The billionths of a dollar that were reserved.
            paid: Those that it cost.
        """
        self._put_back(worst - used, nanos - paid)
        self._in_flight -= 1
        if self._settled is not None:
            self._settled.set()
            self._settled = None

    def _holds(self, tokens: int, nanos: int) -> bool:
        return (self._tokens is None or tokens <= self._tokens) and (self._nanos is None or nanos <= self._nanos)

    def _put_back(self, tokens: int, nanos: int) -> None:
        if self._tokens is not None:
            self._tokens += tokens
        if self._nanos is not None:
            self._nanos += nanos
