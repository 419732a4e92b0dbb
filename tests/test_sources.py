"""Sources: from files, datasets, lists and generators to tasks with a place."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from itertools import count
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError
from cot_distill.sources import Source, TaskInput, open_tasks
from cot_distill.sources.json_stream import array_elements
from cot_distill.types import Message, Task

QA = {"question": "What is 2 + 2?", "answer": 4}


def lines(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def only(row: object, **columns: Any) -> Task:
    (task,) = sources.rows([cast(Any, row)], **columns)
    return task


async def pull(tasks: TaskInput, *, unique: bool = True) -> list[tuple[int, Task]]:
    async with aclosing(open_tasks(tasks, unique=unique)) as located:
        return [pair async for pair in located]


def ask(n: int) -> dict[str, Any]:
    return {"id": n, "question": f"What is {n} + {n}?", "answer": 2 * n}


# --- Columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (QA, Task(instruction="What is 2 + 2?", answer="4")),
        ("What is 2 + 2?", Task(instruction="What is 2 + 2?")),
        (
            {"Problem": "p", "Solution": "s", "Answer": "a", "ID": "2024-1"},
            Task(id="2024-1", instruction="p", answer="a", metadata={"Solution": "s"}),
        ),
        (
            {"task_id": 11, "text": "t", "code": "c", "test_list": ["assert f() == 1"]},
            Task(id=11, instruction="t", tests=["assert f() == 1"], metadata={"code": "c"}),
        ),
        (
            {"idx": 3, "system_prompt": "s", "query": "q", "expected_answer": 0.5},
            Task(id=3, instruction="q", system="s", answer="0.5"),
        ),
        ({"prompt": "p", "final_answer": ["7"]}, Task(instruction="p", answer="7")),
        ({"question": "q", "answer": True}, Task(instruction="q", answer="True")),
        (
            {"question": "q", "answer": None, "solution": "s"},
            Task(instruction="q", answer="s", metadata={"answer": None}),
        ),
        ({"question": "q", "answer": None}, Task(instruction="q")),
        ({"question": "q", "answer": float("nan"), "id": None}, Task(instruction="q")),
        (
            {"question": "q", "answer": "2 * 3 = <<2*3=6>>6\n#### 6"},
            Task(instruction="q", answer="2 * 3 = <<2*3=6>>6\n#### 6"),
        ),
        ({"question": "q", "answer": {"value": 1}}, Task(instruction="q", metadata={"answer": {"value": 1}})),
        ({"question": "q", "level": 2, "metadata": {"a": 1}}, Task(instruction="q", metadata={"level": 2, "a": 1})),
        ({"instruction": "Add.", "input": "2, 3", "output": "5"}, Task(instruction="Add.\n\n2, 3", answer="5")),
        ({"instruction": "Hello", "input": "", "output": "Hi"}, Task(instruction="Hello", answer="Hi")),
        ({"instruction": "Hello", "input": None}, Task(instruction="Hello")),
        ({"problem": "p", "input": "i"}, Task(instruction="p", metadata={"input": "i"})),
        (
            {"text": "rendered", "messages": [{"role": "user", "content": "q"}]},
            Task(messages=(Message(role="user", content="q"),), metadata={"text": "rendered"}),
        ),
        (
            {"prompt": None, "messages": [{"role": "user", "content": "q"}]},
            Task(messages=(Message(role="user", content="q"),), metadata={"prompt": None}),
        ),
    ],
)
def test_usual_columns_are_found(row: object, expected: Task) -> None:
    assert only(row) == expected


@pytest.mark.parametrize(
    "row",
    [
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "q"},
                {"from": "gpt", "value": "a"},
            ]
        },
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a"},
            ]
        },
        {
            "prompt": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": [{"type": "text", "text": "q"}]},
            ]
        },
        {"prompt": [Message(role="system", content="s"), Message(role="user", content="q")]},
    ],
)
def test_conversations_end_with_the_user(row: object) -> None:
    assert only(row).messages == (Message(role="system", content="s"), Message(role="user", content="q"))
    assert only(row).instruction == "q"


def test_earlier_turns_of_a_conversation_are_kept() -> None:
    turns = [{"from": who, "value": str(n)} for n, who in enumerate(["human", "gpt", "human", "gpt", "gpt"])]
    assert [m.content for m in only({"conversations": turns}).messages] == ["0", "1", "2"]


def test_named_columns_win_and_none_means_there_is_none() -> None:
    row = {"q": "named", "question": "usual", "answer": "usual", "key": 1, "id": "a"}
    task = only(row, instruction="q", answer="key", id=None)
    assert (task.instruction, task.answer) == ("named", "1")
    assert task.metadata == {"question": "usual", "answer": "usual", "id": "a"}
    assert task.id != "a"
    conversation = {"problem": "p", "chat": [{"role": "user", "content": "q"}]}
    assert only(conversation, messages="chat").instruction == "q"
    assert only({"question": "q", "text": "t"}, messages=None).instruction == "q"


def test_a_later_row_may_bring_an_answer() -> None:
    first, second = sources.rows([{"question": "a"}, {"question": "b", "answer": 2}])
    assert (first.answer, second.answer) == (None, "2")


def test_a_later_row_may_lack_a_column_that_was_only_found() -> None:
    first, second = sources.rows([{"question": "a", "answer": 1}, {"question": "b"}])
    assert (first.answer, second.answer) == ("1", None)


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (
            [QA],
            {"instruction": "exercise"},
            r"row 1: no column 'exercise' for the instruction; the columns are 'question', 'answer'",
        ),
        ([QA], {"answer": "key"}, "row 1: no column 'key' for the answer"),
        (
            [{"a": "x", "b": 2}],
            {},
            "row 1: no column looks like a question; the columns are 'a', 'b'; name columns with instruction=",
        ),
        ([{"question": "q"}], {"instruction": None}, "row 1: no column looks like a question"),
        ([{"question": 3}], {}, "row 1: no column looks like a question"),
    ],
)
def test_columns_that_do_not_fit_always_raise(rows: list[Any], columns: dict[str, str], message: str) -> None:
    for on_error in ("raise", "skip"):
        with pytest.raises(SourceError, match=message):
            list(sources.rows(rows, on_error=cast(Any, on_error), **cast(Any, columns)))


@pytest.mark.parametrize(
    ("bad", "columns", "message"),
    [
        ({"problem": "q"}, {}, "no column 'question' for the instruction; the columns are 'problem'"),
        ({"question": "q"}, {"answer": "answer"}, "no column 'answer' for the answer"),
        ({"question": " "}, {}, "column 'question' is empty"),
        ({"question": None}, {}, "column 'question' is empty"),
        ({"question": 3}, {}, "column 'question' holds a number, not text"),
        ({"question": ["a"]}, {}, "column 'question' holds a list, not text"),
        (
            {"question": "q", "answer": {"value": 1}},
            {},
            "column 'answer' holds an object: a reference answer is text",
        ),
        ({"question": "q", "answer": ["1", "2"]}, {}, "column 'answer' holds a list"),
        ({"question": "q", "id": 1.5}, {"id": "id"}, "id: "),
        (
            {"question": "q", "image": object()},
            {},
            "column 'image' holds a value of type object that cannot be written",
        ),
        (
            {"question": "q", "tests": [object()], "id": 7},
            {},
            "column 'tests' holds a list that cannot be written as JSON",
        ),
        ({"question": "q", "note": "\ud800"}, {}, "column 'note' holds text that cannot be written as JSON"),
        ({"question": [{"role": "tool", "content": "x"}]}, {}, "message 1 is by 'tool'"),
        ({"question": [{"role": "assistant", "content": "x"}]}, {}, "does not end with a question"),
        ({"question": [{"role": "user", "content": None}]}, {}, "message 1 has no text"),
        ({"question": "q", "chat": "x"}, {"messages": "chat"}, "column 'chat' holds text, not a list of messages"),
        ({}, {}, "an object without columns"),
        ("", {}, "`instruction` is empty"),
        (17, {}, "not an object with columns but a number"),
        (None, {}, "not an object with columns but null"),
    ],
)
def test_a_bad_row_raises_or_is_skipped(bad: object, columns: dict[str, str | None], message: str) -> None:
    good: dict[str, Any] = {"question": "q", "answer": 1, "id": 1, "chat": [{"role": "user", "content": "q"}]}
    rows = cast(Any, [good, bad, good])
    if "messages" in columns:
        columns = {**columns, "instruction": None}
    with pytest.raises(SourceError, match=f"^input, row 2: .*{message}"):
        list(sources.rows(rows, **cast(Any, columns)))
    source = sources.rows(rows, on_error="skip", **cast(Any, columns))
    assert [position for position, _ in source.located()] == [1, 3]
    assert source.skipped == 1
    assert len(list(source)) == 2
    assert source.skipped == 1, "counted anew in each iteration"


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'instructions'.*instruction="):
        sources.rows([QA], instructions="q")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="'raise' or 'skip', not 'ignore'"):
        sources.rows([QA], on_error=cast(Any, "ignore"))


def test_a_generator_is_read_once_only() -> None:
    source = sources.rows((row for row in [QA]), name="mine")
    assert len(list(source)) == 1
    with pytest.raises(SourceError, match="mine: a generator can be read once only"):
        list(source)


# --- JSON Lines ----------------------------------------------------------------------------------


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
        (b'{"question": "caf\xe9"}', r"line 2: not UTF-8 \(byte 0xe9 at column 18\)"),
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


# --- JSON ----------------------------------------------------------------------------------------


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


class Trickle(io.BytesIO):
    """Gives a few bytes at a time, so that every place may be a seam."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.step = step

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self.step)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[],: \n\u00e9\u2028\U0001f600'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\]'), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(values, max_size=6), st.sampled_from([None, 2]), st.booleans(), st.integers(1, 9))
def test_the_elements_of_an_array_are_cut_out_exactly(
    rows: list[Any], indent: int | None, ascii_only: bool, step: int
) -> None:
    def elements(value: object) -> list[Any]:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
        return [json.loads(element) for element in array_elements(Trickle(text, step))]

    assert elements(rows) == rows
    objects = [{"row": row} for row in rows] or [{}]
    assert elements({"before": [1, *rows], "data": objects, "after": {"rows": rows}}) == objects


# --- CSV -----------------------------------------------------------------------------------------


def test_csv_with_cells_of_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    path.write_bytes(
        b'\xef\xbb\xbfid,"question",answer,level\r\n1,"first\nsecond, third",,3\r\n\r\n,,,\r\n2,"say ""hi""",7,\r\n'
    )
    source = sources.read(path)
    (one, first), (two, second) = source.located()
    assert (one, two) == (2, 6)
    assert first == Task(id="1", instruction="first\nsecond, third", metadata={"level": "3"})
    assert second == Task(id="2", instruction='say "hi"', answer="7", metadata={"level": None})
    assert source.describe(6) == "tasks.csv, line 6"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"a,1,2", "line 4: 3 cells, but the header names 2 columns"),
        (b"a", "line 4: 1 cells, but the header names 2 columns"),
        (b"caf\xe9,1", "line 4: not UTF-8"),
        (b'"a"b,1', "line 4: not CSV: ',' expected after '\"'"),
        (b",1", "line 4: column 'question' is empty"),
    ],
)
def test_csv_bad_rows(tmp_path: Path, bad: bytes, message: str) -> None:
    path = tmp_path / "tasks.csv"
    path.write_bytes(b'question,answer\n"two\nlines",1\n' + bad + b"\nlast,2\n")
    with pytest.raises(SourceError, match=f"^tasks.csv, {message}"):
        list(sources.csv(path))
    source = sources.csv(path, on_error="skip")
    assert [position for position, _ in source.located()] == [2, 5]
    assert source.skipped == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            b'question,answer\na,1\n"never closed,2\nb,3\n',
            "line 3: not CSV: unexpected end of data .is a quote left open",
        ),
        (
            b'question,answer\na,1\n"' + b"x\n" * 100_000,
            "line 3: not CSV: field larger than field limit .131072. .is a",
        ),
        (b"question,question\na,b\n", "line 1: two columns are called 'question'"),
        (b'"question"x\na\n', "line 1: not CSV"),
        (b"question;answer\na;1\n", "line 2: no column looks like a question; the columns are 'question;answer'"),
        (b"question,answer\n", "tasks.csv: there is nothing in it"),
        (b"", "tasks.csv: there is nothing in it"),
    ],
)
def test_csv_damage(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "tasks.csv"
    path.write_bytes(text)
    with pytest.raises(SourceError, match=message):
        list(sources.csv(path))


def test_tsv(tmp_path: Path) -> None:
    path = tmp_path / "tasks.tsv"
    path.write_text('question\tanswer\na, b\t"1\t2"\n')
    assert [(task.instruction, task.answer) for task in sources.read(path)] == [("a, b", "1\t2")]


@given(st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1, max_size=5))
@settings(max_examples=60)
def test_csv_reads_what_csv_writes(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    rows = [(f"q{question}", answer) for question, answer in rows]
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([("question", "answer"), *rows])
    starts, line = [], 2
    for row in rows:
        starts.append(line)
        one = io.StringIO(newline="")
        csv.writer(one).writerow(row)
        line += one.getvalue().count("\n")
    path = tmp_path_factory.mktemp("csv") / "tasks.csv"
    path.write_bytes(text.getvalue().encode(errors="surrogatepass"))
    source = sources.csv(path, on_error="skip")
    assert [(n, t.instruction, t.answer or "") for n, t in source.located()] == [
        (n, question, answer) for n, (question, answer) in zip(starts, rows, strict=True)
    ]


# --- Parquet, directories, paths -----------------------------------------------------------------


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


def test_a_directory_or_a_pattern_of_files(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    lines(shards / "b.jsonl", ask(3), "", ask(4))
    lines(shards / "a.jsonl", ask(1), ask(2))
    (shards / "aa.jsonl").touch()
    (shards / "README.md").write_text("not data")
    for place in (shards, shards / "*.jsonl"):
        source = sources.read(place)
        assert [(position, task.id) for position, task in source.located()] == [(1, 1), (2, 2), (3, 3), (5, 4)]
        assert [source.describe(n) for n in (2, 3, 5)] == ["a.jsonl, line 2", "b.jsonl, line 1", "b.jsonl, line 3"]
        assert [task.id for task in source] == [1, 2, 3, 4]
    assert sources.read(shards).name == "shards"
    lines(shards / "c.jsonl", ask(5), "{")
    with pytest.raises(SourceError, match=r"^c.jsonl, line 2: not JSON"):
        list(sources.read(shards))


def test_directories_without_data(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"there is no data file in .*\.jsonl"):
        sources.read(tmp_path)
    lines(tmp_path / "a.jsonl", QA)
    lines(tmp_path / "b.csv", "question")
    with pytest.raises(SourceError, match=r"holds \.csv and \.jsonl files.*pattern"):
        sources.read(tmp_path)
    with pytest.raises(SourceError, match=r"is a directory: sources.read"):
        sources.jsonl(tmp_path)


def test_a_directory_of_save_to_disk_says_how_to_load_it(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([QA]).save_to_disk(tmp_path / "saved")
    with pytest.raises(SourceError, match="load_from_disk"):
        sources.read(tmp_path / "saved")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("missing.jsonl", "cannot read 'missing.jsonl': No such file or directory$"),
        ("openai/gsm8k", r"sources.hub\('openai/gsm8k'\)"),
        ("gsm8k", r"sources.hub\('gsm8k'\)"),
        ("https://example.org/a.jsonl", "only local files"),
        ("What is 2 + 2?", "to ask a question, put it in a list"),
        ("What is 2**3? " * 50, "to ask a question, put it in a list"),
        ("a\0b", "cannot read"),
        ("*.jsonl", "cannot read"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match=message):
        sources.read(path)


def test_missing_files_and_unknown_formats(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        sources.csv(tmp_path / "missing.csv")
    unknown = lines(tmp_path / "tasks.txt", QA)
    with pytest.raises(SourceError, match=r"tasks.txt: the format is not known .*sources.jsonl\(path\)"):
        sources.read(unknown)
    assert len(list(sources.jsonl(unknown))) == 1
    gone = lines(tmp_path / "gone.jsonl", QA)
    source = sources.read(gone)
    gone.unlink()
    with pytest.raises(SourceError, match=r"gone.jsonl cannot be read"):
        list(source)


# --- datasets ------------------------------------------------------------------------------------


def test_datasets_of_every_kind(tmp_path: Path) -> None:
    import datasets

    rows = [ask(n) for n in range(1, 50)]
    in_memory = datasets.Dataset.from_list(rows)
    for data in (in_memory, in_memory.with_format("numpy"), in_memory.to_iterable_dataset(num_shards=3)):
        source = sources.dataset(data)
        assert [(n, task.id, task.answer) for n, task in source.located()] == [
            (n, n, str(2 * n)) for n in range(1, 50)
        ]
        assert len(list(source)) == 49, "opens anew"
        assert source.describe(3) == "dataset, row 3"
    with pytest.raises(ConfigError, match=r"dict of splits \(train, test\).*data\['train'\]"):
        sources.dataset(cast(Any, datasets.DatasetDict(train=in_memory, test=in_memory)))
    with pytest.raises(ConfigError, match="not list"):
        sources.dataset(cast(Any, rows))


def test_the_hub_by_way_of_load_dataset(tmp_path: Path) -> None:
    lines(tmp_path / "train.jsonl", *(ask(n) for n in range(1, 10)))
    lines(tmp_path / "test.jsonl", ask(77))
    source = sources.hub(str(tmp_path))
    assert [(n, task.answer) for n, task in source.located()] == [(n, str(2 * n)) for n in range(1, 10)]
    assert source.describe(2).endswith("(train), row 2")
    assert [task.id for task in sources.hub(str(tmp_path), split="test")] == [77]
    with pytest.raises(SourceError, match=r"\(valid\) cannot be read: .*valid"):
        list(sources.hub(str(tmp_path), split="valid"))
    (tmp_path / "train.jsonl").write_text(json.dumps(ask(1)) + "\n{broken")
    with pytest.raises(SourceError, match=r"\(train\) cannot be read"):
        list(sources.hub(str(tmp_path)))


def test_the_hub_when_it_cannot_be_reached(tmp_path: Path) -> None:
    code = "from cot_distill import sources\nlist(sources.hub('nobody/nothing'))"
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "SourceError: nobody/nothing (train) cannot be read: " in done.stderr.splitlines()[-1]


# --- open_tasks ----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_everything_can_be_opened(tmp_path: Path) -> None:
    import datasets

    async def asynchronous() -> AsyncIterator[dict[str, Any]]:
        for n in (1, 2):
            await anyio.sleep(0)
            yield ask(n)

    path = lines(tmp_path / "tasks.jsonl", ask(1), ask(2))
    tasks = [Task(id=n, instruction=f"What is {n} + {n}?", answer=str(2 * n)) for n in (1, 2)]
    kinds: list[TaskInput] = [
        tasks,
        tuple(tasks),
        iter(tasks),
        (task for task in tasks),
        cast(Any, [tasks[0], ask(2)]),
        [ask(1), ask(2)],
        asynchronous(),
        path,
        str(path),
        sources.read(path),
        sources.rows([ask(1), ask(2)]),
        cast(Any, datasets.Dataset.from_list([ask(1), ask(2)])),
        cast(Any, datasets.Dataset.from_list([ask(1), ask(2)]).to_iterable_dataset()),
    ]
    for kind in kinds:
        assert await pull(kind) == [(1, tasks[0]), (2, tasks[1])], kind
    assert await pull(["a", "b"]) == [(1, Task(instruction="a")), (2, Task(instruction="b"))]
    assert await pull([]) == []


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (Task(instruction="q"), ConfigError, r"a single Task: pass a list, \[task\]"),
        ({"question": "q"}, ConfigError, "a single dict: pass a list"),
        ("What is 2 + 2?", SourceError, "put it in a list"),
        (b"bytes", ConfigError, "not bytes"),
        (None, ConfigError, "tasks must be a path, .* not NoneType"),
        (7, ConfigError, "not int"),
    ],
)
def test_what_cannot_be_opened_says_so_at_once(tasks: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_tasks(tasks)


def test_data_frames_and_dicts_of_splits() -> None:
    import datasets
    import pandas  # type: ignore[import-untyped]

    with pytest.raises(ConfigError, match=r"frame.to_dict\('records'\)"):
        open_tasks(cast(Any, pandas.DataFrame([QA])))
    with pytest.raises(ConfigError, match=r"data\['train'\]"):
        open_tasks(cast(Any, datasets.DatasetDict(train=datasets.Dataset.from_list([QA]))))


def watched(log: list[object], items: Iterator[Any]) -> Iterator[Any]:
    try:
        for item in items:
            log.append(item)
            yield item
    finally:
        log.append("closed")


async def watched_async(log: list[object], items: Iterator[Any]) -> AsyncIterator[Any]:
    try:
        for item in items:
            log.append(item)
            yield item
    finally:
        await anyio.sleep(0)
        log.append("closed")


@pytest.mark.anyio
@pytest.mark.parametrize("watch", [watched, watched_async])
@pytest.mark.parametrize("unique", [True, False])
async def test_an_endless_generator_is_pulled_one_at_a_time_and_closed(
    watch: Callable[..., Any], unique: bool
) -> None:
    log: list[object] = []
    questions = (str(n) for n in count())
    async with aclosing(open_tasks(watch(log, questions), unique=unique)) as located:
        assert log == []
        for n in range(3):
            assert (await anext(located))[0] == n + 1
            assert log == [str(i) for i in range(n + 1)], "never ahead"
    assert log[-1] == "closed"


@pytest.mark.anyio
@pytest.mark.parametrize("watch", [watched, watched_async])
async def test_what_a_generator_raises_comes_through_unchanged(watch: Callable[..., Any]) -> None:
    def broken() -> Iterator[str]:
        yield "a"
        raise KeyError("mine")

    log: list[object] = []
    with pytest.raises(KeyError, match="mine"):
        await pull(watch(log, broken()))
    assert log == ["a", "closed"]


@pytest.mark.anyio
async def test_bad_items_of_an_async_generator_are_named() -> None:
    with pytest.raises(SourceError, match=r"^input, row 2: not an object with columns but a number"):
        await pull(watched_async([], iter(["a", 7])))


@pytest.mark.anyio
async def test_a_cancelled_pull_closes_the_generator() -> None:
    log: list[object] = []

    async def slow() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            log.append("closed")

    with anyio.move_on_after(0.05):
        await pull(slow())
    assert log == ["closed"]


# --- Repeats -------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_the_same_id_twice_names_both_places(tmp_path: Path) -> None:
    path = lines(tmp_path / "tasks.jsonl", {"id": "a", "question": "1"}, "", {"id": "a", "question": "2"})
    with pytest.raises(
        SourceError, match=r"^tasks.jsonl, line 3: the same id 'a' as line 1; ids must be unique.*id=None"
    ):
        await pull(path)
    assert len(await pull(path, unique=False)) == 2
    assert len(await pull(sources.read(path, id=None))) == 2
    source = sources.read(path, on_error="skip")
    assert [position for position, _ in await pull(source)] == [1]
    assert source.skipped == 1


@pytest.mark.anyio
async def test_the_same_content_twice_and_repeats_across_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^input, row 3: the same task as row 1; remove one, give both an id"):
        await pull(["a", "b", "a"])
    with pytest.raises(SourceError, match=r"^input, row 2: the same task as row 1"):
        await pull(watched_async([], iter(["a", "a"])))
    lines(tmp_path / "a.jsonl", ask(1), ask(2))
    lines(tmp_path / "b.jsonl", ask(3), ask(2))
    with pytest.raises(SourceError, match=r"^b.jsonl, line 2: the same id 2 as a.jsonl, line 2;"):
        await pull(tmp_path)


@pytest.mark.anyio
async def test_a_number_and_its_text_are_different_ids() -> None:
    tasks = [Task(id=1, instruction="a"), Task(id="1", instruction="b"), Task(id="int 1", instruction="c")]
    assert len(await pull(tasks)) == 3
    with pytest.raises(SourceError, match="the same id 1 as row 1"):
        await pull([*tasks, Task(id=1, instruction="d")])


# --- Streams that wait ---------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_waiting_stream_does_not_block_the_event_loop() -> None:
    import datasets

    def slow() -> Iterator[dict[str, Any]]:
        for n in range(4):
            time.sleep(0.1)
            yield ask(n)

    ticks = 0

    async def watch() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.005)
            ticks += 1

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        pulled = await pull(cast(Any, datasets.IterableDataset.from_generator(slow)))
        group.cancel_scope.cancel()
    assert [task.id for _, task in pulled] == [0, 1, 2, 3]
    assert ticks > 15, "0.4 s of waiting leave room for 80"


@pytest.mark.anyio
async def test_tasks_before_an_error_in_a_stream_still_come() -> None:
    rows = [ask(1), ask(2), {"question": ""}]
    source = Source("stream", lambda: iter(list(enumerate(rows, start=1))), blocking=True)
    got = []
    with pytest.raises(SourceError, match="stream, row 3: column 'question' is empty"):
        async for position, _ in open_tasks(source):
            got.append(position)
    assert got == [1, 2]


@pytest.mark.anyio
async def test_a_stream_is_closed_and_a_hanging_one_is_left_behind() -> None:
    log: list[object] = []
    source = Source("stream", lambda: watched(log, ((n, ask(n)) for n in count(1))), blocking=True)
    async with aclosing(open_tasks(source)) as located:
        await anext(located)
    assert log[-1] == "closed"
    assert len(log) < 100, "a few at once"

    go = threading.Event()

    def hanging() -> Iterator[tuple[int, object]]:
        go.wait(10)
        yield 1, ask(1)

    start = time.monotonic()
    try:
        with anyio.move_on_after(0.05):
            await pull(Source("hanging", hanging, blocking=True))
        assert time.monotonic() - start < 5
    finally:
        go.set()


# --- Memory --------------------------------------------------------------------------------------


def peak(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_stays_flat(tmp_path: Path) -> None:
    """50 000 lines are 14 MB; reading holds next to nothing of them, and the check for repeats a small table."""
    rows = [ask(n) | {"note": "x" * 200} for n in range(50_000)]
    path = lines(tmp_path / "big.jsonl", *rows)
    array = tmp_path / "big.json"
    array.write_text(json.dumps({"data": rows[:10_000]}, indent=1))
    assert peak(lambda: sum(1 for _ in sources.read(path))) < 200_000
    assert peak(lambda: sum(1 for _ in sources.read(array))) < 500_000

    async def first(n: int, unique: bool) -> None:
        async with aclosing(open_tasks(path, unique=unique)) as located:
            async for position, _ in located:
                if position == n:
                    break

    started = peak(lambda: anyio.run(first, 10, True))  # the event loop itself
    assert peak(lambda: anyio.run(first, 5_000, False)) < started + 200_000
    assert peak(lambda: anyio.run(first, 10_000, True)) < started + 10_000 * 150


# --- The demo ------------------------------------------------------------------------------------


def test_demo_tasks() -> None:
    tasks = sources.demo_tasks(12)
    assert [task.id for task in tasks] == [f"demo-{n}" for n in range(12)]
    assert tasks == sources.demo_tasks(12)
    assert tasks[:3] == sources.demo_tasks(3)
    assert tasks != sources.demo_tasks(12, seed=1)
    assert len(sources.demo_tasks()) == 100


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from cot_distill import sources\n"
        "heavy = {'datasets', 'pandas', 'pyarrow', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert sources.__all__ == sorted(sources.__all__)\n"
        "assert all(hasattr(sources, name) for name in sources.__all__)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
