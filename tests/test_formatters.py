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


@pytest.mark.parametrize(
    "make",
    [
        formatters.messages,
        formatters.prompt_completion,
        lambda thinking: formatters.text(Verbatim(), thinking=thinking),
    ],
)
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


class Verbatim:
    """A template without a thought of reasoning, like that of Qwen2.5: it writes `content` and nothing else."""

    def apply_chat_template(self, conversation: Any, *, tokenize: bool = True) -> Any:
        assert not tokenize
        turns = (f"<|im_start|>{turn['role']}\n{self.content(turn)}<|im_end|>\n" for turn in conversation)
        return "".join(turns)

    def content(self, turn: dict[str, str]) -> str:
        return turn["content"]


class Field(Verbatim):
    """Like Qwen3.8: every answer gets a think block, filled from `reasoning_content` only."""

    def content(self, turn: dict[str, str]) -> str:
        if turn["role"] != "assistant":
            return turn["content"]
        return f"<think>\n{turn.get('reasoning_content', '').strip()}\n</think>\n\n{turn['content'].strip()}"


class Dropping(Verbatim):
    """Like the original DeepSeek-R1-Distill: whatever comes before `</think>` goes, and the field is not read."""

    def content(self, turn: dict[str, str]) -> str:
        return turn["content"].rpartition("</think>")[2]


class Doubling(Verbatim):
    def content(self, turn: dict[str, str]) -> str:
        return turn.get("reasoning_content", "") + turn["content"] * 2


class Backwards(Verbatim):
    def content(self, turn: dict[str, str]) -> str:
        return f"{turn['content']} since {turn.get('reasoning_content', 'not')}"


class Harmony(Verbatim):
    """Like gpt-oss: channels, and inline tags end up in the final one."""

    def content(self, turn: dict[str, str]) -> str:
        final = f"<|channel|>final<|message|>{turn['content']}"
        thinking = turn.get("reasoning_content")
        return final if thinking is None else f"<|channel|>analysis<|message|>{thinking}<|end|>{final}"


class Deaf(Verbatim):
    def content(self, turn: dict[str, str]) -> str:
        return "" if turn["role"] == "user" else turn["content"]


class Escaping(Verbatim):
    def content(self, turn: dict[str, str]) -> str:
        return turn["content"].replace("&", "&amp;")


def test_text_is_what_the_template_writes() -> None:
    row = formatters.text(Verbatim())(WITH_SYSTEM)
    assert row == {
        "text": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n2 + 2?<|im_end|>\n"
        f"<|im_start|>assistant\n{INLINE}<|im_end|>\n"
    }
    in_field = formatters.text(Field(), thinking="reasoning_content")(CONVERSATION)["text"]
    assert in_field.endswith(f"<|im_start|>assistant\n{INLINE}<|im_end|>\n")


def test_text_takes_a_template_that_trims() -> None:
    sample = Sample(task=Task(instruction="2 + 2?"), trace=Trace(reasoning="  4\n a", answer="  4 "))
    assert "  4 " not in formatters.text(Field(), thinking="reasoning_content")(sample)["text"]


def test_text_takes_a_trace_that_repeats_the_question() -> None:
    sample = Sample(task=Task(instruction="4"), trace=Trace(reasoning="4", answer="4"))
    assert formatters.text(Verbatim())(sample)["text"].count("4") == 3


@pytest.mark.parametrize(
    ("tokenizer", "thinking", "problem", "advice"),
    [
        (Dropping(), None, "drops the reasoning", "another `chat_template`"),
        (Dropping(), "reasoning_content", "drops the reasoning", "another `chat_template`"),
        (Verbatim(), "reasoning_content", "drops the reasoning", "Use formatters.text(tokenizer), which"),
        (Field(), None, "a second think block", "Use formatters.text(tokenizer, thinking='reasoning_content')"),
        (Field(), "thinking", "drops the reasoning", "thinking='reasoning_content'"),
        (Doubling(), "reasoning_content", "writes the question 2 times", "another `chat_template`"),
        (Backwards(), "reasoning_content", "changes the order", "formatters.text(tokenizer), which"),
        (Harmony(), None, "channel of the answer", "thinking='reasoning_content'"),
        (Deaf(), None, "drops the question", "another `chat_template`"),
    ],
)
@pytest.mark.parametrize("sample", [SINGLE, CONVERSATION])
def test_text_refuses_a_template_that_loses_the_trace_and_says_what_keeps_it(
    tokenizer: Verbatim, thinking: formatters.Thinking | None, problem: str, advice: str, sample: Sample
) -> None:
    with pytest.raises(ConfigError) as caught:
        formatters.text(tokenizer, thinking=thinking)(sample)
    assert f"task {sample.task.id}: the tokenizer's chat template" in str(caught.value)
    assert problem in str(caught.value)
    assert advice in str(caught.value)


def test_text_refuses_even_when_the_trace_is_in_the_question_too() -> None:
    sample = Sample(task=Task(instruction=f"{TRACE.reasoning} {TRACE.answer}"), trace=TRACE)
    with pytest.raises(ConfigError, match="drops the reasoning"):
        formatters.text(Dropping())(sample)


def test_text_refuses_a_template_that_rewrites() -> None:
    render = formatters.text(Escaping())
    assert render(SINGLE)
    with pytest.raises(ConfigError, match="task 'q': the tokenizer's chat template changes the answer"):
        render(Sample(task=Task(id="q", instruction="2 + 2?"), trace=Trace(reasoning="Hm.", answer="a & b")))


def test_text_needs_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="str has no apply_chat_template"):
        formatters.text("Qwen/Qwen3-0.6B")  # type: ignore[arg-type]


def test_text_needs_text() -> None:
    class Tokens:
        def apply_chat_template(self, conversation: Any, *, tokenize: bool = True) -> Any:
            return [1, 2, 3]

    with pytest.raises(ConfigError, match="list, not a string"):
        formatters.text(Tokens())(SINGLE)
