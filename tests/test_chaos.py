"""Real trouble: a server that misbehaves in every way, and a client that is killed again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cot_distill import Distiller, Sampling, Task, open_teacher
from cot_distill.run import Run
from cot_distill.testing import FaultServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLS = int(os.environ.get("COT_DISTILL_KILLS", "10"))
TASKS = 120 * KILLS
IN_FLIGHT = 8


def test_two_thousand_tasks_at_a_server_that_misbehaves(tmp_path: Path) -> None:
    faults = {"429": 0.10, "500": 0.05, "reset": 0.02, "malformed": 0.01, "hang": 0.01}
    tasks = [Task(id=number, instruction=f"question {number}") for number in range(2000)]
    with FaultServer(faults=faults, retry_after=0.05, latency=0.1, seed=7) as server:
        teacher = open_teacher("vllm:model", base_url=server.base_url, timeout=3)
        run = Distiller(teacher, concurrency=256).run(tasks, tmp_path / "run", progress=False)
    answered, requests = server.answered, server.requests
    samples = list(run.samples())
    assert [sample.task.id for sample in samples] == list(range(2000))
    assert all(sample.task.instruction in sample.trace.reasoning for sample in samples)
    assert answered == Counter({task.instruction: 1 for task in tasks})  # none asked again after its answer
    report = run.report()
    assert report.failures == {}
    assert report.retries == requests - 2000 > 300


WORKER = """
import sys
from cot_distill import Distiller, Task, open_teacher
url, path, tasks, in_flight = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
distiller = Distiller(open_teacher("vllm:model", base_url=url), concurrency=in_flight)
source = (Task(id=n, instruction=f"question {n}") for n in range(tasks))
print("ready", flush=True)
distiller.run(source, path, progress=False)
print("done", flush=True)
"""


@contextmanager
def server(bill: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "cot_distill.testing.server", "--port", "0", "--latency", "0.01"]
    with subprocess.Popen([*command, "--bill", str(bill)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def worker(url: str, path: Path, tasks: int = TASKS) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, url, str(path), str(tasks), str(IN_FLIGHT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def billed(bill: Path) -> list[str]:
    return [json.loads(line)["prompt"] for line in bill.read_text().splitlines()] if bill.exists() else []


def journaled(path: Path) -> list[str]:
    segment = path / "journal-00000.jsonl"
    if not segment.exists():
        return []
    records = [json.loads(line) for line in segment.read_bytes().split(b"\n")[:-1] if line]
    return [record["task"]["instruction"] for record in records if record["kind"] == "completion"]


def test_killed_again_and_again(tmp_path: Path) -> None:
    bill, path = tmp_path / "bill", tmp_path / "run"
    dice = random.Random(1)
    with server(bill) as url:
        kept: list[str] = []
        bills: dict[str, int] = {}
        for _ in range(KILLS):
            with worker(url, path) as process:
                assert process.stdout is not None
                process.stdout.readline()
                time.sleep(dice.uniform(0.03, 0.2))
                process.send_signal(signal.SIGKILL)
            now = journaled(path)
            assert now[: len(kept)] == kept  # nothing that was there is gone
            kept = now
            time.sleep(0.05)  # answers that were under way are billed before the next session starts
            paid = Counter(billed(bill))
            assert set(kept) <= set(paid)
            # An answer that is in the journal is never asked for again: its bill does not grow any more.
            assert all(paid[prompt] == count for prompt, count in bills.items())
            bills = {prompt: paid[prompt] for prompt in kept}
        with worker(url, path) as process:
            assert process.stdout is not None
            assert process.stdout.read() == "ready\ndone\n"
    samples = list(Run.open(path).samples())
    assert [sample.task.id for sample in samples] == list(range(TASKS))
    assert all(sample.task.instruction in sample.trace.reasoning for sample in samples)
    paid = Counter(billed(bill))
    assert all(paid[prompt] == count for prompt, count in bills.items())
    repeated = paid.total() - TASKS
    assert 0 <= repeated <= KILLS * IN_FLIGHT
    report = Run.open(path).report()
    assert report.asked == report.samples == TASKS
    assert report.sessions <= KILLS + 1  # a kill may come before a session has begun
    assert repeated <= report.abandoned <= KILLS * IN_FLIGHT
    assert report.killed >= KILLS // 2  # or the run was over too soon, and this test showed little
    print(f"{report.killed} kills over {TASKS} tasks, {IN_FLIGHT} in flight: {repeated} requests repeated")


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with server(tmp_path / "bill") as url, worker(url, tmp_path / "run", tasks=100_000) as first:
        while not (tmp_path / "run" / "lock.owner").exists():
            time.sleep(0.01)
        second = worker(url, tmp_path / "run")
        assert f"in use by process {first.pid}" in second.communicate()[1]
        assert second.returncode == 1
        assert first.poll() is None
        first.send_signal(signal.SIGKILL)


def test_a_cap_is_raised_after_a_kill(tmp_path: Path) -> None:
    """What was cut before the kill is asked again with more room, and nothing else."""
    tasks = [Task(id=number, instruction=f"question {number}") for number in range(30)]
    with FaultServer() as cutting:
        teacher = open_teacher("vllm:model", base_url=cutting.base_url)
        Distiller(teacher, sampling=Sampling(max_tokens=2)).run(tasks, tmp_path / "run", progress=False)
        assert Run.open(tmp_path / "run").report().failures == {"truncated": 30}
        run = Distiller(teacher, sampling=Sampling(max_tokens=500)).run(tasks, tmp_path / "run", progress=False)
        assert cutting.requests == 60
    assert len(list(run.samples())) == 30
