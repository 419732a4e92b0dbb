"""Distillation from the few log-probabilities that an API gives: its top k at each position."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from cot_distill.errors import ConfigError
from cot_distill.student.positions import KDLoss, Positions, Reduction, locate, one_of
from cot_distill.student.residuals import RESIDUALS, Residual, TopK
from cot_distill.student.rows import Mix, RowLosses, hard_rows, log_softmax, per_row

__all__ = ["check_residual", "read_topk", "sparse_kd_loss", "sparse_rows"]

_SLACK = 0.05  # of the sum of probabilities: what bfloat16 and an API's rounding may add to it


def sparse_kd_loss(
    student_logits: Tensor,
    topk_ids: Tensor | None,
    topk_logprobs: Tensor | None,
    labels: Tensor,
    *,
    gamma: float = 0.5,
    temperature: float = 1.0,
    residual: Residual = "renormalize",
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    num_items_in_batch: int | float | Tensor | None = None,
    token_weights: Tensor | None = None,
    shift: bool = False,
) -> KDLoss:
    r"""Learn from labels and from a teacher's stored top k at once.

    As :func:`~cot_distill.student.kd.kd_loss`, ``(1 - gamma) * CE(y, p_s) + gamma * T**2 * KL(p_t^T || p_s^T)``, with
    a ``p_t`` that is known at k tokens only. The student's distribution is always the one over its whole vocabulary.

    Only the forward KL is offered: the reverse one rewards a student for leaving the k tokens, where nothing is known
    of the teacher, and so it collapses.

    Args:
        student_logits: (batch, seq, vocab) or (tokens, vocab), of any floating type.
        topk_ids: Token ids of the teacher's most likely tokens, (batch, seq, k) or (tokens, k), each at most once in
            a row. With ``gamma=0`` neither this nor the next is looked at, and both may be None.
        topk_logprobs: Their log-probabilities at temperature 1, of the same shape. Where a position has fewer than k,
            fill up with -inf (and any id); one that has none at all has no divergence, only a cross-entropy.
        labels: Token ids, (batch, seq) or (tokens,): those that the logits of the same position predict, or the input
            ids themselves with ``shift=True``.
        gamma: The teacher's share, from 0 to 1.
        temperature: T. The stored probabilities are brought to it: ``p**(1 / T)``, normalised.
        residual: What becomes of the probability that the k leave over. "renormalize": it is given to the k in
            proportion. "bucket": it is one outcome for all other tokens together, compared with what the student
            gives to all of these; it makes nothing up, but goes only with temperature 1, since a sum of unknown terms
            cannot be brought to another. "uniform_tail": it is spread evenly over all other tokens.
        ignore_index: Label of positions that do not count.
        reduction: As in ``kd_loss``.
        num_items_in_batch: As in ``kd_loss``.
        token_weights: As in ``kd_loss``.
        shift: As in ``kd_loss``; the top k belong to the logits of the same position.

    Returns:
        The loss and its parts.

    Raises:
        ConfigError: A setting out of range, shapes that do not fit, an id that is no token of the student or comes
            twice, or numbers that are no log-probabilities.

    Example:
        >>> import torch
        >>> ids, logprobs = torch.tensor([[2, 0]]), torch.tensor([[0.6, 0.3]]).log()
        >>> found = sparse_kd_loss(torch.zeros(1, 4), ids, logprobs, torch.tensor([2]), gamma=1.0, residual="bucket")
        >>> round(found.kl.item(), 4)  # 0.6 log(0.6 / 0.25) + 0.3 log(0.3 / 0.25) + 0.1 log(0.1 / 0.5)
        0.419
    """
    mix = Mix(gamma, temperature)
    check_residual(residual, temperature)
    vocabulary = student_logits.shape[-1]
    positions = locate(labels, vocabulary, ignore_index=ignore_index, token_weights=token_weights, shift=shift)
    divisor = positions.divisor(reduction, num_items_in_batch)
    logits = positions.rows(student_logits, "student_logits")
    top = read_topk(positions, topk_ids, topk_logprobs, vocabulary) if gamma > 0 else None
    kernel = partial(sparse_rows, top, positions.labels, mix, residual)
    return positions.result(*per_row(logits, kernel, mix), reduction, divisor)


def sparse_rows(
    top: TopK | None, labels: Tensor, mix: Mix, residual: Residual, logits: Tensor, want_grad: bool
) -> RowLosses:
    """Compute the losses of rows, and their gradient.

    Args:
        top: The teacher's; None where ``mix.gamma`` is 0.
        labels: (n,).
        mix: Temperature and weights.
        residual: What to do about the tokens that are not among them.
        logits: The student's, (n, vocab).
        want_grad: Whether a gradient is wanted.
    """
    ce, log_q, grad = hard_rows(logits, labels, mix, want_grad)
    if top is None:
        return RowLosses(ce, torch.zeros_like(ce), grad)
    if mix.temperature != 1:
        log_q = log_softmax(logits, mix.temperature)
    top = TopK(top.ids.to(log_q.device), top.logprobs.to(log_q))
    kl, slope = RESIDUALS[residual](log_q, top, mix.temperature, want_grad)
    untold = ~top.known.any(-1)
    if grad is not None and slope is not None:
        grad.add_(slope.masked_fill_(untold[:, None], 0.0), alpha=mix.gamma * mix.temperature)
    return RowLosses(ce, kl.masked_fill(untold, 0.0), grad)


def check_residual(residual: Residual, temperature: float) -> None:
    """Raise ConfigError where there is no such way, or it does not go with the temperature."""
    one_of("residual", residual, Residual)
    if residual == "bucket" and temperature != 1:
        raise ConfigError(
            f"residual='bucket' needs temperature=1, not {temperature}: what is left over is a sum of probabilities "
            f"that nobody knows one by one. Take 'renormalize' or 'uniform_tail'"
        )


def read_topk(positions: Positions, ids: Tensor | None, logprobs: Tensor | None, vocabulary: int) -> TopK:
    """Take the top k of the positions that count, and check them.

    Args:
        positions: Those that count.
        ids: (batch, seq, k) or (tokens, k).
        logprobs: Of the same shape.
        vocabulary: How many tokens the student knows.

    Raises:
        ConfigError: They are not there, do not fit, or are not what they should be.
    """
    if ids is None or logprobs is None:
        raise ConfigError(
            "topk_ids or topk_logprobs is None: only with gamma=0 is there nothing to learn from a teacher"
        )
    if ids.shape != logprobs.shape:
        raise ConfigError(f"topk_ids have shape {tuple(ids.shape)}, topk_logprobs {tuple(logprobs.shape)}")
    ids = positions.rows(ids, "topk_ids").long()
    logprobs = positions.rows(logprobs, "topk_logprobs").detach()
    known = logprobs > float("-inf")
    tokens = ids[known]
    if len(tokens) and (int(tokens.min()) < 0 or int(tokens.max()) >= vocabulary):
        raise ConfigError(
            f"topk_ids go from {int(tokens.min())} to {int(tokens.max())}, but the student knows the tokens 0 to "
            f"{vocabulary - 1}: is this the teacher's tokenizer?"
        )
    total = logprobs.to(torch.promote_types(logprobs.dtype, torch.float32)).exp().sum(-1)
    if not bool((total <= 1 + _SLACK).all()):  # so that NaN is caught as well
        raise ConfigError(
            f"topk_logprobs are no log-probabilities: those of one position add up to a probability of "
            f"{float(total.max()):.4g}, not to 1 at most"
        )
    in_order = ids.where(known, -1 - torch.arange(ids.shape[-1], device=ids.device)).sort(-1).values
    if bool((in_order.diff(dim=-1) == 0).any()):
        raise ConfigError("topk_ids name a token twice at one position")
    # So that filling marks no token that is not the row's own.
    first = known.to(torch.uint8).argmax(-1, keepdim=True)
    ids = ids.where(known, ids.gather(-1, first)).where(known.any(-1, keepdim=True), 0)
    return TopK(ids, logprobs)
