"""In a process that can be killed: what hangs, what dies, what cannot be sent there, and a whole run of it."""

from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from cot_distill import Distiller, sources
from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers import exact, isolated, regex

TASK = Task(instruction="Q?", answer="4")
ONCE = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For what does not depend on the event loop: processes take half a second to start."""

MODULE = """
import os, sys, time
import anyio
from cot_distill import Verdict

def hangs(task, trace):
    while trace.answer == "hang":
        time.sleep(0.01)
    return Verdict(by="hangs", passed=True)

def dies(task, trace):
    os._exit(7)

def eats(task, trace):
    return Verdict(by="eats", passed=len(bytes(2**31)) > 0)

def crashes(task, trace):
    raise KeyError(trace.answer)

def forgets(task, trace):
    return True

async def waits(task, trace):
    await anyio.sleep(0.01)
    return Verdict(by="waits", passed=True, about="quality", score=0.5)

class Counts:
    calls = 0

    def __call__(self, task, trace):
        self.calls += 1
        return Verdict(by="counts", passed=True, reason=f"call {self.calls}")
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's."""
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    return __import__("mine")


async def ask(verifier: Verifier, answer: str = "4") -> Verdict:
    found = verifier(TASK, Trace(reasoning="Hm.", answer=answer))
    return found if isinstance(found, Verdict) else await found


@pytest.mark.anyio
async def test_the_verdict_is_that_of_the_verifier_inside(mine: Any) -> None:
    async with isolated(exact(), workers=1) as words:
        assert await ask(words, "Answer: 4") == exact()(TASK, Trace(reasoning="Hm.", answer="Answer: 4"))
        assert (await ask(words, "5")).passed is False
    async with isolated(mine.waits, workers=1) as waits:
        assert await ask(waits) == Verdict(by="waits", passed=True, about="quality", score=0.5)


@pytest.mark.anyio
@ONCE
async def test_what_takes_too_long_is_killed_and_the_next_is_judged(mine: Any) -> None:
    async with isolated(mine.hangs, timeout=1, workers=1) as hangs:
        start = time.monotonic()
        assert await ask(hangs, "hang") == Verdict(by="hangs", passed=None, reason="took longer than 1 s: killed")
        assert time.monotonic() - start < 30
        assert (await ask(hangs, "go on")).passed is True


@pytest.mark.anyio
@ONCE
async def test_trouble_is_never_wrong(mine: Any) -> None:
    async with isolated(mine.dies, workers=1) as dies:
        verdict = await ask(dies)
        assert (verdict.by, verdict.passed, verdict.applies) == ("dies", None, True)
        assert verdict.reason == "the worker process ended with code 7"
    async with isolated(mine.eats, workers=1, memory=1000) as eats:
        assert (await ask(eats)).reason == "needed more than 1000 MiB"


@pytest.mark.anyio
@ONCE
async def test_errors_of_the_verifier_surface_as_they_are(mine: Any) -> None:
    async with isolated(mine.crashes, workers=1) as crashes:
        with pytest.raises(KeyError, match="4") as caught:
            await ask(crashes)
        assert "mine.py" in caught.value.__notes__[0]
    async with isolated(mine.forgets, workers=1) as forgets:
        with pytest.raises(TypeError, match="forgets returned bool, not a Verdict"):
            await ask(forgets)


def test_each_worker_keeps_its_verifier(mine: Any) -> None:
    counts = isolated(mine.Counts(), workers=1)

    async def asked() -> str | None:
        return (await ask(counts)).reason

    with counts.pool:
        assert [anyio.run(asked, backend=backend) for backend in ("asyncio", "trio")] == ["call 1", "call 2"]


def test_what_cannot_be_sent_is_refused_at_once() -> None:
    def within(task: Task, trace: Trace) -> Verdict:
        return Verdict(by="within", passed=True)

    for verifier in (lambda task, trace: Verdict(by="l", passed=True), within):
        with pytest.raises(ConfigError, match="module"):
            isolated(verifier)


def test_it_is_pickled_without_its_processes_and_known_by_what_is_inside() -> None:
    one, same, other = isolated(exact()), isolated(exact(), workers=3), isolated(exact(), timeout=1)
    assert identity_of(one) == identity_of(same) == identity_of(pickle.loads(pickle.dumps(one)))
    assert len({identity_of(verifier) for verifier in (one, other, isolated(exact(extract=str.strip)))}) == 3
    assert one.__name__ == one.name == "exact"
    assert not one.pool._workers


def test_in_a_run_it_is_started_once_and_ends_with_it(tmp_path: Path) -> None:
    verify = isolated(exact(), workers=2)
    tasks = [task for task in sources.demo_tasks(20) if task.answer]
    run = Distiller("demo", verifiers=[verify]).run(tasks, tmp_path / "run", progress=False)
    again = Distiller("demo", verifiers=[exact()]).run(tasks, tmp_path / "other", progress=False)
    assert run.report().passed == again.report().passed > 0
    assert not verify.pool._workers
    report = run.judge(regex(r"\d", timeout=30), keep=False).report()
    assert report.passed == report.samples
