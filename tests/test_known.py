"""What is known of each attempt: whatever happened in whatever order, as if it had been kept in a dict."""

from __future__ import annotations

import random
import tempfile
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS, Entry, Head, pack
from cot_distill.known import KnownAttempts
from cot_distill.records import Known, address

ONE_BY_ONE, AT_ONCE = 10**9, 0

KEYS = [bytes(16), b"A" * 16, b"A" * 8 + b"B" * 8, b"B" * 16, b"\xff" * 16, b"]-\\^" * 4]
HISTORIES = st.lists(
    st.builds(
        Head,
        st.sampled_from(KINDS),
        st.sampled_from(KEYS),  # two begin alike
        st.integers(0, 5),
        st.sampled_from([0, 1, 2**32 - 1]),
        st.sampled_from([b"prompt 1", b"prompt 2"]),
        st.sampled_from([b"content1", b"content2"]),
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


def by_the_book(heads: Sequence[Head]) -> dict[bytes, Known]:
    """The rules, with a dict of everything."""
    known: dict[bytes, Known] = {}
    for number, head in enumerate(heads):
        place = address(head)
        before = known.get(place)
        if head.kind in ("completion", "cut", "failure", "refusal"):
            stays = before is not None and before.kind in ("completion", "cut", "reopened")
            if head.kind != "failure" or not stays or before is None or before.prompt != head.prompt:
                known[place] = Known(number, head.kind, head.prompt, head.content, head.mark, 0)
        elif before is None:
            continue
        elif head.kind == "task":
            known[place] = before._replace(content=head.content, verdict=0, judged=-1)
        elif head.kind == "verdict":
            known[place] = before._replace(verdict=head.mark, judged=number)
        elif head.kind == "reopened":
            known[place] = before._replace(kind="reopened")
    return known


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
@given(HISTORIES)
def test_it_is_as_if_all_were_in_a_dict(many: int, heads: list[Head]) -> None:
    expected = by_the_book(heads)
    with index_of(heads) as index:
        known = KnownAttempts(index, said=True, many=many)
        assert len(known) == len(expected)
        for place in {address(head) for head in heads} | {b"A" * 20, b"C" * 20}:
            assert known.get(place) == expected.get(place)
        assert known.answered == any(one.kind in ("completion", "cut") for one in expected.values())
        assert set(known.marks) == {0} | {one.verdict for one in expected.values()}
        found = dict(known.completions())
        assert found == {place: one for place, one in expected.items() if one.kind == "completion"}
        assert [one.number for one in found.values()] == sorted(one.number for one in found.values())
        silent = KnownAttempts(index, many=many)
        for place, one in expected.items():
            assert silent.get(place) == one._replace(judged=-1)


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
def test_thousands_of_attempts_in_parts(many: int) -> None:
    dice = random.Random(1)
    keys = [dice.randbytes(16) for _ in range(4000)]
    heads = [
        Head(dice.choice(KINDS[:7]), dice.choice(keys), 0, dice.randrange(2), b"p" * 8, b"c" * 8, dice.randrange(9))
        for _ in range(40_000)
    ]
    expected = by_the_book(heads)
    with index_of(heads) as index:
        known = KnownAttempts(index, said=True, many=many)
        assert len(known) == len(expected) > 6000
        assert all(known.get(place) == one for place, one in expected.items())
        assert all(known.get(dice.randbytes(20)) is None for _ in range(1000))


@pytest.mark.parametrize("many", [ONE_BY_ONE, AT_ONCE])
@pytest.mark.parametrize("marks", [63, 64, 65, 1000])
def test_any_number_of_verifiers_can_have_judged(marks: int, many: int) -> None:
    heads = []
    for number in range(marks):
        key = number.to_bytes(16, "little")
        heads += [Head("completion", key), Head("verdict", key, mark=number + 1)]
    with index_of(heads) as index:
        known = KnownAttempts(index, many=many)
        found = [known.get(address(head)) for head in heads[::2]]
    assert [one and one.verdict for one in found] == list(range(1, marks + 1))
    assert set(known.marks) == set(range(marks + 1))


def test_what_is_opened_again_in_this_session_is_due() -> None:
    heads = [Head("completion", key) for key in KEYS]
    with index_of(heads) as index:
        known = KnownAttempts(index)
        known.reopen([address(heads[2]), b"never asked" + bytes(9)])
        kinds = [found and found.kind for found in map(known.get, map(address, heads))]
    assert kinds == ["completion", "completion", "reopened", "completion", "completion", "completion"]
    assert known.get(b"never asked" + bytes(9)) is None


def test_nothing_is_known_without_records() -> None:
    known = KnownAttempts()
    known.reopen([bytes(20)])
    assert (len(known), known.get(bytes(20)), known.answered, list(known.completions())) == (0, None, False, [])


@pytest.mark.parametrize("kind", ["verdict", "failure", "reopened"])
def test_an_attempt_takes_eight_bytes_whatever_became_of_it(kind: str) -> None:
    dice = random.Random(1)
    keys = [dice.randbytes(16) for _ in range(40_000)]
    with index_of([Head(one, key, mark=1) for one in ("completion", kind) for key in keys]) as index:
        KnownAttempts(index, many=AT_ONCE)  # imports are not counted
        tracemalloc.start()
        known = KnownAttempts(index, many=AT_ONCE)
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(known) == len(keys)
    assert held < 10 * len(keys) + 700_000  # the directory of the book, and blocks of the index
    assert peak < 300 * len(keys)  # while one part was folded, which this was
