"""That distillation pays, shown end to end and from scratch: ``python tests/benchmarks/proof.py``.

First a program is the teacher: it thinks step by step, and errs. Its answers are verified, and three students learn
from them with the same compute: a small one from the reasoning, the same one from the answers alone, and one of four
times the size from the answers alone. Then a model that was trained here is the teacher, and small students learn
from it in three ways: from what it writes, from its logits, from its hidden states.

Nothing is downloaded. On a CPU it takes minutes; with ``--quick`` seconds, which shows that everything works and no
more. ``--gpu`` does the same with longer chains and larger models. Prints tables, writes a figure and all numbers.
Needs the extra "train".
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from proof_plot import Line, Panel, svg
from proof_tasks import FORMATTER, ChainTeacher, chains, make_tokenizer
from proof_training import Job, Outcome, say, train
from transformers import AutoModelForCausalLM

from cot_distill import Distiller, Sampling, filters, student, verifiers
from cot_distill.protocols import Teacher

TRACES, ANSWERS, LARGER = "reasoning", "answers only", "answers only, 4 x larger"
SEQUENCE, LOGITS, FEATURES = "sequence-level", "+ logits", "+ hidden states"
WAYS: dict[str, dict[str, Any]] = {
    SEQUENCE: {"gamma": 0.0},
    LOGITS: {"gamma": 0.5},
    FEATURES: {"gamma": 0.0, "feature_weight": 1.0},
}

SHOWS = """\
What this shows: through one verified dataset, and with equal compute (floating-point operations by the usual count,
of which the larger student has half as many again, so that it has no fewer seconds either), a student that learns
the reasoning solves chains that neither it nor one of four times its size learns from answers alone; and all three
ways to distil run end to end on what a model served in this process has said.
What it does not show: there is one family of tasks, in which each step is easy and the whole is not, and the models
are tiny and trained from scratch. A trace has many more tokens to learn from than an answer, and a part of the gain
is that denser supervision. Whether answers alone would do with far more compute was not tried. The three ways were
compared at equal steps, not at equal compute, on one pair of models, and while the students were still learning, when
seeds differ more than ways: this is no evidence that one of them is better in general, logits over text
least of all."""


@dataclass(frozen=True)
class Setup:
    """The sizes of a proof."""

    k: int | tuple[int, int]
    """Operations of a chain; where it is a range, the longest ones are those that count."""
    tasks: int
    small: tuple[int, int]
    """Width and blocks. One of twice the width has four times the weights."""
    steps: int
    batch: int
    rate: float
    seeds: int
    teacher_k: int | tuple[int, int]
    teacher: tuple[int, int]
    teacher_steps: int
    asked: int
    """Tasks that the model is asked."""
    ways_steps: int
    minutes: float
    held_out: int = 200
    points: int = 10
    answers_batch: int = 1
    """How many times as large batches of answers are; they are short, and a GPU wants to be filled."""


CPU = Setup(6, 20_000, (64, 3), 500, 64, 2e-3, 3, 4, (96, 3), 500, 5_000, 350, minutes=25)
GPU = Setup(
    (3, 14),
    40_000,
    (512, 8),
    700,
    256,
    6e-4,
    3,
    (3, 8),
    (512, 8),
    400,
    3_000,
    300,
    minutes=4,
    points=5,
    answers_batch=2,
)
QUICK = Setup(3, 3_000, (32, 2), 30, 16, 2e-3, 1, 2, (64, 2), 400, 100, 20, minutes=5, held_out=40, points=2)
QUICK_GPU = replace(QUICK, k=(2, 3), teacher_k=(2, 2), answers_batch=2)


def longest(k: int | tuple[int, int]) -> int:
    return k if isinstance(k, int) else k[1]


def room(k: int | tuple[int, int]) -> int:
    """Tokens for an answer: 6 a step, tags, and a bit more than it takes."""
    return 6 * longest(k) + 16


# --- the data ---

_DEFAULTS = Sampling()


def make_data(
    teacher: Teacher,
    k: int | tuple[int, int],
    number: int,
    held_out: int,
    run_at: Path,
    *,
    seed: int,
    sampling: Sampling = _DEFAULTS,
    concurrency: int = 64,
) -> Path:
    """Tasks -> teacher -> verified run -> rows. Returns a file with these, and with tasks that are not among them."""
    unseen = list(chains(held_out, longest(k), seed=seed + 1))
    taboo = {task.instruction for task in unseen}
    tasks = [task for task in chains(number, k, seed=seed) if task.instruction not in taboo]
    began = time.time()
    distiller = Distiller(teacher, verifiers=[verifiers.exact()], sampling=sampling, concurrency=concurrency)
    run = distiller.run(tasks, run_at, progress=False)
    report = run.report()
    cut = sum(report.failures.values())
    say(
        f"{teacher.name}: {report.asked} answers in {time.time() - began:.0f} s: {report.passed} right, "
        f"{report.wrong} wrong, {cut} cut; only the right ones are learned from"
    )
    run.to_jsonl(run_at.with_suffix(".jsonl"), filters.passed)
    rows = [
        {name: row[name] for name in ("input_ids", "labels", "spans")}
        for row in student.encode_rows(make_tokenizer(), run.samples(), formatter=FORMATTER)
    ]
    file = run_at.with_suffix(".pickle")
    file.write_bytes(pickle.dumps((rows, unseen)))
    return file


# --- the trainings ---


def job(setup: Setup, name: str, seed: int, data: Path, deadline: float, share: float = 1.0, **more: Any) -> Job:
    now = time.time()
    settings: dict[str, Any] = {
        "size": setup.small,
        "steps": setup.steps,
        "batch": setup.batch,
        "rate": setup.rate,
        "tokens": room(setup.k),
        "points": setup.points,
        "until": now + (deadline - now) * share,
    }
    return Job(name, seed, data, **settings | more)


def compare(setup: Setup, data: Path, seed: int, deadline: float) -> list[Outcome]:
    """Reasoning against answers, at equal compute."""
    width, layers = setup.small
    outcomes = [train(job(setup, TRACES, seed, data, deadline, 0.3))]
    flops = outcomes[0].flops
    short: dict[str, Any] = {"answers_only": True, "batch": setup.answers_batch * setup.batch}
    outcomes.append(train(job(setup, ANSWERS, seed, data, deadline, 0.6, flops=flops, **short)))
    # Larger matrices are multiplied faster: with half as many operations again, it has no fewer seconds either.
    size, flops = (2 * width, layers), 1.5 * flops
    outcomes.append(train(job(setup, LARGER, seed, data, deadline, 0.7, flops=flops, size=size, **short)))
    return outcomes


Taught = tuple[Outcome, Path, Path]
"""Of a teacher that is a model: its training, where it is, and where its answers are."""


def make_teacher(setup: Setup, folder: Path, deadline: float) -> Taught | None:
    """A model learns from the program, and is asked itself. None where it has learned too little for that."""
    k = setup.teacher_k
    data = make_data(ChainTeacher(), k, setup.tasks // 2, setup.held_out, folder / "teacher-data", seed=20)
    place = folder / "teacher"
    steps = setup.teacher_steps
    doing = job(setup, "the teacher", 0, data, deadline, 0.4, size=setup.teacher, steps=steps, tokens=room(k))
    outcome = train(replace(doing, save=place))
    if outcome.accuracy < 0.2:
        say(f"the model has {outcome.accuracy:.0%} right, too few for a teacher: THE SECOND PART IS LEFT OUT")
        return None
    from cot_distill.teachers.local import TransformersTeacher

    model = AutoModelForCausalLM.from_pretrained(place)
    if torch.cuda.is_available():
        model.to("cuda", torch.bfloat16)
    teacher = TransformersTeacher(model, make_tokenizer(), name="model-in-process", max_batch=setup.batch)
    sampling = Sampling(temperature=1.0, seed=0, max_tokens=room(k))
    said = make_data(
        teacher,
        k,
        setup.asked,
        setup.held_out,
        folder / "model-data",
        seed=40,
        sampling=sampling,
        concurrency=2 * setup.batch,
    )
    return outcome, place, said


def ways(setup: Setup, teacher: Path, data: Path, seed: int, deadline: float) -> list[Outcome]:
    """The same student from the same rows, in three ways."""
    small = replace(setup, steps=setup.ways_steps)
    if setup.teacher == setup.small:  # with a GPU: the teacher is as large as time allows
        small = replace(small, small=(setup.small[0] // 2, setup.small[1] // 2))
    return [
        train(
            job(small, name, seed, data, deadline, 0.4, settings=how, teacher=teacher, tokens=room(setup.teacher_k))
        )
        for name, how in WAYS.items()
    ]


# --- the whole ---


def prove(setup: Setup, folder: Path, processes: int) -> tuple[list[Outcome], list[Outcome], Outcome | None]:
    """Returns the outcomes of the comparison, of the ways, and of the teacher's training."""
    deadline = time.time() + setup.minutes * 60
    data = make_data(ChainTeacher(), setup.k, setup.tasks, setup.held_out, folder / "program-data", seed=0)
    compared: list[Outcome] = []
    taught: list[Outcome] = []
    if processes > 1:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            comparisons = [pool.submit(compare, setup, data, seed, deadline) for seed in range(setup.seeds)]
            teacher = pool.submit(make_teacher, setup, folder, deadline).result()
            more = (
                []
                if teacher is None
                else [pool.submit(ways, setup, *teacher[1:], seed, deadline) for seed in range(setup.seeds)]
            )
            compared = [outcome for future in comparisons for outcome in future.result()]
            taught = [outcome for future in more for outcome in future.result()]
        return compared, taught, teacher and teacher[0]
    teacher, seconds = None, 0.0
    for seed in range(setup.seeds):  # seed by seed, as far as the time allows
        began = time.time()
        if deadline - began < seconds:
            say(f"{setup.minutes:g} minutes are not enough for more than {seed} of {setup.seeds} seeds")
            break
        # The first seed leaves time for the second part.
        compared += compare(setup, data, seed, deadline - (0 if seed else 0.35 * (deadline - began)))
        teacher = teacher if seed else make_teacher(setup, folder, deadline)
        taught += [] if teacher is None else ways(setup, *teacher[1:], seed, deadline)
        seconds = max(seconds, 1.1 * (time.time() - began))
    return compared, taught, teacher and teacher[0]


def table(outcomes: Sequence[Outcome], clock: str) -> list[str]:
    """A line for each name, the seeds side by side."""
    lines = [
        f"| student | parameters | steps | TFLOP | {clock} | right, mean | each seed | tokens of reasoning |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(outcome.name for outcome in outcomes):
        found = [outcome for outcome in outcomes if outcome.name == name]
        each = ", ".join(f"{outcome.accuracy:.0%}{' (cut)' * outcome.cut}" for outcome in found)
        mean = statistics.mean(outcome.accuracy for outcome in found)
        first = found[0]
        seconds = statistics.mean(outcome.seconds for outcome in found)
        flops = statistics.mean(outcome.flops for outcome in found) / 1e12
        lines.append(
            f"| {name} | {first.parameters / 1e6:.3g} M | {first.steps} | {flops:.3g} | {seconds:.0f} | {mean:.0%} "
            f"| {each} | {statistics.mean(outcome.reasoning_tokens for outcome in found):.0f} |"
        )
    return lines


def panel(title: str, outcomes: Sequence[Outcome]) -> Panel:
    lines = [Line(one.name, [(x / 1e12, y) for x, y in one.curve]) for one in outcomes]
    return Panel(title, "TFLOP spent on training", lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Shows end to end that distillation pays.")
    parser.add_argument("--quick", action="store_true", help="a minute, tiny: shows that everything works")
    parser.add_argument("--gpu", action="store_true", help="longer chains and larger models, in bfloat16")
    parser.add_argument("--minutes", type=float, help="stop after so many, with what there is by then")
    parser.add_argument("--processes", type=int, help="on a CPU; default: 2 where there are two processors")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for proof.svg and proof.json")
    given = parser.parse_args()
    if given.gpu and not given.quick and not torch.cuda.is_available():
        sys.exit("proof.py --gpu: torch sees no GPU; leave --gpu out, or try its code path with --gpu --quick")
    setup = (QUICK_GPU if given.gpu else QUICK) if given.quick else GPU if given.gpu else CPU
    if given.minutes:
        setup = replace(setup, minutes=given.minutes)
    given.out.mkdir(parents=True, exist_ok=True)
    processes = given.processes or (1 if given.gpu or given.quick else min(2, os.cpu_count() or 1))
    if not given.gpu and torch.cuda.is_available():
        sys.exit("proof.py: there is a GPU: say --gpu, or hide it with CUDA_VISIBLE_DEVICES=''")
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        compared, taught, teacher = prove(setup, Path(folder), processes)
    used = os.times()
    on = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {processes} x 1 thread"
    clock = "s" if torch.cuda.is_available() else "CPU s"
    print(f"\nChains of {longest(setup.k)} operations, a program as the teacher, equal FLOPs or more ({on}):\n")
    print("\n".join(table(compared, clock)))
    if teacher is not None:
        print(
            f"\nChains of {longest(setup.teacher_k)} operations, a model of {teacher.parameters / 1e6:.3g} M as the "
            f"teacher ({teacher.accuracy:.0%} right), equal steps:\n"
        )
        print("\n".join(table(taught, clock)))
    print(
        f"\n{time.time() - began:.0f} s in all, {sum(used[:4]):.0f} s of processors. By chance 10% are right; "
        f"{setup.held_out} tasks that no student had seen."
    )
    if given.quick:
        print("\nThis was --quick: it shows that everything works, and nothing about distillation.")
    else:
        print(f"\n{SHOWS}")
    titles = (f"Chains of {longest(setup.k)}: right answers", f"Three ways, chains of {longest(setup.teacher_k)}")
    figure = svg([panel(title, some) for title, some in zip(titles, (compared, taught), strict=True)])
    (given.out / "proof.svg").write_text(figure, encoding="utf-8")
    numbers = {"on": on, "setup": asdict(setup), "compared": compared, "ways": taught, "teacher": teacher}
    (given.out / "proof.json").write_text(json.dumps(numbers, default=asdict, indent=1), encoding="utf-8")
    print(f"\nwrote {given.out / 'proof.svg'} and {given.out / 'proof.json'}")


if __name__ == "__main__":
    main()
