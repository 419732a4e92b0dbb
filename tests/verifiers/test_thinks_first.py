"""Traces that answer before they think, or do not think, are found; short and honest ones are let pass."""

from __future__ import annotations

import pytest

from cot_distill import verifiers
from cot_distill.demo_problems import make_problem, solve
from cot_distill.testing import echo_answer
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="What is 6 * 7?")


def judge(reasoning: str, answer: str, *, task: Task = TASK) -> Verdict:
    verdict = verifiers.thinks_first()(task, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("thinks_first", "quality")
    return verdict


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("The answer is 42. Let me explain why that is so.", "Answer: 42"),
        ("**Answer:** 42\n\nThis can be seen as follows.", r"\boxed{42}"),
        ("So the answer must be $42$. To see this, multiply.", r"It is \boxed{42}."),
        ("The final answer is \\boxed{42}.\nNow the steps.", r"\boxed{42}"),
        ("The correct answer is B, because A is absurd. C is too large.", "B"),
        ("42. That is what six times seven gives.", "42"),
        ("\n  Okay, so the result is 1,234. Why? Add them.", "Answer: 1234"),
        ("答案是42。因为六乘七等于四十二。", "42"),
        ("Die Antwort ist 42. Denn sechs mal sieben ist das.", "42"),
        ("La réponse est 42. Voici pourquoi.", "42"),
        ("La respuesta es 42. Se ve así.", "42"),
    ],
)
def test_the_answer_comes_before_any_reasoning(reasoning: str, answer: str) -> None:
    verdict = judge(reasoning, answer)
    assert verdict.passed is False
    assert str(verdict.reason).startswith("the answer comes before any reasoning: ")
    assert "(reasoning, at character " in str(verdict.reason)


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("It is 42.", "42"),
        ("So the answer is 42.", "Answer: 42"),
        ("Easy.", "42"),
        ("Hmm, I think I know this.", "42"),
        ("The capital is Paris.", "The capital of France is Paris."),
        ("x = 4", "x = 4"),
        ("**Paris**", "Paris."),
        ("The sum of the two is 42, as one sees.", "The sum of the two is 42, as one sees."),
    ],
)
def test_the_reasoning_says_nothing(reasoning: str, answer: str) -> None:
    verdict = judge(reasoning, answer)
    assert verdict.passed is False
    assert str(verdict.reason).startswith("the reasoning ")


@pytest.mark.parametrize(
    "answer",
    ["See above.", "See my reasoning above.", "As shown above.", "The answer is as explained in the reasoning above.",
     "Please refer to my reasoning.", "Same as above", "Siehe oben.", "Voir ci-dessus.", "如上所述。", "见上文"],
)  # fmt: skip
def test_the_answer_only_points_back(answer: str) -> None:
    verdict = judge("Six times seven: 6 * 7 = 42.", answer)
    assert verdict.passed is False
    assert str(verdict.reason) == f"the answer only points back: {answer!r} (answer, at character 0)"


@pytest.mark.parametrize(
    ("reasoning", "answer"),
    [
        ("2 and 2 make 4.", "4"),
        ("6 * 7 = 42", "42"),
        ("Six times seven is 42.", "42"),
        ("Is the answer 42? Let me check: 6 * 7 = 42.", "42"),
        ("I think the answer is 42? Let me check that by adding seven six times.", "42"),
        ("The answer is either A or B. A fails for x = 0.", "B"),
        ("The answer is the sum of both, i.e. 3 + 4 = 7.", "7"),
        ("The answer is 7 if x is odd. It is, so that is it.", "8"),
        ("7, 8 and 9 come to mind. 7 is prime.", "7"),
        ("Solution: the area is 20 * 9 - 4 = \\boxed{176}, by subtraction.", r"\boxed{176}"),
        ("First I multiply. The answer is 42.", "42"),
        ("The user wants me to answer 42 questions.", "42"),
        ("So.", "As shown above, the answer is 42."),
        ("Look at the picture: the dot is over the line.", "Above."),
        ("By the lemma, the point lies above the line, as its y is larger.", "The point is above the line."),
        ("Let me see. It was said in the book, before.", "See page 42."),
    ],
)
def test_honest_traces_pass(reasoning: str, answer: str) -> None:
    if reasoning == "So.":
        reasoning = "So 6 * 7 it is."
    verdict = judge(reasoning, answer)
    assert verdict.passed is True, verdict.reason


def test_an_answer_that_is_meant_to_point_back() -> None:
    task = Task(instruction="What does 'ibid.' mean?", answer="Same as above")
    assert judge("It is Latin for 'in the same place'.", "Same as above", task=task).passed is True


def test_what_teachers_for_tests_say_passes() -> None:
    for index in range(200):
        task = make_problem(index)
        for mistake in (False, True):
            solution = solve(task.instruction, mistake=mistake)
            assert solution is not None
            assert judge(*solution, task=task).passed is True
    assert judge(*echo_answer("2 + 2?")).passed is True
