"""Every layout holds the whole trace exactly once, beside the bare question, as plain values."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cot_distill import formatters
from cot_distill.errors import ConfigError
from cot_distill.protocols import Formatter
from cot_distill.trace import join, split
from cot_distill.types import Message, Sample, Task, Trace

TRACE = Trace(reasoning="2 and 2\nmake 4.", answer="It is 4.")


INLINE = "<think>\n2 and 2\nmake 4.\n</think>\n\nIt is 4."


SINGLE = Sample(task=Task(id=7, instruction="2 + 2?"), trace=TRACE)


WITH_SYSTEM = Sample(task=Task(id=8, instruction="2 + 2?", system="Be kind."), trace=TRACE)


CONVERSATION = Sample(
    task=Task(
        id=9,
        messages=(
            Message(role="user", content="1 + 1?"),
            Message(role="assistant", content="2"),
            Message(role="user", content="2 + 2?"),
        ),
        system="Be kind.",
    ),
    trace=TRACE,
)


QUESTION = {"role": "user", "content": "2 + 2?"}


SYSTEM = {"role": "system", "content": "Be kind."}


FORMATTERS: list[Formatter] = [
    formatters.messages,
    formatters.messages(),
    formatters.messages(thinking="reasoning_content"),
    formatters.prompt_completion,
    formatters.prompt_completion(thinking="reasoning"),
    formatters.prompt_completion(plain=True),
    formatters.alpaca,
    formatters.alpaca(system=True),
    formatters.sharegpt,
]


def test_messages_hold_the_trace_inline() -> None:
    expected = {"messages": [QUESTION, {"role": "assistant", "content": INLINE}]}
    assert formatters.messages(SINGLE) == expected
    assert formatters.messages()(SINGLE) == expected


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "thinking"])
def test_messages_hold_the_reasoning_in_a_field_of_the_last_turn(field: formatters.Thinking) -> None:
    last = {"role": "assistant", "content": "It is 4.", field: "2 and 2\nmake 4."}
    assert formatters.messages(thinking=field)(SINGLE) == {"messages": [QUESTION, last]}
    assert formatters.messages(SINGLE, thinking=field) == {"messages": [QUESTION, last]}
    assert formatters.prompt_completion(thinking=field)(SINGLE) == {"prompt": [QUESTION], "completion": [last]}


def test_conversations_keep_their_turns() -> None:
    earlier = [SYSTEM, {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}, QUESTION]
    last = {"role": "assistant", "content": INLINE}
    assert formatters.messages(CONVERSATION) == {"messages": [*earlier, last]}
    assert formatters.prompt_completion(CONVERSATION) == {"prompt": earlier, "completion": [last]}
    assert formatters.sharegpt(CONVERSATION) == {
        "conversations": [
            {"from": "system", "value": "Be kind."},
            {"from": "human", "value": "1 + 1?"},
            {"from": "gpt", "value": "2"},
            {"from": "human", "value": "2 + 2?"},
            {"from": "gpt", "value": INLINE},
        ]
    }


def test_alpaca_has_four_keys_unless_asked() -> None:
    row = {"id": 7, "instruction": "2 + 2?", "input": "", "output": INLINE}
    assert formatters.alpaca(SINGLE) == row
    assert list(formatters.alpaca(SINGLE)) == ["id", "instruction", "input", "output"]
    assert formatters.alpaca(WITH_SYSTEM) == {**row, "id": 8}
    assert formatters.alpaca(system=True)(SINGLE) == {**row, "system": ""}
    assert formatters.alpaca(system=True)(WITH_SYSTEM) == {**row, "id": 8, "system": "Be kind."}


def test_plain_prompt_and_completion() -> None:
    row = formatters.prompt_completion(plain=True)(SINGLE)
    assert row == {"prompt": "2 + 2?", "completion": INLINE}
    with pytest.raises(ConfigError, match="not both"):
        formatters.prompt_completion(plain=True, thinking="reasoning")


@pytest.mark.parametrize("formatter", [formatters.alpaca, formatters.prompt_completion(plain=True)])
def test_layouts_without_place_for_a_conversation_say_so(formatter: Formatter) -> None:
    with pytest.raises(ConfigError, match=r"task 9 .*use formatters\."):
        formatter(CONVERSATION)


def test_a_plain_prompt_has_no_place_for_a_system_prompt() -> None:
    with pytest.raises(ConfigError, match="task 8 has 2 turns"):
        formatters.prompt_completion(plain=True)(WITH_SYSTEM)


@pytest.mark.parametrize("make", [formatters.messages, formatters.prompt_completion])
def test_an_unknown_field_is_refused_at_once(make: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match=r"'content' is no field.*'reasoning_content'"):
        make(thinking="content")


hostile = st.text(min_size=1).map(lambda text: text + "\u2028\x00\U0001f600")


@pytest.mark.parametrize("formatter", FORMATTERS)
@given(reasoning=hostile, answer=hostile, question=hostile)
def test_rows_are_plain_repeatable_and_hold_the_trace_byte_for_byte(
    formatter: Formatter, reasoning: str, answer: str, question: str
) -> None:
    try:
        trace = Trace(reasoning=reasoning, answer=answer)
    except ValidationError:
        return
    sample = Sample(task=Task(instruction=question), trace=trace)
    row = formatter(sample)
    assert json.loads(json.dumps(row)) == row == pickle.loads(pickle.dumps(formatter))(sample)
    asked, learnt = ends(row)
    assert asked == question
    if isinstance(learnt, str):
        assert learnt == join(trace)
        assert split(learnt) == trace
    else:
        assert learnt == (trace.reasoning, trace.answer)


def ends(row: Any) -> tuple[str, str | tuple[str, str]]:
    """What a row asks first, and what it teaches: text, or reasoning and answer."""
    if "output" in row:
        return row["instruction"], row["output"]
    turns = row.get("messages") or row.get("conversations") or [row["prompt"], row["completion"]]
    first, last = (turn[0] if isinstance(turn, list) else turn for turn in (turns[0], turns[-1]))
    if isinstance(first, str):
        return first, last
    text = "value" if "value" in first else "content"
    fields = {"reasoning_content", "reasoning"} & set(last)
    return first[text], (last[fields.pop()], last[text]) if fields else last[text]
