"""Prompt and completion as text: what the student is asked with, and how it goes on, with any chat template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cot_distill.errors import ConfigError
from cot_distill.formatters.rendered import rendered
from cot_distill.types import Message, Sample, Task, Trace

TRACE = Trace(reasoning="2 and 2\nmake 4.", answer="It is 4.")
SINGLE = Sample(task=Task(id=7, instruction="2 + 2?"), trace=TRACE)
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

Turn = dict[str, str]


def verbatim(turn: Turn) -> str:
    return turn["content"]


def stripped(turn: Turn) -> str:
    return turn["content"].rpartition("</think>")[2]


def from_field(turn: Turn) -> str:
    thought = turn.get("reasoning_content", "") if turn["role"] == "assistant" else ""
    return (f"<think>\n{thought}\n</think>\n\n" if thought else "") + stripped(turn)


class Tokenizer:
    def __init__(self, content: Callable[[Turn], str], opening: str = "") -> None:
        self.content = content
        self.opening = f"[assistant]{opening}"

    def apply_chat_template(
        self, conversation: Any, *, tokenize: bool = True, add_generation_prompt: bool = False
    ) -> str:
        assert not tokenize
        turns = (f"[{turn['role']}]{self.content(turn)}[end]\n" for turn in conversation)
        return "".join(turns) + (self.opening if add_generation_prompt else "")


@pytest.mark.parametrize("content", [verbatim, stripped, from_field])
@pytest.mark.parametrize(
    ("opening", "goes_on"), [("", "<think>\n"), ("<think>\n", ""), ("<think>", "\n"), ("\n\n<think>\n", "")]
)
def test_prompt_and_completion(content: Callable[[Turn], str], opening: str, goes_on: str) -> None:
    row = rendered(Tokenizer(content, opening))(SINGLE)
    assert row["prompt"] == f"[user]2 + 2?[end]\n[assistant]{opening}"
    assert row["completion"] == f"{goes_on}2 and 2\nmake 4.\n</think>\n\nIt is 4.[end]"


@pytest.mark.parametrize("content", [verbatim, stripped, from_field])
def test_conversations(content: Callable[[Turn], str]) -> None:
    row = rendered(Tokenizer(content))(CONVERSATION)
    earlier = "[system]Be kind.[end]\n[user]1 + 1?[end]\n[assistant]2[end]\n[user]2 + 2?[end]\n"
    assert row["prompt"] == f"{earlier}[assistant]"
    assert row["completion"] == "<think>\n2 and 2\nmake 4.\n</think>\n\nIt is 4.[end]"


def test_the_way_is_found_once_for_each_shape() -> None:
    tokenizer = Tokenizer(stripped)
    calls = 0

    def counted(turn: Turn) -> str:
        nonlocal calls
        calls += 1
        return stripped(turn)

    tokenizer.content = counted
    render = rendered(tokenizer)
    render(SINGLE)
    calls = 0
    render(SINGLE)
    assert calls == 1  # the question; the rest is put together
    render(CONVERSATION)
    assert calls > 5


@pytest.mark.parametrize(
    ("content", "opening", "problem"),
    [
        (stripped, "<think>\n\n</think>\n\n", "ends the thinking in the generation prompt"),
        (stripped, "[THINK]", r"opens \[THINK\] for the student"),
        (lambda turn: "" if turn["role"] == "user" else turn["content"], "", "writes the question 0 times"),
        (lambda turn: "" if turn["role"] == "assistant" else turn["content"], "", "writes the answer 0 times"),
    ],
)
def test_where_no_trace_has_a_place(content: Callable[[Turn], str], opening: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        rendered(Tokenizer(content, opening))(SINGLE)


def test_a_template_that_rewrites_is_refused() -> None:
    render = rendered(Tokenizer(lambda turn: turn["content"].replace("&", "&amp;")))
    assert render(SINGLE)
    with pytest.raises(ConfigError, match="task 8: the tokenizer's chat template changes the answer"):
        render(Sample(task=Task(id=8, instruction="2 + 2?"), trace=Trace(reasoning="Hm.", answer="a & b")))


def test_it_needs_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="str has no apply_chat_template"):
        rendered("Qwen/Qwen3-0.6B")  # type: ignore[arg-type]
