"""The jobs of a run on disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import Task
from cot_distill.batch.jobs import BatchJob, JobBook, new_key, open_jobs
from cot_distill.batch.lines import custom_id
from cot_distill.batch.spool import Ask, Draft, SlotFile, remove
from cot_distill.errors import RunError
from cot_distill.records import Slot, address
from cot_distill.types import Message


def intend(book: JobBook, key: str) -> BatchJob:
    return book.intend(key=key, provider="openai", lines=3, worst=9, since=0)


def test_what_was_noted_is_there_again(tmp_path: Path) -> None:
    with JobBook(tmp_path) as book:
        first, second, third = (intend(book, key) for key in ("a", "b", "c"))
        book.note(first, "uploaded", file="file-1")
        book.note(first, "submitting", newest="")
        assert open_jobs(tmp_path) == ["?"]
        book.note(first, "submitted", id="batch-1")
        book.note(second, "dropped")
        kept = dict(book.open)
    with JobBook(tmp_path) as again:
        assert again.open == kept == {"a": first, "c": third}
        assert (first.file, first.submitting, first.id) == ("file-1", True, "batch-1")
        assert open_jobs(tmp_path) == ["batch-1"]
        again.note(again.open["a"], "collected")
        assert list(again.open) == ["c"]
    assert open_jobs(tmp_path) == []


def test_a_run_without_jobs_has_none(tmp_path: Path) -> None:
    assert open_jobs(tmp_path) == []


def test_wherever_the_file_is_cut_the_steps_before_are_there(tmp_path: Path) -> None:
    with JobBook(tmp_path) as book:
        job = intend(book, "a")
        book.note(job, "uploaded", file="f")
        book.note(job, "submitted", id="b")
    file = tmp_path / "batches" / "jobs.jsonl"
    whole = file.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        file.write_bytes(whole[:cut])
        steps = sum(end <= cut for end in ends)
        with JobBook(tmp_path) as book:
            assert len(book.open) == (steps > 0)
            if steps:
                assert (book.open["a"].file, book.open["a"].id) == ("f" * (steps > 1), "b" * (steps > 2))
                book.note(book.open["a"], "submitted", id="later")
        assert open_jobs(tmp_path) == ["later"] * (steps > 0)


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    with JobBook(tmp_path) as book:
        book.note(intend(book, "a"), "submitted", id="b")
    file = tmp_path / "batches" / "jobs.jsonl"
    file.write_bytes(b"{}\n" + file.read_bytes())
    with pytest.raises(RunError, match=r"jobs\.jsonl, line 1 is damaged"):
        JobBook(tmp_path)


def test_keys_differ() -> None:
    assert len({new_key() for _ in range(100)}) == 100


@given(
    ids=st.lists(st.integers() | st.text(min_size=1), unique_by=repr, min_size=1, max_size=6),
    text=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
)
def test_slots_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int | str], text: str
) -> None:
    folder = tmp_path_factory.mktemp("slots")
    draft = Draft(folder, "0123456789ab", lines=100, size=10**6, around=(b"[", b",", b"]"))
    messages = (Message(role="system", content=text), Message(role="user", content=text))
    slots = [
        Slot.make(Task(id=name, instruction=text, metadata={"x": [1, None, text]}), number, 7, messages)
        for number, name in enumerate(ids)
        if name != ""
    ]
    asks = [Ask(slot, cap) for slot, cap in zip(slots, itertools.cycle([None, 5]), strict=False)]
    for ask in asks:
        draft.add(ask, b"{}", 5)
    draft.close()
    assert draft.requests.read_bytes() == b"[" + b",".join(b"{}" for _ in slots) + b"]"
    assert (draft.count, draft.worst) == (len(slots), 5 * len(slots))
    with SlotFile(folder, "0123456789ab") as found:
        names = [custom_id(address(slot), "0123456789ab") for slot in slots]
        assert list(found) == names
        assert [found.ask(name) for name in names] == asks
    again = SlotFile(folder, "0123456789ab").asks((name, 9) for name in names)
    assert list(again) == [ask._replace(cap=9) for ask in asks]
    assert not found.path.exists()


def test_the_size_of_a_draft_is_that_of_its_file(tmp_path: Path) -> None:
    draft = Draft(tmp_path, "a", lines=3, size=12, around=(b"[\n", b",\n", b"]"))
    ask = Ask(Slot.make(Task(instruction="x"), 0, 0, ()), None)
    assert draft.fits(b"1234")
    assert not draft.fits(b"12345678")
    draft.add(ask, b"12", 0)
    draft.add(ask, b"12", 0)
    assert not draft.fits(b"12")
    draft.close()
    assert draft.requests.stat().st_size == 9
    remove(tmp_path, keep=["b"])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError, match="is missing"):
        SlotFile(tmp_path, "a")
