"""What a chat template writes holds the whole trace exactly once, or is refused with what would keep it."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill import formatters
from cot_distill.errors import ConfigError
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


def test_an_unknown_field_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"'content' is no field.*'reasoning_content'"):
        formatters.text(Verbatim(), thinking="content")  # type: ignore[arg-type]
