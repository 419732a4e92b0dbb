"""What requests cost, in US dollars: by a table of the user, or by the package ``genai-prices``.

Amounts are whole *nanodollars* (billionths of a dollar), rounded up once a request, so that sums are exact in any
order. What is not known is None, never 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from cot_distill.answered_by import sources_of, told
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.price_list import (
    Rates,
    is_installed,
    listed,
    listed_ahead,
    rates_for,
    scaled,
    slot_of,
    units,
)
from cot_distill.protocols import Teacher
from cot_distill.types import Completion, Message, Sampling

__all__ = ["NANO", "Price", "Prices", "dollars", "most_prompt_tokens"]

NANO = 10**9
"""Nanodollars in a dollar."""

_A_TURN = 16
_A_PROMPT = 256
"""Tokens that a server's chat template adds at most: to each turn, and once, for a system prompt of its own."""


class Price(BaseModel):
    """Prices of a model, in US dollars per million tokens.

    Example:
        >>> Price(input=0.28, output=0.42, cached_input=0.028).output
        Decimal('0.42')
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Decimal = Field(ge=0, allow_inf_nan=False)
    output: Decimal = Field(ge=0, allow_inf_nan=False)
    """Of all that is generated: reasoning and answer."""
    cached_input: Decimal | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Of the part of the prompt that the provider had in its cache. Default: as ``input``."""
    batch: Decimal = Field(default=Decimal("0.5"), ge=0, allow_inf_nan=False)
    """What a request in a batch job costs, as a part of that."""


class Prices:
    """Knows what the answers of a teacher cost.

    The user's table goes first; a model that is not in it is looked up in ``genai-prices`` (the extra ``cost``), by
    the provider and model of the teacher's spec. Servers of your own, and providers at other addresses than their
    usual one, have a price only in the user's table. Not known here are discounts and surcharges of an account, and
    service tiers that are asked for with ``Sampling(extra=…)``: for those, write the price into the table.

    Args:
        table: Prices by the name of a teacher (``"deepseek:deepseek-flash"``), by its model (``"deepseek-flash"``),
            or by the model as the server names it in its answers; the first of these that is found counts.

    Raises:
        ConfigError: The table holds something else than prices.

    Example:
        >>> from cot_distill import Completion, Usage, open_teacher
        >>> teacher = open_teacher("vllm:Qwen/QwQ-32B")
        >>> prices = Prices({"Qwen/QwQ-32B": Price(input=0.10, output=0.40)})
        >>> dollars(prices.cost(teacher, Completion(usage=Usage(prompt_tokens=1000, completion_tokens=5000))))
        0.0021
    """

    def __init__(self, table: Mapping[str, Price] | None = None) -> None:
        if table is not None and not isinstance(table, Mapping):
            raise ConfigError(f"Prices() takes a mapping of models to prices, not {table!r}")
        for name, price in (table or {}).items():
            if not isinstance(price, Price):
                raise ConfigError(f"Prices(): {name!r} has {price!r} for a price: give Price(input=…, output=…)")
        self._table = {name: _of_user(price) for name, price in (table or {}).items()}
        self._batch = {name: price.batch for name, price in (table or {}).items()}

    def cost(
        self, teacher: Teacher, completion: Completion, *, at: float | None = None, batch: bool = False
    ) -> int | None:
        """What an answer cost.

        Args:
            teacher: Who was asked.
            completion: The answer.
            at: When it came, in Unix time, for prices that depend on the hour. Default: now.
            batch: It came from a batch job.

        Returns:
            Nanodollars; None where the price, or the number of tokens, is not known.
        """
        source = told(completion.model, teacher)
        if source is None:
            return None
        name, model = source
        rates = self._rates(name, model, slot_of(at), batch=batch)
        usage = completion.usage
        return None if rates is None else rates_for(rates, usage.prompt_tokens or 0).nanos(usage)

    def worst(
        self,
        teacher: Teacher,
        messages: Sequence[Message],
        sampling: Sampling,
        *,
        at: float | None = None,
        batch: bool = False,
    ) -> int | None:
        """The highest cost that one request can have, whoever answers it within a day.

        Args:
            teacher: Who is asked.
            messages: What is asked.
            sampling: Its ``max_tokens`` bounds the answer.
            at: When, in Unix time. Default: now.
            batch: In a batch job.

        Returns:
            Nanodollars; None where a price is not known, or ``max_tokens`` is not set.
        """
        if sampling.max_tokens is None:
            return None
        prompt = most_prompt_tokens(messages)
        worst = 0
        for source in sources_of(teacher):
            ahead = self._rates_ahead(source.name, slot_of(at), batch=batch)
            if not ahead:
                return None
            for rates in ahead:
                worst = max(worst, rates_for(rates, prompt).at_worst(prompt, sampling.max_tokens))
        return worst

    def require(self, teacher: Teacher) -> None:
        """Make sure that there is a price for whoever may answer, before anything is asked.

        Raises:
            MissingExtraError: There is none, and ``genai-prices`` is not installed.
            ConfigError: There is none.
        """
        for source in sources_of(teacher):
            if self._rates(source.name, None, slot_of(None), batch=False) is not None:
                continue
            if not is_installed():
                raise MissingExtraError(f"a price for {source.name}, which is not in your table of prices,", "cost")
            raise ConfigError(
                f"no price is known for {source.name}: give it, in dollars per million tokens, as "
                f"Prices({{{source.name!r}: Price(input=…, output=…)}})"
            )

    def _rates(self, name: str, served: str | None, slot: int, *, batch: bool) -> tuple[Rates, ...] | None:
        """The rates of the teacher with this name, whose server names its model so."""
        own = self._own(name, served, batch=batch)
        if own is not None or _is_elsewhere(name):
            return own
        provider, _, model = name.partition(":")
        asked_for = listed(provider, model, slot, batch)
        return asked_for if asked_for is not None or not served else listed(provider, served, slot, batch)

    def _rates_ahead(self, name: str, slot: int, *, batch: bool) -> Collection[tuple[Rates, ...]]:
        """The different rates of the next day; empty where one is not known."""
        own = self._own(name, None, batch=batch)
        if own is not None or _is_elsewhere(name):
            return () if own is None else (own,)
        provider, _, model = name.partition(":")
        return listed_ahead(provider, model, slot, batch)

    def _own(self, name: str, served: str | None, *, batch: bool) -> tuple[Rates, ...] | None:
        """The rates in the user's table."""
        if not self._table:
            return None
        model = name.partition(":")[2]
        for known_as in (name, model, model.rpartition("@")[0], served):
            if known_as and known_as in self._table:
                rates = self._table[known_as]
                return scaled(rates, self._batch[known_as]) if batch else rates
        return None


def _is_elsewhere(name: str) -> bool:
    """Whether a teacher of this name is not at its provider's own address, and has other prices."""
    return "@" in name.partition(":")[2]


def dollars(nanos: int | None) -> float | None:
    """Nanodollars as dollars; None stays None."""
    return None if nanos is None else nanos / NANO


def most_prompt_tokens(messages: Sequence[Message]) -> int:
    """At most so many tokens: no token is shorter than a byte, and a chat template adds a few of its own."""
    return _A_PROMPT + sum(_bytes_of(message.content) + _A_TURN for message in messages)


def _bytes_of(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())  # a text knows whether it is ASCII


def _of_user(price: Price) -> tuple[Rates, ...]:
    new, cached, output = price.input, price.cached_input, price.output
    cached = new if cached is None else cached
    return (Rates(0, units(new), units(cached), units(new), units(output), units(output), 0),)
