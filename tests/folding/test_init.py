"""Folding: both ways give the same, and the parts cover everything. What they give is tested with their users."""

from __future__ import annotations

import os
import random
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import folding
from cot_distill.folding import fold, parts_of, sort
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS, Entry, Head, pack


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexFile]:
    dice = random.Random(2)
    keys = [dice.randbytes(16) for _ in range(3000)]
    made = IndexFile(tmp_path_factory.mktemp("index") / "journal.idx", writable=False)
    for number in range(30_000):
        prompt = dice.choice([b"prompt 1", b"prompt 2"])
        head = Head(dice.choice(KINDS), dice.choice(keys), dice.randrange(99), dice.randrange(3), prompt, mark=number)
        made.add(pack(Entry(head, 0, number, 1, 0)))
    made.seal()
    yield made
    made.close()


@pytest.mark.parametrize("view", [True, False])
def test_one_by_one_and_all_at_once_give_the_same(index: IndexFile, view: bool) -> None:
    few, many = (list(fold(index, view=view, many=many)) for many in (10**9, 0))
    assert len(few) > len(many) == 1
    for column in ("spots", "answers", "kinds", "tasks", "verdicts", "marks", "orders"):
        assert [value for part in few for value in getattr(part, column)] == list(getattr(many[0], column))


@pytest.mark.parametrize("at_once", [1, 500, 10_000, 10**6])
def test_parts_cover_every_key_once_and_are_bounded(index: IndexFile, at_once: int) -> None:
    parts = list(parts_of(index, at_once))
    covered = [byte for part in parts for byte in range(part.first, part.last + 1)]
    assert covered == list(range(256))
    assert sum(part.records for part in parts) == len(index)
    assert max(part.records for part in parts) <= max(at_once, 250)  # of one byte there are about 117


def test_there_are_no_parts_of_nothing(tmp_path: Path) -> None:
    empty = IndexFile(tmp_path / "journal.idx", writable=False)
    assert not list(parts_of(empty, 10))
    assert not list(fold(empty, view=True, many=0))
    empty.close()
    assert not os.listdir(tmp_path)


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_sorting(numbers: list[int]) -> None:
    assert list(sort(array("Q", numbers))) == sorted(numbers)


def test_sorting_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "MANY", 100)
    numbers = [random.Random(3).getrandbits(64) for _ in range(1000)]
    assert list(sort(array("Q", numbers))) == sorted(numbers)
