"""Whether the client keeps up with slow endpoints: ``python tests/benchmarks/latency.py``.

Answers take a second (median of a lognormal, sigma 0.5) and hold 16 kB of reasoning. With so many requests always
in flight, so many per second is ideal: their number over the mean latency. Measured is the rate while all are in
flight, from three seconds after the first answer until the source runs dry, and how late the event loop was: a probe
that wants to wake every 10 ms. ``aiohttp`` is a bare loop that asks and writes a line. Everything runs on this
machine; the server needs a processor of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parent / "server.py"
MEAN = math.exp(0.5**2 / 2)
"""Seconds: of a lognormal with median 1 and sigma 0.5."""
PROBE = 0.01


@contextmanager
def server(size: int) -> Iterator[str]:
    command = [sys.executable, str(SERVER), "--bytes", str(size), "--latency", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def probe(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(PROBE)
        lags.append(time.perf_counter() - began - PROBE)


class Numbers:
    """The tasks, one by one. It notes when the last one was taken: from then on fewer are in flight."""

    def __init__(self, count: int) -> None:
        self._numbers = iter(range(count))
        self.dry = 0.0

    def __iter__(self) -> Numbers:
        return self

    def __next__(self) -> int:
        try:
            return next(self._numbers)
        except StopIteration:
            self.dry = self.dry or time.perf_counter()
            raise


async def with_cot_distill(url: str, numbers: Numbers, at_once: int, folder: Path, times: list[float]) -> None:
    from cot_distill import Distiller, Task, open_teacher
    from cot_distill.ledger import Ledger

    booked = Ledger.completion

    def completion(*arguments: Any) -> None:
        times.append(time.perf_counter())
        booked(*arguments)

    Ledger.completion = completion  # type: ignore[method-assign]
    source = (Task(id=number, instruction=f"What is question {number} about?") for number in numbers)
    distiller = Distiller(open_teacher("vllm:bench", base_url=url), concurrency=at_once)
    await distiller.arun(source, folder / "run", progress=False)


async def with_aiohttp(url: str, numbers: Numbers, at_once: int, folder: Path, times: list[float]) -> None:
    import aiohttp

    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def worker() -> None:
                for number in numbers:
                    messages = [{"role": "user", "content": f"What is question {number} about?"}]
                    async with session.post(
                        f"{url}/chat/completions", json={"model": "bench", "messages": messages}
                    ) as reply:
                        message = (await reply.json())["choices"][0]["message"]
                    times.append(time.perf_counter())
                    text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
                    row = {"messages": [*messages, {"role": "assistant", "content": text}]}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")

            await asyncio.gather(*(worker() for _ in range(at_once)))


CLIENTS = {"cot_distill": with_cot_distill, "aiohttp": with_aiohttp}


def measure(client: str, url: str, tasks: int, at_once: int) -> dict[str, float]:
    """In this process. Returns what is printed."""
    times: list[float] = []
    lags: list[float] = []
    numbers = Numbers(tasks)

    async def main(folder: Path) -> None:
        watching = asyncio.create_task(probe(lags))
        await CLIENTS[client](url, numbers, at_once, folder, times)
        watching.cancel()

    with tempfile.TemporaryDirectory() as folder:
        run: Any = asyncio.run
        if os.environ.get("COT_DISTILL_FAST") == "1":
            import uvloop

            run = uvloop.run
        run(main(Path(folder)))
    first, last = times[0] + 3.0, numbers.dry
    rate = sum(first <= at < last for at in times) / (last - first)
    used = resource.getrusage(resource.RUSAGE_SELF)
    lags.sort()
    return {
        "rate": rate,
        "ideal": at_once / MEAN,
        "answers": len(times),
        "cpu": used.ru_utime + used.ru_stime,
        "median_lag": statistics.median(lags),
        "late_lag": lags[int(len(lags) * 0.99)],
        "worst_lag": lags[-1],
        "peak_mb": used.ru_maxrss / 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--at-once", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--rounds", type=int, default=20, help="answers for each request in flight")
    parser.add_argument("--bytes", type=int, default=16_000)
    parser.add_argument("--client", choices=sorted(CLIENTS))
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.client:
        at_once = options.at_once[0]
        print(json.dumps(measure(options.client, options.url, at_once * options.rounds, at_once)))
        return
    print(f"{options.bytes:,} bytes, median latency 1 s, {options.rounds} answers for each request in flight\n")
    columns = (("in flight", 10), ("of ideal", 10), ("CPU ms", 8), ("lag ms: median", 16), ("99 %", 7), ("worst", 7))
    print(f"{'client':<18}" + "".join(f"{name:>{width}}" for name, width in (*columns, ("MB", 6))))
    for at_once in options.at_once:
        for client, fast in (("aiohttp", "0"), ("cot_distill", "0"), ("cot_distill", "1")):
            with server(options.bytes) as url:
                command = [sys.executable, __file__, "--client", client, "--url", url, "--at-once", str(at_once)]
                command += ["--rounds", str(options.rounds)]
                environment = os.environ | {"COT_DISTILL_FAST": fast}
                result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
            found = json.loads(result.stdout)
            name = client + (" [fast]" if fast == "1" else "")
            print(
                f"{name:<18}{at_once:>10,}{found['rate'] / found['ideal']:>10.1%}"
                f"{found['cpu'] / found['answers'] * 1e3:>8.2f}{found['median_lag'] * 1e3:>16.1f}"
                f"{found['late_lag'] * 1e3:>7.0f}{found['worst_lag'] * 1e3:>7.0f}{found['peak_mb']:>6.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
