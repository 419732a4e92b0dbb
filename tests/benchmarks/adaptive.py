"""Adaptive concurrency against the best fixed number, simulated: ``python tests/benchmarks/adaptive.py``.

Prints the tables of docs/design/adaptive-concurrency.md, which takes some ten minutes on two cores; ``--seeds 3`` is
a quick look. ``--plots`` draws the page's figures instead.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))

import adaptive_plots
from simulated_endpoint import INF, Endpoint, Fixed, Trace, simulate

from cot_distill.adaptive import AdaptiveLimit

KINDS = ("queues", "GPU", "refuses", "refuses, 5 s hint", "bucket", "bucket, hint")
SIZES = ((16, 2000), (64, 3000), (300, 6000))
SPREADS = (0.5, 1.0)
FIXED = (0.8, 1.0, 1.25, 2.0)
"""Fixed numbers to compare with, as parts of the knee."""


def endpoint(kind: str, size: int, sigma: float = 0.7) -> Endpoint:
    """An endpoint whose knee is at this many in flight."""
    plain = Endpoint(sigma=sigma)
    rate = size / plain.mean_seconds
    return {
        "queues": replace(plain, slots=size),
        "GPU": replace(plain, knee=size),
        "refuses": replace(plain, refuse_above=size),
        "refuses, 5 s hint": replace(plain, refuse_above=size, hint=5.0),
        "bucket": replace(plain, rate=rate, burst=20 * rate),
        "bucket, hint": replace(plain, rate=rate, burst=20 * rate, hint="token"),
    }[kind]


class Job(NamedTuple):
    endpoint: Endpoint
    tasks: int
    seed: int
    fixed: int | None = None
    most: int = 2048
    tokens: bool = True


def run(job: Job) -> Trace:
    control = AdaptiveLimit(most=job.most) if job.fixed is None else Fixed(job.fixed)
    return simulate(job.endpoint, control, job.tasks, job.seed, tokens=job.tokens)


def figures(job: Job) -> dict[str, float]:
    """What the tables need of a run: a trace is too much to send between processes."""
    trace = run(job)
    if trace.broken or len(trace.answers) < 0.9 * job.tasks:
        return {"broken": 1.0, "seconds": trace.end}
    found = {"whole": trace.part(0)[0], "second": trace.part(0.2, 0.4)[0], "timeouts": trace.timeouts / job.tasks}
    found["rest"], found["refused"] = trace.part(0.2)
    found["all refused"] = len(trace.refusals) / len(trace.sends)
    found["limit"], found["early"] = trace.mean_limit(0.2), trace.limit_at(0.2)
    changes = job.endpoint.capacity or job.endpoint.speed
    if changes:  # at half the answers
        found["before"], found["soon refused"] = trace.part(0.3, 0.5)[0], trace.part(0.5, 0.6)[1]
        for name, begin, end in (("soon", 0.5, 0.6), ("then", 0.6, 0.7), ("later", 0.7, None)):
            found[name] = trace.part(begin, end)[0]
        found["later refused"] = trace.part(0.7)[1]
    return found


class Rows:
    """Runs jobs on all cores, each once, and means their figures."""

    def __init__(self, pool: ProcessPoolExecutor, seeds: int) -> None:
        self.pool, self.seeds = pool, seeds

    def __call__(self, spec: Endpoint, tasks: int, **how: object) -> list[dict[str, float]]:
        jobs = [Job(spec, tasks, seed, **how) for seed in range(self.seeds)]  # type: ignore[arg-type]
        return list(self.pool.map(figures, jobs, chunksize=1))

    def best(self, spec: Endpoint, tasks: int, numbers: Iterable[float]) -> list[dict[str, float]]:
        """The runs of the fixed number that is best after the first fifth, on average."""
        tried = [self(spec, tasks, fixed=max(1, round(number))) for number in numbers]
        return max(tried, key=lambda runs: mean(runs, "rest"))


def mean(runs: list[dict[str, float]], name: str) -> float:
    return statistics.fmean(one[name] for one in runs)


def ratios(runs: list[dict[str, float]], name: str, to: list[dict[str, float]]) -> list[float]:
    """Seed by seed: both had the same answers to wait for."""
    return [one[name] / other[name] for one, other in zip(runs, to, strict=True)]


def show(title: str, head: list[str], rows: Iterator[list[str]]) -> None:
    print(f"\n**{title}**\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def steady(rows: Rows) -> Iterator[list[str]]:
    for kind in KINDS:
        for size, tasks in SIZES:
            for sigma in SPREADS:
                spec = endpoint(kind, size, sigma)
                runs, best = rows(spec, tasks), rows.best(spec, tasks, (part * size for part in FIXED))
                rest = ratios(runs, "rest", best)
                yield [
                    kind,
                    str(size),
                    f"{sigma:g}",
                    f"{statistics.fmean(ratios(runs, 'second', best)):.3f}",
                    f"{statistics.fmean(rest):.3f}",
                    f"{min(rest):.3f}",
                    f"{statistics.fmean(ratios(runs, 'whole', best)):.3f}",
                    percent(mean(runs, "refused")),
                    percent(max(one["refused"] for one in runs)),
                    percent(mean(best, "refused")),
                    f"{mean(runs, 'early') / size:.2f}",
                    f"{mean(runs, 'limit') / size:.2f}",
                ]


def changing(rows: Rows) -> Iterator[list[str]]:
    for kind in KINDS:
        for size, half in ((16, 1500), (64, 3000), (300, 8000)):
            for factor in (0.5, 2.0):
                spec = replace(endpoint(kind, size), capacity=((half, factor),))
                runs = rows(spec, 2 * half)
                full = size / spec.mean_seconds
                yield [
                    kind,
                    str(size),
                    "halves" if factor < 1 else "doubles",
                    f"{mean(runs, 'before') / full:.2f}",
                    *(f"{mean(runs, name) / full / factor:.2f}" for name in ("soon", "then", "later")),
                    percent(mean(runs, "soon refused")),
                    percent(mean(runs, "later refused")),
                ]


ODD: dict[str, tuple[Endpoint, int, tuple[float, ...]]] = {
    "queues at 1": (Endpoint(slots=1), 400, (1, 4)),
    "queues at 4": (Endpoint(slots=4), 800, (4, 8)),
    "refuses above 1": (Endpoint(refuse_above=1), 400, (1,)),
    "refuses above 4": (Endpoint(refuse_above=4), 800, (4,)),
    "60 s an answer, queues at 16": (Endpoint(slots=16, seconds=60, round_trip=0.3), 1500, (16, 20)),
    "60 s an answer, refuses above 16": (Endpoint(refuse_above=16, seconds=60, round_trip=0.3), 1500, (16, 20)),
    "50 ms an answer, queues at 512": (Endpoint(slots=512, seconds=0.05, round_trip=0.005), 9000, (512, 600, 700)),
    "50 ms an answer, GPU at 512": (Endpoint(knee=512, seconds=0.05, round_trip=0.005), 9000, (512, 600, 700)),
    "50 ms, refuses above 512": (Endpoint(refuse_above=512, seconds=0.05, round_trip=0.005), 9000, (512, 540, 570)),
    "50 ms, round trip 20 ms, the same": (
        Endpoint(refuse_above=512, seconds=0.05, round_trip=0.02),
        9000,
        (512, 600, 650, 700),
    ),
    "no limit at all": (Endpoint(), 20000, (2048,)),
    "flattens, half speed at 64": (Endpoint(soft=64), 6000, (64, 256, 1024, 2048)),
    "flattens, half speed at 200, queues at 256": (Endpoint(soft=200, slots=256), 6000, (200, 256, 320)),
    "flattens, half speed at 64, queues at 256": (Endpoint(soft=64, slots=256), 6000, (200, 256, 320)),
    "queues at 64, 2 % lost": (Endpoint(slots=64, flaky=0.02), 3000, (64, 72, 80)),
    "queues at 64, 10 % lost": (Endpoint(slots=64, flaky=0.1), 3000, (64, 72, 80)),
    "GPU at 64, speed wobbles by 30 %": (
        Endpoint(knee=64, speed=tuple((300 * step, (1, 0.7)[step % 2]) for step in range(1, 12))),
        4000,
        (64, 72, 80),
    ),
    "GPU at 64, answers get 4 times as long": (Endpoint(knee=64, drift=4), 3000, (64, 72, 80)),
    "GPU at 64, answers get a quarter as long": (Endpoint(knee=64, drift=0.25), 3000, (64, 72, 80)),
    "queues at 64, uneven speed (sigma 0.6)": (Endpoint(slots=64, jitter=0.6), 3000, (64, 72, 80)),
    "queues at 64, 5 s before the first token": (Endpoint(slots=64, overhead=5), 3000, (64, 72, 80)),
    "GPU at 64, time-out at 10 means": (Endpoint(knee=64, timeout=130), 3000, (64, 72, 80)),
    "GPU at 4, time-out at 10 means": (Endpoint(knee=4, timeout=130), 1000, (4, 5, 8)),
    "down for two minutes, queues at 64": (Endpoint(slots=64, down=((200, 320),)), 5000, (64, 72, 80)),
    "20 a minute, bucket of 20": (Endpoint(rate=1 / 3, burst=20), 600, (3, 4, 5, 6)),
    "3 a minute, bucket of 3": (Endpoint(rate=1 / 20, burst=3), 300, (1, 2)),
    "GPU at 64, no token counts": (Endpoint(knee=64), 3000, (64, 72, 80)),
    "queues at 300, no token counts": (Endpoint(slots=300), 6000, (300, 350)),
}


def odd(rows: Rows) -> Iterator[list[str]]:
    for name, (spec, tasks, numbers) in ODD.items():
        runs, best = rows(spec, tasks, tokens="no token" not in name), rows.best(spec, tasks, numbers)
        rest = ratios(runs, "rest", best)
        yield [
            name,
            f"{statistics.fmean(rest):.3f}",
            f"{min(rest):.3f}",
            percent(mean(runs, "refused")),
            percent(mean(best, "refused")),
            percent(mean(runs, "timeouts")),
            percent(mean(best, "timeouts")),
            f"{mean(runs, 'limit'):.0f}",
        ]


def breaking(rows: Rows) -> Iterator[list[str]]:
    for name, spec in {
        "down from the first": Endpoint(down=((0, INF),)),
        "down from the first, 30 s hint": Endpoint(down=((0, INF),), hint=30.0),
        "down after 200 s, queues at 64": Endpoint(slots=64, down=((200, INF),)),
        "loses everything": Endpoint(flaky=1.0),
    }.items():
        seconds = [run(Job(spec, 5000, seed)) for seed in range(min(5, rows.seeds))]
        ends = [trace.end - (trace.answers[-1] if trace.answers else 0.0) for trace in seconds]
        assert all(trace.broken for trace in seconds)
        sent = [sum(time > trace.end - end for time in trace.sends) for trace, end in zip(seconds, ends, strict=True)]
        yield [name, f"{min(ends):.0f} to {max(ends):.0f}", f"{statistics.fmean(sent):.0f}"]


def anywhere(rows: Rows) -> Iterator[list[str]]:
    """Knees that no constant was chosen for."""
    dice = [math.exp(math.log(8) + (place + 0.5) / 40 * math.log(500 / 8)) for place in range(40)]
    for kind in KINDS:
        jobs = [
            (endpoint(kind, round(size), SPREADS[i % 2]), max(1500, 16 * round(size)), i)
            for i, size in enumerate(dice)
        ]
        runs = list(rows.pool.map(figures, [Job(*job) for job in jobs]))
        best = list(
            rows.pool.map(figures, [Job(*job, fixed=round(size)) for job, size in zip(jobs, dice, strict=True)])
        )
        rest = ratios(runs, "rest", best)
        over = [one["limit"] / size for one, size in zip(runs, dice, strict=True)]
        yield [
            kind,
            f"{statistics.fmean(rest):.3f}",
            f"{min(rest):.3f}",
            f"{sum(ratio < 0.95 for ratio in rest)} of {len(rest)}",
            percent(max(one["refused"] for one in runs)),
            f"{statistics.median(over):.2f}",
            f"{max(over):.2f}",
        ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20, help="runs of each row")
    parser.add_argument("--plots", action="store_true", help="write the SVG files of the page, and print no table")
    options = parser.parse_args()
    if options.plots:
        adaptive_plots.draw(Path(__file__).parents[2] / "docs" / "design")
        return
    rate = ["rate, 2nd fifth", "rest", "worst seed"]
    with ProcessPoolExecutor() as pool:
        rows = Rows(pool, options.seeds)
        head = [
            "endpoint",
            "knee",
            "sigma",
            *rate,
            "whole run",
            "refused",
            "worst",
            "fixed",
            "limit/knee at 20 %",
            "after",
        ]
        show("Steady", head, steady(rows))
        show(
            "Any knee",
            ["endpoint", "rate", "worst", "below 0.95", "refused, worst", "limit/knee", "worst"],
            anywhere(rows),
        )
        head = [
            "endpoint",
            "knee",
            "capacity",
            "before",
            "0-10 %",
            "10-20 %",
            "rest",
            "refused, 0-10 %",
            "refused, rest",
        ]
        show("Changing", head, changing(rows))
        head = ["endpoint", "rate", "worst", "refused", "fixed", "timed out", "fixed", "limit"]
        show("Odd ones", head, odd(rows))
        show("Broken", ["endpoint", "seconds until it says so", "requests meanwhile"], breaking(rows))


if __name__ == "__main__":
    main()
