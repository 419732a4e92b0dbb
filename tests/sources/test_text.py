"""What is said of text that is not UTF-8."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.sources.text import not_utf8


@given(st.text())
def test_utf8_is_fine(text: str) -> None:
    assert not_utf8(text.encode()) is None


@pytest.mark.parametrize(("encoding", "byte"), [("WINDOWS-1252", 0xE9), ("UTF-16", 0xFF)])
@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv is not installed")
def test_the_way_out_is_one(encoding: str, byte: int) -> None:
    raw = "caf\u00e9".encode(encoding)
    problem = not_utf8(raw) or ""
    assert problem.startswith(f"not UTF-8 (byte 0x{byte:02x} at column {raw.index(byte) + 1})")
    command = problem.rpartition("with ")[2].split()
    assert subprocess.run(command, input=raw, capture_output=True, check=True).stdout.decode() == "caf\u00e9"


def test_a_place_in_a_line_is_named_only_where_it_is_known() -> None:
    assert (not_utf8(b"a\xff", line=False) or "").startswith("not UTF-8 (byte 0xff): ")
