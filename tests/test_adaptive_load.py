"""What answers tell of the load."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cot_distill.adaptive_load import Meter, Window

seconds = st.floats(0.001, 1e4)
lengths = st.lists(st.integers(1, 100_000), min_size=3, max_size=60)


def window(latencies: list[float], tokens: list[int], in_flight: int = 10) -> Window:
    made = Window(0.0, 0, 0.0)
    for latency, work in zip(latencies, tokens, strict=True):
        made.add(latency, float(work), in_flight)
    return made


@given(wait=seconds, per_token=st.floats(1e-4, 1.0), tokens=lengths, typical=st.integers(100, 10_000))
def test_whichever_answers_are_in_the_typical_one_is_found(
    wait: float, per_token: float, tokens: list[int], typical: int
) -> None:
    mean = sum(tokens) / len(tokens)
    assume(
        sum((work - mean) ** 2 for work in tokens) / len(tokens) > 0.01 * mean**2
    )  # of one length: nothing to learn
    assume(wait < 100 * per_token * mean)
    load, error = window([wait + per_token * work for work in tokens], tokens).load(typical)
    expected = math.log((wait + per_token * typical) / typical)
    floor = math.log((wait + per_token * mean) / 8 / typical)  # however far it is extrapolated
    assert load == pytest.approx(max(expected, floor), abs=1e-2)
    assert error < 0.05


def test_a_window_of_short_answers_only_does_not_take_waiting_for_slowness() -> None:
    dice = random.Random(0)
    tokens = [int(dice.lognormvariate(6.9, 1.0)) + 1 for _ in range(4000)]
    waited = [5 + 0.01 * work * dice.lognormvariate(0, 0.15) for work in tokens]
    typical = sum(tokens) / len(tokens)
    true = (5 + 0.01 * typical) / typical
    short = sorted(zip(tokens, waited, strict=True))[:2000]
    some = window([latency for _, latency in short], [work for work, _ in short])
    assert math.exp(some.load(typical)[0]) == pytest.approx(true, rel=0.1)
    assert math.exp(some.ratio) > 1.3 * true  # what a plain ratio would say


@given(per_token=st.floats(1e-3, 1.0), sigma=st.floats(0.05, 0.5), seed=st.integers(0, 1000))
def test_the_error_is_about_right(per_token: float, sigma: float, seed: int) -> None:
    dice = random.Random(seed)
    tokens = [int(dice.lognormvariate(6.9, 0.7)) + 1 for _ in range(400)]
    latencies = [per_token * work * dice.lognormvariate(-(sigma**2) / 2, sigma) for work in tokens]
    load, error = window(latencies, tokens).load(1000)
    assert abs(load - math.log(per_token)) < 6 * error + 1e-3
    assert error < 3 * sigma / math.sqrt(len(tokens)) + 1e-3


def test_answers_without_a_length_count_by_their_mean() -> None:
    load, error = window([1.0, 2.0, 3.0, 4.0] * 10, [1] * 40).load(1.0)
    assert math.exp(load) == pytest.approx(2.5)
    assert error == pytest.approx(math.sqrt(1.25 / 38) / 2.5)


@given(latencies=st.lists(st.floats(0.0, 1e9), min_size=1, max_size=50), data=st.data())
def test_no_answer_is_too_odd(latencies: list[float], data: st.DataObject) -> None:
    tokens = data.draw(st.lists(st.integers(1, 10**9), min_size=len(latencies), max_size=len(latencies)))
    made = window(latencies, tokens)
    typical = data.draw(st.floats(1.0, 1e9))
    assert all(map(math.isfinite, (*made.load(typical), made.ratio, made.level)))
    made.is_enough(data.draw(st.floats(1.0, 2048.0)), typical)


def test_a_measurement_ends_when_it_is_good_or_has_taken_too_long() -> None:
    sure, unsure = Window(0.0, 0, 0.0), Window(0.0, 0, 0.0)
    ends: dict[str, int] = {}
    dice = random.Random(0)
    for number in range(1, 2000):
        sure.add(1.0, 100.0, 10)
        unsure.add(dice.lognormvariate(0, 2), 100.0, 10)
        for name, made in (("sure", sure), ("unsure", unsure)):
            if made.is_enough(100.0, 100.0):
                ends.setdefault(name, number)
    assert ends == {"sure": 32, "unsure": 200}
    assert not sure.is_enough(100_000.0, 100.0)  # less than a part of a round trip


def test_an_older_window_fades() -> None:
    old, new = window([1.0] * 100, [100] * 100), window([2.0] * 100, [100] * 100)
    for _ in range(8):
        old.fade(new)
    assert math.exp(old.load(100.0)[0]) == pytest.approx(2.0 / 100, rel=0.01)


def test_the_meter_knows_what_went_through() -> None:
    meter = Meter()
    for number in range(4):
        assert meter.sent(0.0, number + 1) == number + 1
    started = meter.window(10.0)
    for now in (11.0, 12.0):
        meter.ended(now)
        started.answers += 1
    rate, in_flight, answers = meter.flow(14.0, started)
    assert answers == 2
    assert math.exp(rate) == pytest.approx(2 / 4)
    assert math.exp(in_flight) == pytest.approx((4 + 3 + 2 + 2) / 4)
    assert (meter.in_flight, meter.peak, meter.number) == (2, 4, 4)


def test_the_meter_fills_gaps_in_the_counts() -> None:
    counted, uncounted = Meter(), Meter()
    assert [counted.work(tokens) for tokens in (100, 300, None, 0)] == [100.0, 300.0, 200.0, 200.0]
    assert [uncounted.work(tokens) for tokens in (None, 500, None)] == [1.0, 1.0, 1.0]
    assert (counted.counts_tokens, uncounted.counts_tokens) == (True, False)


def test_a_clock_that_goes_back_does_no_harm() -> None:
    meter = Meter()
    meter.sent(5.0, 1)
    meter.ended(3.0)
    meter.ended(4.0)
    assert meter.in_flight == 0
