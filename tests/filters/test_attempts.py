"""Choosing among the attempts of a task."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.errors import ConfigError
from cot_distill.types import Sample, Task, Trace, TraceKind, Usage, Verdict


def sample(
    attempt: int = 0,
    *,
    task: int = 1,
    length: int = 5,
    tokens: int | None = None,
    passed: bool | None = True,
    kind: TraceKind = "full",
) -> Sample:
    return Sample(
        task=Task(id=task, instruction="2 + 2?"),
        trace=Trace(reasoning="x" * length, answer="4"),
        verdicts=(Verdict(by="v", passed=passed),),
        attempt=attempt,
        usage=Usage(reasoning_tokens=tokens),
        trace_kind=kind,
    )


def numbers(samples: object) -> list[int]:
    return [one.attempt for one in samples]  # type: ignore[attr-defined]


groups = st.lists(
    st.tuples(st.integers(1, 4), st.one_of(st.none(), st.integers(0, 4)), st.sampled_from(["full", "summary"])),
    min_size=1,
    max_size=7,
)


@given(groups, st.integers(1, 8), st.sampled_from(["tokens", "characters"]))
def test_the_shortest_are_no_longer_than_the_rest(
    parts: list[tuple[int, int | None, TraceKind]], k: int, by: filters.attempts.Unit
) -> None:
    attempts = [sample(place, length=a, tokens=b, kind=kind) for place, (a, b, kind) in enumerate(parts)]
    counted = by == "tokens" and all(b and kind == "full" for _, b, kind in parts)
    length = {place: (b if counted else a) for place, (a, b, _) in enumerate(parts)}
    for choose, sign in ((filters.shortest, 1), (filters.longest, -1)):
        kept = numbers(choose(k, by=by)(attempts))
        assert kept == sorted(kept)
        assert len(kept) == min(k, len(attempts))
        ranked = sorted(length, key=lambda place: (sign * (length[place] or 0), place))
        assert set(kept) == set(ranked[:k])


def test_the_reason_says_in_which_unit() -> None:
    reasons: list[str] = []
    keep = filters.shortest(2, on_drop=lambda _, reason: reasons.append(reason))
    list(keep([sample(0, tokens=1500), sample(1, tokens=20), sample(2, tokens=10)]))
    list(keep([sample(0, length=3000), sample(1, tokens=20), sample(2, tokens=10)]))
    assert reasons == [
        "1,500 tokens of reasoning; shortest of the task: 10, 20",
        "3,000 characters of reasoning; shortest of the task: 5, 5",
    ]


def test_a_task_that_comes_again_is_another_one() -> None:
    stream = [sample(0, task=1), sample(0, task=2), sample(1, task=1, length=3)]
    assert len(list(filters.shortest()(stream))) == 3


def test_per_task_keeps_the_first_of_each() -> None:
    stream = [sample(attempt, task=task) for task in range(3) for attempt in (1, 4, 5, 9)]
    assert numbers(filters.per_task(2)(stream)) == [1, 4] * 3


@pytest.mark.parametrize(
    ("verdicts", "low", "high", "kept"),
    [
        ([True, False], 0.5, 0.5, True),  # both ends belong to it
        ([True, True], 0.1, 0.9, False),
        ([False, False], 0.1, 0.9, False),
        ([False, False], 0, 0.9, True),
        ([True, True], 0.1, 1, True),
        ([True, None, None, False], 0.5, 0.5, True),  # what cannot be told does not count
        ([None, None], 0, 1, False),
        ([True, False, False], 0.4, 0.9, False),
    ],
)
def test_pass_rate_keeps_or_drops_whole_tasks(
    verdicts: list[bool | None], low: float, high: float, kept: bool
) -> None:
    attempts = [sample(place, passed=passed) for place, passed in enumerate(verdicts)]
    found = list(filters.pass_rate(low, high)(attempts))
    assert found == (attempts if kept else [])


def test_the_reason_says_the_rate() -> None:
    reasons: list[str] = []
    keep = filters.pass_rate(0.3, 0.6, on_drop=lambda _, reason: reasons.append(reason))
    stream = [sample(0, task=1), sample(0, task=2, passed=False), sample(0, task=3, passed=None)]
    assert not list(keep(stream))
    assert reasons == [
        "1 of 1 judged attempts are right, which is more than 0.6",
        "0 of 1 judged attempts are right, which is less than 0.3",
        "no attempt of the task could be judged",
    ]


def test_pass_rate_says_that_it_must_see_wrong_samples(caplog: pytest.LogCaptureFixture) -> None:
    keep = filters.pass_rate(0.1, 0.9)
    assert keep.needs_wrong  # type: ignore[attr-defined]
    assert not filters.shortest().needs_wrong  # type: ignore[attr-defined]
    list(keep([sample(0, passed=False), sample(1)]))
    assert not caplog.messages
    list(keep([sample(0), sample(1)]))
    assert "not one of 2 judged samples is wrong" in caplog.text


def test_pass_rate_refuses_samples_that_nobody_judged() -> None:
    unjudged = sample().model_copy(update={"verdicts": ()})
    with pytest.raises(ConfigError, match=r"no verdict, so `pass_rate` cannot choose"):
        list(filters.pass_rate(0, 1)([unjudged]))


@pytest.mark.parametrize(("low", "high"), [(-0.1, 1), (0, 1.1), (0.9, 0.1), (10, 90)])
def test_rates_that_are_none_are_refused(low: float, high: float) -> None:
    with pytest.raises(ConfigError, match="0 <= low <= high <= 1"):
        filters.pass_rate(low, high)


def test_settings_that_keep_nothing_or_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"shortest\(k\)"):
        filters.shortest(0)
    with pytest.raises(ConfigError, match=r"longest\(k\)"):
        filters.longest(0)
    with pytest.raises(ConfigError, match=r"per_task\(k\)"):
        filters.per_task(0)
    with pytest.raises(ConfigError, match="'tokens' or 'characters', not 'words'"):
        filters.shortest(by="words")  # type: ignore[arg-type]
