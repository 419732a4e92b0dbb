"""Entries of the index: what goes in comes out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from cot_distill.journal_index import ENTRY_BYTES, KINDS, Entry, Head, entries_of, entry_at, fields_of, head_of, pack

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
HEADS = st.builds(
    Head,
    st.sampled_from(KINDS),
    st.binary(min_size=16, max_size=16),
    U64,
    U32,
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=8, max_size=8),
    U32,
)
ENTRIES = st.builds(Entry, HEADS, U32, U64, U32, U32)


@given(st.lists(ENTRIES, max_size=5))
def test_packing_is_undone(entries: list[Entry]) -> None:
    index = b"".join(map(pack, entries))
    assert len(index) == ENTRY_BYTES * len(entries)
    assert list(entries_of(index)) == entries
    assert [entry_at(index, number) for number in range(len(entries))] == entries


@given(HEADS)
def test_the_head_is_read_from_its_line(head: Head) -> None:
    line = to_json({**fields_of(head), "more": "\u2028"}) + b"\n"
    assert head_of(line) == head
    for cut in range(1, len(line), 7):
        assert head_of(line[:-cut]) is None


@given(
    st.one_of(st.binary(max_size=60), st.sampled_from([b"{}\n", b"[]\n", b'{"kind":"newer"}\n', b"null\n", b"1\n"]))
)
def test_anything_else_has_no_head(line: bytes) -> None:
    assert head_of(line) is None


def test_an_entry_of_a_kind_that_is_not_known_has_none() -> None:
    packed = bytearray(pack(Entry(Head("ended"), 0, 0, 1, 0)))
    packed[48] = 200
    assert entry_at(bytes(packed), 0).head.kind == ""
