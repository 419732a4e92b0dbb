"""Distillation from the teacher's full logits."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from cot_distill.errors import ConfigError
from cot_distill.student.divergences import Divergence, DivergenceRows, divergence_rows
from cot_distill.student.positions import KDLoss, Reduction, locate, one_of
from cot_distill.student.rows import Mix, RowLosses, hard_rows, log_softmax, per_row

__all__ = ["VocabPolicy", "check_vocabularies", "dense_rows", "kd_loss"]

VocabPolicy = Literal["error", "truncate"]


def kd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor | None,
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
    vocab_policy: VocabPolicy = "error",
) -> KDLoss:
    r"""Learn from labels and from a teacher's logits at once (Hinton et al., arXiv:1503.02531).

    ``loss = (1 - gamma) * CE(y, p_s) + gamma * T**2 * KL(p_t^T || p_s^T)``, where ``p^T = softmax(logits / T)`` and
    the cross-entropy is taken at temperature 1.

    All is computed in float32 inside, or in float64 where the student's logits have it. The gradient goes to the
    student's logits only, and only once (there are no second derivatives).

    Args:
        student_logits: (batch, seq, vocab) or (tokens, vocab), of any floating type.
        teacher_logits: The same positions; logits of -inf are tokens that the teacher excludes. With ``gamma=0`` it
            is not looked at and may be None.
        labels: Token ids, (batch, seq) or (tokens,): those that the logits of the same position predict, or the input
            ids themselves with ``shift=True``.
        gamma: The teacher's share, from 0 to 1.
        temperature: T; above 1 shows more of what the teacher finds unlikely.
        ignore_index: Label of positions that do not count.
        reduction: "mean" divides by the number of positions that count, also where these have weights; "none" gives
            the loss of each position, in the shape of the labels (after the shift), 0 where the label is ignored.
        num_items_in_batch: Divide by this instead: the number of tokens in all steps over which gradients accumulate.
        token_weights: What each position counts, in the shape of ``labels``.
        shift: Compare the logits of each position with the label of the next one. The logits must then be
            (batch, seq, vocab); the weight that counts is that of the label.
        divergence: "forward_kl" as above, "reverse_kl" (``KL(p_s || p_t)``), or "jsd", the generalized
            Jensen-Shannon divergence (Agarwal et al., arXiv:2306.13649).
        beta: For "jsd", as in TRL: 0 is the forward KL, 1 the reverse one.
        vocab_policy: What to do where student and teacher have differently many logits, since one of them is padded:
            "error", or "truncate": the divergence is taken over the tokens that both have, the cross-entropy over all
            of the student's.

    Returns:
        The loss and its parts. All is 0, and ``backward()`` works, where no position counts.

    Raises:
        ConfigError: A setting out of range, shapes that do not fit, other vocabularies, or a label that is no token.

    Example:
        >>> import torch
        >>> labels = torch.tensor([[2, 0]])
        >>> student = torch.zeros(1, 2, 4, requires_grad=True)
        >>> teacher = torch.tensor([[[0.0, 0.0, 9.0, 0.0], [9.0, 0.0, 0.0, 0.0]]])
        >>> found = kd_loss(student, teacher, labels, gamma=0.5, temperature=2.0)
        >>> found.loss.backward()
        >>> found.n_tokens, round(found.ce.item(), 4), round(found.kl.item(), 4)
        (2, 1.3863, 1.2084)
    """
    mix = Mix(gamma, temperature)
    measure = divergence_rows(divergence, beta)
    one_of("vocab_policy", vocab_policy, VocabPolicy)
    positions = locate(
        labels, student_logits.shape[-1], ignore_index=ignore_index, token_weights=token_weights, shift=shift
    )
    divisor = positions.divisor(reduction, num_items_in_batch)
    logits = positions.rows(student_logits, "student_logits")
    teacher = None
    if gamma > 0:
        if teacher_logits is None:
            raise ConfigError("teacher_logits is None: only with gamma=0 is there nothing to learn from a teacher")
        check_vocabularies(student_logits.shape[-1], teacher_logits.shape[-1], vocab_policy)
        teacher = positions.rows(teacher_logits, "teacher_logits").detach()
    kernel = partial(dense_rows, teacher, positions.labels, mix, measure)
    return positions.result(*per_row(logits, kernel, mix), reduction, divisor)


def dense_rows(
    teacher: Tensor | None, labels: Tensor, mix: Mix, measure: DivergenceRows, logits: Tensor, want_grad: bool
) -> RowLosses:
    """Compute the losses of rows, and their gradient.

    Args:
        teacher: Its logits, (n, teacher's vocab); None where ``mix.gamma`` is 0.
        labels: (n,).
        mix: Temperature and weights.
        measure: The divergence.
        logits: The student's, (n, vocab). With more tokens than the teacher's, or fewer, only those are compared that
            both have.
        want_grad: Whether a gradient is wanted.
    """
    ce, log_q, grad = hard_rows(logits, labels, mix, want_grad)
    if teacher is None:
        return RowLosses(ce, torch.zeros_like(ce), grad)
    shared = min(logits.shape[-1], teacher.shape[-1])
    if mix.temperature != 1 or shared < logits.shape[-1]:
        log_q = log_softmax(logits[:, :shared], mix.temperature)
    log_p = log_softmax(teacher[:, :shared].to(log_q), mix.temperature)
    kl, slope = measure(log_p, log_q, want_grad)
    if grad is not None and slope is not None:
        # T**2 of the loss, times 1 / T of the logits.
        grad[:, :shared].add_(slope, alpha=mix.gamma * mix.temperature)
    return RowLosses(ce, kl, grad)


def check_vocabularies(student: int, teacher: int, policy: VocabPolicy) -> None:
    """Raise ConfigError where the two have differently many tokens and nobody said what to do about it."""
    if student != teacher and policy == "error":
        raise ConfigError(
            f"the student has {student} logits, the teacher {teacher}. If both use the same tokenizer and one of "
            f"them is only padded, say vocab_policy='truncate'; if not, logits cannot be compared: train on what the "
            f"teacher writes instead"
        )
