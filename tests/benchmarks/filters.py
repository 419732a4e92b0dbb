"""Whether 100,000 samples go through ``dedup`` and ``decontaminate``: ``python tests/benchmarks/filters.py``.

Each stage runs in a process of its own, over the same made-up samples, which are generated as they are pulled and
never held. References in the same run: ``loop`` only pulls them, ``texts`` is exact dedup with a Python set of whole
texts. Of the samples 4 % repeat the reasoning of an earlier one, 8 % nearly so (similarity about 0.9), and 1 % hold a
passage of the benchmark. The two stages that matter run twice, with other hash seeds: their output must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from cot_distill import filters
from cot_distill.types import Sample, Task, Trace

STAGES = ("loop", "texts", "dedup", "dedup near", "decontaminate")
TWICE = ("dedup near", "decontaminate")
_BENCHMARK_ROWS = 5000


class Maker:
    """Makes sample number so-and-so, the same every time."""

    def __init__(self, size: int) -> None:
        dice = random.Random(0)
        letters = "abcdefghijklmnopqrstuvwxyz"
        vocabulary = ["".join(dice.choices(letters, k=dice.randint(2, 9))) for _ in range(20_000)]
        self.sentences = [" ".join(dice.choices(vocabulary, k=dice.randint(8, 14))) + "." for _ in range(20_000)]
        self.count = size // 72  # a sentence has 72 characters
        self.questions = [" ".join(dice.choices(vocabulary, k=60)) + "?" for _ in range(_BENCHMARK_ROWS)]

    def reasoning(self, number: int) -> str:
        kind = number % 100
        if number > 100 and kind in (7, 31, 55, 79):  # the very text of an earlier one
            return self.reasoning(number - 50)
        dice = random.Random(number)
        if number > 100 and kind in (3, 15, 27, 39, 51, 63, 75, 87):
            picked = self.picked(number - 50)
            for _ in range(self.count // 25):
                place = dice.randrange(self.count)
                picked[place] = (picked[place] + dice.randrange(1, 10_000)) % 20_000
        else:
            picked = self.picked(number)
        return " ".join(self.sentences[place] for place in picked)

    def picked(self, number: int) -> list[int]:
        dice = random.Random(-1 - number)
        return [int(dice.random() * 20_000) for _ in range(self.count)]

    def instruction(self, number: int) -> str:
        dice = random.Random(f"{number} asks")
        text = " ".join(dice.choices(self.sentences, k=4))
        if number % 100 == 42:
            words = dice.choice(self.questions).split()
            start = dice.randrange(len(words) - 20)
            text = f"{text} {' '.join(words[start : start + 20]).upper()}"
        return text

    def samples(self, count: int) -> Iterator[Sample]:
        for number in range(count):
            yield Sample(
                task=Task(id=number, instruction=self.instruction(number)),
                trace=Trace(reasoning=self.reasoning(number), answer=f"It is {number}."),
            )


def texts_in_a_set(samples: Iterable[Sample]) -> Iterator[Sample]:
    seen: set[str] = set()
    for sample in samples:
        if sample.trace.reasoning not in seen:
            seen.add(sample.trace.reasoning)
            yield sample


def choose(stage: str, maker: Maker, folder: Path) -> Callable[[Iterable[Sample]], Iterable[Sample]]:
    if stage == "dedup":
        return filters.dedup()
    if stage == "dedup near":
        return filters.dedup(near=0.8)
    if stage == "decontaminate":
        path = folder / "benchmark.jsonl"
        path.write_text("".join(json.dumps({"question": question}) + "\n" for question in maker.questions))
        return filters.decontaminate(path)
    return texts_in_a_set if stage == "texts" else iter


def planted(stage: str, count: int) -> int:
    """How many ought to be dropped."""
    numbers = range(count)
    if stage == "decontaminate":
        return sum(number % 100 == 42 for number in numbers)
    kinds = {"loop": (), "texts": (7, 31, 55, 79), "dedup": (7, 31, 55, 79)}.get(
        stage, (7, 31, 55, 79, 3, 15, 27, 39, 51, 63, 75, 87)
    )
    return sum(number > 100 and number % 100 in kinds for number in numbers)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(stage: str, count: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(size)
        chosen = choose(stage, maker, Path(folder))
        for _ in chosen(maker.samples(200)):  # whatever is imported late
            pass
        marks: dict[int, float] = {0: peak_mb()}
        done = blake2b()
        started, cpu = time.perf_counter(), time.process_time()

        def counted() -> Iterator[Sample]:
            for number, sample in enumerate(maker.samples(count), start=1):
                yield sample
                if number in (count // 10, count // 2, count):
                    marks[number] = peak_mb()

        kept = 0
        for sample in chosen(counted()):
            done.update(f"{sample.task.id} ".encode())
            kept += 1
        cpu, wall = time.process_time() - cpu, time.perf_counter() - started
    found = {"stage": stage, "kept": kept, "cpu": cpu, "wall": wall, "marks": marks, "digest": done.hexdigest()[:12]}
    print(json.dumps(found))


def measure(stage: str, count: int, size: int, hash_seed: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--stage", stage, "--samples", str(count), "--bytes", str(size)]
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(result.stdout)
    found["marks"] = list(found["marks"].values())
    return found


def table(count: int, size: int) -> bool:
    print(f"{count:,} samples with {size:,} characters of reasoning; CPU time, net of the plain loop\n")
    at = [f"MB at {part:,}" for part in (0, count // 10, count // 2, count)]
    print(f"{'stage':<16}{'samples/s':>10}{'ms a sample':>13}{'x texts':>9}", end="")
    print("".join(f"{name:>15}" for name in at) + f"{'bytes a kept':>14}{'dropped':>9}{'planted':>9}  output")
    loop = texts = 0.0
    good = True
    for stage in STAGES:
        found = measure(stage, count, size, 1)
        loop = found["cpu"] if stage == "loop" else loop
        net = found["cpu"] - loop
        texts = net if stage == "texts" else texts
        ratio = f"{net / texts:.1f}" if texts else ""
        tenth, whole = found["marks"][1], found["marks"][3]
        growth = (whole - tenth) * 2**20 / (0.9 * found["kept"])
        again = measure(stage, count, size, 2)["digest"] if stage in TWICE else found["digest"]
        good = good and again == found["digest"]
        print(f"{stage:<16}{count / found['wall']:>10,.0f}{net / count * 1000:>13.3f}{ratio:>9}", end="")
        print("".join(f"{mark:>15.1f}" for mark in found["marks"]), end="")
        print(f"{growth:>14,.0f}{count - found['kept']:>9,}{planted(stage, count):>9,}", end="")
        print(f"  {found['digest']}{(' twice' if again == found['digest'] else ' NOT AGAIN') * (stage in TWICE)}")
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--bytes", type=int, default=4000, help="characters of reasoning")
    parser.add_argument("--stage", choices=STAGES, help="one of them, in this process")
    options = parser.parse_args()
    if options.stage:
        child(options.stage, options.samples, options.bytes)
    else:
        sys.exit(not table(options.samples, options.bytes))


if __name__ == "__main__":
    main()
