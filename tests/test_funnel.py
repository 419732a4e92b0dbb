"""The funnel counts what passes, and neither holds back nor pulls ahead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.funnel import Funnel, Stage


def even(numbers: Iterable[int]) -> Iterator[int]:
    return (number for number in numbers if number % 2 == 0)


@given(st.lists(st.integers()), st.integers(0, 20))
def test_each_stage_tells_what_came_in_and_went_out(numbers: list[int], most: int) -> None:
    funnel = Funnel()
    stream = funnel.begin(numbers)
    stream = funnel.after(even, even(stream))
    stream = funnel.after("first ones", islice(stream, most))
    kept = list(stream)
    evens = [number for number in numbers if number % 2 == 0]
    assert kept == evens[:most]
    first, second = funnel.stages
    assert (first.name, second.name) == ("even", "first ones")
    assert first.went_out == second.came_in == (len(evens) if len(evens) < most else most)
    assert second.went_out == len(kept)
    if len(evens) < most:
        assert first.came_in == len(numbers)


def test_an_endless_stream_is_pulled_one_by_one() -> None:
    funnel = Funnel()
    stream = funnel.after(even, even(funnel.begin(count())))
    assert next(stream) == 0
    assert next(stream) == 2
    assert funnel.stages == (Stage(name="even", came_in=3, went_out=2),)


def test_without_a_stage_there_is_nothing_to_tell() -> None:
    funnel = Funnel()
    assert list(funnel.begin([1, 2])) == [1, 2]
    assert funnel.stages == ()
