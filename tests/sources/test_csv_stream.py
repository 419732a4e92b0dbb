"""Tasks from CSV: cells of many lines, delimiters, damage."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cot_distill import sources
from cot_distill.errors import SourceError
from cot_distill.types import Task


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
        (b"caf\xe9,1", "line 4: not UTF-8 .byte 0xe9.: save the file as UTF-8, for example with iconv"),
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
        (b'question,answer\na,1\n"' + b"x\n" * 100_000, "line 3: not CSV: unexpected end of data .is a quote"),
        (b'question,answer\na "b" c,1\n"a "b" c",2\n', r"line 3: not CSV: ',' expected after '\"'$"),
        (b"question,question\na,b\n", "line 1: two columns are called 'question'"),
        (b'"question"x\na\n', "line 1: not CSV"),
        (b"question:answer\na:1\n", "line 2: no column looks like a question; the columns are 'question:answer'"),
        (b"caf\xe9,question\na,b\n", "line 1: not UTF-8 .byte 0xe9.: save the file as .* iconv -f WINDOWS-1252 -t"),
        (
            "question,answer\na,b\n".encode("utf-16"),
            "line 1: not UTF-8 .byte 0xff.: .* iconv -f UTF-16 -t UTF-8",
        ),
        (b"question,answer\n", "tasks.csv: there is nothing in it"),
        (b"", "tasks.csv: there is nothing in it"),
    ],
)
def test_csv_damage(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "tasks.csv"
    path.write_bytes(text)
    with pytest.raises(SourceError, match=message):
        list(sources.csv(path))


@pytest.mark.parametrize(
    "text",
    [
        "question;answer;level\na, b;1,5;x|y\n",
        "question\tanswer\tlevel\na, b\t1,5\tx|y\n",
        "question|answer|level\na, b|1,5|x;y\n",
        'question,answer,level\n"a, b","1,5",x|y\n',
        '"question","a; b; c; d; level",answer\n"a, b",x|y,"1,5"\n',
        "question;answer;level, 1 to 5\na, b;1,5;x|y\n",
        "\ufeff\n \n;;\nquestion;answer;level\na, b;1,5;x|y\n",
    ],
)
def test_the_header_tells_the_delimiter(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tasks.csv"
    path.write_text(text, encoding="utf-8")
    (task,) = sources.csv(path)
    assert (task.instruction, task.answer, len(task.metadata)) == ("a, b", "1,5", 1)


def test_one_column_needs_no_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    path.write_text("question\nWhat is 2 + 2; or 3 | 3?\n", encoding="utf-8")
    assert [task.instruction for task in sources.csv(path)] == ["What is 2 + 2; or 3 | 3?"]


def test_a_long_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tasks.csv"
    long = "x" * 1_000_000
    path.write_text(f"question,answer\n{long},1\n", encoding="utf-8")
    csv.field_size_limit(131_072)  # as in a new process
    assert [task.instruction for task in sources.csv(path)] == [long]


def test_a_quote_that_is_left_open_does_not_swallow_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.csv"
    path.write_text('question\na\n"' + "x\n" * 100, encoding="utf-8")
    monkeypatch.setattr("cot_distill.sources.csv_stream._LONGEST_CELL", 150)
    before = csv.field_size_limit(100)
    try:
        with pytest.raises(SourceError, match=r"line 3: not CSV: field larger than field limit \(150\) \(is a quote"):
            list(sources.csv(path))
        csv.field_size_limit(1000)
        with pytest.raises(SourceError, match="line 3: not CSV: unexpected end of data"):
            list(sources.csv(path))
        assert csv.field_size_limit() == 1000, "a higher limit is left alone"
    finally:
        csv.field_size_limit(before)


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
