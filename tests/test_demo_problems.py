"""The demo problems and the program that solves them."""

from __future__ import annotations

import re
import subprocess
import sys
from math import gcd

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.demo_problems import make_problem, solve
from cot_distill.types import Task, Trace

problems = st.builds(make_problem, st.integers(0, 3000), seed=st.integers(0, 10**6))


def final(answer: str) -> str:
    last = answer.splitlines()[-1]
    assert last.startswith("Answer: ")
    return last.removeprefix("Answer: ")


def passes(answer: str, tests: list[str]) -> bool:
    (code,) = re.findall(r"```python\n(.*?)\n```", answer, re.DOTALL)
    space: dict[str, object] = {}
    exec(code, space)
    try:
        for test in tests:
            exec(test, space)
    except AssertionError:
        return False
    return True


def right(task: Task, answer: str) -> bool:
    return passes(answer, task.tests) if isinstance(task.tests, list) else final(answer) == task.answer


@given(problems)
def test_a_solution_is_right_and_a_slip_is_wrong(task: Task) -> None:
    solution, slip = solve(task.instruction), solve(task.instruction, mistake=True)
    assert solution is not None
    assert slip is not None
    assert right(task, solution[1])
    assert not right(task, slip[1])
    for reasoning, answer in (solution, slip):
        Trace(reasoning=reasoning, answer=answer)
        assert len(re.findall(r"[.:] ?(?:\s|$)", reasoning)) >= 3


@given(problems)
def test_every_sum_in_the_reasoning_holds(task: Task) -> None:
    solution = solve(task.instruction)
    assert solution is not None
    side = r"((?:-?\d+ [-+*/] )*-?\d+)"
    sums = re.findall(rf"(?<![\w*+/-])(?<![*+/-] ){side} = {side}(?![\w(]| [-+*/])", solution[0])
    assert len(sums) >= 2 or task.metadata["family"] == "code"
    for left, right_side in sums:
        assert eval(left) == eval(right_side), f"{left} = {right_side}"


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_reference_answers_agree_with_an_independent_calculation(round_: int, seed: int) -> None:
    arithmetic, linear, divisor, rate, _ = (make_problem(5 * round_ + family, seed=seed) for family in range(5))

    assert eval(arithmetic.instruction.split(maxsplit=1 + arithmetic.instruction.startswith("Work"))[-1][:-1]) == int(
        arithmetic.answer or ""
    )

    name, equation = re.search(r"([xynt])(?::| if| satisfies) (.*)[.?]", linear.instruction).groups()  # type: ignore[union-attr]
    left, right_side = re.sub(rf"(\d)([{name}(])", r"\1*\2", equation).split(" = ")
    assert eval(left, {name: int(linear.answer or "")}) == eval(right_side, {name: int(linear.answer or "")})

    assert gcd(*map(int, re.findall(r"\d+", divisor.instruction))) == int(divisor.answer or "")

    numbers = list(map(int, re.findall(r"\d+", rate.instruction)))
    meeting = "towards" in rate.instruction
    expected = numbers[0] / (numbers[1] + numbers[2]) if meeting else numbers[0] / numbers[1] * numbers[2]
    assert expected == pytest.approx(int(rate.answer or ""))


def test_families_and_levels_take_turns() -> None:
    tasks = [make_problem(index) for index in range(30)]
    assert [task.id for task in tasks] == [f"demo-{index}" for index in range(30)]
    assert {(t.metadata["family"], t.metadata["level"]) for t in tasks} == {
        (family, level) for family in ("arithmetic", "linear", "gcd", "rate", "code") for level in (1, 2, 3)
    }
    assert len({task.instruction for task in tasks}) == 30
    assert all((task.answer is None) == (task.tests is not None) for task in tasks)


def test_the_same_in_another_process() -> None:
    code = (
        "from cot_distill.demo_problems import make_problem, solve\n"
        "for i in range(15):\n"
        "    task = make_problem(i, seed=3)\n"
        "    print(repr((task.instruction, task.answer, task.tests, solve(task.instruction))))\n"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = [make_problem(i, seed=3) for i in range(15)]
    assert there.splitlines() == [repr((t.instruction, t.answer, t.tests, solve(t.instruction))) for t in here]


def test_another_seed_gives_other_problems() -> None:
    assert make_problem(0, seed=1).instruction != make_problem(0, seed=2).instruction


@given(problems, st.text(max_size=40))
def test_a_problem_is_found_inside_a_longer_prompt(task: Task, noise: str) -> None:
    prompt = f"Think step by step.\n\n{task.instruction}\n\nEnd with \\boxed{{}}. {noise}"
    assert solve(prompt) == solve(task.instruction)


def test_the_wording_varies() -> None:
    reasonings = [solve(make_problem(5 * i).instruction) for i in range(40)]
    assert len({r[0].split(".")[0] for r in reasonings if r}) >= 2
    assert len({re.sub(r"[-\d+*()]+", "#", r[0]) for r in reasonings if r}) > 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Who wrote Faust?",
        "What is the greatest common divisor of 0 and 4?",
        "Solve for x: 2x + 1 = 4.",
        "Solve for x: 2x + 1 = 2x + 3.",
        "Solve for x: 2y + 1 = 3.",
        "Work out 3 + (4.",
        "Work out 3.",
        "A ship covers 10 miles in 3 hours. At the same rate, how many miles does the ship cover in 4 hours?",
        "Write a Python function `f(values)` that sorts a list.",
    ],
)
def test_what_it_cannot_solve_is_none(text: str) -> None:
    assert solve(text) is None
    assert solve(text, mistake=True) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Work out 2 + 3 * 4.", "14"),
        ("Calculate (2 - 9) * (4 + 1) - 3.", "-38"),
        ("Evaluate 5 * 0.", "0"),
        ("Solve for x: 20 = 3x + 5.", "5"),
        ("Solve for n: 2n = 5n - 9.", "3"),
        ("Which number t satisfies t + 4 = 1?", "-3"),
        ("Determine the greatest common divisor of 12 and 12.", "12"),
    ],
)
def test_problems_that_nobody_generated(text: str, value: str) -> None:
    solution, slip = solve(text), solve(text, mistake=True)
    assert solution is not None
    assert slip is not None
    assert final(solution[1]) == value
    assert final(slip[1]) != value
