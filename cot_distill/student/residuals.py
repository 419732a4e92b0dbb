"""What to make of the probability that a teacher's top k leave over, and how far a student is from it.

Each function takes n rows of a student's log-probabilities at temperature T over the whole vocabulary, ``log_q``
(n, vocab), **and may write on it**. It returns the forward KL divergence (n,), in nats, and where wanted its gradient
with respect to the logits behind ``log_q``, (n, vocab). The student is never renormalised to the teacher's k tokens:
all that it says elsewhere counts against it.

In every case the gradient is ``q - target`` for some distribution ``target``; the three differ in what that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cot_distill.student.divergences import expected

__all__ = ["RESIDUALS", "Residual", "TopK"]

Residual = Literal["renormalize", "bucket", "uniform_tail"]


@dataclass(frozen=True, eq=False)
class TopK:
    """A teacher's most likely tokens at n rows, as :func:`~cot_distill.student.sparse_kd.read_topk` prepares them."""

    ids: Tensor
    """(n, k). Where a row has fewer than k, one of its own ids again."""
    logprobs: Tensor
    """(n, k), at temperature 1; -inf where a row has fewer than k."""

    @property
    def known(self) -> Tensor:
        """Which entries are tokens, (n, k)."""
        return self.logprobs > float("-inf")

    def rest(self) -> Tensor:
        """The probability that they leave over, (n, 1).

        Never below 0, and 0 where it is no more than the rounding of a sum: such dust on tokens that the student
        excludes would make an infinite loss of nothing.
        """
        rest = -torch.expm1(torch.logsumexp(self.logprobs, -1, keepdim=True))
        return rest.masked_fill(rest < 8 * torch.finfo(rest.dtype).eps, 0.0)

    def among(self, rows: slice) -> TopK:
        """Those of some rows."""
        return TopK(self.ids[rows], self.logprobs[rows])


def _renormalize(log_q: Tensor, top: TopK, temperature: float, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """The k tokens are all the teacher ever says: exact where they are, at any temperature."""
    scaled = top.logprobs / temperature
    log_p = scaled - torch.logsumexp(scaled, -1, keepdim=True)
    p = log_p.exp()
    kl = expected(p, log_p - log_q.gather(-1, top.ids)).sum(-1)
    return kl, log_q.exp_().scatter_add_(-1, top.ids, -p) if want_grad else None


def _uniform_tail(log_q: Tensor, top: TopK, temperature: float, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """What is left over is spread evenly over all other tokens, and then brought to the temperature."""
    others = (log_q.shape[-1] - top.known.sum(-1, keepdim=True)).to(log_q.dtype)  # (n, 1); 0 where k is everything
    scaled = top.logprobs / temperature
    each = torch.where(others > 0, top.rest() / others, 0.0).log() / temperature
    total = torch.logaddexp(torch.logsumexp(scaled, -1, keepdim=True), each + others.log())
    log_p, log_each = scaled - total, each - total
    p, p_each = log_p.exp(), log_each.exp()
    of_others = log_q.scatter(-1, top.ids, 0.0).sum(-1, keepdim=True)
    kl = expected(p, log_p - log_q.gather(-1, top.ids)).sum(-1, keepdim=True)
    kl = (kl + expected(p_each, others * log_each - of_others)).squeeze(-1)
    if not want_grad:
        return kl, None
    slope = log_q.exp_().sub_(p_each)
    return kl, slope.scatter_add_(-1, top.ids, torch.where(top.known, p_each - p, 0.0))


def _bucket(log_q: Tensor, top: TopK, _temperature: float, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """All other tokens are one outcome, of the student as well: how it divides them is its own affair."""
    everything = top.known.sum(-1, keepdim=True) == log_q.shape[-1]
    rest = top.rest().masked_fill_(everything, 0.0)
    p = top.logprobs.exp()
    # From the other tokens themselves: 1 - sum(q) of float32 has no digits left where the k carry nearly all.
    others = log_q.scatter(-1, top.ids, float("-inf"))
    log_others = torch.logsumexp(others, -1, keepdim=True)
    kl = expected(p, top.logprobs - log_q.gather(-1, top.ids)).sum(-1, keepdim=True)
    kl = (kl + expected(rest, rest.log() - log_others)).squeeze(-1)
    if not want_grad:
        return kl, None
    slope = log_q.exp_().scatter_add_(-1, top.ids, -p)
    return kl, slope.sub_(others.sub_(log_others.masked_fill(rest == 0, 0.0)).exp_().mul_(rest))


RESIDUALS: dict[Residual, Callable[[Tensor, TopK, float, bool], tuple[Tensor, Tensor | None]]] = {
    "renormalize": _renormalize,
    "bucket": _bucket,
    "uniform_tail": _uniform_tail,
}
