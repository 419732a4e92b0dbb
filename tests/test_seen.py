"""What was seen before, and where."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from cot_distill.seen import Seen


@given(st.lists(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 5), st.integers(0, 3).map(lambda n: n << 8))))
def test_it_is_a_dict_of_first_places(numbers: list[int]) -> None:
    seen, known = Seen(), {}
    for place, number in enumerate(numbers):
        # 0 and 256 share a slot, by design: one number in 2**56 stands for another.
        key = number if number >> 8 else (number & 255 | 1 << 8)
        assert seen.first(number, place) == known.setdefault(key, place)


def test_many() -> None:
    dice, seen = random.Random(1), Seen()
    numbers = [dice.getrandbits(64) for _ in range(50_000)]
    assert [seen.first(number, place) for place, number in enumerate(numbers)] == list(range(50_000))
    assert [seen.first(number, -1 % 2**32) for number in numbers] == list(range(50_000))
    held = sum(len(part._numbers) * 12 for part in seen._parts)
    assert held < 40 * 50_000


def test_places_are_counted_up_to_four_thousand_million() -> None:
    seen = Seen()
    assert seen.first(1 << 40, 2**40) == 2**32 - 1
