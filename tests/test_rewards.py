"""Rewards look at one thing each: length at the thinking, correctness at what follows it, whatever the shape."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill import rewards
from cot_distill.errors import AuthError, ConfigError, VerifierError
from cot_distill.rewards import Reward
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import exact

USER = {"role": "user", "content": "What is 2 + 2?"}
GOOD = "<think>\n2 and 2 make 4.\n</think>\n\nIt is \\boxed{4}."


def one(reward: Reward, completion: Any, prompt: Any = "What is 2 + 2?", **columns: Any) -> float | None:
    (value,) = reward(prompts=[prompt], completions=[completion], **{name: [v] for name, v in columns.items()})
    return value


def message(content: Any, **fields: Any) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": content, **fields}]


# --- the shapes: how trainers may hand over the same reasoning and answer ---


def inline(reasoning: str, answer: str) -> tuple[Any, Any]:
    return "Q?", f"<think>\n{reasoning}\n</think>\n\n{answer}"


def prefilled(reasoning: str, answer: str) -> tuple[Any, Any]:
    return "Q? <think>\n", f"{reasoning}\n</think>\n\n{answer}"


def inline_message(reasoning: str, answer: str) -> tuple[Any, Any]:
    return [USER], message(f"<think>\n{reasoning}\n</think>\n\n{answer}")


def prefilled_message(reasoning: str, answer: str) -> tuple[Any, Any]:
    return [USER], message(f"{reasoning}\n</think>\n\n{answer}")


def in_a_field(reasoning: str, answer: str) -> tuple[Any, Any]:
    return [USER], message(answer, reasoning_content=reasoning)


SHAPES = [inline, prefilled, inline_message, prefilled_message, in_a_field]
shapes = st.sampled_from(SHAPES)
bits = st.sampled_from(
    ["<think>", "4", "\\boxed{4}", "Answer: 5", "\n", " ", "Wait, no.", "<|im_end|>", "two words", "5", "."]
)
reasonings = st.lists(bits | st.text(max_size=8), min_size=1, max_size=6).map("".join).filter(str.strip)
answers = reasonings.filter(lambda text: "</think>" not in text)
closing = st.lists(bits | st.just("</think>") | st.text(max_size=8), min_size=1, max_size=6).map("".join)
thoughts = closing.filter(str.strip)  # a student may close the block more than once


@pytest.mark.parametrize("unit", ["characters", "words", "tokens"])
@given(shape=shapes, reasoning=thoughts, answer=answers, other=answers, length=st.integers(1, 40), aim=st.booleans())
def test_the_answer_never_moves_the_length(
    unit: Any, shape: Any, reasoning: str, answer: str, other: str, length: int, aim: bool
) -> None:
    limit = {"target" if aim else "maximum": length}
    tokenizer = str.split if unit == "tokens" else None
    reward = rewards.reasoning_length(**limit, unit=unit, tokenizer=tokenizer)
    values = reward(*zip(shape(reasoning, answer), shape(reasoning, other), strict=True))
    assert values[0] == values[1]


@pytest.mark.parametrize(
    "reward",
    [rewards.answer_correct(), rewards.answer_correct(verifier=exact()), rewards.from_verifier(exact())],
    ids=["default", "with a verifier", "from a verifier"],
)
@given(shape=shapes, reasoning=thoughts, other=thoughts, answer=answers, solution=st.sampled_from(["4", "5"]))
def test_the_reasoning_never_moves_correctness(
    reward: Reward, shape: Any, reasoning: str, other: str, answer: str, solution: str
) -> None:
    prompts, completions = zip(shape(reasoning, answer), shape(other, answer), strict=True)
    values = reward(prompts, completions, solution=[solution] * 2)
    assert values in ([0.0, 0.0], [1.0, 1.0])


@given(shape=shapes, reasoning=thoughts, other=thoughts, answer=answers)
def test_the_reasoning_never_moves_a_leak(shape: Any, reasoning: str, other: str, answer: str) -> None:
    values = [one(rewards.no_leak(), *shape(text, answer)[::-1]) for text in (reasoning, other)]
    assert values[0] == values[1]


plain_words = st.lists(st.sampled_from(["so", "then", "4", "makes"]), min_size=1, max_size=5).map(" ".join)


@given(reasoning=plain_words, answer=plain_words)
def test_all_shapes_of_a_trace_earn_the_same(reasoning: str, answer: str) -> None:
    every = [
        rewards.reasoning_length(target=3, unit="words"),
        rewards.reasoning_length(maximum=2, unit="words"),
        rewards.answer_correct(),
        rewards.from_verifier(exact()),
        rewards.think_format(),
        rewards.no_leak(),
    ]
    for reward in every:
        prompts, completions = zip(*(shape(reasoning, answer) for shape in SHAPES), strict=True)
        earned = reward(prompts, completions, solution=["4"] * len(SHAPES))
        assert len(set(earned)) == 1, reward


# --- reasoning_length ---


@pytest.mark.parametrize(
    ("limit", "words", "earned"),
    [
        ({"target": 4}, 4, 1.0),
        ({"target": 4}, 2, 0.5),
        ({"target": 4}, 6, 0.5),
        ({"target": 4}, 8, 0.0),
        ({"target": 4}, 80, 0.0),
        ({"maximum": 4}, 1, 1.0),
        ({"maximum": 4}, 4, 1.0),
        ({"maximum": 4}, 6, 0.5),
        ({"maximum": 4}, 8, 0.0),
        ({"maximum": 4}, 80, 0.0),
        ({"maximum": 4}, 0, 0.0),
    ],
)
def test_length_falls_evenly(limit: dict[str, int], words: int, earned: float) -> None:
    reward = rewards.reasoning_length(**limit, unit="words")
    assert one(reward, f"<think>\n{'word ' * words}\n</think>\n\n4") == earned


@pytest.mark.parametrize(
    ("prompt", "completion", "measured"),
    [
        ("Q?", "<think>\nabc\n</think>\n\n4", 3),
        ("Q?", "<think>abc", 3),  # cut
        ("Q?", "So <think>abc", 13),  # cut, and begun too late
        ("Q? <think>", "abc", 3),  # cut, and opened by the prompt
        ("Q?", "abc", 0),  # no thinking
        ([USER], message("abc"), 0),  # nobody can know
        ([USER, {"role": "assistant", "content": "<think>\n"}], message("abc"), 3),
        ("Q?", "<think>a</think>b</think>4", 10),  # up to the last closing tag
        ([USER], message("4", reasoning_content="abc"), 3),
        ([USER], message(None, reasoning="abc"), 3),
        ([USER], message("", thinking="abc"), 3),
        ([USER], message("<think>abc</think>4", reasoning_content=None), 3),
    ],
)
def test_what_is_measured(prompt: Any, completion: Any, measured: int) -> None:
    assert one(rewards.reasoning_length(target=1000), completion, prompt) == pytest.approx(measured / 1000)


def test_cut_thinking_in_messages_is_measured_when_told_that_the_template_opens_it() -> None:
    assert one(rewards.reasoning_length(target=3, prefilled=True), message("abc"), [USER]) == 1.0
    assert one(rewards.reasoning_length(target=3), message("abc"), [USER]) == 0.0


class Letters:
    """As many tokens as letters, between a beginning and an end, as tokenizers like to add."""

    def encode(self, text: str) -> list[int]:
        return [0, *map(ord, text), 1]

    def __call__(self, text: str) -> dict[str, Any]:
        return {"input_ids": self.encode(text), "attention_mask": []}


@pytest.mark.parametrize("tokenizer", [Letters(), list, len])
def test_tokens_are_counted_with_whatever_counts(tokenizer: Any) -> None:
    reward = rewards.reasoning_length(target=4, unit="tokens", tokenizer=tokenizer)
    assert one(reward, "<think>\nabcd\n</think>\n\nIt is 4.") == 1.0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either `target` or `maximum`"),
        ({"target": 1, "maximum": 2}, "either `target` or `maximum`"),
        ({"target": 0}, "at least 1"),
        ({"target": 5, "unit": "lines"}, "'lines' is none of"),
        ({"target": 5, "tokenizer": len}, "does not count characters"),
        ({"target": 5, "unit": "tokens", "tokenizer": 7}, "a tokenizer has"),
    ],
)
def test_lengths_that_make_no_sense(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        rewards.reasoning_length(**options)


# --- think_format ---


@pytest.mark.parametrize(
    ("prompt", "completion", "earned"),
    [
        ("Q?", GOOD, 1),
        ("Q?", "\n" + GOOD, 1),
        ("Q?", "Sure! " + GOOD, 0),
        ("Q?", "Easy.\n</think>\n\n4", 0),  # never opened
        ("Q? <think>\n", "Easy.\n</think>\n\n4", 1),  # opened by the prompt: trl#6966, open-r1#560
        ("Q? <think>", "Easy.\n</think>\n\n4", 1),
        ("Q? <think>\n", GOOD, 0),  # opened twice
        ("Q? <think>\n", "Easy.", 0),
        ("What does <think> mean?", "Easy.\n</think>\n\n4", 0),
        ("Q?", "<think></think>4", 0),
        ("Q?", "<think>\n \n</think>\n\n4", 0),
        ("Q?", "<think>Easy.</think>", 0),
        ("Q?", "<think>Easy.</think>\n \n", 0),
        ("Q?", "<think>Easy.", 0),
        ("Q?", "4", 0),
        ("Q?", "", 0),
        ("Q?", "<think>a</think>b<think>c</think>d", 0),
        ("Q?", "<think>a<think>b</think>c", 0),
        ("Q?", "<think>a</think>b</think>c", 0),
        ([USER], message(GOOD), 1),
        ([USER], message("Easy.\n</think>\n\n4"), 1),  # the template may have opened it
        ([USER, {"role": "assistant", "content": "<think>\n"}], message("Easy.\n</think>\n\n4"), 1),
        ([USER, {"role": "assistant", "content": "<think>\n"}], message(GOOD), 0),
        ([USER], message("4", reasoning_content="Easy."), 1),
        ([USER], message("", reasoning_content="Easy."), 0),
        ([USER], message("4</think>", reasoning_content="Easy."), 0),
        ([USER], message("4", reasoning_content="<think>Easy."), 0),
        ([USER], message("4", reasoning_content=" "), 0),
    ],
)
def test_think_format(prompt: Any, completion: Any, earned: float) -> None:
    assert one(rewards.think_format(), completion, prompt) == earned


def test_think_format_can_be_told_what_the_template_does() -> None:
    opened, whole = message("Easy.\n</think>\n\n4"), message(GOOD)
    strict, inside = rewards.think_format(prefilled=False), rewards.think_format(prefilled=True)
    assert [one(strict, completion, [USER]) for completion in (opened, whole)] == [0.0, 1.0]
    assert [one(inside, completion, [USER]) for completion in (opened, whole)] == [1.0, 0.0]


# --- no_leak ---


@pytest.mark.parametrize(
    "answer",
    [
        "It is 4.",
        "Wait until it boils, then add the tea.",
        "a < b and x|y, <b>bold</b>, `List<T>`, [1]",
        "```python\nprint('wait')\n```",
        "Actually, 4 is even.",
    ],
)
def test_answers_without_a_leak(answer: str) -> None:
    assert one(rewards.no_leak(), f"<think>Hmm. Wait, <|im_end|></think>{answer}") == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "<think>It is 4.",
        "It is 4. [/THINK]",
        "It is ◁think▷ 4.",
        "It is 4.<|im_end|>",
        "<｜Assistant｜>It is 4.",
        "Wait, it is 5.",
        "It is 4.\nHmm, or 5.",
        "**Let me double-check**: 4.",
        "Okay, so it is 4.",
        "Scratchpad: 2 + 2",
        "",
        "  \n",
    ],
)
def test_answers_with_a_leak(answer: str) -> None:
    assert one(rewards.no_leak(), f"<think>Easy.</think>{answer}") == 0.0


# --- answer_correct ---


@pytest.mark.parametrize(
    ("completion", "earned"),
    [
        (GOOD, 1),
        ("<think>4</think>5", 0),
        ("<think>5</think>4", 1),
        ("<think>5</think>Words.\n**Answer:** 4.", 1),
        ("<think>4", 0),  # never closed
        ("4", 0),
        ("5</think>4", 1),
        ("<think>5</think>5</think>4", 1),  # the last one counts
        ("<think>4</think>4</think>5", 0),
        ("<think>4</think>", 0),
        ("<think>5</think>4<think>", 0),
        (message(GOOD), 1),
        (message("4", reasoning_content="5"), 1),
        (message("5", reasoning_content="4"), 0),
        (message([{"type": "text", "text": "<think>5</think>"}, {"type": "text", "text": "4"}]), 1),
        ({"role": "assistant", "content": GOOD}, 1),
        ([{"role": "assistant", "content": "<think>.</think>5"}, {"role": "assistant", "content": GOOD}], 1),
    ],
)
def test_answer_correct(completion: Any, earned: float) -> None:
    assert one(rewards.answer_correct(), completion, solution="4") == earned


@pytest.mark.parametrize("solution", [None, "", " \n"])
def test_without_a_reference_correctness_does_not_apply(solution: Any) -> None:
    for completion in (GOOD, "4", None):
        assert one(rewards.answer_correct(), completion, solution=solution) is None


@pytest.mark.parametrize("solution", ["4", 4, 4.0, "\\boxed{4}", "$4$"])
def test_references_may_be_written_in_many_ways(solution: Any) -> None:
    assert one(rewards.answer_correct(), GOOD, solution=solution) == 1.0


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"'solution'.*the columns are: answer, id\. Say `column=…`"):
        one(rewards.answer_correct(), GOOD, answer="4", id=7)
    assert one(rewards.answer_correct(column="answer"), GOOD, answer="4") == 1.0


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"solution": ["4"]}, "the column 'solution' has 1 values for 2 completions: give one for each"),
        ({"solution": "44"}, "the column 'solution' is '44': give a list with a value for each completion"),
        ({"solution": ["4"] * 2, "tests": ["assert 1"] * 3}, "the column 'tests' has 3 values for 2 completions"),
    ],
)
@pytest.mark.parametrize("reward", [rewards.answer_correct(), rewards.from_verifier(exact())])
def test_a_column_that_does_not_go_with_the_prompts(reward: Reward, columns: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        reward(["2 + 2?"] * 2, ["<think>\nEasy.\n</think>\n\n4"] * 2, **columns)


@pytest.mark.parametrize(
    ("prompts", "completions", "says"),
    [
        (["2 + 2?"], ["4", "5"], "1 prompts and 2 completions: give a prompt for each completion"),
        ("2 + 2?", ["4"], "a reward takes lists: `prompts` is '2"),
        (["2 + 2?"], "4", "a reward takes lists: `completions` is '4'"),
        (["2 + 2?"], None, "a reward takes lists: `completions` is None"),
    ],
)
@pytest.mark.parametrize(
    "reward",
    [rewards.answer_correct(), rewards.think_format(), rewards.no_leak(), rewards.reasoning_length(maximum=9)],
)
def test_what_is_no_batch(reward: Reward, prompts: Any, completions: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        reward(prompts, completions, solution=["4"])


def test_a_comparing_verifier_sees_no_thinking() -> None:
    def peeks(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="peeks", passed="2 and 2" in trace.reasoning)

    assert one(rewards.answer_correct(verifier=peeks), GOOD, solution="4") == 0.0
    assert one(rewards.from_verifier(peeks), GOOD, solution="4") == 1.0


# --- from_verifier ---


class Notes:
    """A verifier that keeps what it was given."""

    def __init__(self, *found: Verdict) -> None:
        self.seen: list[tuple[Task, Trace]] = []
        self.found = list(found)

    def __call__(self, task: Task, trace: Trace) -> Verdict:
        self.seen.append((task, trace))
        return self.found.pop(0) if self.found else Verdict(by="notes", passed=True)


def test_the_verifier_gets_question_reference_tests_and_the_rest() -> None:
    verifier = Notes()
    prompt = [{"role": "system", "content": "Be brief."}, USER, {"role": "assistant", "content": "<think>\n"}]
    one(
        rewards.from_verifier(verifier),
        message("Easy.\n</think>\n\n4"),
        prompt,
        solution=4,
        tests='["assert f(1) == 2"]',
        id="t-1",
        level=3,
        completion_ids=[1, 2],
    )
    ((task, trace),) = verifier.seen
    assert (task.id, task.instruction, task.answer, task.tests) == ("t-1", USER["content"], "4", ["assert f(1) == 2"])
    assert [turn.role for turn in task.prompt()] == ["system", "user"]
    assert task.metadata == {"level": 3}
    assert trace == Trace(reasoning="Easy.", answer="4")


@pytest.mark.parametrize(
    ("tests", "given_to_it"),
    [
        (None, None),
        ("assert f(1) == 2", "assert f(1) == 2"),
        ('"assert f(1) == 2"', "assert f(1) == 2"),
        ('{"inputs": ["1"], "outputs": ["2"]}', {"inputs": ["1"], "outputs": ["2"]}),
        ({"inputs": ["1"]}, {"inputs": ["1"]}),
        (["assert f(1) == 2"], ["assert f(1) == 2"]),
        ("12", "12"),
        (12, None),
    ],
)
def test_tests_come_as_such_or_as_json(tests: Any, given_to_it: Any) -> None:
    verifier = Notes()
    one(rewards.from_verifier(verifier, tests="cases"), GOOD, cases=tests)
    assert verifier.seen[0][0].tests == given_to_it


@pytest.mark.parametrize("prompt", ["", None, [], [{"role": "tool", "content": "x"}], [None], 7])
def test_prompts_without_a_question_are_no_crash(prompt: Any) -> None:
    assert one(rewards.from_verifier(exact()), GOOD, prompt, solution="4") == 1.0


VERDICTS = [
    (Verdict(by="v", passed=True), 1.0, 1.0),
    (Verdict(by="v", passed=False), 0.0, 0.0),
    (Verdict(by="v", passed=None), None, None),
    (Verdict(by="v", passed=True, score=0.7), 1.0, 0.7),
    (Verdict(by="v", passed=None, score=0.7), None, 0.7),
    (Verdict(by="v", passed=False, score=0.0), 0.0, 0.0),
    (Verdict(by="v", passed=None, applies=False), None, None),
]


@pytest.mark.parametrize(("verdict", "passed", "score"), VERDICTS)
def test_verdicts_become_numbers(verdict: Verdict, passed: float | None, score: float | None) -> None:
    assert one(rewards.from_verifier(Notes(verdict)), GOOD) == passed
    assert one(rewards.from_verifier(Notes(verdict), score="score"), GOOD) == score


def test_there_are_two_kinds_of_score() -> None:
    with pytest.raises(ConfigError, match="'grade' is none of 'passed', 'score'"):
        rewards.from_verifier(exact(), score="grade")  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [rewards.from_verifier, lambda some: rewards.answer_correct(verifier=some)])
def test_one_verifier_makes_a_reward(make: Any) -> None:
    with pytest.raises(ConfigError, match="of one verifier, not of a list"):
        make([exact()])


def test_thinking_that_is_no_trace_is_shown_as_far_as_it_goes() -> None:
    verifier = Notes()
    for completion in ("<think>a<think>b</think>c</think>4", "<think></think>4"):
        assert one(rewards.from_verifier(verifier), completion) == 1.0
    assert [trace.reasoning for _, trace in verifier.seen] == ["a b c", "(not shown)"]


NO_ANSWER = ["<think>4", "4", "<think>4</think> ", "<think>4</think>4<think>", None, 4, [], [7], {}]


@pytest.mark.parametrize("completion", NO_ANSWER)
def test_without_an_answer_it_only_matters_whether_the_verifier_applies(completion: Any) -> None:
    assert one(rewards.from_verifier(exact()), completion, solution="4") == 0.0
    assert one(rewards.from_verifier(exact()), completion, solution=None) is None
    cannot_tell, right = Verdict(by="v", passed=None), Verdict(by="v", passed=True, score=1.0)
    for verdict in (cannot_tell, right):
        assert one(rewards.from_verifier(Notes(verdict), score="score"), completion) == 0.0


def test_a_verifier_that_costs_something_is_not_asked_about_no_answer() -> None:
    verifier = Notes()
    verifier.paid = True  # type: ignore[attr-defined]
    for completion in NO_ANSWER:
        assert one(rewards.from_verifier(verifier), completion) == 0.0
    assert verifier.seen == []


class Waits:
    """An async verifier that wants company: no verdict before all have come."""

    __name__ = "waits"

    def __init__(self, company: int) -> None:
        self.company = company
        self.inside = 0

    async def __aenter__(self) -> None:
        raise AssertionError("must not be entered: what it keeps warm would be gone after each batch")

    async def __aexit__(self, *_: object) -> None: ...

    async def __call__(self, task: Task, trace: Trace) -> Verdict:
        self.inside += 1
        with anyio.fail_after(10):
            while self.inside < self.company:
                await anyio.sleep(0.001)
        return Verdict(by="waits", passed=trace.answer == task.answer)


def test_an_async_verifier_judges_a_batch_at_once() -> None:
    reward = rewards.from_verifier(Waits(20))
    completions = [f"<think>Hm.</think>{number % 4}" for number in range(20)]
    found = reward(["Q?"] * 20, completions, solution=["1"] * 20)
    assert found == [float(number % 4 == 1) for number in range(20)]


def test_a_batch_can_be_judged_inside_a_running_loop() -> None:
    async def cell() -> list[float | None]:
        return rewards.from_verifier(Waits(2))(["Q?"] * 2, [GOOD] * 2, solution=["4", "It is \\boxed{4}."])

    assert anyio.run(cell) == [0.0, 1.0]


def test_a_plain_verifier_judges_in_several_threads() -> None:
    barrier = threading.Barrier(4)

    def meets(task: Task, trace: Trace) -> Verdict:
        barrier.wait(timeout=10)
        return Verdict(by="meets", passed=True)

    assert rewards.from_verifier(meets)(["Q?"] * 4, [GOOD] * 4) == [1.0] * 4


def picky(task: Task, trace: Trace) -> Verdict:
    if trace.answer == "poison":
        raise ZeroDivisionError("poison")
    return Verdict(by="picky", passed=True)


def test_a_crash_on_one_completion_is_no_verdict(caplog: pytest.LogCaptureFixture) -> None:
    poison = "<think>Hm.</think>poison"
    assert rewards.from_verifier(picky)(["Q?"] * 3, [GOOD, poison, GOOD]) == [1.0, None, 1.0]
    assert "picky crashed" in caplog.text
    assert one(rewards.from_verifier(picky), poison) is None
    with pytest.raises(VerifierError, match="picky crashes: poison") as caught:
        rewards.from_verifier(picky)(["Q?"] * 2, [poison, poison])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [ConfigError("no sandbox"), AuthError("wrong key")])
def test_what_cannot_work_at_all_is_raised(error: Exception) -> None:
    def broken(task: Task, trace: Trace) -> Verdict:
        raise error if trace.answer == "4" else ZeroDivisionError

    with pytest.raises(type(error), match=str(error)):
        rewards.from_verifier(broken)(["Q?"] * 2, ["<think>Hm.</think>4", "<think>Hm.</think>5"])


def test_what_is_no_verdict_is_named() -> None:
    with pytest.raises(VerifierError, match="returned bool, not a Verdict"):
        rewards.from_verifier(lambda task, trace: True)(["Q?"] * 2, [GOOD] * 2)  # type: ignore[arg-type, return-value]


# --- combine ---


def given_values(*values: float | None) -> Reward:
    def fixed(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        return list(values)

    return fixed


def test_what_does_not_apply_adds_nothing() -> None:
    reward = rewards.combine({given_values(1.0, 1.0, None, 0.0): 2.0, given_values(0.5, None, None, None): -1.0})
    assert reward(["Q?"] * 4, ["A"] * 4) == [1.5, 2.0, None, 0.0]


def test_the_parts_are_given_all_columns_and_are_logged() -> None:
    logged: dict[str, float] = {}
    reward = rewards.combine(
        {rewards.answer_correct(): 1.0, rewards.think_format(): 0.2, given_values(None, None): 1.0}
    )
    completions = [GOOD, "<think>5</think>5"]
    assert reward(["Q?"] * 2, completions, solution=["4", "4"], log_metric=logged.__setitem__) == [1.2, 0.2]
    assert logged == {"combined/answer_correct": 0.5, "combined/think_format": 1.0}


def test_there_must_be_something_to_combine() -> None:
    with pytest.raises(ConfigError, match="at least one reward"):
        rewards.combine({})


# --- all of them ---

EVERY = {
    "answer_correct": rewards.answer_correct(),
    "exact": rewards.from_verifier(exact()),
    "reasoning_length": rewards.reasoning_length(maximum=100),
    "think_format": rewards.think_format(),
    "no_leak": rewards.no_leak(),
    "combined": rewards.combine({rewards.answer_correct(): 1.0, rewards.no_leak(): 0.5}),
}


@pytest.mark.parametrize(("name", "reward"), EVERY.items())
def test_a_trainer_can_use_it(name: str, reward: Reward) -> None:
    assert reward.__name__ == name
    again = pickle.loads(pickle.dumps(reward))
    assert again.__name__ == name
    for function in (reward, again):
        found = function(
            prompts=[[USER], [USER]],
            completions=[message(GOOD), message("5")],
            completion_ids=[[1, 2, 3], [4]],
            solution=["4", "4"],
            trainer_state=object(),
            log_extra=lambda column, values: None,
            log_metric=lambda name, value: None,
            environments=None,
        )
        assert all(isinstance(value, float) for value in found)
        assert found[0] > found[1]


@pytest.mark.parametrize("reward", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize(
    "completion", [None, 7, "", [], [[]], [None], {}, [{}], message(None), message(7), message([7])]
)
def test_completions_of_another_shape_earn_nothing(reward: Reward, completion: Any) -> None:
    for prompt in ("Q? <think>\n", [USER]):
        assert one(reward, completion, prompt, solution="4") == 0.0


@pytest.mark.parametrize("reward", EVERY.values(), ids=EVERY)
def test_an_empty_batch(reward: Reward) -> None:
    assert reward([], [], solution=[]) == []


@pytest.mark.parametrize("reward", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("text", ["<think>" * 50_000, "</think>" * 50_000, "x " * 500_000, "Hmm " * 100_000])
def test_a_student_in_a_loop_costs_no_time(reward: Reward, text: str) -> None:
    begin = time.process_time()
    one(reward, text, solution="4")
    assert time.process_time() - begin < 2


LIGHT = """
import sys
from cot_distill import pairs, rewards
rewards.answer_correct()(["2 + 2?"], ["<think>Easy.</think>4"], solution=["4"])
print(sorted({"datasets", "pyarrow", "torch", "transformers", "trl", "numpy"} & set(sys.modules)))
"""


def test_nothing_heavy_is_needed() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", LIGHT], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
