"""Loops of every kind are found; tables, code, counting and other honest sameness are not."""

from __future__ import annotations

import inspect
import itertools
import json
import random
from typing import Any

import pytest

from cot_distill import answers, verifiers
from cot_distill.demo_problems import make_problem, solve
from cot_distill.errors import ConfigError
from cot_distill.types import Task, Trace, Verdict

TASK = Task(instruction="2 + 2?")
PROSE = (
    "Let me see what is given. The tank holds ninety litres, and the tap fills six of them every minute. After five "
    "minutes thirty litres are in, so sixty are missing. At six a minute that takes ten minutes more. "
)


def judge(reasoning: str, answer: str = "4", **settings: Any) -> Verdict:
    verdict = verifiers.repetition(**settings)(TASK, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert (verdict.by, verdict.about) == ("repetition", "quality")
    assert verdict.passed is not False or verdict.reason
    return verdict


def moves(disks: int, start: str = "A", end: str = "C", spare: str = "B") -> list[str]:
    if not disks:
        return []
    last = [f"Move disk {disks} from peg {start} to peg {end}."]
    return moves(disks - 1, start, spare, end) + last + moves(disks - 1, spare, end, start)


LOOPS = {
    "a sentence": "Wait, let me check that again. " * 20,
    "a long sentence": "So the number that we are looking for must be even, since its square is even. " * 8,
    "three lines in turn": "So x is even.\nThen x + 1 is odd.\nBut that cannot be, as we saw.\n" * 12,
    "a word": "wait, " * 200,
    "digits": "142857" * 300,
    "one digit": "0" * 4000,
    "Chinese": "我们再检查一遍。" * 30,
    "Chinese without any stop": "我们再检查一遍" * 30,
    "Japanese": "もう一度確かめてみましょう。" * 20,
    "Korean": "다시 한번 확인해 보겠습니다. " * 20,
    "Russian": "Подождите, проверим ещё раз. " * 20,
    "letters": "abc" * 400,
    "one letter": "a" * 3000,
    "LaTeX": r"\boxed{1} " * 100,
    "lines of formulas": "x = (a + b) / c\ny = (a - b) / c\nz = x * y\n" * 40,
    "exclamation marks": "!" * 10_000,
    "blank answers": "Answer:\n\n" * 80,
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_found_alone_and_in_the_midst_of_prose(name: str) -> None:
    for text in (LOOPS[name], PROSE * 2 + LOOPS[name] + PROSE, PROSE + LOOPS[name]):
        verdict = judge(text)
        assert verdict.passed is False, name
    assert judge("Fine, as it is.", answer=LOOPS[name]).passed is False


def test_the_reason_quotes_the_round_and_says_where() -> None:
    loop = "Wait, let me check that again. " * 20
    reason = judge(PROSE + loop).reason
    assert reason is not None
    at = int(reason.rpartition(" ")[2].rstrip(")").replace(",", ""))
    assert reason.startswith("20 times in a row: ")
    assert abs(at - len(PROSE)) <= 31
    assert "let me check that again" in reason
    assert judge("Fine.", answer=loop).reason == (
        "20 times in a row: 'Wait, let me check that again. ' (answer, at character 0)"
    )


@pytest.mark.parametrize("length", [60, 400, 2000, 7000])
def test_long_rounds(length: int) -> None:
    words = random.Random(length)
    unit = "".join(
        f"{words.choice('bcdfg')}{words.choice('aeiou')}{words.choice('lmnst')} " for _ in range(length // 4)
    )
    assert judge(unit * 10).passed is False
    assert judge(unit * 3).passed is True


def test_sentences_that_come_again_with_something_in_between() -> None:
    words = random.Random(0)
    sentences = [
        "Perhaps the formula for the sum of the first numbers helps here.",
        "But the problem says that all of the numbers are different.",
        "Let me go back to the second equation and solve it for y.",
    ]
    text = " ".join(f"{words.choice(sentences)} Hm, {number}." for number in range(60))
    verdict = judge(text)
    assert verdict.passed is False
    assert "of the text are sentences that were said before, the first again: '" in str(verdict.reason)


def test_text_that_says_hardly_anything_new() -> None:
    words = random.Random(0)
    text = "".join(words.choices(["na ", "na na "], [50, 1])[0] for _ in range(3000)).replace(
        "na na na", "na no na", 9
    )
    assert "that say no more than" in str(judge(text, times=3000, share=1).reason)


HONEST = {
    "counting": ", ".join(map(str, range(1, 101))),
    "counting to a thousand": "\n".join(map(str, range(1, 1001))),
    "a multiplication table": "\n".join(f"{i} x {j} = {i * j}" for i in range(1, 21) for j in range(1, 21)),
    "squares": "\n".join(f"{i}^2 = {i * i}" for i in range(1, 500)),
    "remainders": "\n".join(f"For n = {i}, n mod 7 is {i % 7}, so {i} is not a solution." for i in range(1, 300)),
    "a sieve": "\n".join(
        f"{i}: crossed out, since it is a multiple of {p}." for i in range(4, 400) for p in (2, 3, 5, 7) if i % p == 0
    ),
    "a truth table": "\n".join("| " + " | ".join(row) + " |" for row in itertools.product("TF", repeat=7)),
    "a grid of zeros": "\n".join("[" + ", ".join("0" * 16) + "]," for _ in range(16)),
    "an empty board": "\n".join("| . | . | . | . | . | . | . | . |" for _ in range(8)),
    "a table of distances": "\n".join(
        "[" + ", ".join(str(min(i, j)) for i in range(15)) + "]" for j in range(15)
    ),
    "rulers": "| a | b |\n|---|---|\n" + ("-" * 80 + "\n") * 6 + "=" * 400,
    "binary numbers": "\n".join(f"{i:08b} = {i}" for i in range(256)),
    "a third": "1/3 = 0." + "3" * 200 + "...",
    "a seventh": "1/7 = 0." + "142857" * 30 + "...",
    "powers": "\n".join(f"2^{i} = {2**i}" for i in range(1, 120)),
    "a sum of ones": " + ".join("1" * 100) + " = 100",
    "steps": "\n".join(f"Step {i}: subtract 7 from {1000 - 7 * i + 7} to get {1000 - 7 * i}." for i in range(1, 140)),
    "cases": "".join(f'        case {i}:\n            return "{chr(97 + i % 26)}";\n' for i in range(120)),
    "assertions": "\n".join(f"assert square({i}) == {i * i}" for i in range(200)),
    "an unrolled loop": "x = (x + n / x) / 2\n" * 7,
    "closing braces": "    }\n" * 12,
    "JSON": json.dumps([{"id": i, "name": "item", "active": True} for i in range(150)], indent=1),
    "towers of Hanoi": "\n".join(moves(8)),
    "higher towers of Hanoi": "\n".join(moves(10)),
    "coins": " ".join(random.Random(1).choices("HT", k=500)),
    "a refrain": "\n\n".join(
        f"The {word} came down the lane.\nOh the wind and the rain,\nOh the wind and the rain." for word in
        ("fox", "hen", "cow", "dog", "cat", "goat")
    ),
    "no, no, no": "No, " * 20 + "that is not it.",
    "laughter": "Ha" + "ha" * 40 + "! " + PROSE,
    "long division": "\n".join(f"{r}0 / 7 = {r * 10 // 7}, remainder {r * 10 % 7}." for r in [1, 3, 2, 6, 4, 5] * 6),
    "code": inspect.getsource(answers),
    "code of a library": inspect.getsource(json.decoder),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_sameness_is_let_pass(name: str) -> None:
    for text in (HONEST[name], PROSE + HONEST[name]):
        verdict = judge(text)
        assert verdict.passed is True, verdict.reason


def test_what_the_demo_teacher_says_is_let_pass() -> None:
    for index in range(300):
        solution = solve(make_problem(index).instruction)
        assert solution is not None
        assert judge(*solution).passed is True


def test_the_settings_move_the_bounds() -> None:
    seven = "So the number that we are looking for must be even, since its square is even. " * 7
    assert judge(seven).passed is True
    assert judge(seven, times=7).passed is False
    again = "".join(f"Case {i}: take {i}. And then we look at the rest of the sum as before. " for i in range(20))
    assert judge(again, share=0.9).passed is True
    assert judge(again).passed is False
    hanoi = "\n".join(moves(10))
    assert judge(hanoi, ratio=0.05).passed is False
    loop = "wait, " * 200
    assert judge(loop, part="answer").passed is True
    assert judge("Fine.", answer=loop, part="reasoning").passed is True


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"times": 1}, "times=1"),
        ({"times": 2.5}, "times=2.5"),
        ({"share": 1.5}, "share=1.5"),
        ({"ratio": -0.1}, "ratio=-0.1"),
        ({"part": "all"}, "part='all'"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        verifiers.repetition(**settings)
