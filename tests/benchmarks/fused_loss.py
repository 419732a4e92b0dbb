"""Peak memory and time of the distillation losses at a real size: ``python tests/benchmarks/fused_loss.py``.

One step, forward and backward, from the last hidden states to their gradients and that of the head: 8,192 tokens, a
vocabulary of 151,936, a student 2,048 wide and a teacher 4,096 wide. On a GPU in bfloat16; ``--small`` is for a
processor, in float32. Needs the extra "train"; Liger's fused loss is measured beside where it is installed. Memory,
on a GPU, is what is allocated beyond inputs, weights, and what stays: the gradients.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from cot_distill.student import TeacherHidden, TeacherTopK, fused_linear_kd_loss, kd_loss, sparse_kd_loss


class Problem:
    """Hidden states, heads and labels."""

    def __init__(
        self, tokens: int, vocabulary: int, student: int, teacher: int, device: str, dtype: torch.dtype
    ) -> None:
        make = partial(torch.randn, device=device, dtype=dtype)
        torch.manual_seed(0)
        self.hidden = make(tokens, student, requires_grad=True)
        self.head = nn.Parameter(make(vocabulary, student) * student**-0.5)
        self.teacher_hidden = make(tokens, teacher)
        self.teacher_head = make(vocabulary, teacher) * teacher**-0.5
        self.labels = torch.randint(vocabulary, (tokens,), device=device)
        ids = torch.rand(tokens, 4 * 20, device=device).mul(vocabulary // 80).long() + torch.arange(
            80, device=device
        ) * (vocabulary // 80)
        self.ids = ids[:, :20]
        self.logprobs = functional.log_softmax(torch.randn(tokens, 20, device=device), -1) - 0.1


def naive(problem: Problem) -> Tensor:
    """As it is written in most training scripts: all logits of both, in float32."""
    logits = functional.linear(problem.hidden, problem.head).float()
    with torch.no_grad():
        target = functional.linear(problem.teacher_hidden, problem.teacher_head).float()
    kl = functional.kl_div(
        functional.log_softmax(logits / 2, -1),
        functional.log_softmax(target / 2, -1),
        reduction="batchmean",
        log_target=True,
    )
    return 0.5 * functional.cross_entropy(logits, problem.labels) + 0.5 * 4 * kl


def plain(problem: Problem) -> Tensor:
    with torch.no_grad():
        target = functional.linear(problem.teacher_hidden, problem.teacher_head)
    logits = functional.linear(problem.hidden, problem.head)
    return kd_loss(logits, target, problem.labels, temperature=2.0).loss


def fused(problem: Problem, chunk: int) -> Tensor:
    teacher = TeacherHidden(problem.teacher_hidden, problem.teacher_head)
    return fused_linear_kd_loss(
        problem.hidden, problem.head, teacher, problem.labels, temperature=2.0, chunk_size=chunk
    ).loss


def plain_topk(problem: Problem) -> Tensor:
    logits = functional.linear(problem.hidden, problem.head)
    return sparse_kd_loss(logits, problem.ids, problem.logprobs, problem.labels).loss


def fused_topk(problem: Problem) -> Tensor:
    teacher = TeacherTopK(problem.ids, problem.logprobs)
    return fused_linear_kd_loss(problem.hidden, problem.head, teacher, problem.labels).loss


def liger(problem: Problem) -> Tensor:
    """Half a cross-entropy and half a forward KL, without T^2."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    loss: Any = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.5, weight_soft_loss=0.5, beta=0.0, temperature=2.0, compiled=False
    )
    value: Tensor = loss(problem.hidden, problem.head, problem.teacher_hidden, problem.teacher_head, problem.labels)
    return value


def measure(loss: Callable[[Problem], Tensor], problem: Problem, rounds: int) -> tuple[float, float, float]:
    """Returns the value, seconds, and bytes at most beyond what was there and what stays."""
    on_gpu = problem.hidden.is_cuda
    seconds, peak, value, there = [], 0.0, 0.0, 0
    for _ in range(rounds + 1):  # the first is to warm up
        problem.hidden.grad = problem.head.grad = None
        gc.collect()
        if on_gpu:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            there = torch.cuda.memory_allocated()
        began = time.perf_counter()
        result = loss(problem)
        result.backward()  # type: ignore[no-untyped-call]
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
        stays = sum(one.grad.nbytes for one in (problem.hidden, problem.head) if one.grad is not None)
        if on_gpu:
            peak = max(peak, torch.cuda.max_memory_allocated() - there - stays)
        value = float(result.detach())
        del result
    return value, statistics.median(seconds[1:]), peak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", action="store_true", help="1,024 tokens and a vocabulary of 16,384")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only")
    options = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    sizes = (1024, 16_384, 256, 512) if options.small or not on_gpu else (8192, 151_936, 2048, 4096)
    losses: dict[str, Callable[[Problem], Tensor]] = {
        "naive": naive, "kd_loss": plain, "fused, chunk 256": partial(fused, chunk=256),
        "fused, chunk 1024": partial(fused, chunk=1024), "fused, chunk 4096": partial(fused, chunk=4096),
        "sparse_kd_loss, k=20": plain_topk, "fused, k=20": fused_topk,
    }  # fmt: skip
    if find_spec("liger_kernel"):
        losses["Liger's fused JSD"] = liger
    where = torch.cuda.get_device_name() if on_gpu else f"a processor, {torch.get_num_threads()} threads"
    print(f"{sizes[0]:,} tokens, vocabulary {sizes[1]:,}, on {where}, torch {torch.__version__}\n")
    print(f"{'loss':<22}{'value':>10}{'ms':>10}{'x naive':>9}{'peak MiB':>10}{'of naive':>10}")
    reference: tuple[float, float] | None = None
    for name, loss in losses.items():
        if options.only and options.only != name:
            continue
        problem = Problem(*sizes, "cuda" if on_gpu else "cpu", torch.bfloat16 if on_gpu else torch.float32)
        try:
            value, seconds, peak = measure(loss, problem, options.rounds)
        except (RuntimeError, TypeError, ValueError) as error:
            print(f"{name:<22}  {type(error).__name__}: {str(error).splitlines()[0][:90]}", file=sys.stdout)
            continue
        reference = reference or (seconds, peak)
        print(
            f"{name:<22}{value:>10.4f}{seconds * 1e3:>10.1f}{seconds / reference[0]:>9.2f}{peak / 2**20:>10,.0f}"
            f"{peak / reference[1] if reference[1] else 0:>10.2f}",
            flush=True,
        )
        del problem


if __name__ == "__main__":
    main()
