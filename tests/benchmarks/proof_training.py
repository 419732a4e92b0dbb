"""One training of the proof: a student from scratch, measured on tasks it has not seen, while it learns and after."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from proof_tasks import FORMATTER, make_model, make_tokenizer, parameters
from transformers import AutoModelForCausalLM, TrainerCallback

from cot_distill import Task, student, verifiers

__all__ = ["Job", "Outcome", "flops_of", "say", "train", "without_reasoning"]

THINK = 1  # in the column `spans` of encode_rows


@dataclass(frozen=True)
class Job:
    """What to train on what, and how.

    Attributes:
        name: For the table.
        seed: Of the weights and of the order of the rows.
        data: A pickled file of rows and of tasks to measure with.
        size: Width and number of blocks.
        steps: How many, at most.
        flops: Stop where this many are spent; takes the place of ``steps``.
        until: A time (``time.time()``) at which to stop in any case.
        answers_only: Take the reasoning out of the rows.
        settings: Further settings of the trainer.
        teacher: The folder of a teacher for logits or hidden states.
        save: Where to put the student.
        tokens: Cap on an answer when measuring.
        points: How often to measure.
    """

    name: str
    seed: int
    data: Path
    size: tuple[int, int]
    steps: int
    batch: int
    rate: float
    tokens: int
    until: float
    flops: float | None = None
    answers_only: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    teacher: Path | None = None
    save: Path | None = None
    points: int = 10


@dataclass(frozen=True)
class Outcome:
    """What came of a job. ``seconds`` are of the processor (of the clock with a GPU), without measuring."""

    name: str
    seed: int
    parameters: int
    steps: int
    flops: float
    seconds: float
    accuracy: float
    reasoning_tokens: float
    curve: tuple[tuple[float, float], ...]
    """FLOPs spent, and the share of right answers then."""
    cut: bool
    """The time was over before the training was."""


def say(*words: object) -> None:
    """Print a line of progress, at once."""
    print(time.strftime("%H:%M:%S"), *words, flush=True)


def flops_of(size: tuple[int, int], model: Any, rows: list[dict[str, Any]], batch: int) -> float:
    """Floating-point operations of a training step, by the usual count and without padding.

    6 for each weight of a matrix and each token, and 12 x blocks x width x length for attention and each token; the
    table of embeddings is looked up and not multiplied with.
    """
    width, layers = size
    weights = parameters(model) - model.get_input_embeddings().weight.numel()
    lengths = [len(row["input_ids"]) for row in rows]
    return batch / len(rows) * sum(length * (6 * weights + 12 * layers * width * length) for length in lengths)


def without_reasoning(row: dict[str, list[int]]) -> dict[str, list[int]]:
    """The same row as if the teacher had said its answer only."""
    return {
        name: [value for value, span in zip(values, row["spans"], strict=True) if span != THINK]
        for name, values in row.items()
    }


class _Measuring(TrainerCallback):  # type: ignore[misc]
    """Measures the student along the way, counts its seconds, and stops in time."""

    def __init__(self, job: Job, per_step: float, steps: int, measure: Callable[[], Any]) -> None:
        self.curve: list[tuple[float, float]] = []
        self.seconds = 0.0
        self.cut = False
        self.score: Any = None  # the last one: that of the student as it is in the end
        self._job, self._per_step, self._measure = job, per_step, measure
        self._every = -(-steps // job.points)
        self._began = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._began = _clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if time.time() > self._job.until and state.global_step < state.max_steps:
            self.cut = control.should_training_stop = True
        if state.global_step % self._every and state.global_step < state.max_steps and not self.cut:
            return
        self.seconds += _clock() - self._began
        score = self.score = self._measure()
        self.curve.append((state.global_step * self._per_step, score.accuracy))
        say(
            f"  {self._job.name}, seed {self._job.seed}: step {state.global_step} of {state.max_steps}, "
            f"{self.seconds:.0f} s, {score.accuracy:.0%} right"
        )
        self._began = _clock()


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def train(job: Job) -> Outcome:
    """Do a job."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("cot_distill").setLevel(logging.ERROR)
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        torch.set_num_threads(1)
    rows, tasks = _read(job)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, *job.size, seed=job.seed)
    per_step = flops_of(job.size, model, rows, job.batch)
    steps = job.steps if job.flops is None else max(1, round(job.flops / per_step))
    config = student.DistillationConfig(
        str(job.data.parent / "trainer"),
        max_steps=steps,
        per_device_train_batch_size=job.batch,
        learning_rate=job.rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(50, steps // 4),
        adam_beta2=0.99,
        chunk_size=1 << 16,
        seed=job.seed,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        **{"gamma": 0.0, **job.settings},
    )
    teacher = None
    if job.teacher is not None:
        kind = torch.bfloat16 if on_gpu else torch.float32
        teacher = student.LocalTeacher(AutoModelForCausalLM.from_pretrained(job.teacher, dtype=kind))

    def measure() -> student.Score:
        return student.generate_and_score(
            model,
            tokenizer,
            tasks,
            verifiers.exact(),
            max_new_tokens=job.tokens,
            batch_size=256,
            formatter=FORMATTER,
        )

    measuring = _Measuring(job, per_step, steps, measure)
    trainer = student.DistillationTrainer(
        model, config, teacher, train_dataset=rows, processing_class=tokenizer, callbacks=[measuring]
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    if job.save is not None:
        model.save_pretrained(job.save)
    return Outcome(
        job.name,
        job.seed,
        parameters(model),
        trainer.state.global_step,
        trainer.state.global_step * per_step,
        measuring.seconds,
        measuring.score.accuracy,
        measuring.score.reasoning_tokens,
        tuple(measuring.curve),
        measuring.cut,
    )


def _read(job: Job) -> tuple[list[dict[str, Any]], list[Task]]:
    with job.data.open("rb") as file:
        rows, tasks = pickle.load(file)
    if job.answers_only:
        rows = [without_reasoning(row) for row in rows]
    # Arrays, since to make them of lists for each batch would take longer than a step on a GPU.
    return [{name: np.asarray(values) for name, values in row.items()} for row in rows], tasks
