"""What keeping programs in costs: ``python tests/benchmarks/sandbox.py``.

Programs a minute of the sandbox, beside ``subprocess.run([python, file])`` of the same program with the same asserts
below it, which keeps nothing in. Rounds of both alternate, and both run with the low priority of the sandbox, since
only the ratios mean anything on a shared machine. Prints one table for each number of workers.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cot_distill.sandbox import LocalSandbox, probe

PROGRAM = """
import collections, functools, heapq, itertools, math, re

def common(text, count):
    words = re.findall(r"[a-z]+", text.lower())
    return [word for word, _ in collections.Counter(words).most_common(count)]
"""
TESTS = """
assert common("a b a", 1) == ["a"]
assert common("", 3) == []
assert common("The cat. The dog! the end", 1) == ["the"]
"""


def rate(run: Callable[[], object], programs: int, workers: int) -> float:
    """Programs a minute."""
    begun = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(run) for _ in range(programs)]:
            future.result()
    return programs / (time.perf_counter() - begun) * 60


def table(workers: int, programs: int, rounds: int) -> None:
    works = [name for name, trouble in probe().items() if trouble is None]
    sandboxes = {name: LocalSandbox(workers=workers, _tier=name) for name in works}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "program.py")
        file.write_text(PROGRAM + TESTS)

        def bare() -> None:
            subprocess.run([sys.executable, str(file)], check=True)

        def kept_in(sandbox: LocalSandbox) -> Callable[[], None]:
            def run() -> None:
                outcome = sandbox.run_blocking(PROGRAM, TESTS)
                assert outcome.status == "passed", outcome

            return run

        kinds = {"subprocess.run": bare, **{name: kept_in(sandbox) for name, sandbox in sandboxes.items()}}
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for run in kinds.values():
            rate(run, 2 * workers, workers)  # starts what is started once
        for _ in range(rounds):
            for name, run in kinds.items():
                found[name].append(rate(run, programs, workers))
    print(f"\n{workers} at once, {programs} programs a round; medians of {rounds} rounds\n")
    print(f"{'':<26}{'programs/min':>14}{'x subprocess':>14}{'min-max':>14}")
    for name, rates in found.items():
        ratios = [mine / theirs for mine, theirs in zip(rates, found["subprocess.run"], strict=True)]
        span = f"{min(ratios):.2f}-{max(ratios):.2f}"
        print(f"{name:<26}{statistics.median(rates):>14,.0f}{statistics.median(ratios):>14.2f}{span:>14}")
    for sandbox in sandboxes.values():
        sandbox.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    os.nice(19)
    for workers in (1, 2):
        table(workers, options.programs, options.rounds)


if __name__ == "__main__":
    main()
