"""What a sample costs the client, and whether memory grows: ``python tests/benchmarks/overhead.py``.

Everything runs on this machine, in separate processes, the references in the same run as the library, since only the
ratios mean anything on a shared machine. CPU is that of the whole client process, start-up taken off by runs of ten
tasks. A client whose rows are not all there, once and whole, ends the benchmark. Prints two tables.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client import has_fast

HERE = Path(__file__).parent


@contextmanager
def server(size: int, latency: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "server.py"), "--bytes", str(size), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure(client: str, url: str, tasks: int, concurrency: int) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "client.py"), client, "--url", url]
    command += ["--tasks", str(tasks), "--concurrency", str(concurrency)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def cpu_table(tasks: int, concurrency: int, rounds: int, clients: list[str]) -> None:
    print(f"{tasks:,} tasks, {concurrency} in flight, no latency, 2 kB of reasoning; medians of {rounds} rounds\n")
    columns = (
        ("CPU ms a sample", 16),
        ("x aiohttp", 12),
        ("min-max", 14),
        ("samples/s", 12),
        ("peak MB", 10),
        ("rows", 8),
    )
    print(f"{'client':<14}" + "".join(f"{name:>{width}}" for name, width in columns))
    found: dict[str, list[dict[str, Any]]] = {client: [] for client in clients}
    with server(2000, 0.0) as url:
        start = {
            client: statistics.median(measure(client, url, 10, concurrency)["cpu"] for _ in range(3))
            for client in clients
        }
        for _ in range(rounds):
            for client in clients:
                found[client].append(measure(client, url, tasks, concurrency))
    net = {client: [one["cpu"] - start[client] for one in found[client]] for client in clients}
    for client in clients:
        ratios = [mine / theirs for mine, theirs in zip(net[client], net["aiohttp"], strict=True)]
        print(
            f"{client:<14}{statistics.median(net[client]) / tasks * 1000:>16.3f}{statistics.median(ratios):>12.2f}"
            f"{f'{min(ratios):.2f}-{max(ratios):.2f}':>14}"
            f"{statistics.median(tasks / one['wall'] for one in found[client]):>12.0f}"
            f"{statistics.median(one['peak_mb'] for one in found[client]):>10.0f}"
            f"{min(one['rows'] for one in found[client]):>8}"
        )


def memory_table(concurrency: int) -> None:
    print(f"\nPeak memory of the whole process, run and export, {concurrency} in flight\n")
    print(f"{'tasks':>8}{'peak MB':>10}{'MB per 1,000 more':>20}")
    before: tuple[int, float] | None = None
    with server(2000, 0.0) as url:
        for tasks in (2_000, 20_000, 100_000):
            peak = measure("cot_distill", url, tasks, concurrency)["peak_mb"]
            growth = "" if before is None else f"{(peak - before[1]) / (tasks - before[0]) * 1000:.3f}"
            print(f"{tasks:>8,}{peak:>10.1f}{growth:>20}")
            before = before or (tasks, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--httpx", action="store_true", help="also a bare httpx loop: minutes")
    options = parser.parse_args()
    clients = [
        "raw",
        "aiohttp",
        "cot_distill",
        *(["fast"] if has_fast() else []),
        *(["httpx"] if options.httpx else []),
    ]
    cpu_table(options.tasks, options.concurrency, options.rounds, clients)
    memory_table(options.concurrency)


if __name__ == "__main__":
    main()
