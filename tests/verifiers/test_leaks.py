r"""Leaks of every kind are found; LaTeX, code, sets, lists of tasks and what the task speaks of are let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cot_distill import verifiers
from cot_distill.demo_problems import make_problem, solve
from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="What is 6 * 7?", answer="42")


def judge(reasoning: str, answer: str = "42", *, task: Task = TASK, **settings: Any) -> Verdict:
    verdict = verifiers.leaks(**settings)(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("leaks", "quality")
    return verdict


TAGS = [tag for pair in KNOWN_TAGS.values() for tag in (pair.open, pair.close) if "think>" not in tag or ":" in tag]


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_reasoning(tag: str) -> None:
    assert judge(f"So {tag} 42.").passed is False
    assert judge("So 42.", f"It is {tag}42.").passed is False


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("It ends. <|im_end|>", "a control token: '<|im_end|>'"),
        ("<｜Assistant｜> It is 42.", "a control token: '<｜Assistant｜>'"),
        ("`<|endoftext|>` in code does harm as well", "a control token: '<|endoftext|>'"),
        ("[INST] What? [/INST]", "a control token: '[INST]'"),
        ('<tool_call>{"name": "add"}</tool_call>', "a tool call: '<tool_call>'"),
        ("</function_calls>", "a tool call: '</function_calls>'"),
        ("<function=add>", "a tool call: '<function=add>'"),
        ('[TOOL_CALLS][{"name": "add"}]', "a tool call: '[TOOL_CALLS]'"),
        ("It is [INSERT ANSWER HERE].", "a place that was not filled in: '[INSERT ANSWER HERE]'"),
        ("It is [insert the number].", "a place that was not filled in: '[insert the number]'"),
        ("It is [your answer].", "a place that was not filled in: '[your answer]'"),
        ("It is <your final answer here>.", "a place that was not filled in: '<your final answer here>'"),
        ("It is [answer here].", "a place that was not filled in: '[answer here]'"),
        ("It is [write the answer here].", "a place that was not filled in: '[write the answer here]'"),
        ("It is [placeholder].", "a place that was not filled in: '[placeholder]'"),
        ("It is [TBD].", "a place that was not filled in: '[TBD]'"),
        ("Lorem ipsum dolor sit amet.", "a place that was not filled in: 'Lorem ipsum'"),
        ("The user wants {{instruction}}.", "a field of a template: '{{instruction}}'"),
        ("Dear {{ user.name }},", "a field of a template: '{{ user.name }}'"),
        ("It is \ufffd\ufffd.", "a broken character: '\ufffd'"),
        ("It is \x00.", r"a broken character: '\x00'"),
        ("It is \ud83d.", r"a broken character: '\ud83d'"),
    ],
)
def test_leaks_in_both_parts(text: str, what: str) -> None:
    in_reasoning, in_answer = judge(text), judge("So 42.", text)
    assert in_reasoning.passed is in_answer.passed is False
    assert str(in_reasoning.reason).startswith(f"{what} (reasoning, at character ")
    assert str(in_answer.reason).startswith(f"{what} (answer, at character ")
    assert judge("So 42.", text, part="reasoning").passed is True


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ("```python\ndef f():\n    # TODO: implement this\n    pass\n```", "a note of something left to do: 'TODO'"),
        ("```c\nint f() { // FIXME\n}\n```", "a note of something left to do: 'FIXME'"),
        ("TODO: write the answer", "a note of something left to do: 'TODO'"),
        (r"It is \boxed{}.", "the last box holds no answer: ''"),
        (r"It is $\boxed{\text{your answer}}$.", "the last box holds no answer: '\\\\text{your answer}'"),
        (r"\boxed{answer}", "the last box holds no answer: 'answer'"),
        (r"\boxed{...}", "the last box holds no answer: '...'"),
        (r"First \boxed{42}, then \boxed{ }.", "the last box holds no answer: ' '"),
    ],
)
def test_leaks_in_the_answer_only(answer: str, what: str) -> None:
    verdict = judge("So 42.", answer)
    assert verdict.passed is False
    assert str(verdict.reason).startswith(f"{what} (answer, at character ")
    assert judge(answer).passed is True


@pytest.mark.parametrize(
    "text",
    [
        r"\frac{{a}}{{b}} and x^{{nn}} and {{n}\choose {k}} and \text{{word}}",
        r"The set $\{\{1\}, \{2\}\}$, or {{a}, {b}}, or {{1, 2}, {3}}, or {{x}}.",
        r"$f({{alpha}}) = {{beta}}$ and \[ {{gamma}} \]",
        "```jinja\nDear {{ name }},\n```",
        "Use `{{ name }}` for the name.",
        "In an f-string: `f'{{literal}} {value}'`",
        "My TODO list: buy milk. todo or not todo.",
        "The TODOs are done, and TODO-lists are long.",
        "a[insert] and [enter] and press [Enter], then [1] or [a, b].",
        "See [your answer](https://example.com/answer) and [the final result](#result).",
        "[Final answer] 42",
        "[Answer]: 42",
        "<answer>42</answer>",
        "if a < insert_at and b > 3: pass",
        "He said: the answer goes here and there.",
        "x < your answer > y is a chain",
        "<div>hello</div> <b>bold</b> List<int> <br/>",
        r"\boxed{42}",
        r"\boxed{\text{solution set is empty}}",
        r"\boxed{>} and \boxed{-} and \boxed{\emptyset}",
        "Tabs\tand\r\nline breaks are characters. é ü 中 😀",
    ],
)
def test_what_only_looks_like_a_leak(text: str) -> None:
    verdict = judge(text, text + " 42")
    assert verdict.passed is True, verdict.reason


@pytest.mark.parametrize(
    ("instruction", "text"),
    [
        ("What does <tool_call> mean?", "A <tool_call> begins a call."),
        ("Explain the [THINK] tag.", "The [THINK] tag opens the reasoning."),
        ("Fill in: Dear {{name}}, it is {{day}}.", "The fields {{name}} and {{day}} are to be filled."),
        ("Write a Jinja template.", "Dear {{ customer }},"),
        ("What is lorem ipsum?", "Lorem ipsum is a filler."),
        ("Find each TODO in the file.", "# TODO\nis in line 3."),
        ("Write a template of a letter.", "Dear [insert name],"),
        ("Replace [insert date] by today.", "Where it says [insert date] now."),
    ],
)
def test_what_the_task_speaks_of_is_no_leak(instruction: str, text: str) -> None:
    verdict = judge(text, text, task=Task(instruction=instruction))
    assert verdict.passed is True, verdict.reason


def test_control_tokens_do_harm_whatever_the_task_says() -> None:
    assert judge("It closes the turn: <|im_end|>", task=Task(instruction="What is <|im_end|>?")).passed is False


def test_a_box_may_hold_what_the_reference_holds() -> None:
    assert (
        judge("So.", r"\boxed{answer}", task=Task(instruction="Opposite of question?", answer="answer")).passed
        is True
    )


def test_honest_texts_hold_none() -> None:
    for file in (Path(__file__).parent / "texts").glob("*.txt"):
        verdict = judge(file.read_text(encoding="utf-8"))
        assert verdict.passed is True, (file.name, verdict.reason)
    for index in range(100):
        solution = solve(make_problem(index).instruction)
        assert solution is not None
        assert judge(*solution).passed is True
