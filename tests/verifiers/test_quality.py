"""What all verifiers of quality promise: a verdict on any text, in time, with a reason, the same in every process."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cot_distill
from cot_distill import sources, verifiers
from cot_distill.demo_problems import make_problem, solve
from cot_distill.identity import identity_of
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict

TEXTS = Path(__file__).parent / "texts"
TASK = Task(instruction="What is 2 + 2?", answer="4")
MADE: dict[str, Callable[[], Verifier]] = {
    "length": lambda: verifiers.length(1, 100),
    "phrases": lambda: verifiers.phrases("so to say", "at the end of the day"),
    "refusal": verifiers.refusal,
    "leaks": verifiers.leaks,
    "thinks_first": verifiers.thinks_first,
    "self_reference": verifiers.self_reference,
    "scripts": verifiers.scripts,
    "repetition": verifiers.repetition,
}


def judge(verify: Verifier, reasoning: str, answer: str) -> Verdict:
    verdict = verify(TASK, Trace(reasoning=reasoning, answer=answer))
    assert isinstance(verdict, Verdict)
    assert verdict.about == "quality"
    assert verdict.by == verify.__name__  # type: ignore[attr-defined]
    if verdict.passed is False:
        assert verdict.reason
        verdict.model_dump_json()  # half a surrogate pair would not come through
        assert len(verdict.reason) < 6 * 400  # characters that are not assigned are escaped
    return verdict


def test_the_usual_ones() -> None:
    names = [verify.__name__ for verify in verifiers.quality()]  # type: ignore[attr-defined]
    assert sorted(names) == sorted(set(MADE) - {"length", "phrases"})


def test_they_let_honest_traces_pass() -> None:
    for file in TEXTS.glob("*.txt"):
        text = file.read_text(encoding="utf-8")
        for verify in verifiers.quality():
            verdict = verify(Task(instruction=text[:200]), Trace(reasoning=text, answer="Answer: 4"))
            assert isinstance(verdict, Verdict)
            assert verdict.passed is True, (file.name, verdict.reason)
    for index in range(100):
        task = make_problem(index)
        solution = solve(task.instruction)
        assert solution is not None
        for verify in verifiers.quality():
            verdict = verify(task, Trace(reasoning=solution[0], answer=solution[1]))
            assert isinstance(verdict, Verdict)
            assert verdict.passed is True, (task.instruction, verdict.reason)


odd = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from(
            "\ud800\udfff\u200b\ufffd\x00\x85\u2028\U0001f600因此ИشΩ`$\\{}[]<|>#*.!?。'’\"“ \n\t0123456789aA"
        ),
    ),
    max_size=400,
)
looping = st.builds(lambda unit, times, tail: unit * times + tail, st.text(max_size=30), st.integers(0, 200), odd)


@pytest.mark.parametrize("name", MADE)
@given(reasoning=st.one_of(odd, looping), answer=odd)
@settings(max_examples=50, deadline=None)
def test_there_is_a_verdict_on_any_text(name: str, reasoning: str, answer: str) -> None:
    for part in (reasoning, answer):
        if not part.strip("\r\n").strip() or "<think>" in part or "</think>" in part:
            return
    assert judge(MADE[name](), reasoning, answer).passed is not None


def _hostile() -> Iterator[tuple[str, str]]:
    seeds = [
        "a", "0", "\n.", " x", "\\(", "$a", "`", "```a", "[insert ", "<", "{{", "I'm sorry, ", '"(',
        "因此", "The answer is ",
        "(a b [c ", "- ", "\ud800", "https://", "as an ", "#\t", "\\boxed{", "a" * 63 + "b", "ab" * 30 + "\n",
    ]  # fmt: skip
    for seed in seeds:
        yield repr(seed[:12]), seed * (_SIZE // len(seed))
    yield "spaces", "x" + " " * _SIZE + "x"
    yield "signs", "-=*_#>" * (_SIZE // 6)


_SIZE = 50_000
HOSTILE = dict(_hostile())


@pytest.mark.parametrize("name", MADE)
def test_anything_ends_in_time(name: str) -> None:
    verify = MADE[name]()
    megabytes = {what: text * 20 for what, text in HOSTILE.items() if what in ("' x'", "'\\n.'", "'{{'")}
    assert len(megabytes) == 3
    for what, text in [*HOSTILE.items(), *megabytes.items()]:
        began = time.perf_counter()
        judge(verify, text, text if name != "thinks_first" else "4")
        if name == "thinks_first":
            judge(verify, "So it is.", text)
        took = time.perf_counter() - began
        assert took < (4 if what in megabytes else 1), f"{name} took {took:.1f} s for {what}"


@pytest.mark.parametrize("name", MADE)
def test_what_is_called_light_is_so_for_a_hundred_kilobytes(name: str) -> None:
    verify = MADE[name]()
    prose = (TEXTS / "en.txt").read_text(encoding="utf-8") + (TEXTS / "latex.txt").read_text(encoding="utf-8")
    if getattr(verify, "light", False):
        trace = Trace(reasoning=prose * 70, answer=prose * 70)
        verify(TASK, trace)
        took = min(_seconds(verify, trace) for _ in range(5))
        assert took < 0.004  # half of that on a quiet machine


def _seconds(verify: Verifier, trace: Trace) -> float:
    began = time.perf_counter()
    verify(TASK, trace)
    return time.perf_counter() - began


@pytest.mark.parametrize("name", MADE)
def test_they_can_be_sent_to_another_process_and_compared(name: str) -> None:
    verify = MADE[name]()
    copy = pickle.loads(pickle.dumps(verify))
    assert copy == verify == MADE[name]()
    assert identity_of(copy) == identity_of(verify)
    assert judge(copy, "So it is 4.", "Four.") == judge(verify, "So it is 4.", "Four.")


CODE = """
from cot_distill import verifiers
from cot_distill.identity import identity_of
from cot_distill.testing import ScriptedTeacher
made = [*verifiers.quality(), verifiers.length(1, 9), verifiers.phrases("a", "b")]
made += [verifiers.judge(ScriptedTeacher([])), verifiers.compare(ScriptedTeacher([]))]
identities = [identity_of(verify) for verify in made]
"""


def test_all_identities_are_the_same_in_every_process() -> None:
    here: dict[str, Any] = {}
    exec(CODE, here)
    command = [sys.executable, "-c", f"{CODE}\nprint(identities)"]
    there = subprocess.run(command, env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True)
    assert there.stdout == f"{here['identities']}\n"


def test_changed_settings_change_the_identity() -> None:
    pairs = [
        (verifiers.repetition(), verifiers.repetition(times=9)),
        (verifiers.repetition(), verifiers.repetition(share=0.4)),
        (verifiers.repetition(), verifiers.repetition(part="answer")),
        (verifiers.scripts(), verifiers.scripts("en")),
        (verifiers.scripts(), verifiers.scripts(stray=0)),
        (verifiers.phrases("a"), verifiers.phrases("b")),
        (verifiers.self_reference(), verifiers.self_reference("b")),
        (verifiers.leaks(), verifiers.leaks(part="answer")),
    ]
    for one, other in pairs:
        assert identity_of(one) != identity_of(other)


@pytest.mark.anyio
async def test_in_a_run_they_stand_beside_the_answer(tmp_path: Path) -> None:
    checks = [verifiers.exact(), *verifiers.quality()]
    distiller = cot_distill.Distiller(
        cot_distill.teachers.DemoTeacher(wrong=0, cut=0, rate_limited=0, latency=0), verifiers=checks
    )
    tasks = [task for task in sources.demo_tasks(10) if task.answer is not None]
    run = await distiller.arun(tasks, tmp_path / "run", progress=False)
    samples = [*run.samples()]
    assert len(samples) == len(tasks) == 8
    assert all(sample.passed for sample in samples)
    assert {verdict.by for verdict in samples[0].verdicts} == {"exact", *MADE} - {"length", "phrases"}
