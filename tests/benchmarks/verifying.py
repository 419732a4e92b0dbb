"""Whether verdicts hold up requests: ``python tests/benchmarks/verifying.py``.

The same tasks are asked of the same server (a process of its own), once without verifiers and once while four workers
of the sandbox run a program against its tests for every answer. What counts is the rate from the first request to the
last answer, which the records of the journal tell. Rounds alternate; only the ratios mean anything on a shared
machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cot_distill import Distiller, Task, Trace, Verdict, open_teacher, verifiers

HERE = Path(__file__).parent
ANSWER = """```python
import collections, re

def common(text, count):
    return [word for word, _ in collections.Counter(re.findall("[a-z]+", text)).most_common(count)]
```"""
TESTS = ["assert common('a b a', 1) == ['a']", "assert common('', 3) == []"]


class Running:
    """Runs a program for each answer, whatever the answer says: the server here writes no code."""

    def __init__(self, workers: int) -> None:
        self._unit_tests = verifiers.unit_tests(workers=workers)

    async def __aenter__(self) -> Running:
        await self._unit_tests.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._unit_tests.__aexit__(*error)

    async def __call__(self, task: Task, trace: Trace) -> Verdict:
        return await self._unit_tests(
            Task(instruction=task.instruction, tests=TESTS), Trace(reasoning=trace.reasoning, answer=ANSWER)
        )


@contextmanager
def server(latency: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "server.py"), "--bytes", "8000", "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(url: str, tasks: int, concurrency: int, workers: int) -> tuple[float, int]:
    """Answers a second, and how many of them were judged."""
    with tempfile.TemporaryDirectory() as folder:
        source = (Task(id=number, instruction=f"What is question {number} about?") for number in range(tasks))
        teacher = open_teacher("vllm:bench", base_url=url)
        judges = [Running(workers)] if workers else []
        run = Distiller(teacher, verifiers=judges, concurrency=concurrency).run(
            source, f"{folder}/run", progress=False
        )
        began, times = 0.0, []
        with (Path(folder) / "run" / "journal-00000.jsonl").open(encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                if record["kind"] == "started":
                    began = record["at"]
                elif record["kind"] == "completion":
                    times.append(record["at"])
        return len(times) / (max(times) - began), run.report().passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.3, help="median seconds of an answer")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        f"{options.tasks:,} tasks, {options.concurrency} in flight, median latency {options.latency} s, "
        f"{options.workers} workers of the sandbox\n"
    )
    print(f"{'':<20}{'requests/s':>12}{'ratio':>8}{'judged':>9}")
    ratios = []
    with server(options.latency) as url:
        for number in range(1, options.rounds + 1):
            alone, _ = measure(url, options.tasks, options.concurrency, 0)
            beside, judged = measure(url, options.tasks, options.concurrency, options.workers)
            ratios.append(beside / alone)
            print(f"{f'round {number}: alone':<20}{alone:>12.1f}{1:>8.2f}{0:>9,}")
            print(f"{'   with verdicts':<20}{beside:>12.1f}{ratios[-1]:>8.2f}{judged:>9,}", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
