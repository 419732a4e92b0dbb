"""The limit that is found while asking: what holds for every history, and what it finds in simulated endpoints.

The simulations are few and small here; tests/benchmarks/adaptive.py runs them all, each with twenty seeds.
"""

from __future__ import annotations

import importlib.util
import math
import re
import statistics
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.adaptive import AdaptiveLimit, Sent

HERE = Path(__file__).parent
FIGURES = HERE.parent / "docs" / "design"


def load(name: str) -> ModuleType:
    """A module of the benchmarks, which are no package."""
    spec = importlib.util.spec_from_file_location(name, HERE / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


simulated = load("simulated_endpoint")
plots = load("adaptive_plots")
Endpoint, Fixed = simulated.Endpoint, simulated.Fixed
ENDPOINTS = {
    "queues": lambda knee: Endpoint(slots=knee),
    "GPU": lambda knee: Endpoint(knee=knee),
    "refuses": lambda knee: Endpoint(refuse_above=knee),
    "refuses with a hint": lambda knee: Endpoint(refuse_above=knee, hint=3.0),
}


def simulate(endpoint: Any, tasks: int, seed: int = 0, control: Any = None, **how: Any) -> Any:
    return simulated.simulate(endpoint, control or AdaptiveLimit(), tasks, seed, **how)


# --- for every history ---

events = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "answered", "refused", "failed", "timed out", "abandoned"]),
        st.floats(0.0, 100.0),  # seconds until then
        st.integers(0, 40),  # which of those under way
        st.none() | st.integers(0, 50_000),  # tokens
        st.none() | st.floats(0.0, 120.0),  # hint
    ),
    max_size=200,
)


class Caller:
    """Keeps as many under way as it may, and ends them as it is told."""

    def __init__(self, limit: AdaptiveLimit, share: float = 1.0) -> None:
        self.limit, self.share = limit, share
        self.now = 0.0
        self.under_way: list[Sent] = []

    def fill(self) -> None:
        self.now = max(self.now, self.limit.blocked_until)
        while len(self.under_way) < max(1, self.limit.limit * self.share):
            self.under_way.append(self.limit.sent(self.now, len(self.under_way) + 1))

    def end(self, kind: str, seconds: float, place: int, tokens: int | None, hint: float | None) -> None:
        self.fill()
        self.now += seconds
        sent = self.under_way.pop(place % len(self.under_way))
        if kind == "answered":
            self.limit.answered(self.now, sent, tokens)
        elif kind == "refused":
            self.limit.refused(self.now, sent, hint)
        elif kind == "abandoned":
            self.limit.abandoned(self.now)
        else:
            self.limit.failed(self.now, sent, timed_out=kind == "timed out")


def size_of(value: object, seen: set[int] | None = None) -> int:
    """How many values a value holds, all told."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return 0
    seen.add(id(value))
    if isinstance(value, tuple | list | set | frozenset):
        return sum(size_of(one, seen) for one in value)
    if isinstance(value, dict):
        return sum(size_of(one, seen) for one in value.values())
    return sum(size_of(one, seen) for one in vars(value).values()) if hasattr(value, "__dict__") else 1


@given(history=events, start=st.integers(1, 64), most=st.integers(1, 64), share=st.sampled_from([0.3, 1.0, 1.0]))
def test_whatever_happens_the_limit_stays_in_its_bounds(
    history: list[Any], start: int, most: int, share: float
) -> None:
    limit = AdaptiveLimit(start, most)
    caller = Caller(limit, share)
    assert limit.limit == min(start, most)
    blocked = limit.blocked_until
    for event in history:
        caller.end(*event)
        assert 1 <= limit.limit <= most
        assert limit.blocked_until >= blocked
        assert math.isfinite(limit.blocked_until) or limit.blocked_until == -math.inf
        blocked = limit.blocked_until
    assert size_of(limit) < 120


@given(history=events, refusals=st.sampled_from([0, 1, 10, 100]))
@settings(max_examples=60, deadline=None)
def test_after_whatever_happened_good_answers_raise_it_again(history: list[Any], refusals: int) -> None:
    limit = AdaptiveLimit(most=256)
    caller = Caller(limit)
    for event in history:
        caller.end(*event)
    for _ in range(refusals):
        caller.end("refused", 0.1, 0, None, None)
    caller.now += 20 * 120.0  # the longest hint is honoured for so long
    late = len(caller.under_way)
    for _ in range(late):
        caller.end("answered", 0.0, 0, 500, None)
    for _ in range(1500):
        caller.end("answered", 1.0 / limit.limit, 0, 500, None)
        if limit.limit >= 64:
            return
    raise AssertionError(limit.limit)


@given(burst=st.integers(1, 64), hint=st.none() | st.floats(0.1, 100.0))
def test_one_cut_for_a_burst_of_refusals(burst: int, hint: float | None) -> None:
    limit = AdaptiveLimit(start=64)
    sent = [limit.sent(0.0, number + 1) for number in range(64)]
    for one in sent[64 - burst :]:
        limit.refused(0.2, one, hint)
    left = max(32, 64 - burst)  # what was accepted, but half at least
    if hint is None:
        assert limit.limit == left or burst == 64  # then nothing at all was accepted: a pause of our own
    else:
        assert left / 2 <= limit.limit <= left
        assert limit.blocked_until >= 0.2 + hint


def test_it_does_not_grow_while_something_else_is_the_limit() -> None:
    limit = AdaptiveLimit()
    caller = Caller(limit, share=0.5)
    for number in range(3000):
        caller.end("answered", 0.25, number, 500, None)
    assert limit.limit == 8


def test_it_takes_no_bound_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        AdaptiveLimit(most=0)


def test_state_is_a_few_numbers_however_long_the_run() -> None:
    limit = AdaptiveLimit()
    simulate(Endpoint(refuse_above=40, flaky=0.1), 3000, control=limit)
    assert size_of(limit) < 120


# --- in simulated endpoints ---


@pytest.mark.parametrize("knee", [16, 64])
@pytest.mark.parametrize("name", ENDPOINTS)
def test_it_is_as_fast_as_the_best_fixed_number_after_the_first_fifth(name: str, knee: int) -> None:
    endpoint, tasks = ENDPOINTS[name](knee), 1600 if knee == 16 else 2400
    ratios, refused = [], []
    for seed in range(3):
        auto, fixed = simulate(endpoint, tasks, seed), simulate(endpoint, tasks, seed, Fixed(knee))
        rate, share = auto.part(0.2)
        ratios.append(rate / fixed.part(0.2)[0])
        refused.append(share)
    assert statistics.fmean(ratios) > 0.95
    assert max(refused) < 0.02


def test_a_large_one_is_found_in_time_too() -> None:
    endpoint = Endpoint(refuse_above=300)
    auto, fixed = simulate(endpoint, 5000), simulate(endpoint, 5000, control=Fixed(300))
    assert auto.part(0.2)[0] > 0.95 * fixed.part(0.2)[0]
    assert auto.part(0.2)[1] < 0.02


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("name", ["queues", "GPU", "refuses"])
def test_a_capacity_that_changes_is_followed(name: str, factor: float) -> None:
    endpoint = replace(ENDPOINTS[name](32), capacity=((1500, factor),))
    trace = simulate(endpoint, 3500)
    able = 32 * factor / endpoint.mean_seconds
    rate, refused = trace.part(0.7)
    assert rate > 0.93 * able
    assert refused < 0.02
    assert trace.mean_limit(0.7) < 4 * 32 * factor


def test_a_server_that_only_queues_is_not_buried() -> None:
    trace = simulate(Endpoint(slots=16), 2500)
    assert max(limit for _, limit in trace.limits) < 16 * 20
    assert trace.mean_limit(0.5) < 16 * 3


def test_slow_answers_do_not_make_it_take_hours() -> None:
    trace = simulate(Endpoint(slots=64, seconds=60.0, round_trip=0.3), 600)
    full = next(time for time, limit in trace.limits if limit >= 60)
    assert full < 10 * 60


def test_where_nothing_limits_it_goes_as_far_as_it_may() -> None:
    trace = simulate(Endpoint(), 3000, control=AdaptiveLimit(most=100))
    assert trace.limit_at(0.5) == 100


def test_lost_answers_do_not_count_as_overload() -> None:
    trace = simulate(Endpoint(slots=32, flaky=0.1), 1500)
    assert trace.mean_limit(0.3) > 28


def test_answers_that_need_longer_than_the_timeout_do_not_either() -> None:
    trace = simulate(Endpoint(slots=32, timeout=30.0), 1500)
    assert trace.timeouts > 300
    assert trace.mean_limit(0.3) > 24


@pytest.mark.parametrize(("endpoint", "best"), [(Endpoint(), 100), (Endpoint(slots=48), 48), (Endpoint(knee=48), 48)])
@pytest.mark.parametrize("moody", [0.04, 0.15])
def test_refusals_that_would_come_anyhow_do_not_hold_it_back(endpoint: Any, best: int, moody: float) -> None:
    endpoint = replace(endpoint, moody=moody)
    auto = simulate(endpoint, 6000, control=AdaptiveLimit(most=100))
    fixed = simulate(endpoint, 6000, control=Fixed(best))
    assert auto.part(0.3)[0] > 0.85 * fixed.part(0.3)[0]


def test_a_limit_behind_random_refusals_is_found_all_the_same() -> None:
    trace = simulate(Endpoint(refuse_above=40, moody=0.04), 8000)
    assert 20 < trace.mean_limit(0.4) < 60
    assert trace.part(0.4)[1] < 0.12


def test_without_token_counts_it_only_stops_later() -> None:
    endpoint = Endpoint(knee=32)
    trace, fixed = simulate(endpoint, 2000, tokens=False), simulate(endpoint, 2000, control=Fixed(32))
    assert trace.part(0.2)[0] > 0.95 * fixed.part(0.2)[0]
    assert trace.mean_limit(0.2) < 32 * 8


def test_after_an_outage_it_is_soon_back() -> None:
    trace = simulate(Endpoint(slots=32, down=((200.0, 320.0),), hint=5.0), 2500)
    assert trace.broken is None
    assert sum(200 <= time < 320 for time in trace.sends) < 120
    back = next(time for time, limit in trace.limits if time > 320 and limit >= 32)
    assert back < 320 + 200


@pytest.mark.parametrize(
    "endpoint", [Endpoint(down=((0.0, math.inf),)), Endpoint(flaky=1.0)], ids=["refuses", "fails"]
)
def test_an_endpoint_that_is_gone_is_said_to_be(endpoint: Any) -> None:
    trace = simulate(endpoint, 500)
    assert trace.broken is not None
    assert re.fullmatch("it has accepted no request for [56] minutes", trace.broken)
    assert 300 <= trace.end < 420
    assert len(trace.sends) < 60


def test_an_endpoint_that_goes_away_is_said_to_be() -> None:
    trace = simulate(Endpoint(slots=32, down=((200.0, math.inf),)), 2500)
    assert trace.broken is not None
    assert trace.end - trace.answers[-1] < 400


# --- the figures of the page ---


def test_figures_are_small_and_whole() -> None:
    panel = plots.Panel("a", [(0.0, 8.0), (5.0, 64.0), (9.0, 32.0)], [(0.0, 30.0)], 10.0, [4.0, 4.01])
    root = ET.fromstring(plots.svg([panel] * 3))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    texts = [element for element in root.iter() if element.tag.endswith("text")]
    assert all(0 <= float(one.attrib["x"]) <= width and 0 <= float(one.attrib["y"]) <= height for one in texts)
    assert sum(element.attrib.get("class") == "l" for element in root.iter()) == 3


def test_the_page_shows_figures_that_are_there() -> None:
    page = (FIGURES / "adaptive-concurrency.md").read_text(encoding="utf-8")
    for path in FIGURES.glob("adaptive-*.svg"):
        assert f"]({path.name})" in page
        assert path.stat().st_size < 12_000
        ET.parse(path)
