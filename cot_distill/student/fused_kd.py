"""Distillation without the logits: they are made of the hidden states, a few rows at a time, and let go again.

With a vocabulary of 150,000 the logits of 8,000 tokens take 4.9 GB in float32, and their softmaxes and gradients as
much again, several times over. Here no tensor is larger than ``chunk_size`` rows of logits, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cot_distill.errors import ConfigError
from cot_distill.student.divergences import Divergence, DivergenceRows, divergence_rows
from cot_distill.student.heads import Head
from cot_distill.student.kd import VocabPolicy, check_vocabularies, dense_rows
from cot_distill.student.positions import KDLoss, Positions, Reduction, locate, one_of
from cot_distill.student.residuals import Residual
from cot_distill.student.rows import Kernel, Mix
from cot_distill.student.sparse_kd import check_residual, read_topk, sparse_rows

__all__ = ["TeacherHidden", "TeacherTopK", "fused_linear_kd_loss"]


@dataclass(frozen=True, eq=False)
class TeacherHidden:
    """A teacher that is there as a model."""

    hidden: Tensor
    """What it gives to its head, (batch, seq, width) or (tokens, width); as wide as it likes."""
    head: Head | Tensor | nn.Linear
    """Its own head."""


@dataclass(frozen=True, eq=False)
class TeacherTopK:
    """A teacher whose most likely tokens are stored, as ``sparse_kd_loss`` takes them."""

    ids: Tensor
    """(batch, seq, k) or (tokens, k)."""
    logprobs: Tensor
    """At temperature 1, of the same shape; -inf where there are fewer than k."""


def fused_linear_kd_loss(
    student_hidden: Tensor,
    student_head: Head | Tensor | nn.Linear,
    teacher: TeacherHidden | TeacherTopK | None,
    labels: Tensor,
    *,
    gamma: float = 0.5,
    temperature: float = 1.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_items_in_batch: int | float | Tensor | None = None,
    token_weights: Tensor | None = None,
    shift: bool = False,
    divergence: Divergence = "forward_kl",
    beta: float = 0.5,
    residual: Residual = "renormalize",
    vocab_policy: VocabPolicy = "error",
    chunk_size: int = 1024,
) -> KDLoss:
    r"""Compute :func:`~cot_distill.student.kd.kd_loss` or ``sparse_kd_loss`` without ever holding all logits.

    The value and the gradients are those of that loss, on the logits that ``student_head`` makes of
    ``student_hidden``. Only positions that count are projected. The gradients, of hidden states and head, are
    computed in the forward pass, chunk by chunk, and added up in float32 (float64 where the hidden states have it).
    Besides a few times the logits of a chunk, that takes room for the gradient of the head.

    Args:
        student_hidden: What the student gives to its head (after the final norm), (batch, seq, width) or
            (tokens, width).
        student_head: Its head: the linear layer, its weight (vocab, width), or a :class:`Head` where there is a scale
            or a softcap.
        teacher: Hidden states and head of a model, or stored top k. With ``gamma=0`` it is not looked at.
        labels: Token ids, (batch, seq) or (tokens,).
        gamma: The teacher's share, from 0 to 1.
        temperature: T.
        ignore_index: Label of positions that do not count.
        reduction: "mean" or "sum". For losses without a gradient there is ``per_token`` in what is returned.
        num_items_in_batch: As in ``kd_loss``.
        token_weights: As in ``kd_loss``.
        shift: As in ``kd_loss``.
        divergence: As in ``kd_loss``; only the forward KL for stored top k.
        beta: As in ``kd_loss``.
        residual: As in ``sparse_kd_loss``; for stored top k.
        vocab_policy: As in ``kd_loss``; for hidden states.
        chunk_size: How many rows of logits there may be at once.

    Returns:
        The loss and its parts.

    Raises:
        ConfigError: A setting out of range, shapes that do not fit, or a head that is more than linear.

    Example:
        >>> import torch
        >>> hidden, head = torch.zeros(1, 2, 3, requires_grad=True), torch.nn.Linear(3, 4, bias=False)
        >>> teacher = TeacherHidden(torch.ones(1, 2, 5), torch.nn.Linear(5, 4))
        >>> found = fused_linear_kd_loss(hidden, head, teacher, torch.tensor([[2, -100]]), chunk_size=1)
        >>> found.loss.backward()
        >>> found.n_tokens, head.weight.grad.shape
        (1, torch.Size([4, 3]))
    """
    mix = Mix(gamma, temperature)
    one_of("vocab_policy", vocab_policy, VocabPolicy)
    if reduction == "none":
        raise ConfigError("the fused loss gives one number, not reduction='none': see per_token, or take kd_loss")
    if chunk_size < 1:
        raise ConfigError(f"chunk_size={chunk_size} is below 1")
    head = Head.of(student_head, "student_head")
    head.check(student_hidden, "student_hidden")
    positions = locate(labels, head.vocabulary, ignore_index=ignore_index, token_weights=token_weights, shift=shift)
    divisor = positions.divisor(reduction, num_items_in_batch)
    hidden = positions.rows(student_hidden, "student_hidden")
    measure = divergence_rows(divergence, beta)
    if gamma == 0:
        kernel_at = _labels_only(positions, mix, measure)
    elif isinstance(teacher, TeacherHidden):
        kernel_at = _from_hidden(teacher, positions, mix, measure)
        check_vocabularies(head.vocabulary, Head.of(teacher.head, "teacher.head").vocabulary, vocab_policy)
    elif isinstance(teacher, TeacherTopK):
        if divergence != "forward_kl":
            raise ConfigError(
                f"divergence={divergence!r} needs a teacher's hidden states; top k give 'forward_kl' only"
            )
        check_residual(residual, temperature)
        kernel_at = _from_topk(teacher, positions, mix, residual, head.vocabulary)
    else:
        raise ConfigError(f"teacher is {type(teacher).__name__}, neither TeacherHidden nor TeacherTopK")
    work = _Work(head, kernel_at, positions.weights, mix, chunk_size, torch.is_grad_enabled())
    total, ce, kl = _PerChunk.apply(hidden, head.weight, head.bias, work)
    return KDLoss(
        loss=total / divisor,
        ce=positions.reduced(ce, reduction, divisor),
        kl=positions.reduced(kl, reduction, divisor),
        n_tokens=positions.n_tokens,
        per_token=positions.spread(mix.of(ce, kl)),
    )


def _labels_only(positions: Positions, mix: Mix, measure: DivergenceRows) -> Callable[[slice], Kernel]:
    return lambda rows: partial(dense_rows, None, positions.labels[rows], mix, measure)


def _from_hidden(
    teacher: TeacherHidden, positions: Positions, mix: Mix, measure: DivergenceRows
) -> Callable[[slice], Kernel]:
    head = Head.of(teacher.head, "teacher.head").detached()
    head.check(teacher.hidden, "teacher.hidden")
    hidden = positions.rows(teacher.hidden, "teacher.hidden").detach()
    return lambda rows: partial(dense_rows, head.logits(hidden[rows]), positions.labels[rows], mix, measure)


def _from_topk(
    teacher: TeacherTopK, positions: Positions, mix: Mix, residual: Residual, vocabulary: int
) -> Callable[[slice], Kernel]:
    top = read_topk(positions, teacher.ids, teacher.logprobs, vocabulary)
    return lambda rows: partial(sparse_rows, top.among(rows), positions.labels[rows], mix, residual)


@dataclass(frozen=True, eq=False)
class _Work:
    """All that the computation needs beside the tensors that get a gradient."""

    head: Head
    kernel_at: Callable[[slice], Kernel]
    weights: Tensor | None
    mix: Mix
    chunk_size: int
    want_grad: bool


class _PerChunk(torch.autograd.Function):  # type: ignore[misc] # torch is not there when types are checked
    """From hidden states to the sum of the weighted losses, and ``ce`` and ``kl`` of each row without a gradient.

    The sum and not the mean: the gradients of a chunk are better not made small before they are added up.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, work: _Work
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = (hidden, weight, bias)
        needed = [work.want_grad and need for need in ctx.needs_input_grad[:3]]
        wide = torch.promote_types(hidden.dtype, torch.float32)
        sums: list[Any] = [
            torch.zeros_like(x, dtype=wide) if need else None for x, need in zip(inputs, needed, strict=True)
        ]
        losses = hidden.new_zeros((3, len(hidden)), dtype=wide)
        head = work.head.detached(needed[1], needed[2])
        for start in range(0, len(hidden), work.chunk_size):
            rows = slice(start, start + work.chunk_size)
            here = None if sums[0] is None else sums[0][rows]
            losses[:, rows] = _chunk(work, head, hidden[rows], rows, [here, *sums[1:]])
        ctx.save_for_backward(*sums)
        ctx.dtypes = [None if x is None else x.dtype for x in inputs]
        total, ce, kl = losses[0].sum(), losses[1].clone(), losses[2].clone()
        ctx.mark_non_differentiable(ce, kl)
        return total, ce, kl

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        grads = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return (*(None if grad is None else (grad * grad_total).to(dtype) for grad, dtype in grads), None)


def _chunk(work: _Work, head: Head, hidden: Tensor, rows: slice, sums: list[Any]) -> Tensor:
    """One chunk; a function of its own, so that nothing of it is left when the next one begins.

    Args:
        work: What is to be done.
        head: The student's, without its history.
        hidden: Of these rows, (rows, width).
        rows: Which these are.
        sums: Where to add the gradients of hidden states, weight and bias; None for what needs none.

    Returns:
        Weighted loss, ``ce`` and ``kl``, (3, rows).
    """
    hidden = hidden.detach().requires_grad_(sums[0] is not None)
    wanted = [
        (x, total) for x, total in zip((hidden, head.weight, head.bias), sums, strict=True) if total is not None
    ]
    with torch.enable_grad():
        logits = head.logits(hidden)
    ce, kl, grad = work.kernel_at(rows)(logits.detach(), bool(wanted))
    loss = work.mix.of(ce, kl)
    if work.weights is not None:
        weights = work.weights[rows].to(loss.dtype)
        loss = loss * weights
        grad = None if grad is None else grad.mul_(weights[:, None])
    if grad is not None:
        parts = torch.autograd.grad(logits, [x for x, _ in wanted], grad.to(logits.dtype))
        for (_, total), part in zip(wanted, parts, strict=True):
            total.add_(part)
    return torch.stack((loss, ce, kl))
