"""Compressed files of lines: what goes in comes out, from any place, and damage never passes for text."""

from __future__ import annotations

import io
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cot_distill.packed as packed_module
from cot_distill.errors import RunError
from cot_distill.packed import PackedFile, pack_file

zstandard = pytest.importorskip("zstandard")

LINES = st.lists(st.binary(max_size=300).map(lambda line: line.replace(b"\n", b"") + b"\n"), min_size=1, max_size=40)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_module, "_FRAME_BYTES", 500)


def packed(path: Path, text: bytes) -> Path:
    (path / "plain").write_bytes(text)
    pack_file(path / "plain", path / "plain.zst")
    return path / "plain.zst"


@given(LINES)
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    text = b"".join(lines)
    with closing(PackedFile(packed(tmp_path_factory.mktemp("packed"), text))) as file:
        frames = list(file.frames())
        assert b"".join(frames) == text
        assert file.size == len(text)
        assert all(frame.endswith(b"\n") for frame in frames)
        assert all(len(frame) < 500 + 301 for frame in frames)
        start = 0
        for line in lines:  # none is spread over two frames
            number = file.frame_at(start)
            at = start - file.start_of(number)
            assert file.frame(number)[at : at + len(line)] == line
            start += len(line)
        assert file.frame_at(len(text)) == len(frames) - 1


def test_other_programs_read_it(tmp_path: Path) -> None:
    text = b"".join(b"line %d\n" % number for number in range(1000))
    path = packed(tmp_path, text)
    assert path.stat().st_size < len(text) / 2
    stream = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(path.read_bytes()), read_across_frames=True)
    assert stream.read() == text


def test_a_line_may_be_longer_than_a_frame(tmp_path: Path) -> None:
    lines = [b"a\n", b"b" * 100_000 + b"\n", b"c\n"]
    with closing(PackedFile(packed(tmp_path, b"".join(lines)))) as file:
        assert b"".join(file.frames()) == b"".join(lines)


@given(st.data())
def test_damage_never_passes_for_text(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("packed")
    text = b"".join(b"line %d\n" % number for number in range(200))
    file = packed(path, text)
    whole = file.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        file.write_bytes(whole[:place])
    else:
        file.write_bytes(whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))]) + whole[place + 1 :])
    try:
        with closing(PackedFile(file)) as damaged:
            assert b"".join(damaged.frames()) == text
    except RunError as error:
        assert f"{file} is damaged" in str(error)  # noqa: PT017 - bits that say nothing may be read over


def test_a_file_that_does_not_read_back_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that forgets: simulated, since none is to be had."""
    (tmp_path / "plain").write_bytes(b"a\n" * 1000)
    frame = PackedFile.frame
    monkeypatch.setattr(PackedFile, "frame", lambda self, number: frame(self, number).replace(b"a\na", b"a\nb", 1))
    with pytest.raises(RunError, match=r"does not hold what .*plain holds"):
        pack_file(tmp_path / "plain", tmp_path / "plain.zst")


def test_without_the_package_the_error_names_the_extra(tmp_path: Path) -> None:
    if sys.version_info >= (3, 14):
        pytest.skip("it is in the standard library")
    program = (
        "import sys; sys.modules['zstandard'] = None\n"
        "from pathlib import Path; from cot_distill.packed import PackedFile\n"
        "PackedFile(Path(sys.argv[1]))"
    )
    path = packed(tmp_path, b"a\n")
    result = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert (
        "MissingExtraError: A compressed run needs an optional package: pip install 'cot_distill[zstd]'"
        in (result.stderr.splitlines()[-1])
    )
