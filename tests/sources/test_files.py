"""Tasks from files: JSON Lines, JSON, Parquet, and what is compressed."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard

from cot_distill import sources
from cot_distill.errors import SourceError

QA = {"question": "What is 2 + 2?", "answer": 4}


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def ask(n: int) -> dict[str, Any]:
    return {"id": n, "question": f"What is {n} + {n}?", "answer": 2 * n}


def test_jsonl_with_blank_lines_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = lines(tmp_path / "tasks.jsonl", "\ufeff" + json.dumps(ask(1)), "", "   ", ask(2))
    source = sources.jsonl(path)
    assert [(position, task.id) for position, task in source.located()] == [(1, 1), (4, 2)]
    assert source.describe(4) == "tasks.jsonl, line 4"
    assert source.name == "tasks.jsonl"
    assert [task.answer for task in source] == ["2", "4"], "opens anew"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"question": "q"', "line 2: not JSON: EOF while parsing an object at column 16"),
        (
            b'{"question": "caf\xe9"}',
            r"line 2: not UTF-8 \(byte 0xe9 at column 18\): save the file .*iconv",
        ),
        (b'"a text"', "line 2: not an object but text"),
        (b"[1]", "line 2: not an object but a list"),
        (b"null", "line 2: not an object but null"),
        (b"1" * 5000, "line 2: not JSON: number out of range"),
        (b"[" * 100_000, "line 2: not JSON: recursion limit exceeded"),
        (b'{"question": "\\ud800"}', "line 2: not JSON"),
        (b'{"question": ""}', "line 2: column 'question' is empty"),
    ],
)
def test_jsonl_bad_lines(tmp_path: Path, bad: bytes, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(json.dumps(QA).encode() + b"\n" + bad + b"\n" + json.dumps(QA).encode())
    with pytest.raises(SourceError, match=f"^tasks.jsonl, {message}"):
        list(sources.jsonl(path))
    source = sources.read(path, on_error="skip")
    assert [position for position, _ in source.located()] == [1, 3]
    assert source.skipped == 1


def test_line_ends_inside_json_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "tasks.ndjson"
    path.write_bytes('{"question": "a\u2028b"}\r\n{"question": "c"}\r\n'.encode())
    assert [(n, task.instruction) for n, task in sources.read(path).located()] == [(1, "a\u2028b"), (2, "c")]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["tasks.jsonl", "tasks.json", "tasks.csv"])
def test_compressed_files(tmp_path: Path, suffix: str, name: str) -> None:
    rows = [ask(n) for n in range(5000)]
    text = io.StringIO()
    if name.endswith("jsonl"):
        text.writelines(json.dumps(row) + "\n" for row in rows)
    elif name.endswith("json"):
        json.dump(rows, text)
    else:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    whole = text.getvalue().encode()
    pack = gzip.compress if suffix == ".gz" else zstandard.compress
    packed = pack(whole[:1000]) + pack(whole[1000:])  # two members, as appending writes them
    path = tmp_path / (name + suffix)
    path.write_bytes(packed)
    assert [task.answer for task in sources.read(path)] == [str(2 * n) for n in range(5000)]

    path.write_bytes(packed[:-100])
    with pytest.raises(SourceError, match=f"{name}{suffix} cannot be read to its end"):
        list(sources.read(path, on_error="skip"))
    path.write_bytes(b"this is no archive at all")
    with pytest.raises(SourceError, match=f"{name}{suffix} cannot be read to its end"):
        list(sources.read(path))


@pytest.mark.parametrize(
    "text",
    [
        '[{"question": "a"}, {"question": "b"}]',
        '\ufeff\n[\n  {"question": "a"},\n  {"question": "b"}\n]\n',
        '{"version": "1.0", "splits": ["x"], "data": [{"question": "a"}, {"question": "b"}], "n": {"a": [2]}}',
        '{"question": "a", "tags": [{"x": 1}]}\n{"question": "b"}\n',
    ],
)
def test_json_layouts(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(text, encoding="utf-8")
    source = sources.json(path)
    assert [(position, task.instruction) for position, task in source.located()] == [(1, "a"), (2, "b")]
    assert source.describe(2) == ("tasks.json, line 2" if text.startswith('{"question') else "tasks.json, row 2")


def test_json_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_bytes(b'[{"question": "a"}, {"question": }, 7, {"question": "\xff"}, {"question": "b"}]')
    with pytest.raises(SourceError, match=r"^tasks.json, row 2: not JSON: expected value at column 14"):
        list(sources.json(path))
    source = sources.json(path, on_error="skip")
    assert [position for position, _ in source.located()] == [1, 5]
    assert source.skipped == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"question": "a"}, {"question": "b"', "row 2: a string or a bracket is never closed, or the file is cut"),
        ('[{"question": "a"}, {"question": "b', "row 2: a string or a bracket is never closed"),
        ('[{"question": "a"}', "row 2: the file ends too early"),
        ('[{"question": "a"} {"question": "b"}]', "row 2: expected ',' or ']', found '{'"),
        ('[{"question": "a"},]', "row 2: expected a value, found ']'"),
        ('[{"question": "a"}] [', "row 2: there is more text after the end"),
        ('{"a": [{"question": "a"}], "b": [{"question": "b"}]}', r'row 2: two arrays of objects, "a" and "b"'),
        ('{"question": "a"}', "row 1: an object without an array of objects inside"),
        ("{}", "row 1: an object without an array"),
        ('"text"', r"row 1: expected '\[' or '{', found '\"'"),
        ("[", "row 1: the file ends too early"),
        ("", "tasks.json: there is nothing in it"),
        (" \n", "tasks.json: there is nothing in it"),
        ("[]", "tasks.json: there is nothing in it"),
    ],
)
def test_json_damage_always_raises(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(text)
    for on_error in ("raise", "skip"):
        with pytest.raises(SourceError, match=message):
            list(sources.json(path, on_error=cast(Any, on_error)))


def test_parquet(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    path = tmp_path / "tasks.parquet"
    pq.write_table(pa.Table.from_pylist([ask(n) for n in range(1, 200)]), path, row_group_size=50)
    source = sources.read(path)
    assert [(position, task.answer) for position, task in source.located()] == [
        (n, str(2 * n)) for n in range(1, 200)
    ]
    assert source.describe(7) == "tasks.parquet, row 7"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(SourceError, match=r"tasks.parquet cannot be read as Parquet"):
        list(source)
