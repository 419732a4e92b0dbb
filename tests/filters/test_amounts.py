"""So many of a kind, and so many drawn at random."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import filters
from cot_distill.errors import ConfigError
from cot_distill.types import Sample, Task, Trace


def sample(number: int | str, attempt: int = 0, **metadata: object) -> Sample:
    task = Task(id=number, instruction="2 + 2?", metadata=metadata)
    return Sample(task=task, trace=Trace(reasoning="2 and 2 make 4.", answer="4"), attempt=attempt)


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(1, 5))
def test_balance_keeps_the_first_of_each_kind(kinds: list[str], per: int) -> None:
    samples = [sample(place, kind=kind) for place, kind in enumerate(kinds)]
    kept = list(filters.balance(by="kind", per=per)(samples))
    assert kept == list(filters.balance(by=lambda one: one.task.metadata["kind"], per=per)(samples))
    counts = Counter(kinds)
    assert Counter(one.task.metadata["kind"] for one in kept) == {kind: min(per, n) for kind, n in counts.items()}
    firsts = {kind: [one for one in samples if one.task.metadata["kind"] == kind][:per] for kind in counts}
    assert all(one in firsts[one.task.metadata["kind"]] for one in kept)


def test_balance_says_what_there_is_enough_of() -> None:
    reasons: list[str] = []
    keep = filters.balance(by="level", per=1, on_drop=lambda _, reason: reasons.append(reason))
    list(keep([sample(1, level="hard"), sample(2, level="hard"), sample(3, level=None), sample(4, level=None)]))
    assert reasons == ["there are 1 of 'hard' already", "there are 1 of None already"]


def test_a_kind_that_is_not_there_or_cannot_be_counted_is_refused() -> None:
    with pytest.raises(
        ConfigError, match="metadata of task 7 has no 'levle', but 'level', 'source': name another key"
    ):
        list(filters.balance(by="levle", per=1)([sample(7, level=1, source="x")]))
    with pytest.raises(ConfigError, match=r"task 7: balance\(by=…\) gives \['a'\], which cannot be counted"):
        list(filters.balance(by="tags", per=1)([sample(7, tags=["a"])]))
    with pytest.raises(ConfigError, match=r"balance\(per=…\)"):
        filters.balance(by="level", per=0)


def test_what_the_function_raises_surfaces() -> None:
    with pytest.raises(KeyError):
        list(filters.balance(by=lambda one: one.task.metadata["no"], per=1)([sample(1)]))
    with pytest.raises(TypeError, match="mine"):
        list(filters.balance(by=mine, per=1)([sample(1)]))


def mine(one: Sample) -> str:
    raise TypeError("mine")


@given(st.integers(0, 30), st.integers(0, 40), st.integers())
def test_sample_keeps_so_many_in_order(n: int, there: int, seed: int) -> None:
    samples = [sample(number // 3, number % 3) for number in range(there)]
    kept = list(filters.sample(n, seed)(samples))
    assert len(kept) == min(n, there)
    places = [samples.index(one) for one in kept]
    assert places == sorted(places)


def test_a_draw_goes_by_the_seed_and_by_what_is_drawn() -> None:
    samples = [sample(number) for number in range(200)]
    kept = list(filters.sample(20)(samples))
    assert kept == list(filters.sample(20)(samples))
    assert kept != list(filters.sample(20, seed=1)(samples))
    assert kept != samples[:20]
    # In another order, or with others beside them, the same ones have the same luck.
    backwards = list(filters.sample(20)(reversed(samples)))
    assert backwards == kept[::-1]
    more = list(filters.sample(20)([*samples, *(sample(f"new {number}") for number in range(20))]))
    assert set(map(id, more)) & set(map(id, samples)) <= set(map(id, kept))


def test_every_sample_has_the_same_chance() -> None:
    # 600 draws of 5 out of 20: each is drawn 150 times, with a standard deviation of 10.6. It is the same every time.
    samples = [sample(number) for number in range(20)]
    counts = Counter(one.task.id for seed in range(600) for one in filters.sample(5, seed)(samples))
    assert len(counts) == 20
    assert all(110 < count < 190 for count in counts.values())


def test_repeated_ids_are_drawn_one_by_one() -> None:
    assert len(list(filters.sample(3)([sample(1)] * 5))) == 3


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sample\(n\)"):
        filters.sample(-1)
