"""Rows of data frames, with all that pandas makes of missing values and lists."""

from __future__ import annotations

from typing import Any, cast

import anyio
import numpy
import pandas  # type: ignore[import-untyped]
import pytest

from cot_distill import sources
from cot_distill.errors import ConfigError, SourceError
from cot_distill.sources import open_tasks
from cot_distill.sources.frames import is_frame
from cot_distill.types import Message, Task


def only(frame: object, **columns: Any) -> Task:
    (task,) = sources.rows(cast(Any, frame), **columns)
    return task


async def opened(frame: object) -> list[tuple[int, Task]]:
    return [pair async for pair in open_tasks(cast(Any, frame))]


def test_a_frame_is_a_list_of_tasks() -> None:
    frame = pandas.DataFrame({"id": [1, None], "question": ["a", "b"], "answer": [4, None], "level": [0.5, None]})
    pulled = anyio.run(opened, frame)
    assert pulled == [
        (1, Task(id=1, instruction="a", answer="4", metadata={"level": 0.5})),
        (2, Task(instruction="b", metadata={"level": None})),
    ]
    assert type(pulled[0][1].id) is int


def test_columns_can_be_named_and_rows_be_read_again() -> None:
    source = sources.rows(pandas.DataFrame({"q": ["a"], "key": [7], 3: [True]}), instruction="q", answer="key")
    for _ in range(2):
        assert list(source) == [Task(instruction="a", answer="7", metadata={"3": True})]


def test_a_bad_row_is_named() -> None:
    frame = pandas.DataFrame({"question": ["a", None, "c"]})
    with pytest.raises(SourceError, match=r"^DataFrame, row 2: column 'question' is empty"):
        anyio.run(opened, frame)
    assert len(list(sources.rows(frame, on_error="skip"))) == 2


def test_all_that_means_missing() -> None:
    frame = pandas.DataFrame(
        {
            "question": ["a"],
            "answer": pandas.array([None], dtype="Int64"),
            "when": [pandas.NaT],
            "text": pandas.array([None], dtype="string"),
            "level": [float("nan")],
        }
    )
    assert only(frame) == Task(instruction="a", metadata={"when": None, "text": None, "level": None})


def test_values_of_numpy_become_plain() -> None:
    turns = numpy.array([{"role": "user", "content": "q", "seen": numpy.array([1, 2])}])
    frame = pandas.DataFrame(
        {
            "messages": [turns],
            "test_list": [numpy.array(["assert f()"])],
            "answer": [numpy.float32(4)],
            "counts": [[numpy.int64(1), float("nan")]],
            "day": [pandas.Timestamp("2026-01-02")],
            "sort": pandas.Categorical(["x"]),
        }
    )
    task = only(frame)
    assert task.messages == (Message(role="user", content="q"),)
    assert (task.answer, task.tests) == ("4", ["assert f()"])
    assert task.model_dump(mode="json")["metadata"]["day"].startswith("2026-01-02")
    assert task.metadata["sort"] == "x"
    assert [type(each) for each in task.metadata["counts"]] == [int, float]


def test_two_columns_of_one_name() -> None:
    with pytest.raises(SourceError, match="DataFrame: two columns are called 'a'"):
        open_tasks(cast(Any, pandas.DataFrame([[1, 2]], columns=["a", "a"])))


def test_an_empty_frame_gives_nothing() -> None:
    assert anyio.run(opened, pandas.DataFrame({"question": []})) == []


def test_a_frame_of_another_library_says_what_to_pass() -> None:
    class Frame:
        columns = ("question",)

        def to_dict(self) -> dict[str, Any]:
            return {}

        def __iter__(self) -> Any:
            return iter(self.columns)

    with pytest.raises(ConfigError, match=r"a Frame of .* is no list of tasks: pass its rows, as dicts"):
        open_tasks(cast(Any, Frame()))


def test_what_is_no_frame() -> None:
    values: list[object] = [None, [], {"columns": 1, "to_dict": 2}, "q", pandas.Series(["q"])]
    for value in values:
        assert not is_frame(value)
    assert [task.instruction for _, task in anyio.run(opened, pandas.Series(["q"]))] == ["q"]
