"""One run through everything that can happen to it: the sums are right in the end, and nothing was paid for twice."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cot_distill.run import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TASKS = int(os.environ.get("COT_DISTILL_CHAOS_TASKS", "500"))
FAULTS = {
    "429": 0.04, "500": 0.04, "503": 0.02, "reset": 0.02, "cut": 0.02, "malformed": 0.01, "html": 0.01,
    "empty": 0.01, "blank-first": 0.02, "error-200": 0.01, "hang": 0.002,
}  # fmt: skip
RESERVE = 16 << 20

WORKER = """
import sys
from cot_distill import Distiller, Task, open_teacher
url, path, tasks = sys.argv[1], sys.argv[2], int(sys.argv[3])
distiller = Distiller(open_teacher("vllm:model", base_url=url, timeout=2), retries=30)
print("ready", flush=True)
distiller.run((Task(id=n, instruction=f"question {n}") for n in range(tasks)), path, progress=False)
print("done", flush=True)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(port: int, bill: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "cot_distill.testing.server", "--port", str(port), "--latency", "0.05"]
    command += ["--faults", json.dumps(FAULTS), "--retry-after", "0.05", "--bill", str(bill)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


@contextmanager
def worker(url: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, url, str(path), str(TASKS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def answered(path: Path) -> Counter[str]:
    """Whole answers in the journal, by question."""
    found: Counter[str] = Counter()
    for segment in path.glob("journal-*.jsonl"):
        for line in segment.read_bytes().split(b"\n")[:-1]:
            record = json.loads(line) if line else {"kind": "torn"}
            if record["kind"] == "completion":
                found[record["task"]["instruction"]] += 1
    return found


def wait_for(path: Path, more: int) -> None:
    """Return once so many more answers are in the journal."""
    wanted, deadline = sum(size(path)) + more * 300, time.monotonic() + 60
    while sum(size(path)) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def size(path: Path) -> list[int]:
    return [segment.stat().st_size for segment in path.glob("journal-*.jsonl")]


def on_a_small_disk(url: str, path: Path, room: int) -> subprocess.CompletedProcess[str]:
    """One session on a file system with so many bytes left. What it leaves is copied back."""
    total = (sum(file.stat().st_size for file in path.iterdir() if file.name != "reserve") + RESERVE + room) >> 10
    script = (
        f'mkdir disk && mount -t tmpfs -o size={total}k tmpfs disk && cp -r "{path}/." disk/ && '
        f'"$0" -c "$1" {url} disk {TASKS}; s=$?; rm -f disk/lock*; cp -r disk/. "{path}/"; exit $s'
    )
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, sys.executable, WORKER],
        capture_output=True, text=True, cwd=path.parent,
    )  # fmt: skip


def test_everything_goes_wrong_in_one_run(tmp_path: Path) -> None:
    bill, path, port, dice = tmp_path / "bill", tmp_path / "run", free_port(), random.Random(5)
    part = TASKS // 10
    with server(port, bill) as url:
        for _ in range(3):  # the client is killed
            with worker(url, path) as process:
                wait_for(path, part // 2)
                time.sleep(dice.uniform(0, 0.05))
                process.send_signal(signal.SIGKILL)
        full = on_a_small_disk(url, path, room=100_000)  # the disk fills up
        if "unshare" not in full.stderr and "mount:" not in full.stderr:
            assert full.returncode == 1
            assert "No space left on device" in full.stderr
    before = answered(path)
    with worker(url, path) as process:
        for _ in range(2):  # the server is killed and comes back
            with server(port, bill):
                wait_for(path, part)
                assert process.poll() is None
            time.sleep(0.3)
        with server(port, bill):
            assert process.stdout is not None
            assert process.stdout.read() == "done\n"
    found = answered(path)
    assert set(found) == {f"question {number}" for number in range(TASKS)}
    assert set(found.values()) == {1}  # once, however often it had to be asked
    assert not before - found
    run = Run.open(path)
    assert [sample.task.id for sample in run.samples()] == list(range(TASKS))
    report = run.report()
    assert report.asked == report.samples == TASKS
    assert report.failures == {}
    paid = Counter(json.loads(line)["prompt"] for line in bill.read_text().splitlines())
    assert set(paid) == set(found)
    assert paid.total() - TASKS <= report.abandoned + report.retries
    assert report.killed >= 3
