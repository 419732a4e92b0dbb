"""Batch jobs and SIGKILL: a real process is killed between every two steps, and a later one goes on.

One process imports the library once and forks a child for each session, which counts its steps: every event that is
noted, every request, every record of the journal, every file that is written or removed. Before the one of its number
it kills itself. The next child then finishes, and the provider's own record must show that nothing was asked twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cot_distill.run import Run
from cot_distill.testing.batch_server import BatchServer, Dialect

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DRIVER = """
import functools, inspect, json, os, signal, sys
from dataclasses import replace
from pathlib import Path

import anyio

from cot_distill import Distiller, Sampling, Task, Verdict, open_teacher
from cot_distill.batch import calls, facts, spool, submitting, wire
from cot_distill.batch.jobs import JobBook
from cot_distill.batching import run_batch
from cot_distill.http_files import Files
from cot_distill.ledger import Ledger

submitting.SETTLE_SECONDS = 0.25
calls._FIRST_PAUSE = 0.02
wire.FACTS = {name: replace(one, lines=3) for name, one in facts.FACTS.items()}
steps, die_at = 0, -1


def step():
    global steps
    steps += 1
    if steps == die_at:
        os.kill(os.getpid(), signal.SIGKILL)


def count(owner, name):
    inner = getattr(owner, name)

    @functools.wraps(inner)
    async def later(*args, **options):
        step()
        return await inner(*args, **options)

    @functools.wraps(inner)
    def now(*args, **options):
        step()
        return inner(*args, **options)

    setattr(owner, name, later if inspect.iscoroutinefunction(inner) else now)


for owner, name in [
    (JobBook, "_write"), (Files, "_whole"), (Files, "_into"), (Ledger, "_append"), (Ledger, "verdicts"),
    (spool.Draft, "close"), (Path, "unlink"), (Ledger, "sync"),
]:
    count(owner, name)


def even(task, trace):
    return Verdict(by="even", passed=task.id % 2 == 0, about="answer")


def session(spec, url, key, path, ladder):
    sampling = Sampling(max_tokens=8, max_tokens_limit=16) if ladder else Sampling()
    distiller = Distiller(open_teacher(spec, base_url=url, api_key=key), verifiers=[even], sampling=sampling)
    tasks = [Task(id=number, instruction=f"question {number}") for number in range(5)]
    anyio.run(lambda: run_batch(distiller._settings, tasks, path, progress=False))


for line in sys.stdin:
    order = json.loads(line)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        die_at = order.pop("die_at")
        try:
            session(**order)
            step()
            os.write(write, json.dumps(steps).encode())
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as answer:
        said = answer.read()
    print(json.dumps({"status": status, "steps": json.loads(said or "0")}), flush=True)
"""

SIGKILLED = 9


class Sessions:
    """Runs sessions in processes of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, server: BatchServer, path: Path, die_at: int = -1, *, ladder: bool = False) -> tuple[int, int]:
        """Its exit status, and how many steps it made if it came to its end."""
        order = {"spec": server.spec, "url": server.base_url, "key": server.key, "path": str(path)}
        order |= {"die_at": die_at, "ladder": ladder}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        said = json.loads(self._process.stdout.readline())
        return said["status"], said["steps"]


@contextmanager
def sessions() -> Iterator[Sessions]:
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Sessions(process)
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def provider(dialect: Dialect) -> Iterator[BatchServer]:
    # A job shows up in the list only a moment after it was started, as if a request still were being worked on.
    with BatchServer(dialect, endings=["expired"], strays=True, late=0.1) as server:
        yield server


EXPECTED = Counter({f"question {number}": 2 if number in (1, 2) else 1 for number in range(5)})
"""The first job of three lines expires after one of them."""


def check(server: BatchServer, path: Path) -> None:
    assert len(server.submissions) == 3
    assert Counter(server.prompts) == EXPECTED
    lines = (path / "journal-00000.jsonl").read_bytes().splitlines()
    kinds = Counter(json.loads(line)["kind"] for line in lines)
    assert kinds["completion"] == 5
    run = Run.open(path)
    assert [(sample.task.id, sample.passed) for sample in run.samples()] == [(n, n % 2 == 0) for n in range(5)]
    assert all(sample.task.instruction in sample.trace.reasoning for sample in run.samples())
    assert list(run.failures()) == []


ALL = "COT_DISTILL_KILLS" in os.environ


@pytest.mark.parametrize("dialect", ["openai", "together", "anthropic"])
def test_killed_between_every_two_steps(dialect: Dialect, tmp_path: Path) -> None:
    """``together`` has no key in its jobs: they are found by their file. ``anthropic`` has neither.

    With COT_DISTILL_KILLS set, no step of any provider is left out.
    """
    stride = 1 if ALL else {"openai": 4, "together": 9, "anthropic": 5}[dialect]
    with sessions() as ours:
        with provider(dialect) as server:
            status, steps = ours.run(server, tmp_path / "whole")
            assert status == 0
            check(server, tmp_path / "whole")
        assert [file.name for file in (tmp_path / "whole" / "batches").iterdir()] == ["jobs.jsonl"]
        assert steps > 40
        for die_at in range(1, steps + 1, stride):
            path = tmp_path / str(die_at)
            with provider(dialect) as server:
                assert ours.run(server, path, die_at)[0] == SIGKILLED
                assert ours.run(server, path)[0] == 0
                check(server, path)


def test_killed_on_the_ladder(tmp_path: Path) -> None:
    """All is cut at first and asked again with more room: neither answer may pass for the other."""

    def answer(prompt: str) -> tuple[str, str]:
        return f"{prompt} " * 3, "done"

    def check_ladder(server: BatchServer, path: Path) -> None:
        assert Counter(server.prompts) == Counter({f"question {number}": 2 for number in range(5)})
        lines = (path / "journal-00000.jsonl").read_bytes().splitlines()
        kinds = Counter(json.loads(line)["kind"] for line in lines)
        assert (kinds["cut"], kinds["completion"], kinds["verdict"]) == (5, 5, 5)
        assert len(list(Run.open(path).samples())) == 5

    with sessions() as ours:
        with BatchServer("openai", answer=answer) as server:
            status, steps = ours.run(server, tmp_path / "whole", ladder=True)
            assert status == 0
            check_ladder(server, tmp_path / "whole")
        for die_at in range(1, steps + 1, 1 if ALL else 6):
            path = tmp_path / str(die_at)
            with BatchServer("openai", answer=answer) as server:
                assert ours.run(server, path, die_at, ladder=True)[0] == SIGKILLED
                assert ours.run(server, path, ladder=True)[0] == 0
                check_ladder(server, path)


def test_killed_again_while_finding_out(tmp_path: Path) -> None:
    """Each session dies a few steps on, until one comes through."""
    with sessions() as ours:
        for dialect in ("openai", "anthropic"):
            for stride in (7, 12) if ALL else (9,):
                path = tmp_path / f"{dialect}-{stride}"
                with provider(dialect) as server:  # type: ignore[arg-type]
                    died = 0
                    while ours.run(server, path, die_at=stride + died)[0] == SIGKILLED:
                        died += 1
                        assert died < 60
                    ours.run(server, path)
                    check(server, path)
                    assert died > 1
