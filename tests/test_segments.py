"""Segments: the same text wherever it is, and no moment in which it is nowhere."""

from __future__ import annotations

import errno
import os
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

import cot_distill.packed as packed_module
import cot_distill.segments as segments_module
from cot_distill.errors import RunError
from cot_distill.segments import Segments

pytest.importorskip("zstandard")

TEXTS = [b"".join(b'{"segment": %d, "line": %d}\n' % (segment, line) for line in range(300)) for segment in range(3)]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(packed_module, "_FRAME_BYTES", 500)
    for number, text in enumerate(TEXTS):
        (tmp_path / f"journal-0000{number}.jsonl").write_bytes(text)
    return tmp_path


def read(segments: Segments, number: int) -> bytes:
    """All of it, in three ways that must agree."""
    text = b"".join(segments.lines(number, 0))
    places = [0, *(at + 1 for at, byte in enumerate(text) if byte == 10)]
    lines = [segments.read(number, start, stop - start) for start, stop in pairwise(places)]
    assert b"".join(lines) == text
    half = places[len(places) // 2]
    assert b"".join(segments.lines(number, half)) == text[half:]
    assert not list(segments.lines(number, len(text)))
    assert len(text) == segments.sizes[number]
    return text


def check(path: Path) -> None:
    with closing(Segments(path)) as segments:
        assert [read(segments, number) for number in range(len(segments))] == TEXTS


def test_compressed_or_not_the_text_is_the_same(path: Path) -> None:
    check(path)
    for number in (1, 0, 2):
        with closing(Segments(path)) as segments:
            before = segments.plain(number).stat().st_size
            freed = segments.pack(number)
            assert read(segments, number) == TEXTS[number]
            assert not segments.plain(number).exists()
            assert freed == before - segments.packed(number).stat().st_size > before / 2
        check(path)
    assert len(list(path.iterdir())) == 3


def test_appending_goes_to_the_last_plain_segment_or_a_new_one(path: Path) -> None:
    with closing(Segments(path)) as segments:
        assert segments.live == 2
        segments.pack(0)
        assert segments.live == 2
        segments.pack(2)
        assert segments.live == 3
    assert Segments(path / "nowhere").live == 0
    assert not Segments(path / "nowhere").sizes


def test_who_reads_meanwhile_goes_on_reading(path: Path) -> None:
    with closing(Segments(path)) as reader, closing(Segments(path)) as writer:
        assert read(reader, 0) == TEXTS[0]  # open now
        for number in range(3):
            writer.pack(number)
        assert [read(reader, number) for number in range(3)] == TEXTS


def test_where_both_are_there_the_plain_one_counts(path: Path) -> None:
    plain = (path / "journal-00001.jsonl").read_bytes()
    with closing(Segments(path)) as segments:
        segments.pack(1)
    (path / "journal-00001.jsonl").write_bytes(plain + b"more\n")
    with closing(Segments(path)) as segments:
        assert read(segments, 1) == plain + b"more\n"
        segments.pack(1)
    with closing(Segments(path)) as segments:
        assert segments.where(1) == segments.packed(1)
        assert read(segments, 1) == plain + b"more\n"


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_missing_segment_is_named(path: Path, number: int, compressed: bool) -> None:
    if compressed:
        with closing(Segments(path)) as segments:
            segments.pack(2)
    (path / f"journal-0000{number}.jsonl").unlink()
    with pytest.raises(RunError, match=rf"journal-0000{number}\.jsonl is missing"):
        Segments(path)


def test_other_files_are_not_looked_at(path: Path) -> None:
    for name in ("journal.idx", "journal-00003.jsonl.zst.tmp", "journal-3.jsonl", "journal-00003.jsonl.bak"):
        (path / name).write_bytes(b"x")
    check(path)


def test_a_full_disk_leaves_the_segment_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        closing(Segments(path)) as segments,
        pytest.raises(RunError, match=r"cannot compress .*00000\.jsonl: No space left on device\. It is kept"),
    ):
        segments.pack(0)
    check(path)
    assert len(list(path.iterdir())) == 3


def test_a_damaged_compressed_segment_is_named(path: Path) -> None:
    with closing(Segments(path)) as segments:
        segments.pack(0)
    file = path / "journal-00000.jsonl.zst"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"journal-00000\.jsonl\.zst is damaged"):
        Segments(path)


def test_what_is_held_of_compressed_segments_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments_module, "_UNPACKED_BYTES", 2000)
    monkeypatch.setattr(segments_module, "_OPEN_FILES", 2)
    with closing(Segments(path)) as segments:
        for number in range(3):
            segments.pack(number)
    with closing(Segments(path)) as segments:
        for _ in range(2):
            assert [read(segments, number) for number in range(3)] == TEXTS
        assert sum(map(len, segments._frames.values())) <= 2000
        assert len(segments._files) <= 2
