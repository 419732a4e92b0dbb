"""What answers cost."""

from __future__ import annotations

import decimal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cot_distill import price_list
from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.prices import NANO, Price, Prices, dollars, most_prompt_tokens
from cot_distill.types import Completion, Message, Sampling, Usage


class Named:
    def __init__(self, name: str, *teachers: Named) -> None:
        self.name = name
        self.teachers = teachers

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        raise NotImplementedError


class DetailedUsage(Usage):
    """As Usage is to be: with what the provider had in its cache."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


MINE = Named("mine:big")
TABLE = {"mine:big": Price(input=2, output=8, cached_input=0.5)}


def answer(prompt: int | None, completion: int | None, model: str | None = None, **more: int) -> Completion:
    usage = DetailedUsage(prompt_tokens=prompt, completion_tokens=completion, **more)
    return Completion(usage=usage, model=model)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(price_list, "_calc_price", lambda: None)
    forget()
    yield
    forget()


def forget() -> None:
    price_list.listed.cache_clear()
    price_list.listed_ahead.cache_clear()


# --- the user's table ---


@pytest.mark.parametrize(
    ("completion", "cost"),
    [
        (answer(1_000_000, 0), 2.0),
        (answer(0, 1_000_000), 8.0),
        (answer(1_000_000, 1_000_000, cached_tokens=400_000), 0.6 * 2 + 0.4 * 0.5 + 8),
        (answer(0, 1_000_000, reasoning_tokens=900_000), 8.0),  # inside the completion, not on top of it
        (answer(100, 0, cached_tokens=1000), 0.000_05),  # a count that cannot be is not believed
        (answer(0, 0), 0.0),
        (answer(None, 10), None),
        (answer(10, None), None),
    ],
)
def test_the_cost_of_an_answer(completion: Completion, cost: float | None) -> None:
    assert dollars(Prices(TABLE).cost(MINE, completion)) == cost


def test_amounts_are_exact_and_rounded_up_to_a_billionth_of_a_dollar() -> None:
    prices = Prices({"mine:big": Price(input=0.0028, output=0.1)})
    assert prices.cost(MINE, answer(1, 0)) == 3  # 2.8
    assert prices.cost(MINE, answer(10, 0)) == 28
    assert sum(prices.cost(MINE, answer(0, 1)) or 0 for _ in range(1000)) == NANO // 10_000
    with decimal.localcontext(decimal.Context(prec=2)):
        fine = Prices({"mine:big": Price(input="0.123456789012", output=0)})  # type: ignore[arg-type]
    assert fine.cost(MINE, answer(10**12, 0)) == 123_456_789_012_000


def test_prices_are_found_by_the_teacher_its_model_or_what_the_server_says() -> None:
    one, other = Price(input=1, output=1), Price(input=5, output=5)
    million = answer(1_000_000, 0, "big-2026")
    for key in ("mine:big", "big", "big-2026"):
        assert dollars(Prices({key: one}).cost(MINE, million)) == 1
    assert dollars(Prices({"big-2026": other, "mine:big": one, "big": other}).cost(MINE, million)) == 1
    assert dollars(Prices({"big-2026": other, "big": one}).cost(MINE, million)) == 1
    assert dollars(Prices({"big": one}).cost(Named("mine:big@gpu-7:8000"), million)) == 1
    assert Prices({"small": one}).cost(MINE, million) is None


def test_a_batch_costs_half_or_what_the_table_says() -> None:
    million = answer(1_000_000, 0)
    assert dollars(Prices(TABLE).cost(MINE, million, batch=True)) == 1
    sale = Prices({"big": Price(input=2, output=8, batch=0.25)})
    assert dollars(sale.cost(MINE, million, batch=True)) == 0.5


def test_a_table_of_something_else_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'big' has 3 for a price: give Price"):
        Prices({"big": 3})  # type: ignore[dict-item]
    with pytest.raises(ConfigError, match="takes a mapping"):
        Prices([("big", 3)])  # type: ignore[arg-type]
    for wrong in (-1, float("nan"), float("inf")):
        with pytest.raises(ValidationError):
            Price(input=wrong, output=1)


# --- the worst case ---


@given(
    text=st.text(max_size=300),
    cap=st.integers(1, 100_000),
    rates=st.tuples(*[st.integers(0, 10**6).map(lambda millionth: millionth / 1000) for _ in range(3)]),
    parts=st.tuples(*[st.floats(0, 1) for _ in range(5)]),
    batch=st.booleans(),
)
def test_no_answer_costs_more_than_its_worst_case(
    text: str, cap: int, rates: tuple[float, float, float], parts: tuple[float, ...], batch: bool
) -> None:
    messages = [Message(role="user", content=text)]
    prices = Prices({"big": Price(input=rates[0], output=rates[1], cached_input=rates[2])})
    worst = prices.worst(MINE, messages, Sampling(max_tokens=cap), batch=batch)
    prompt = int(parts[0] * most_prompt_tokens(messages))
    cached = int(parts[1] * prompt)
    written = int(parts[2] * prompt)
    completion = int(parts[3] * cap)
    used = answer(
        prompt,
        completion,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=int(parts[4] * completion),
    )
    cost = prices.cost(MINE, used, batch=batch)
    assert worst is not None
    assert cost is not None
    assert cost <= worst


def test_a_prompt_has_no_more_tokens_than_bytes_and_what_a_template_adds() -> None:
    messages = [Message(role="system", content="é"), Message(role="user", content="ab")]
    assert most_prompt_tokens(messages) == 256 + 2 * 16 + 2 + 2


def test_without_a_cap_there_is_no_worst_case() -> None:
    assert Prices(TABLE).worst(MINE, [], Sampling()) is None


def test_where_several_may_answer_the_dearest_is_held_back_and_whoever_answered_is_paid() -> None:
    a, b = Named("p:a"), Named("p:b")
    both = Named("mix(…)", a, b)
    prices = Prices({"a": Price(input=0, output=1), "b": Price(input=0, output=4)})
    assert dollars(prices.worst(both, [], Sampling(max_tokens=1_000_000))) == 4
    assert dollars(prices.cost(both, answer(0, 1_000_000, "p:a (a-1)"))) == 1
    assert dollars(prices.cost(both, answer(0, 1_000_000, "p:b"))) == 4
    assert prices.cost(both, answer(0, 1_000_000, "b")) is None  # it does not say who
    assert Prices({"a": Price(input=0, output=1)}).worst(both, [], Sampling(max_tokens=1)) is None


def test_a_missing_price_is_named_with_the_ways_out(not_installed: None) -> None:
    Prices(TABLE).require(MINE)
    with pytest.raises(MissingExtraError, match=r"a price for deepseek:deepseek-flash.*cot_distill\[cost\]"):
        Prices(TABLE).require(Named("mix(…)", MINE, Named("deepseek:deepseek-flash")))
    assert Prices().cost(Named("deepseek:deepseek-flash"), answer(1, 1)) is None


# --- genai-prices ---


@pytest.fixture
def package() -> Any:
    return pytest.importorskip("genai_prices")


def priced(name: str, completion: Completion, **how: Any) -> float | None:
    return dollars(Prices().cost(Named(name), completion, **how))


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("openai:gpt-5", ("openai", "gpt-5")),
        ("openai-responses:gpt-5", ("openai", "gpt-5")),
        ("anthropic:claude-opus-4-7", ("anthropic", "claude-opus-4-7")),
        ("gemini:gemini-2.5-pro", ("google", "gemini-2.5-pro")),
        ("xai:grok-4", ("x-ai", "grok-4")),
        ("groq:qwen/qwen3-32b", ("groq", "qwen/qwen3-32b")),
    ],
)
@pytest.mark.parametrize("prompt", [1000, 200_000, 200_001, 1_000_000])
def test_a_known_model_costs_what_the_package_says(
    package: Any, name: str, theirs: tuple[str, str], prompt: int
) -> None:
    usage = package.Usage(input_tokens=prompt, cache_read_tokens=300, output_tokens=2000)
    expected = package.calc_price(usage, theirs[1], provider_id=theirs[0]).total_price
    cost = Prices().cost(Named(name), answer(prompt, 2000, cached_tokens=300, reasoning_tokens=1500))
    assert cost is not None
    assert 0 <= cost - expected * NANO < 1


def test_a_price_of_reasoning_is_used_where_there_is_one(package: Any) -> None:
    cost = priced("openrouter:perplexity/sonar-deep-research", answer(0, 1_000_000, reasoning_tokens=1_000_000))
    plain = priced("openrouter:perplexity/sonar-deep-research", answer(0, 1_000_000))
    assert cost is not None
    assert plain is not None
    assert cost < plain


def test_a_batch_has_its_own_price_or_half(package: Any) -> None:
    million = answer(1_000_000, 1_000_000)
    for name in ("openai:gpt-5", "deepseek:deepseek-flash"):
        full, half = (priced(name, million, at=1_793_000_000, batch=batch) for batch in (False, True))
        assert full is not None
        assert half == pytest.approx(full / 2)


def test_prices_of_the_hour_are_those_of_the_answer_and_the_worst_case_is_the_dearest_hour(package: Any) -> None:
    name = "deepseek:deepseek-flash"
    hours = [datetime(2026, 11, 28, hour, 10, tzinfo=UTC).timestamp() for hour in range(24)]
    million = answer(0, 1_000_000)
    costs = {priced(name, million, at=at) for at in hours}
    assert None not in costs
    assert len(costs) > 1, "this model has one price only now: choose another"
    for at in hours:
        worst = Prices().worst(Named(name), [], Sampling(max_tokens=1_000_000), at=at)
        assert worst is not None
        assert worst / NANO >= max(cost for cost in costs if cost is not None)


@pytest.mark.parametrize(
    "name",
    [
        "vllm:Qwen/QwQ-32B",
        "ollama:llama3",
        "openai:no-such-model-here",
        "openai:gpt-5@llm.example.com",
        "anthropic:claude-opus-4-7@llm.example.com",
        "anthropic-proxy:claude-opus-4-7",
        "dashscope:qwen3-max",
        "demo",
        "gpt-5",
        "no-such-provider:gpt-5",
    ],
)
def test_what_is_not_known_costs_none_and_never_nothing(package: Any, name: str) -> None:
    assert priced(name, answer(1000, 1000)) is None
    assert Prices().worst(Named(name), [], Sampling(max_tokens=10)) is None
    with pytest.raises(ConfigError, match=r"no price is known for .*Price\(input=…, output=…\)"):
        Prices().require(Named(name))


def test_a_deployment_of_any_name_is_priced_by_the_model_that_answers(package: Any) -> None:
    assert priced("azure:our-deployment", answer(1000, 1000, "gpt-5-2025-08-07")) is not None


def test_the_users_price_goes_before_that_of_the_package(package: Any) -> None:
    prices = Prices({"gpt-5": Price(input=1, output=0)})
    assert dollars(prices.cost(Named("openai:gpt-5"), answer(1_000_000, 10))) == 1


def test_the_price_list_is_not_loaded_for_servers_of_ones_own() -> None:
    code = (
        "import sys\n"
        "from cot_distill import Completion, Prices, Usage, open_teacher\n"
        "teacher = open_teacher('vllm:Qwen/QwQ-32B')\n"
        "print(Prices().cost(teacher, Completion(usage=Usage(prompt_tokens=1, completion_tokens=2))))\n"
        "print('genai_prices' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["None", "False"]
