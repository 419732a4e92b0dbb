"""Finding sets that are nearly the same: nothing that is, is overlooked; nothing that is not, is found."""

from __future__ import annotations

import random
import sys
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill.filters._near import NearIndex, rows_per_band

pytest.importorskip("rensa")


def pair(similarity: float, size: int, dice: random.Random) -> tuple[list[str], list[str]]:
    """Two sets of which so large a share of the union is in both."""
    both = round(2 * size * similarity / (1 + similarity))
    mark = dice.getrandbits(64)
    shared = [f"{mark} {number}" for number in range(both)]
    rest = range(size - both)
    return shared + [f"{mark} a{number}" for number in rest], shared + [f"{mark} b{number}" for number in rest]


@pytest.mark.parametrize(
    ("similarity", "least", "most"), [(0.95, 150, 150), (0.9, 146, 150), (0.7, 0, 8), (0.5, 0, 0), (0.0, 0, 0)]
)
def test_pairs_are_found_by_how_similar_they_are(similarity: float, least: int, most: int) -> None:
    dice = random.Random(7)
    index = NearIndex(0.8)
    found = 0
    for number in range(150):
        one, other = pair(similarity, 400, dice)
        assert index.add(index.signature(one)) == number
        match = index.find(index.signature(other))
        if match is not None:
            row, estimate = match
            assert row == number
            assert abs(estimate - similarity) < 0.15
            found += 1
    assert least <= found <= most


def test_the_first_of_several_is_found() -> None:
    index = NearIndex(0.8)
    pieces = [str(number) for number in range(100)]
    signature = index.signature(pieces)
    assert index.find(signature) is None
    index.add(index.signature(["something", "else"]))
    index.add(signature)
    index.add(signature)
    assert index.find(signature) == (1, 1.0)


def test_order_and_repetition_do_not_matter() -> None:
    index = NearIndex(1)
    index.add(index.signature(["a", "b", "c", "a"]))
    assert index.find(index.signature(["c", "b", "a"])) == (0, 1.0)


@given(
    st.lists(st.frozensets(st.integers(0, 30), min_size=1, max_size=6), max_size=40), st.sampled_from([0.3, 0.8, 1])
)
@settings(max_examples=60, deadline=None)
def test_as_if_every_pair_had_been_compared(sets: list[frozenset[int]], near: float) -> None:
    index = NearIndex(near)
    signatures = [index.signature(map(str, one)) for one in sets]
    for place, signature in enumerate(signatures):
        alike = [row for row in range(place) if (signatures[row] == signature).sum() >= near * 128]
        match = index.find(signature)
        if match is None:
            # What bands overlook is at the very edge.
            assert all((signatures[row] == signature).sum() < min(128, near * 128 + 25) for row in alike)
        else:
            assert match[0] in alike
        index.add(signature)


def test_it_grows_and_still_finds_everything() -> None:
    index = NearIndex(0.8)
    for number in range(5000):  # the table is made larger three times
        index.add(index.signature([f"{number} {piece}" for piece in range(5)]))
    for number in (0, 1, 1023, 1024, 1025, 2048, 4999):
        assert index.find(index.signature([f"{number} {piece}" for piece in range(5)])) == (number, 1.0)
    assert index.find(index.signature(["none of them"])) is None
    held = sum(sys.getsizeof(part) for part in vars(index).values() if isinstance(part, array)) + index._table.nbytes
    assert held / 5000 < 600


@pytest.mark.parametrize("near", [0.05, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1])
def test_bands_are_as_long_as_they_may_be(near: float) -> None:
    def overlooked(rows: int) -> float:
        return float((1 - near**rows) ** (128 // rows))

    rows = rows_per_band(near)
    assert overlooked(rows) <= 0.01
    assert all(overlooked(longer) > 0.01 for longer in range(rows + 1, 129))
