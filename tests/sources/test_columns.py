"""From a row to a task: which column holds what, and which rows are no tasks."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError
from cot_distill.types import Message, Task

QA = {"question": "What is 2 + 2?", "answer": 4}


def only(row: object, **columns: Any) -> Task:
    (task,) = sources.rows([cast(Any, row)], **columns)
    return task


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


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'instructions'.*instruction="):
        sources.rows([QA], instructions="q")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        (4.0, "4"),
        (-4.0, "-4"),
        (-0.0, "0"),
        (0.5, "0.5"),
        ([4.0], "4"),
        ([[4.0]], "4"),
        (["4.0"], "4.0"),
        ("4.0", "4.0"),
        (Decimal("4.0"), "4.0"),
        (float(2**53 - 1), "9007199254740991"),
        (1e22, "1e+22"),
        (float("inf"), "inf"),
        (float("nan"), None),
    ],
)
def test_a_whole_float_is_the_integer_that_a_table_has_made_it_of(value: object, answer: str | None) -> None:
    assert only({"question": "q", "answer": value}).answer == answer
    assert only({"question": "q", "key": value}, answer="key").answer == answer


def test_a_whole_float_is_an_id() -> None:
    first, second, third = sources.rows(
        [{"id": 1.0, "question": "a"}, {"id": float("nan"), "question": "b"}, {"id": 3, "question": "c"}]
    )
    assert [first.id, third.id] == [1, 3]
    assert type(first.id) is int
    assert second == Task(instruction="b"), "the id is a hash"
    assert only({"id": float("nan"), "question": "b"}) == Task(instruction="b")
    assert only({"uid": 2.0, "question": "b"}, id="uid").id == 2
    with pytest.raises(SourceError, match="row 2: id: "):
        list(sources.rows([{"id": 1.0, "question": "a"}, {"id": 1.5, "question": "b"}]))
    assert only({"id": 1.5, "question": "a"}).metadata == {"id": 1.5}, "no id, so it is not taken for one"
    assert only({"id": True, "question": "a"}).metadata == {"id": True}


@pytest.mark.parametrize("name", ["tasks.parquet", "tasks.jsonl", "tasks.csv"])
def test_numbers_in_files_of_pandas(tmp_path: Path, name: str) -> None:
    import pandas  # type: ignore[import-untyped]

    frame = pandas.DataFrame({"id": [1, None], "question": ["a", "b"], "answer": [4, None]})
    path = tmp_path / name
    if name.endswith("parquet"):
        frame.to_parquet(path)
    elif name.endswith("jsonl"):
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False)
        assert path.read_text().splitlines()[1] == "1.0,a,4.0"
    first, second = sources.read(path)
    # CSV knows no numbers: what is written there is what the reference says.
    assert (first.id, first.answer) == (("1.0", "4.0") if name.endswith("csv") else (1, "4"))
    assert second == Task(instruction="b")
