"""JSON Lines: one row a line, readable by everything, the same bytes each time, whole or not at all."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any
from weakref import WeakSet

import pytest
import zstandard
from datasets import load_dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cot_distill import formatters
from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.types import Sample, Task, Trace
from cot_distill.writers import jsonl

HOSTILE = "é 漢字 😀 \u2028\u2029\u0085\x00\x1c\x1e\r\n\t\"'\\ </s> <|im_end|> \ufeff\ufffd \u202e עברית"
ROWS = [{"n": n, "text": f"{HOSTILE} {n}", "deep": [{"a": None, "b": [1.5, True]}]} for n in range(3)]


def test_one_row_a_line_whoever_splits_the_lines(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "new" / "rows.jsonl")(ROWS)
    assert path == tmp_path / "new" / "rows.jsonl"
    text = path.read_bytes().decode()
    assert text.endswith("}\n")
    assert [json.loads(line) for line in text.split("\n")[:-1]] == ROWS
    assert [json.loads(line) for line in text.splitlines()] == ROWS
    assert "漢字 😀" in text


@pytest.mark.parametrize("suffix", ["", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".GZ"])
def test_the_same_rows_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first = jsonl(tmp_path / f"a{suffix}")(ROWS).read_bytes()
    time.sleep(1.01 if suffix == ".jsonl.gz" else 0)  # a time stamp in the header counts seconds
    assert jsonl(tmp_path / f"b{suffix}")(iter(ROWS)).read_bytes() == first


def test_compression(tmp_path: Path) -> None:
    plain = jsonl(tmp_path / "rows.jsonl")(ROWS).read_bytes()
    assert gzip.decompress(jsonl(tmp_path / "rows.jsonl.gz")(ROWS).read_bytes()) == plain
    packed = jsonl(tmp_path / "rows.jsonl.zst")(ROWS).read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed) == plain


def test_a_compression_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.gz or \.zst"):
        jsonl(tmp_path / "rows.jsonl.xz")


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize(
    "formatter",
    [
        formatters.messages,
        formatters.messages(thinking="reasoning_content"),
        formatters.prompt_completion,
        formatters.prompt_completion(plain=True),
        formatters.alpaca,
        formatters.sharegpt,
    ],
)
def test_datasets_reads_every_layout_back(tmp_path: Path, suffix: str, formatter: Formatter) -> None:
    samples = [
        Sample(task=Task(id=n, instruction=f"{HOSTILE} {n}?"), trace=Trace(reasoning=HOSTILE, answer=f"A {HOSTILE}."))
        for n in range(3)
    ]
    rows = [dict(formatter(sample)) for sample in samples]
    path = jsonl(tmp_path / f"rows{suffix}")(rows)
    loaded = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert without_nulls(loaded.to_list()) == rows


def without_nulls(value: Any) -> Any:
    """Columns of structs give each struct every field."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.lists(st.dictionaries(st.text(), json_values, max_size=3), max_size=4))
def test_any_json_comes_back(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = jsonl(tmp_path / "rows.jsonl")(rows)
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == rows


def test_a_row_may_be_any_mapping(tmp_path: Path) -> None:
    assert jsonl(tmp_path / "rows")([MappingProxyType({"a": (1, 2)})]).read_text() == '{"a": [1, 2]}\n'


def test_no_rows_give_an_empty_file(tmp_path: Path) -> None:
    assert jsonl(tmp_path / "rows")([]).read_bytes() == b""


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "not JSON compliant|not a JSON value"),
        (float("inf"), "not a JSON value"),
        ({1, 2}, "set is not JSON serializable"),
        (b"x", "bytes is not JSON serializable"),
        ({(1, 2): 3}, "not a JSON value: keys"),
        (CIRCLE, "not a JSON value: Circular"),
        (["\ud83d"], "half a surrogate pair.*filters.clean"),
    ],
)
def test_a_value_that_is_not_json_is_named_and_leaves_the_old_file(tmp_path: Path, value: Any, why: str) -> None:
    path = jsonl(tmp_path / "rows.jsonl")(ROWS)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=f"row 2, column 'odd': .*({why})"):
        jsonl(path)([{"fine": 1, "odd": 1}, {"fine": 1, "odd": value}])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class Broken(Exception):
    pass


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".jsonl.zst"])
def test_an_error_half_way_surfaces_and_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = jsonl(tmp_path / f"rows{suffix}")(ROWS)
    before = path.read_bytes()

    def rows() -> Iterator[dict[str, str]]:
        for _ in range(2000):
            yield {"text": HOSTILE}
        raise Broken

    with pytest.raises(Broken):
        jsonl(path)(rows())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class LiveRow(dict[str, Any]):
    """A row that can be counted while it is alive."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_memory_is_flat(tmp_path: Path) -> None:
    alive: WeakSet[LiveRow] = WeakSet()
    most = 0

    def rows() -> Iterator[LiveRow]:
        nonlocal most
        for n in range(5000):
            row = LiveRow(n=n, text="x" * 100)
            alive.add(row)
            most = max(most, len(alive))
            yield row

    jsonl(tmp_path / "rows.jsonl")(rows())
    assert most <= 3
