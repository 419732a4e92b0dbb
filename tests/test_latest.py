"""The latest of each attempt, in order: whatever happened, as if it had been kept in dicts."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS, Entry, Head, pack
from cot_distill.latest import Latest, Numbers
from cot_distill.records import address

ONE_BY_ONE, AT_ONCE = 10**9, 0

KEYS = [bytes(16), b"A" * 16, b"A" * 8 + b"B" * 8, b"B" * 16, b"\xff" * 16]
HISTORIES = st.lists(
    st.builds(
        Head,
        st.sampled_from(KINDS),
        st.sampled_from(KEYS),  # two begin alike
        st.integers(0, 5),
        st.sampled_from([0, 1, 2, 256]),
        st.sampled_from([b"prompt 1", b"prompt 2"]),
        st.just(b"content1"),
        st.integers(0, 3),
    ),
    max_size=40,
)


@contextmanager
def index_of(heads: Sequence[Head]) -> Iterator[IndexFile]:
    with tempfile.TemporaryDirectory() as folder:
        index = IndexFile(Path(folder) / "journal.idx", writable=False)
        for number, head in enumerate(heads):
            index.add(pack(Entry(head, 0, number, 1, 0)))
        index.seal()
        yield index
        index.close()


def by_the_book(heads: Sequence[Head]) -> list[Numbers]:
    """The rules, with dicts of everything."""
    answers: dict[bytes, int] = {}
    orders: dict[bytes, int] = {}
    tasks: dict[bytes, int] = {}
    verdicts: dict[bytes, int] = {}
    for number, head in enumerate(heads):
        place = address(head)
        if head.kind in ("completion", "cut", "failure", "refusal"):
            before = heads[answers[place]] if place in answers else None
            stays = before is not None and before.kind in ("completion", "cut") and before.prompt == head.prompt
            if not stays or head.kind in ("completion", "cut"):
                answers[place], orders[head.key] = number, head.order
                tasks.pop(place, None)
                verdicts.pop(place, None)
        elif head.kind == "task":
            tasks[place] = number
            verdicts.pop(place, None)
        elif head.kind == "verdict":
            verdicts[place] = number
    places = sorted(answers, key=lambda place: (orders[place[:16]], place))
    return [Numbers(answers[place], tasks.get(place), verdicts.get(place)) for place in places]


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
@given(HISTORIES)
def test_it_is_as_if_all_were_in_dicts(many: int, heads: list[Head]) -> None:
    expected = by_the_book(heads)
    with index_of(heads) as index:
        latest = Latest(index, many=many)
        assert list(latest) == list(latest) == expected
        assert sorted(latest.answers) == sorted(one.answer for one in expected)


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
def test_thousands_of_attempts_in_parts(many: int) -> None:
    dice = random.Random(1)
    keys = [dice.randbytes(16) for _ in range(4000)]
    heads = [
        Head(dice.choice(KINDS), dice.choice(keys), dice.randrange(3000), dice.randrange(2), b"p" * 8)
        for _ in range(40_000)
    ]
    with index_of(heads) as index:
        assert list(Latest(index, many=many)) == by_the_book(heads)


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
def test_an_order_beyond_all_inputs_loses_nothing(many: int) -> None:
    heads = [Head("completion", key, order) for key, order in zip(KEYS, [2**64 - 1, 3, 2**64 - 2, 0, 1], strict=True)]
    with index_of(heads) as index:
        assert [one.answer for one in Latest(index, many=many)] == [3, 4, 1, 0, 2]
