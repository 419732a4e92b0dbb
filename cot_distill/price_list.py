"""What a token costs: the only file that knows the package ``genai-prices``, and what its price list is turned into.

It connects to nothing: the list comes with the package. ``genai_prices.UpdatePrices``, which fetches the newest one
while it is entered, is obeyed within half an hour where a user runs it.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from cot_distill.types import Usage

__all__ = ["Rates", "is_installed", "listed", "listed_ahead", "rates_for", "scaled", "slot_of", "units"]

_UNITS = 10**12
"""Rates are whole attodollars (10⁻¹⁸) a token: a dollar per million tokens is so many."""
_UNITS_A_NANO = 10**9
_SLOT = 1800.0
"""Seconds in which a price does not change: the tables of providers change at full or half hours."""
_SLOTS_AHEAD = 49
"""A day: a request that is reserved now is answered, and priced, within it."""

_PROVIDERS = {
    "bedrock": "aws",
    "gemini": "google",
    "moonshot": "moonshotai",
    "openai-responses": "openai",
    "xai": "x-ai",
    "zhipu": "zai",
}
"""What ``genai-prices`` calls a provider, where it is another word than ours."""
_FREE = {"demo", "llamacpp", "ollama", "sglang", "tgi", "transformers", "vllm", "vllm-engine"}
"""Servers of the user's own, which no list has a price for. The package is not even loaded for them."""


class Rates(NamedTuple):
    """Attodollars a token, for prompts longer than ``above`` tokens."""

    above: int
    input: int
    cached: int
    written: int
    output: int
    reasoning: int
    request: int
    """Attodollars a request."""

    def nanos(self, usage: Usage) -> int | None:
        """The cost of these tokens."""
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        if prompt is None or completion is None:
            return None
        # Where the provider does not say what it had in its cache, all is priced as new.
        cached = min(prompt, getattr(usage, "cached_tokens", None) or 0)
        written = min(prompt - cached, getattr(usage, "cache_write_tokens", None) or 0)
        thought = min(completion, usage.reasoning_tokens or 0)
        total = (
            (prompt - cached - written) * self.input
            + cached * self.cached
            + written * self.written
            + (completion - thought) * self.output
            + thought * self.reasoning
            + self.request
        )
        return -(-total // _UNITS_A_NANO)

    def at_worst(self, prompt: int, completion: int) -> int:
        """The highest cost that so many tokens can have."""
        dearest = max(self.input, self.cached, self.written), max(self.output, self.reasoning)
        return -(-(prompt * dearest[0] + completion * dearest[1] + self.request) // _UNITS_A_NANO)


def rates_for(rates: tuple[Rates, ...], prompt: int) -> Rates:
    """The rates for a prompt of this length: where it crosses a threshold, all its tokens cost more."""
    return next(one for one in reversed(rates) if prompt > one.above or one is rates[0])


def scaled(rates: tuple[Rates, ...], factor: Decimal) -> tuple[Rates, ...]:
    """The rates times a factor."""
    return tuple(Rates(one.above, *(math.ceil(amount * Fraction(factor)) for amount in one[1:])) for one in rates)


def units(dollars_a_million: Decimal) -> int:
    """Dollars per million tokens as attodollars a token, rounded up."""
    # By fractions: the precision of decimals is a setting of the thread, which is not ours.
    return math.ceil(Fraction(dollars_a_million) * _UNITS)


def slot_of(at: float | None) -> int:
    """The number of the half hour of this Unix time, or of now."""
    return int((time.time() if at is None else at) // _SLOT)


def is_installed() -> bool:
    """Whether the package is there."""
    return _calc_price() is not None


@functools.cache
def _calc_price() -> Any:
    """The function of the package, or None: importing it takes 0.15 s and nothing else here needs it."""
    try:
        from genai_prices import calc_price
    except ImportError:
        return None
    return calc_price


@functools.lru_cache(maxsize=4096)
def listed(provider: str, model: str, slot: int, batch: bool) -> tuple[Rates, ...] | None:
    """The rates in the package at a time; None where it does not know the model at this provider."""
    calc_price = None if provider in _FREE or not model else _calc_price()
    if calc_price is None:
        return None
    provider = _PROVIDERS.get(provider, provider)
    when = datetime.fromtimestamp(slot * _SLOT, UTC)

    def find(context: Mapping[str, str] | None) -> Any:
        how = {"provider_id": provider, "genai_request_timestamp": when, "price_context": context}
        return calc_price({}, model, **how)

    try:
        found = find({"processing": "batch"} if batch else None)
        # It finds providers by likeness as well: "ollama" is none of those that it knows.
        if found.provider.id != provider:
            return None
        rates = _of_package(found.model_price)
        if batch and rates is not None and found.model_price == find(None).model_price:
            return scaled(rates, Decimal("0.5"))
    except (LookupError, ValueError):
        return None
    return rates


@functools.lru_cache(maxsize=256)
def listed_ahead(provider: str, model: str, slot: int, batch: bool) -> tuple[tuple[Rates, ...], ...]:
    """The different rates of the next day; empty where one is not known."""
    ahead = [listed(provider, model, later, batch) for later in range(slot, slot + _SLOTS_AHEAD)]
    known = [rates for rates in ahead if rates is not None]
    return tuple(dict.fromkeys(known)) if len(known) == len(ahead) else ()


def _of_package(price: Any) -> tuple[Rates, ...] | None:
    """The prices of tokens in a ``ModelPrice``: a flat list of rates, from the shortest prompts to the longest."""
    new, output = price.input_mtok, price.output_mtok
    if new is None or output is None:
        return None
    kinds = [
        new,
        new if price.cache_read_mtok is None else price.cache_read_mtok,
        new if price.cache_write_mtok is None else price.cache_write_mtok,
        output,
        output if price.output_reasoning_mtok is None else price.output_reasoning_mtok,
    ]
    starts = sorted({tier.start for kind in kinds for tier in getattr(kind, "tiers", ())})
    request = math.ceil(Fraction(price.requests_kcount or 0) / 1000 * 10**18)
    return tuple(Rates(start, *[units(_above(kind, start)) for kind in kinds], *[request]) for start in (0, *starts))


def _above(price: Any, tokens: int) -> Decimal:
    """The price for prompts longer than so many tokens."""
    found: Decimal = getattr(price, "base", price)
    for tier in getattr(price, "tiers", ()):
        if tokens >= tier.start > 0:
            found = tier.price
    return found
