"""The index on disk: the same entries however it is looked at, and no more trust than it deserves."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cot_distill.index_file as index_file_module
from cot_distill.errors import RunError
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import ENTRY_BYTES, KINDS, Entry, Head, pack


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few dozen entries are several chunks and blocks."""
    monkeypatch.setattr(index_file_module, "_CHUNK", 7)
    monkeypatch.setattr(index_file_module, "_BLOCK", 3)
    monkeypatch.setattr(index_file_module, "_BLOCKS", 2)
    monkeypatch.setattr(index_file_module, "_IN_MEMORY", 500)


def entries(count: int, length: int = 10, *, per_segment: int = 10**9) -> list[Entry]:
    return [
        Entry(
            Head(KINDS[number % len(KINDS)], number.to_bytes(16, "big"), number),
            number // per_segment,
            number % per_segment * length,
            length,
            number,
        )
        for number in range(count)
    ]


def stored(path: Path, some: list[Entry]) -> Path:
    (path / "journal.idx").write_bytes(b"".join(map(pack, some)))
    return path / "journal.idx"


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize(
    ("in_file", "kept", "added"), [(0, 0, 40), (40, 40, 0), (30, 20, 20), (21, 21, 3), (6, 0, 0)]
)
def test_entries_are_the_same_wherever_they_are(
    tmp_path: Path, writable: bool, in_file: int, kept: int, added: int
) -> None:
    expected = entries(kept + added)
    path = stored(tmp_path, entries(in_file, 11 if kept == 0 else 10))
    before = path.read_bytes()
    with closing(IndexFile(path, writable=writable)) as index:
        assert len(index) == in_file
        index.keep(kept)
        for entry in expected[kept:]:
            index.add(pack(entry))
        index.seal()
        assert len(index) == len(expected)
        assert list(index.entries()) == expected
        assert list(index.entries(5)) == expected[5:]
        assert [index.entry(number) for number in range(len(expected))] == expected
        assert [index.packed(number) for number in reversed(range(len(expected)))] == [*map(pack, reversed(expected))]
        assert b"".join(chunk for _, chunk in index.chunks(4)) == b"".join(map(pack, expected[4:]))
        for kinds in (("completion",), ("verdict", "cut"), ("started", "ended", "task")):
            numbers = [number for number, entry in enumerate(expected) if entry.head.kind in kinds]
            assert list(index.numbers(*kinds)) == numbers
            assert list(index.numbers(*kinds, start=8)) == [number for number in numbers if number >= 8]
    assert path.read_bytes() == (b"".join(map(pack, expected)) if writable else before)


def test_a_reader_needs_no_file_and_makes_none(tmp_path: Path) -> None:
    with closing(IndexFile(tmp_path / "journal.idx", writable=False)) as index:
        assert (len(index), list(index.entries()), list(index.numbers("task"))) == (0, [], [])
    assert not list(tmp_path.iterdir())


def test_what_others_append_later_is_not_seen(tmp_path: Path) -> None:
    path = stored(tmp_path, entries(5))
    with closing(IndexFile(path, writable=False)) as index:
        index.keep(5)
        index.seal()
        stored(tmp_path, entries(9))
        assert list(index.entries()) == entries(5)


def test_an_index_that_is_cut_off_meanwhile_is_an_error_and_no_answer_is_lost_from_view(tmp_path: Path) -> None:
    path = stored(tmp_path, entries(20))
    with closing(IndexFile(path, writable=False)) as index:
        index.keep(20)
        index.seal()
        stored(tmp_path, entries(11))
        with pytest.raises(RunError, match=r"journal\.idx was cut off while it was being read: open the run again"):
            list(index.entries())


# How much of it fits


def fitting(path: Path, some: list[Entry], sizes: list[int]) -> int:
    with closing(IndexFile(stored(path, some), writable=False)) as index:
        return index.count_of_fitting(sizes)


def test_entries_that_lie_end_to_end_fit(tmp_path: Path) -> None:
    assert fitting(tmp_path, entries(25), [250]) == 25
    assert fitting(tmp_path, entries(25), [300, 40]) == 25
    assert fitting(tmp_path, entries(25, per_segment=10), [100, 100, 50]) == 25
    assert fitting(tmp_path, [], [100]) == 0


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([], 0),
        ([0], 0),
        ([99, 100, 50], 9),  # a segment that became shorter
        ([100, 100, 49], 24),
        ([100, 100], 20),
        ([110, 100, 50], 10),  # a record at the end of a segment that the index lacks
        ([100, 0, 100, 50], 10),
    ],
)
def test_only_entries_up_to_the_first_that_does_not_fit_are_trusted(
    tmp_path: Path, sizes: list[int], count: int
) -> None:
    assert fitting(tmp_path, entries(25, per_segment=10), sizes) == count


def test_a_segment_without_records_is_passed_over(tmp_path: Path) -> None:
    some = [entry._replace(segment=entry.segment * 3) for entry in entries(20, per_segment=10)]
    assert fitting(tmp_path, some, [100, 0, 0, 100]) == 20


@given(st.integers(0, 24), st.binary(min_size=ENTRY_BYTES, max_size=ENTRY_BYTES))
def test_a_damaged_entry_ends_the_trust(tmp_path_factory: pytest.TempPathFactory, number: int, damage: bytes) -> None:
    path = tmp_path_factory.mktemp("index")
    whole = [pack(entry) for entry in entries(25)]
    (path / "journal.idx").write_bytes(b"".join([*whole[:number], damage, *whole[number + 1 :]]))
    with closing(IndexFile(path / "journal.idx", writable=False)) as index:
        assert index.count_of_fitting([250]) == number


@pytest.mark.parametrize("lost", range(1, ENTRY_BYTES, 13))
def test_a_part_of_an_entry_is_no_entry(tmp_path: Path, lost: int) -> None:
    path = stored(tmp_path, entries(5))
    path.write_bytes(path.read_bytes()[:-lost])
    with closing(IndexFile(path, writable=True)) as index:
        assert len(index) == 4
        index.keep(4)
        index.add(pack(entries(5)[4]))
        index.seal()
    assert path.read_bytes() == b"".join(map(pack, entries(5)))
