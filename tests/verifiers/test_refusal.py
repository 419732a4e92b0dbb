"""Answers that decline are found in five languages; sorrow in stories and numbers that cannot be divided are not."""

from __future__ import annotations

import pytest

from cot_distill import verifiers
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="How is it done?")


def judge(answer: str, *, task: Task = TASK, reasoning: str = "Let me see.") -> Verdict:
    verdict = verifiers.refusal()(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("refusal", "quality")
    return verdict


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't help with that.",
        "I’m sorry, but I can’t assist with that request.",
        "I am very sorry, but I cannot provide instructions for this.",
        "Sorry, I can't do that.",
        "Sorry, but I'm unable to create images.",
        "I apologize, but I cannot continue this conversation.",
        "Unfortunately, I am not able to access real-time data.",
        "I can't help with that.",
        "I cannot assist you with this.",
        "I won't be able to help you with that.",
        "I'm unable to comply with this request.",
        "I must respectfully decline to answer.",
        "I cannot provide medical advice. See a doctor.",
        "As a language model I cannot have opinions.",
        "As an AI, I don't have access to that.",
        "**I'm sorry, but I can't help with that.**",
        "> Sorry, I cannot answer that.",
        "This request violates the guidelines.",
        "That's not something I can help with.",
        "Thank you for asking. I'm afraid I can't help with that.",
        "很抱歉，我无法提供这方面的帮助。",
        "对不起，我不能回答这个问题。",
        "抱歉，这个问题我不能帮您解决。",
        "作为一个人工智能助手，我无法回答这个问题。",
        "你好，这个问题我暂时无法回答，让我们换个话题再聊聊吧。",
        "我无法协助您完成这个请求。",
        "Es tut mir leid, aber ich kann dabei nicht helfen.",
        "Tut mir leid, das kann ich nicht beantworten.",
        "Leider kann ich Ihnen diese Auskunft nicht geben.",
        "Dabei kann ich leider nicht helfen.",
        "Als KI-Sprachmodell habe ich keine eigene Meinung.",
        "Je suis désolé, mais je ne peux pas vous aider.",
        "Désolé, je ne suis pas en mesure de répondre à cette question.",
        "Je ne peux pas vous fournir ces informations.",
        "En tant que modèle de langage, je n'ai pas d'opinion.",
        "Lo siento, pero no puedo ayudarte con eso.",
        "Lamentablemente, no puedo proporcionar esa información.",
        "No puedo ayudar con esa petición.",
        "Como modelo de lenguaje, no tengo opiniones.",
    ],
)
def test_refusals(answer: str) -> None:
    verdict = judge(answer)
    assert verdict.passed is False
    assert str(verdict.reason).startswith("declined: ")
    assert "(answer, at character " in str(verdict.reason)


@pytest.mark.parametrize(
    "answer",
    [
        "42",
        "\"I'm sorry, but I can't help you,\" said the witch, and closed the door.",
        "Anna looked up. “I am so sorry,” she said, and cried.",
        "I'm sorry to hear that your cat is ill. Here is what you can do: call the vet.",
        "Sorry for the confusion: the sum is 12.",
        "7 cannot be divided by 2, so the answer is no.",
        "I cannot be smaller than R, since I = U / R.",
        "I can't help but notice that both sides are even. So x = 4.",
        "We cannot provide a closed form, but the limit is 2.",
        "I cannot find an integer solution, for there is none: the answer is the empty set.",
        "Unfortunately, the series does not converge.",
        "Unfortunately, I made the grid too small at first; it must be 4 by 4.",
        "As an AI winter followed, funding fell by half.",
        "Leider kann man 7 nicht durch 2 teilen.",
        "Leider ist die Reihe nicht konvergent.",
        "Je ne peux pas diviser par zéro, donc x est différent de 0.",
        "No puedo dividir por cero, así que x no es 0.",
        "这个数不能被3整除，所以答案是否。",
        "我们无法得到整数解，因此没有解。",
        "对不起，我刚才算错了：答案是12。",
        "The steps are simple. " * 30 + "I'm sorry, but I can't help with that.",
    ],
)
def test_what_is_no_refusal(answer: str) -> None:
    verdict = judge(answer)
    assert verdict.passed is True, verdict.reason


def test_the_reasoning_may_hesitate() -> None:
    assert judge("Press here.", reasoning="I'm sorry, but I can't help with that? No, it is harmless.").passed is True


@pytest.mark.parametrize(
    "instruction",
    [
        "Write a polite mail that declines an invitation.",
        "Formuliere eine Absage.",
        "Write an apology to a customer.",
    ],
)
def test_a_refusal_that_was_asked_for(instruction: str) -> None:
    answer = "Unfortunately, I won't be able to participate. I must decline."
    assert judge(answer, task=Task(instruction=instruction)).passed is True
    assert judge(answer).passed is False


def test_it_is_called_light_and_says_where() -> None:
    assert verifiers.refusal().light  # type: ignore[attr-defined]
    reason = judge("Thank you. I can't help with that.").reason
    assert reason == 'declined: "I can\'t help with that" (answer, at character 11)'
