"""Phrases are found however they are written, but not where the task itself brings them up."""

from __future__ import annotations

from typing import Any

import pytest

from cot_distill import verifiers
from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="Tea or coffee?")


def judge(verify: Any, reasoning: str, *, answer: str = "Tea.", task: Task = TASK) -> Verdict:
    verdict = verify(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert verdict.about == "quality"
    return verdict


@pytest.mark.parametrize(
    "text",
    [
        "as an AI",
        "As an AI, I …",
        "well, as  an\nai?",
        "**AS AN AI**",
        "(as an AI)",
        "Being human as an AI-like being",
    ],
)
def test_a_phrase_is_found_however_it_is_written(text: str) -> None:
    assert judge(verifiers.phrases("as an AI"), text).passed is False


@pytest.mark.parametrize("text", ["as an aim", "has an AI", "as a AI", "asan AI", "as an-AI", "as, an AI"])
def test_what_is_another_phrase(text: str) -> None:
    assert judge(verifiers.phrases("as an AI"), text).passed is True


def test_apostrophes_and_languages_without_spaces() -> None:
    assert judge(verifiers.phrases("I don't know"), "I don’t know.").passed is False
    assert judge(verifiers.phrases("I don’t know"), "I don't know.").passed is False
    assert judge(verifiers.phrases("作为AI"), "我作为AI不喝茶").passed is False
    assert judge(verifiers.phrases("C++"), "It is written in C++.").passed is False


def test_the_first_one_is_named_with_its_place() -> None:
    verify = verifiers.phrases("at the end of the day", "to be honest", name="clichés")
    verdict = judge(verify, "Tea is, to be  honest, better at the end of the day.")
    assert (verdict.by, verdict.reason) == ("clichés", "'to be  honest' (reasoning, at character 8)")
    assert judge(verify, "Fine.", answer="At the end of the day, tea.").reason == (
        "'At the end of the day' (answer, at character 0)"
    )
    assert judge(verifiers.phrases("to be honest", part="answer"), "To be honest.").passed is True


def test_what_the_task_says_may_be_said_again() -> None:
    task = Task(instruction="Put 'to be  Honest' in a sentence.", answer="To be honest, it rains.")
    assert judge(verifiers.phrases("to be honest"), "To be honest, it rains.", task=task).passed is True
    assert judge(verifiers.phrases("to be honest", "frankly"), "To be honest, frankly.", task=task).passed is False


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I drink nothing.",
        "I'm an AI, so I do not drink.",
        "I am a large language model.",
        "That is beyond my knowledge cutoff.",
        "My training data says coffee.",
        "As of my last update, coffee.",
        "我是一个人工智能，不喝茶。",
        "作为一个语言模型，我不喝茶。",
        "Als Sprachmodell trinke ich nichts.",
        "En tant qu’IA, je ne bois rien.",
        "Como modelo de lenguaje no bebo nada.",
    ],
)
def test_self_references(text: str) -> None:
    verdict = judge(verifiers.self_reference(), text)
    assert (verdict.by, verdict.passed) == ("self_reference", False)
    assert judge(verifiers.self_reference(), "Fine.", answer=text).passed is False


@pytest.mark.parametrize(
    "text",
    [
        "The AI winter came next.",
        "A language model assigns a chance to each word.",
        "The training data has ten rows.",
        "I was trained as a nurse.",
        "J'ai deux pommes, et l'aile est là.",
        "La historia de María empieza aquí.",
        "Als kinder spielten wir dort.",
        "人工智能的历史很长。",
    ],
)
def test_what_is_no_self_reference(text: str) -> None:
    verdict = judge(verifiers.self_reference(), text)
    assert verdict.passed is True, verdict.reason


@pytest.mark.parametrize(
    "instruction",
    ["Who are you, an AI?", "Write a poem of a robot.", "What is a language model?", "你是人工智能吗？"],
)
def test_a_task_about_ai_passes(instruction: str) -> None:
    text = "I am an AI, and my training data is large."
    assert judge(verifiers.self_reference(), text, task=Task(instruction=instruction)).passed is True


def test_the_list_can_be_made_longer() -> None:
    assert judge(verifiers.self_reference("beep boop"), "Beep boop, coffee.").passed is False
    assert judge(verifiers.self_reference("beep boop"), "As an AI.").passed is False
    assert judge(verifiers.self_reference(part="reasoning"), "Fine.", answer="As an AI.").passed is True


@pytest.mark.parametrize("forbidden", [(), ("",), ("ok", "  "), (3,)])
def test_nonsense_is_refused(forbidden: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="at least one phrase"):
        verifiers.phrases(*forbidden)
