"""How far a student's distribution is from a teacher's, and which way it should move.

Each function takes log-probabilities of n rows over the same tokens, ``log_p`` of the teacher and ``log_q`` of the
student, both (n, vocab), and returns the divergence (n,), in nats, and where wanted its gradient with respect to the
logits behind ``log_q``, (n, vocab). **They write on their arguments**, since at this size every buffer counts.

A token without probability (a logit of -inf) adds nothing where it is weighed by that probability, as the limit of
``x * log x`` says.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from cot_distill.errors import ConfigError
from cot_distill.student.positions import one_of

__all__ = ["Divergence", "DivergenceRows", "divergence_rows", "expected"]

Divergence = Literal["forward_kl", "reverse_kl", "jsd"]

DivergenceRows = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor | None]]


def divergence_rows(name: Divergence, beta: float) -> DivergenceRows:
    """Choose a function of this file by its name.

    Args:
        name: Which one.
        beta: For "jsd": 0 is the forward KL, 1 the reverse one, as in TRL.

    Raises:
        ConfigError: An unknown name, or a beta that is not from 0 to 1.
    """
    one_of("divergence", name, Divergence)
    if name == "jsd" and not 0 <= beta <= 1:
        raise ConfigError(f"beta={beta} is not from 0 (forward KL) to 1 (reverse KL)")
    if name == "forward_kl" or (name == "jsd" and beta == 0):
        return _forward_kl
    if name == "reverse_kl" or beta == 1:
        return _reverse_kl
    return partial(_jsd, beta)


def expected(probabilities: Tensor, values: Tensor) -> Tensor:
    """Weigh values by probabilities, in place; what is impossible adds nothing, be its value infinite or NaN."""
    return values.mul_(probabilities).masked_fill_(probabilities == 0, 0.0)


def _forward_kl(log_p: Tensor, log_q: Tensor, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """``KL(p || q) = sum p * (log p - log q)``; its gradient is ``q - p``."""
    p = log_p.exp()
    kl = expected(p, log_p.sub_(log_q)).sum(-1)
    return kl, log_q.exp_().sub_(p) if want_grad else None


def _reverse_kl(log_p: Tensor, log_q: Tensor, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """``KL(q || p)``; its gradient is ``q * (log q - log p - KL)``.

    It is infinite where the student may say what the teacher excludes (-inf).
    """
    q = log_q.exp()
    terms = expected(q, log_q.sub_(log_p))
    kl = terms.sum(-1)
    return kl, terms.sub_(q.mul_(kl[:, None])) if want_grad else None


def _jsd(beta: float, log_p: Tensor, log_q: Tensor, want_grad: bool) -> tuple[Tensor, Tensor | None]:
    """The generalized Jensen-Shannon divergence of Agarwal et al., arXiv:2306.13649, equation 1.

    ``beta * KL(p || m) + (1 - beta) * KL(q || m)`` with ``m = beta * p + (1 - beta) * q``. With
    ``u = (1 - beta) * q * log(q / m)`` its gradient is ``u - q * sum(u)``.
    """
    log_m = torch.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    p, q = log_p.exp(), log_q.exp()
    of_teacher = expected(p, log_p.sub_(log_m)).sum(-1)
    terms = expected(q, log_q.sub_(log_m))
    of_student = terms.sum(-1)
    jsd = beta * of_teacher + (1 - beta) * of_student
    if not want_grad:
        return jsd, None
    return jsd, terms.sub_(q.mul_(of_student[:, None])).mul_(1 - beta)
