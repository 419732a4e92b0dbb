"""How well ``concurrency="auto"`` does at endpoints that saturate: ``python tests/benchmarks/concurrency.py``.

Real HTTP on this machine against a server that queues, refuses, or slows down, at a point that the client does not
know. The reference is the best of a few fixed numbers at the same server. Prints one table. About twenty minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cot_distill import Distiller, Task, open_teacher
from cot_distill.gate import Gate

SERVER = Path(__file__).parent / "server.py"


class Result(NamedTuple):
    rates: list[float]
    """Answers per second in each fifth of the time."""
    refused: float
    """Share of the requests that were refused in the last four fifths of the time."""
    limits: list[tuple[float, int]]


@contextmanager
def server(*options: str) -> Iterator[str]:
    command = [sys.executable, str(SERVER), "--bytes", "2000", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def measure(concurrency: Any, seconds: float, options: list[str]) -> Result:
    """Ask for so many seconds."""
    limits: list[tuple[float, int]] = []
    with tempfile.TemporaryDirectory() as folder, server(*options) as url:
        began = time.time()

        def tasks() -> Iterator[Task]:
            number = 0
            while time.time() < began + seconds:
                number += 1
                yield Task(id=number, instruction=f"What is question {number} about?")

        distiller = Distiller(open_teacher("vllm:bench", base_url=url), concurrency=concurrency, retries=1000)

        async def watch() -> None:
            while True:
                gate = distiller._gate
                if isinstance(gate, Gate):
                    limits.append((time.time() - began, gate.limit.limit))
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        await distiller.arun(tasks(), Path(folder) / "run", progress=False)
        watching.cancel()
        answers, refusals = [], []
        for segment in sorted((Path(folder) / "run").glob("journal-*.jsonl")):
            with segment.open(encoding="utf-8") as file:
                for line in file:
                    record = json.loads(line)
                    if record["kind"] == "completion":
                        answers.append(record["at"] - began)
                        refusals += [one["at"] - began for one in record.get("history", ())]
    fifth = seconds / 5
    rates = [sum(part * fifth <= at < (part + 1) * fifth for at in answers) / fifth for part in range(5)]
    late = [sum(fifth <= at < seconds for at in times) for times in (answers, refusals)]
    return Result(rates, late[1] / max(1, sum(late)), limits)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--knees", type=int, nargs="+", default=[16, 64, 300])
    parser.add_argument("--kinds", nargs="+", default=["queue", "share", "refuse"])
    parser.add_argument("--factors", type=float, nargs="+", default=[1.0, 1.25, 2.0])
    parser.add_argument(
        "--changes", action="store_true", help="halve the capacity at a third, double it at two thirds"
    )
    arguments = parser.parse_args()
    seconds = arguments.seconds
    print(f"{seconds:g} s a run; rates relative to the best fixed number of {arguments.factors} x the knee\n")
    columns = (
        ("knee", 6),
        ("best rate", 11),
        ("2nd fifth", 11),
        ("after 1st", 11),
        ("refused", 9),
        ("at the end", 12),
    )
    print(f"{'endpoint':<10}" + "".join(f"{name:>{width}}" for name, width in columns))
    for kind in arguments.kinds:
        for knee in arguments.knees:
            latency = 0.25 if knee < 200 else 0.6
            options = ["--latency", str(latency), "--slots", str(knee), "--when-full", kind]
            if arguments.changes:
                options += ["--change", f"{seconds / 3}:0.5,{2 * seconds / 3}:2"]
            fixed = [asyncio.run(measure(round(factor * knee), seconds, options)) for factor in arguments.factors]
            best = max(fixed, key=lambda one: sum(one.rates[1:]))
            auto = asyncio.run(measure("auto", seconds, options))
            print(
                f"{kind:<10}{knee:>6}{sum(best.rates[1:]) / 4:>11.0f}{auto.rates[1] / best.rates[1]:>11.2f}"
                f"{sum(auto.rates[1:]) / sum(best.rates[1:]):>11.2f}{auto.refused:>9.1%}"
                f"{auto.limits[-1][1] if auto.limits else 0:>12}",
                flush=True,
            )


if __name__ == "__main__":
    main()
