"""The mixed loss of each row, with its gradient: what dense, sparse and fused losses have in common.

A *row* is one position of the batch that counts: the student's logits ``z`` for it, (vocab,). Its loss is

    (1 - gamma) * CE(y, softmax(z)) + gamma * T**2 * D(p, softmax(z / T))        Hinton et al., arXiv:1503.02531

where the factor ``T**2`` keeps the two gradients in proportion when T changes, since that of D shrinks as
``1 / T**2``.

Gradients are written out instead of left to autograd: they are short, need fewer buffers of the size of the logits,
and the fused loss needs them one chunk at a time. Computed in float32, or in float64 where the logits have it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cot_distill.errors import ConfigError

__all__ = ["Kernel", "Mix", "RowLosses", "hard_rows", "log_softmax", "per_row"]


class RowLosses(NamedTuple):
    """Losses of n rows."""

    ce: Tensor
    """(n,)."""
    kl: Tensor
    """(n,), without the factor ``T**2``."""
    grad: Tensor | None
    """Of the mixed loss of each row, with respect to its logits, (n, vocab); None where nobody asked for it."""


Kernel = Callable[[Tensor, bool], RowLosses]
"""From logits, (n, vocab), and whether a gradient is wanted, to the losses."""


@dataclass(frozen=True)
class Mix:
    """How cross-entropy and divergence are mixed.

    Raises:
        ConfigError: gamma is not from 0 to 1, or the temperature is not above 0.
    """

    gamma: float
    temperature: float

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise ConfigError(f"gamma={self.gamma} is not from 0 (labels only) to 1 (teacher only)")
        if not 0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature={self.temperature} is not above 0 and finite")

    def of(self, ce: Tensor, kl: Tensor) -> Tensor:
        """Mix the two. What has no weight is left out, so that an infinite value there cannot make it NaN."""
        if self.gamma == 0:
            return ce
        soft = self.gamma * self.temperature**2 * kl
        return soft if self.gamma == 1 else (1 - self.gamma) * ce + soft


def log_softmax(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log-probabilities at a temperature: (..., vocab), in float32, or in float64 where the logits have it."""
    wide = torch.promote_types(logits.dtype, torch.float32)
    if temperature == 1:
        return torch.log_softmax(logits, -1, dtype=wide)
    return torch.log_softmax(logits.to(wide, copy=True).div_(temperature), -1)


def hard_rows(logits: Tensor, labels: Tensor, mix: Mix, want_grad: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """The part of the labels.

    Args:
        logits: The student's, (n, vocab).
        labels: (n,).
        mix: Gives the weight in the gradient.
        want_grad: Whether a gradient is wanted.

    Returns:
        The cross-entropy (n,); the log-probabilities at temperature 1 (n, vocab), which are the caller's to write on;
        and the gradient (n, vocab) times ``1 - gamma``, for the caller to add to.
    """
    log_q = log_softmax(logits)
    ce = -log_q.gather(-1, labels[:, None]).squeeze(-1)
    if not want_grad:
        return ce, log_q, None
    if mix.gamma == 1:
        return ce, log_q, torch.zeros_like(log_q)
    grad = log_q.exp()
    grad.scatter_add_(-1, labels[:, None], grad.new_full((len(labels), 1), -1.0))
    return ce, log_q, grad.mul_(1 - mix.gamma)


def per_row(logits: Tensor, kernel: Kernel, mix: Mix) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the losses of rows, as a step that autograd knows.

    Args:
        logits: The student's, (n, vocab).
        kernel: Computes the losses.
        mix: Mixes them.

    Returns:
        The mixed loss, with a gradient, and without one ``ce`` and ``kl``; each (n,).
    """
    loss, ce, kl = _PerRow.apply(logits, kernel, mix, torch.is_grad_enabled())
    return loss, ce, kl


class _PerRow(torch.autograd.Function):  # type: ignore[misc] # torch is not there when types are checked
    @staticmethod
    def forward(ctx: Any, logits: Tensor, kernel: Kernel, mix: Mix, want_grad: bool) -> tuple[Tensor, Tensor, Tensor]:
        # needs_input_grad is true in evaluation as well, under no_grad.
        ce, kl, grad = kernel(logits.detach(), want_grad and ctx.needs_input_grad[0])
        ctx.save_for_backward(grad)
        ctx.dtype = logits.dtype
        ctx.mark_non_differentiable(ce, kl)
        # A copy, since what is mixed may be one of the two itself.
        return mix.of(ce, kl).clone(), ce, kl

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        (grad,) = ctx.saved_tensors
        return (grad * grad_loss[:, None]).to(ctx.dtype), None, None, None
