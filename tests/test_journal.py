"""The journal: nothing that was appended is lost, whatever happens to the process or the disk."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cot_distill.journal as journal_module
import cot_distill.packed as packed_module
from cot_distill.errors import RunError
from cot_distill.journal import Journal
from cot_distill.journal_index import Head


def head(number: int, kind: str = "completion") -> Head:
    return Head(kind, number.to_bytes(16, "big"), number, mark=7)


def write(path: Path, numbers: range, text: str = "x" * 50) -> None:
    journal = Journal(path, writable=True)
    for number in numbers:
        journal.append(head(number), {"n": number, "text": text})
    journal.close()


def read(path: Path, *, writable: bool = False) -> list[int]:
    journal = Journal(path, writable=writable)
    try:
        return [journal.read(entry)["n"] for entry in journal.index.entries()]
    finally:
        journal.close()


def test_what_is_appended_is_read_back_with_its_head(tmp_path: Path) -> None:
    write(tmp_path, range(3), text="\u2028 \n ü 🙂 \ud83d".encode("utf-8", "replace").decode())
    journal = Journal(tmp_path, writable=False)
    entry = journal.index.entry(2)
    assert entry.head == head(2)
    assert journal.read(entry)["key"] == (2).to_bytes(16, "big").hex()
    assert len(journal) == 3
    journal.close()


def test_a_second_session_goes_on_behind_the_first(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    write(tmp_path, range(3, 5))
    assert read(tmp_path) == [0, 1, 2, 3, 4]


def test_lines_are_plain_json_that_other_tools_read(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    lines = (tmp_path / "journal-00000.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert lines[0].startswith('{"kind":"completion"')


@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "zeros", "ahead"])
def test_the_index_is_only_a_cache(tmp_path: Path, damage: str) -> None:
    write(tmp_path, range(20))
    index = tmp_path / "journal.idx"
    whole = index.read_bytes()
    if damage == "missing":
        index.unlink()
    elif damage == "cut":
        index.write_bytes(whole[:-80])
    elif damage == "garbage":
        index.write_bytes(os.urandom(len(whole)))
    elif damage == "zeros":
        index.write_bytes(bytes(len(whole)))
    else:
        index.write_bytes(whole + whole[-72:])
    assert read(tmp_path) == list(range(20))
    assert read(tmp_path, writable=True) == list(range(20))
    assert index.read_bytes() == whole


@given(st.integers(1, 400))
def test_a_torn_tail_is_cut_off_and_kept(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("run")
    write(path, range(10))
    segment = path / "journal-00000.jsonl"
    whole = segment.read_bytes()
    cut = min(cut, len(whole))
    segment.write_bytes(whole[:-cut])
    kept = whole[:-cut].count(b"\n")
    assert read(path) == list(range(kept))  # reading changes nothing on disk
    assert segment.read_bytes() == whole[:-cut]
    assert read(path, writable=True) == list(range(kept))
    tail = whole[:-cut].rpartition(b"\n")[2]
    assert segment.read_bytes() == whole[: len(whole) - cut - len(tail)]
    assert (path / "torn.bin").read_bytes() == tail if tail else not (path / "torn.bin").exists()
    write(path, range(kept, 12))
    assert read(path) == list(range(12))


def test_a_tail_of_zeros_after_a_power_loss_is_torn(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    with (tmp_path / "journal-00000.jsonl").open("ab") as file:
        file.write(bytes(300))
    assert read(tmp_path, writable=True) == list(range(5))
    assert (tmp_path / "torn.bin").read_bytes() == bytes(300)


def test_a_damaged_record_in_the_middle_is_named(tmp_path: Path) -> None:
    write(tmp_path, range(200))
    segment = tmp_path / "journal-00000.jsonl"
    content = bytearray(segment.read_bytes())
    place = content.index(b'"n":5,')
    content[place : place + 5] = b'"n:5,'
    segment.write_bytes(content)
    start = content.rindex(b"\n", 0, place) + 1
    with pytest.raises(RunError, match=rf"journal-00000.jsonl is damaged at byte {start}"):
        read(tmp_path)  # found by the checksum
    (tmp_path / "journal.idx").unlink()
    with pytest.raises(RunError, match=rf"damaged at byte {start}"):
        read(tmp_path)  # found by reading the lines


def test_only_one_process_writes(tmp_path: Path) -> None:
    first = Journal(tmp_path, writable=True)
    with pytest.raises(RunError, match=f"in use by process {os.getpid()} on "):
        Journal(tmp_path, writable=True)
    Journal(tmp_path, writable=False).close()  # reading goes on meanwhile
    first.close()
    Journal(tmp_path, writable=True).close()


def test_segments_are_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    write(tmp_path, range(10))
    write(tmp_path, range(10, 20))
    assert len(list(tmp_path.glob("journal-*.jsonl"))) > 3
    assert read(tmp_path) == list(range(20))
    (tmp_path / "journal.idx").unlink()
    assert read(tmp_path, writable=True) == list(range(20))


def test_only_what_the_index_lacks_is_read_from_the_lines(tmp_path: Path) -> None:
    """A damaged entry costs the reading of what comes behind it, and not of what comes before."""
    write(tmp_path, range(200))
    segment, index = tmp_path / "journal-00000.jsonl", tmp_path / "journal.idx"
    text, whole = segment.read_bytes(), index.read_bytes()
    index.write_bytes(whole[: 150 * 72] + bytes(72) + whole[151 * 72 :])
    at = text.index(b'"n":20,')
    segment.write_bytes(text[:at] + b"damaged" + text[at + 7 :])
    journal = Journal(tmp_path, writable=True)
    assert [journal.read(journal.index.entry(number))["n"] for number in range(100, 200)] == list(range(100, 200))
    with pytest.raises(RunError, match="damaged at byte"):
        journal.read(journal.index.entry(20))
    journal.close()
    assert index.read_bytes() == whole


def test_a_record_that_the_index_lacks_at_the_end_of_a_segment_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    write(tmp_path, range(20))
    journal = Journal(tmp_path, writable=False)
    entries = list(journal.index.entries())
    journal.close()
    last = next(n for n, (one, two) in enumerate(pairwise(entries)) if one.segment != two.segment)
    index = tmp_path / "journal.idx"
    whole = index.read_bytes()
    index.write_bytes(whole[: last * 72] + whole[(last + 1) * 72 :])
    assert read(tmp_path) == list(range(20))
    assert read(tmp_path, writable=True) == list(range(20))
    assert index.read_bytes() == whole


def test_an_index_that_cannot_be_written_is_given_up_and_made_good_later(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    journal = Journal(tmp_path, writable=True)
    journal.append(head(0), {"n": 0})
    journal.close()
    journal = Journal(tmp_path, writable=True)
    os.close(journal._index_file)
    journal._index_file = os.open("/dev/full", os.O_WRONLY)
    for number in range(1, 5):
        journal.append(head(number), {"n": number})
    journal.close()
    assert (tmp_path / "journal.idx").stat().st_size == 72
    assert read(tmp_path) == list(range(5))
    assert read(tmp_path, writable=True) == list(range(5))
    assert (tmp_path / "journal.idx").stat().st_size == 5 * 72


# Compressing


def compact(path: Path) -> int:
    journal = Journal(path, writable=True)
    freed = journal.compact()
    journal.close()
    return freed


def test_a_compacted_journal_is_read_and_written_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zstandard")
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 3000)
    for turn in range(4):
        write(tmp_path, range(turn * 100, turn * 100 + 100))
        before = sum(file.stat().st_size for file in tmp_path.glob("journal-*"))
        freed = compact(tmp_path)
        after = sum(file.stat().st_size for file in tmp_path.glob("journal-*"))
        assert freed == before - after > 1000
        assert read(tmp_path) == list(range(turn * 100 + 100))
    assert compact(tmp_path) == 0
    whole = (tmp_path / "journal.idx").read_bytes()
    for damage in (b"", whole[:-80], os.urandom(len(whole))):
        (tmp_path / "journal.idx").write_bytes(damage)
        assert read(tmp_path) == list(range(400))
        assert read(tmp_path, writable=True) == list(range(400))
        assert (tmp_path / "journal.idx").read_bytes() == whole


def test_the_same_journal_goes_on_after_it_was_compacted(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    write(tmp_path, range(50))
    reader, journal = Journal(tmp_path, writable=False), Journal(tmp_path, writable=True)
    journal.append(head(50), {"n": 50})
    assert journal.compact() > 0
    journal.append(head(51), {"n": 51})
    assert [journal.read(entry)["n"] for entry in journal.index.entries()] == list(range(50))
    assert [reader.read(entry)["n"] for entry in reader.index.entries()] == list(range(50))
    reader.close()
    journal.close()
    assert {file.name for file in tmp_path.glob("journal-*")} == {"journal-00000.jsonl.zst", "journal-00001.jsonl"}
    assert read(tmp_path) == list(range(52))


def test_a_damaged_record_in_a_compressed_segment_is_named(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    write(tmp_path, range(200))
    (tmp_path / "journal.idx").unlink()
    segment = tmp_path / "journal-00000.jsonl"
    text = segment.read_bytes()
    place = text.index(b'"n":50,')
    segment.write_bytes(text[:place] + b'"n:50",' + text[place + 7 :])
    packed_module.pack_file(segment, tmp_path / "journal-00000.jsonl.zst")
    segment.unlink()
    start = text.rindex(b"\n", 0, place) + 1
    with pytest.raises(RunError, match=rf"journal-00000\.jsonl\.zst is damaged at byte {start}"):
        read(tmp_path, writable=True)


COMPACTOR = """
import sys
from pathlib import Path
from cot_distill import journal
from cot_distill.journal_index import Head
journal.SEGMENT_BYTES = 200_000
opened = journal.Journal(Path(sys.argv[1]), writable=True)
print("ready", flush=True)
opened.compact()
opened.append(Head("completion", bytes(16), len(opened)), {"n": len(opened)})
"""


@pytest.mark.slow
def test_being_killed_while_compressing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zstandard")
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 200_000)
    dice = random.Random(1)
    number = between = 0
    for _ in range(12):
        write(tmp_path, range(number, number + 200), text=dice.randbytes(2000).hex())
        number += 200
        with subprocess.Popen([sys.executable, "-c", COMPACTOR, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(dice.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
        kinds = Counter(file.suffix for file in tmp_path.glob("journal-*"))
        between += kinds[".tmp"] > 0 or (kinds[".jsonl"] > 1 and kinds[".zst"] > 0)
        found = read(tmp_path)
        assert len(found) in (number, number + 1)
        number = len(found)
        assert found == list(range(number))
    assert between > 0  # or this test showed nothing
    write(tmp_path, range(number, number + 1))
    assert not list(tmp_path.glob("*.tmp"))
    compact(tmp_path)
    assert read(tmp_path) == list(range(number + 1))


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write to .*file"):
        Journal(tmp_path / "file", writable=True)


def test_closing_leaves_neither_reserve_nor_owner(tmp_path: Path) -> None:
    journal = Journal(tmp_path, writable=True)
    assert (tmp_path / "reserve").stat().st_size == journal_module.RESERVE_BYTES
    journal.close()
    journal.close()
    assert {path.name for path in tmp_path.iterdir()} == {"journal-00000.jsonl", "journal.idx", "lock"}


WRITER = """
import sys
from pathlib import Path
from cot_distill.journal import Journal
from cot_distill.journal_index import Head
journal = Journal(Path(sys.argv[1]), writable=True)
number = len(journal)
while True:
    journal.append(Head("completion", number.to_bytes(16, "big"), number), {"n": number, "text": "x" * 3000})
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.slow
def test_killing_the_writer_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged = -1
    for turn in range(8):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert int(first) == acknowledged + 1 or int(first) == acknowledged + 2
            time.sleep(0.005 * turn)
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().splitlines()
            acknowledged = int((lines or [first])[-1])
        assert read(tmp_path)[: acknowledged + 1] == list(range(acknowledged + 1))


FILLER = """
import sys
from pathlib import Path
from cot_distill.errors import RunError
from cot_distill.journal import Journal
from cot_distill.journal_index import Head
path = Path(sys.argv[1])
journal = Journal(path, writable=True)
number = 0
while journal.full is None:
    journal.append(Head("completion", number.to_bytes(16, "big"), number), {"n": number, "text": "x" * 100_000})
    number += 1
for _ in range(20):  # what was in flight when the disk filled up
    journal.append(Head("completion", number.to_bytes(16, "big"), number), {"n": number, "text": "x" * 100_000})
    number += 1
print(number, (path / "reserve").exists(), journal.full.strerror)
try:
    while True:
        journal.append(Head("completion", number.to_bytes(16, "big"), number), {"n": number, "text": "x" * 100_000})
        number += 1
except RunError as error:
    print(error)
journal.close()
print(number)
"""


@pytest.mark.slow
def test_a_full_disk_keeps_what_is_under_way(tmp_path: Path) -> None:
    """On a real, small file system: a tmpfs in a mount namespace of its own."""
    run = f'"{tmp_path}/run"'
    script = f'mount -t tmpfs -o size=24m tmpfs "{tmp_path}" && "$0" -c "$1" {run} && "$0" -c "$2" {run}'
    check = (
        "import sys; from pathlib import Path; from cot_distill.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]), writable=False)\n"
        "print([journal.read(entry)['n'] for entry in journal.index.entries()][-1])"
    )
    result = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, sys.executable, FILLER, check],
        capture_output=True,
        text=True,
    )
    if "unshare" in result.stderr or "mount:" in result.stderr:
        pytest.skip(f"no small file system to be had here: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    at_full, error, at_end, kept = result.stdout.splitlines()
    number, reserve, reason = at_full.split(maxsplit=2)
    assert reserve == "False"
    assert reason == os.strerror(errno.ENOSPC)
    assert int(at_end) > int(number) > 40
    assert "No space left on device; an answer of 100" in error
    assert int(kept) == int(at_end) - 1
