"""Conversations in the layouts of OpenAI and ShareGPT."""

from __future__ import annotations

from typing import Any, cast

import pytest

from cot_distill import sources
from cot_distill.types import Message, Task


def only(row: object, **columns: Any) -> Task:
    (task,) = sources.rows([cast(Any, row)], **columns)
    return task


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
