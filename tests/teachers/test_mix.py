"""Which teacher is asked which question."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from cot_distill.errors import QuotaError
from cot_distill.teachers.mix import mix
from cot_distill.testing import ScriptedTeacher, echo_answer
from cot_distill.types import Message, Sampling

pytestmark = pytest.mark.anyio


def echo(name: str) -> ScriptedTeacher:
    return ScriptedTeacher(lambda messages: echo_answer(messages[-1].content), name=name)


async def asked(shares: dict[str, float], questions: int, seed: int = 0) -> list[str | None]:
    teacher = mix({echo(name): share for name, share in shares.items()}, seed=seed)
    turns = [[Message(role="user", content=f"Question {number}")] for number in range(questions)]
    return [(await teacher.complete(one, Sampling())).model for one in turns]


async def test_each_gets_its_share() -> None:
    counts = Counter(await asked({"a": 0.7, "b": 0.2, "c": 0.1}, 3000))
    assert counts["a"] / 3000 == pytest.approx(0.7, abs=0.03)
    assert counts["b"] / 3000 == pytest.approx(0.2, abs=0.03)
    assert counts["c"] / 3000 == pytest.approx(0.1, abs=0.03)


async def test_the_same_question_goes_to_the_same_teacher_whatever_the_order_and_scale() -> None:
    there = await asked({"a": 0.7, "b": 0.3}, 200)
    assert await asked({"b": 3, "a": 7}, 200) == there
    assert await asked({"a": 0.7, "b": 0.3}, 200, seed=1) != there


async def test_another_process_chooses_alike() -> None:
    program = """
import anyio
from cot_distill import Message, Sampling
from cot_distill.teachers.mix import mix
from cot_distill.testing import ScriptedTeacher
a, b = (ScriptedTeacher(lambda _: ("thought", "answer"), name=name) for name in "ab")
async def main():
    teacher = mix({a: 0.7, b: 0.3})
    for number in range(50):
        print((await teacher.complete([Message(role="user", content=f"Question {number}")], Sampling())).model)
anyio.run(main)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == await asked({"a": 0.7, "b": 0.3}, 50)


async def test_the_whole_conversation_counts_and_the_sampling_does_not() -> None:
    teacher = mix({echo("a"): 1, echo("b"): 1})
    system = [[Message(role="system", content=str(n)), Message(role="user", content="?")] for n in range(40)]
    assert {(await teacher.complete(one, Sampling())).model for one in system} == {"a", "b"}
    for one in system:
        models = {(await teacher.complete(one, Sampling(seed=seed))).model for seed in range(5)}
        assert len(models) == 1


async def test_an_error_stays_with_the_question() -> None:
    broken = ScriptedTeacher(lambda _: QuotaError("balance"), name="broken")
    teacher = mix({broken: 1e9, echo("b"): 1e-9})
    with pytest.raises(QuotaError):
        await teacher.complete([Message(role="user", content="?")], Sampling())
