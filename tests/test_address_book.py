"""The address book: what was entered is found, and nothing else, also where addresses begin alike."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.address_book import AddressBook
from cot_distill.folding import spot_of
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import Entry, Head, pack
from cot_distill.records import address

BYTES = st.sampled_from([b"\x00", b"\x01", b"\xff"])
KEYS = st.builds(lambda *parts: b"".join(part * 4 for part in parts), BYTES, BYTES, BYTES, BYTES)
PLACES = st.dictionaries(st.tuples(KEYS, st.integers(0, 2**32 - 1)), st.integers(0, 2**64 - 1), max_size=30)


@given(PLACES, PLACES, st.integers(0, 40))
def test_what_was_entered_is_found(
    tmp_path_factory: pytest.TempPathFactory,
    entered: dict[tuple[bytes, int], int],
    others: dict[tuple[bytes, int], int],
    code_bits: int,
) -> None:
    places = [address(Head("completion", key, 0, attempt)) for key, attempt in entered]
    codes = [code % 2**code_bits for code in entered.values()]
    with closing(IndexFile(tmp_path_factory.mktemp("index") / "journal.idx", writable=False)) as index:
        for number, (key, attempt) in enumerate(entered):
            index.add(pack(Entry(Head("completion", key, 0, attempt), 0, number, 1, 0)))
        index.seal()
        book = AddressBook(index, code_bits)
        book.add(zip(map(spot_of, places), range(len(places)), codes, strict=True))
        book.seal()
        assert len(book) == len(entered)
        for number, (place, code) in enumerate(zip(places, codes, strict=True)):
            assert book.find(place) == (number, code, index.packed(number))
        for key, attempt in others.keys() - entered.keys():
            assert book.find(address(Head("completion", key, 0, attempt))) is None


def test_an_empty_book_has_nothing(tmp_path: Path) -> None:
    index = IndexFile(tmp_path / "journal.idx", writable=False)
    book = AddressBook(index)
    assert book.find(bytes(20)) is None
    book.seal()
    assert book.find(b"\xff" * 20) is None
    index.close()
