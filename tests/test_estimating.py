"""What a run will take, from a few answers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError
from cot_distill.estimating import Observation, estimate


def seen(*tokens: float, usd: float | None = 0.01) -> list[Observation]:
    return [Observation(50, int(count), count / 50, usd) for count in tokens]


@pytest.mark.parametrize(
    ("count", "spread", "answers"), [(3, 0.7, 100), (5, 0.3, 100), (5, 1.2, 100), (20, 0.7, 100), (30, 0.7, 32)]
)
def test_the_interval_holds_the_truth_about_nine_times_in_ten(count: int, spread: float, answers: int) -> None:
    dice = random.Random(1)
    hits = 0
    for _ in range(400):
        truth = [int(dice.lognormvariate(7, spread)) + 1 for _ in range(answers)]
        found = estimate(seen(*truth[:count]), answers, concurrency=8).completion_tokens
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= sum(truth) <= found.high
    assert 0.85 < hits / 400 < 0.97


def test_what_was_seen_is_counted_as_it_was() -> None:
    whole = estimate(seen(100, 300), 2, concurrency=4)
    assert whole.completion_tokens == (400, 400, 400)
    assert whole.usd == (0.02, 0.02, 0.02)
    assert estimate(seen(100, 300), 4, concurrency=4).completion_tokens.expected == 800


def test_more_answers_make_it_narrower_and_alike_ones_do_not_make_it_certain() -> None:
    def width(*tokens: float) -> float:
        found = estimate(seen(*tokens), 1000, concurrency=4).completion_tokens
        assert found.high is not None
        assert found.low is not None
        return found.high / found.low

    assert width(100, 300) > width(100, 300, 100, 300) > width(*[100, 300] * 10) > 1.05
    assert width(100, 100, 100) > 1.1


def test_the_cap_bounds_it() -> None:
    free = estimate(seen(10, 4000), 1000, concurrency=4).completion_tokens
    capped = estimate(seen(10, 4000), 1000, concurrency=4, max_tokens=5000).completion_tokens
    assert free.high is not None
    assert capped.high == 4010 + 998 * 5000 < free.high


def test_time_is_shared_by_requests_at_once_and_no_run_is_shorter_than_its_longest_answer() -> None:
    slow = estimate(seen(500, 500), 1000, concurrency=1).seconds
    fast = estimate(seen(500, 500), 1000, concurrency=100).seconds
    assert slow.expected == 10_000
    assert fast.expected == 100
    assert estimate(seen(500, 500), 1000, concurrency=10**6).seconds.expected == 10


def test_one_answer_has_no_interval_and_says_so() -> None:
    one = estimate(seen(500), 1000, concurrency=4)
    assert one.completion_tokens == (500_000, None, None)
    assert "take a larger sample" in str(one)
    assert "(" not in str(one)


def test_a_price_that_is_missing_once_is_not_known() -> None:
    some = [*seen(100, 200), *seen(100, usd=None)]
    assert estimate(some, 10, concurrency=1).usd is None
    assert "not known" in str(estimate(some, 10, concurrency=1))


def test_it_prints_three_digits_and_plain_words() -> None:
    lines = str(estimate(seen(900, 2500, 1400), 123_456, concurrency=64)).splitlines()
    assert lines[0] == "answers     123,456; estimated from 3 of them"
    assert lines[2].startswith("completion  about 198,000,000 (")
    assert lines[2].endswith(") tokens")
    assert lines[3].startswith("cost        about $1,230.00 (")
    assert lines[4].startswith("time        about 17.1 h (")
    assert lines[4].endswith("with 64 at once")
    assert "<td" in estimate(seen(900), 10, concurrency=1)._repr_html_()


@given(
    tokens=st.lists(st.integers(0, 10**9), min_size=1, max_size=6),
    more=st.integers(0, 10**7),
    concurrency=st.integers(1, 10**4),
)
def test_any_answers_give_an_interval_around_what_is_expected(tokens: list[int], more: int, concurrency: int) -> None:
    found = estimate(seen(*tokens), len(tokens) + more, concurrency=concurrency)
    for span in (found.prompt_tokens, found.completion_tokens, found.seconds, found.usd):
        assert span is not None
        if span.low is not None and span.high is not None:
            assert 0 <= span.low <= span.expected * 1.000001
            assert span.expected <= span.high * 1.000001
    assert str(found)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="one answer at least"):
        estimate([], 10, concurrency=1)
    with pytest.raises(ConfigError, match="counts the 2"):
        estimate(seen(1, 2), 1, concurrency=1)
    with pytest.raises(ConfigError, match="concurrency=0"):
        estimate(seen(1, 2), 3, concurrency=0)
