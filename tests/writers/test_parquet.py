"""Parquet: the types that trainers need, nothing lost on the way, flat memory, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from cot_distill import formatters
from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.types import Sample, Task, Trace
from cot_distill.writers import parquet

HOSTILE = "é 漢字 😀 \u2028\x00\r\n\"'\\ \ufeff\ufffd \u202e"


def sample(n: int) -> Sample:
    return Sample(
        task=Task(id=n, instruction=f"{HOSTILE} {n}?"), trace=Trace(reasoning=f"R {HOSTILE}.", answer=f"A {n}.")
    )


def without_nulls(value: Any) -> Any:
    """Columns of structs give each struct every field."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "formatter",
    [
        formatters.messages,
        formatters.messages(thinking="reasoning_content"),
        formatters.prompt_completion,
        formatters.prompt_completion(thinking="reasoning_content"),
        formatters.prompt_completion(plain=True),
        formatters.alpaca,
        formatters.sharegpt,
    ],
)
def test_datasets_reads_every_layout_back(tmp_path: Path, formatter: Formatter) -> None:
    rows = [dict(formatter(sample(n))) for n in range(5)]
    path = parquet(tmp_path / "new" / "rows.parquet", batch_size=2)(rows)
    assert path == tmp_path / "new" / "rows.parquet"
    loaded = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert without_nulls(loaded.to_list()) == rows
    assert loaded.column_names == list(rows[0])


def test_messages_are_structs_of_text_with_a_nullable_field_for_the_reasoning(tmp_path: Path) -> None:
    row = formatters.messages(thinking="reasoning_content")(sample(1))
    read = pq.read_table(parquet(tmp_path / "rows.parquet")([row]))
    turn = read.schema.field("messages").type.value_type
    assert {field.name: field.type for field in turn} == dict.fromkeys(
        ("role", "content", "reasoning_content"), pa.string()
    )
    user, assistant = read.to_pylist()[0]["messages"]
    assert user == {"role": "user", "content": f"{HOSTILE} 1?", "reasoning_content": None}
    assert assistant["reasoning_content"] == f"R {HOSTILE}."


def test_what_is_null_throughout_is_text(tmp_path: Path) -> None:
    row: dict[str, Any] = {"a": None, "b": [], "c": [None], "d": {"e": None, "f": [{"g": None}]}, "h": 1}
    schema = pq.read_schema(parquet(tmp_path / "rows.parquet")([row, row]))
    text = pa.string()
    expected = [text, pa.list_(text), pa.list_(text), pa.struct({"e": text, "f": pa.list_(pa.struct({"g": text}))})]
    # Parquet has its own name for the items of a list.
    assert [str(kind).replace("element:", "item:") for kind in schema.types] == [*map(str, expected), "int64"]


def test_a_key_that_some_rows_lack_is_null_there(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": 1}, {"b": "x"}, {"a": 2, "b": "y"}, {"b": "z"}]
    read = pq.read_table(parquet(tmp_path / "rows.parquet", batch_size=3)(rows))
    assert read.to_pydict() == {"a": [1, None, 2, None], "b": [None, "x", "y", "z"]}


TURNS = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        ({"a": 1}, {"a": "x"}, r"row 5, column 'a': string does not fit int64, the type found in the first 3 rows"),
        ({"a": "x"}, {"a": 1}, r"row 5, column 'a': int64 does not fit string"),
        ({"a": 1}, {"a": 0.5}, r"row 5, column 'a': double does not fit int64.*fraction would be lost"),
        ({"a": [1]}, {"a": [0.5]}, r"row 5, column 'a': list<item: double> does not fit list<item: int64>"),
        ({"a": 1}, {"a": 2**70}, r"row 5, column 'a': .* int64"),
        ({"a": True}, {"a": 1}, r"row 5, column 'a': int64 does not fit bool"),
        ({"a": None}, {"a": 1}, r"row 5, column 'a': int64 does not fit string"),
        ({"a": "x"}, {"a": {"b": 1}}, r"row 5, column 'a': struct<b: int64> does not fit string"),
        ({"a": "x"}, {"a": "\ud83d"}, r"row 5, column 'a': .*half a surrogate pair.*filters.clean"),
        ({"a": "x"}, {"a": object()}, r"row 5, column 'a': a value of type object does not fit string"),
        ({"a": 1}, {"a": 1, "b": 2}, r"row 5 has a column 'b' beside those known by then \(a\)"),
        (
            {"messages": TURNS},
            {"messages": [*TURNS, {"role": "assistant", "content": "!", "reasoning_content": "Hm."}]},
            r"row 5, column 'messages': .*unknown key 'reasoning_content'",
        ),
        ({"a": {"b": [{"c": 1}]}}, {"a": {"b": [{"c": 1, "d": 2}]}}, r"row 5, column 'a': .*unknown key 'd'"),
    ],
)
def test_a_later_row_that_does_not_fit_is_named_and_leaves_the_old_file(
    tmp_path: Path, first: dict[str, Any], later: dict[str, Any], message: str
) -> None:
    path = parquet(tmp_path / "rows.parquet")([{"old": 1}])
    with pytest.raises(ConfigError, match=message):
        parquet(path, batch_size=3)([first, first, first, first, later, first])
    assert pq.read_table(path).to_pylist() == [{"old": 1}]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1}, {"a": "x"}], r"row 2, column 'a': string does not fit int64"),
        ([{"a": {"b": 1}}, {"a": {"b": 1}}, {"a": "x"}], r"row 3, column 'a': string does not fit struct<b: int64>"),
        ([{"a": 1}, {"a": object()}], r"row 2, column 'a': a value of type object does not fit int64"),
        ([{"a": object()}], r"row 1, column 'a': a value of type object"),
        ([{"a": 1}, {"a": [1, "x"]}], r"row 2, column 'a'"),
        ([{"meta": {}}], r"row 1, column 'meta': .*an empty dict has no type"),
        ([{}, {}], "no columns: look at the formatter"),
        ([], "no rows, so the columns are unknown: look at the filters, or give `schema`"),
    ],
)
def test_a_first_batch_without_a_type_is_refused(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parquet(tmp_path / "rows.parquet")(rows)
    assert not list(tmp_path.iterdir())


def test_a_schema_given_is_kept(tmp_path: Path) -> None:
    schema = pa.schema(
        [
            ("n", pa.int8()),
            ("map", pa.map_(pa.string(), pa.int32())),
            ("text", pa.large_string()),
            ("deep", pa.large_list(pa.struct({"x": pa.float32()}))),
        ]
    )
    rows: list[dict[str, Any]] = [{"n": 1, "map": [("a", 1)], "text": "x", "deep": [{"x": 0.5}, {}]}, {"n": None}]
    read = pq.read_table(parquet(tmp_path / "rows.parquet", schema=schema)(rows))
    assert read.schema.field("n").type == pa.int8()
    assert read.to_pylist()[0] == {"n": 1, "map": [("a", 1)], "text": "x", "deep": [{"x": 0.5}, {"x": None}]}
    empty = pq.read_table(parquet(tmp_path / "empty.parquet", schema=schema)([]))
    assert (empty.num_rows, empty.column_names) == (0, ["n", "map", "text", "deep"])


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (pa.int8(), 1000, "row 1, column 'a': int64 does not fit int8, the given schema"),
        (pa.large_list(pa.struct({"x": pa.int64()})), [{"y": 1}], "unknown key 'y'"),
    ],
)
def test_a_row_that_does_not_fit_the_given_schema(tmp_path: Path, kind: Any, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parquet(tmp_path / "rows.parquet", schema=pa.schema({"a": kind}))([{"a": value}])


def test_null_where_the_schema_allows_none(tmp_path: Path) -> None:
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    with pytest.raises(ConfigError, match="row 2, column 'a': null does not fit int64"):
        parquet(tmp_path / "rows.parquet", schema=schema)([{"a": 1}, {}])


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parquet\(batch_size=…\) takes a whole number from 1 on, not 0"):
        parquet(tmp_path / "rows.parquet", batch_size=0)
    with pytest.raises(ConfigError, match=r"pyarrow\.Schema, not dict"):
        parquet(tmp_path / "rows.parquet", schema={"a": "int64"})([])


def test_the_file_is_compressed_and_indexed_and_the_same_each_time(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "x" * 1000} for n in range(1200)]
    path = parquet(tmp_path / "rows.parquet")(rows)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [500, 500, 200]
    assert metadata.row_group(0).column(0).compression == "ZSTD"
    assert metadata.row_group(0).column(0).has_offset_index
    assert parquet(tmp_path / "again.parquet")(iter(rows)).read_bytes() == path.read_bytes()


class Broken(Exception):
    pass


def test_an_error_half_way_surfaces_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = parquet(tmp_path / "rows.parquet")([{"old": 1}])

    def rows() -> Iterator[dict[str, int]]:
        for n in range(1100):
            yield {"n": n}
        raise Broken

    with pytest.raises(Broken):
        parquet(path)(rows())
    assert pq.read_table(path).to_pylist() == [{"old": 1}]
    assert list(tmp_path.iterdir()) == [path]


class LiveRow(dict[str, Any]):
    """A row that can be counted while it is alive."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def test_memory_is_flat(tmp_path: Path) -> None:
    alive: WeakSet[LiveRow] = WeakSet()
    most_rows = most_bytes = 0
    before = pa.total_allocated_bytes()

    def rows() -> Iterator[LiveRow]:
        nonlocal most_rows, most_bytes
        for n in range(5000):
            row = LiveRow(n=n, text=f"{n}" * 2000)
            alive.add(row)
            most_rows = max(most_rows, len(alive))
            most_bytes = max(most_bytes, pa.total_allocated_bytes() - before)
            yield row

    path = parquet(tmp_path / "rows.parquet", batch_size=100)(rows())
    assert pq.ParquetFile(path).metadata.num_rows == 5000
    assert most_rows <= 302  # the first batch, the last one and the next one
    assert most_bytes < 20_000_000  # 40 MB went through
