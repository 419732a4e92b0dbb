"""Which positions of a batch count, and how the losses of these become one number.

Every loss here goes the same way: flatten the batch to the rows that count, compute a loss for each row, and bring
the rows back to one number or to the shape of the labels. This file is the first and the last of these steps; it
knows nothing of what the loss is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from cot_distill.errors import ConfigError

__all__ = ["KDLoss", "Positions", "Reduction", "locate", "one_of"]

Reduction = Literal["none", "sum", "mean"]


@dataclass(frozen=True, eq=False)
class KDLoss:
    """What a distillation loss gives.

    With ``reduction="mean"`` and ``"sum"``, ``loss == (1 - gamma) * ce + gamma * temperature**2 * kl``, and so it is
    for each position with ``"none"``. Only ``loss`` carries a gradient.
    """

    loss: Tensor
    """What to call ``backward()`` on."""
    ce: Tensor
    """Cross-entropy with the labels, in nats, at temperature 1; reduced and weighted as the loss."""
    kl: Tensor
    """Divergence from the teacher, in nats, at the given temperature, without the factor ``temperature**2``; reduced
    and weighted as the loss. 0 where ``gamma`` is 0, since the teacher is not looked at then."""
    n_tokens: int
    """How many positions count: those whose label is not ``ignore_index``."""
    per_token: Tensor
    """The loss of each position before token weights and reduction, in the shape of the labels, without a gradient;
    0 where the label is ignored. For the losses of parts of a text, such as its reasoning and its answer."""


@dataclass(frozen=True, eq=False)
class Positions:
    """The positions that count, in the order of the flattened batch; ``n`` is their number."""

    labels: Tensor
    """Token ids, (n,)."""
    weights: Tensor | None
    """What each counts, (n,)."""
    valid: Tensor
    """Where they are, in the shape of the labels: (batch, seq) or (tokens,); after the shift, where there is one."""
    shift: bool
    """Whether values at a position belong to the label of the next one."""

    @property
    def n_tokens(self) -> int:
        """How many there are."""
        return len(self.labels)

    def rows(self, values: Tensor, name: str) -> Tensor:
        """Take what stands at the positions that count.

        Args:
            values: (batch, seq, width) or (tokens, width).
            name: What the values are, for the error.

        Returns:
            (n, width).

        Raises:
            ConfigError: There are not as many positions as labels.
        """
        there = values.shape[:-1]
        if self.shift:
            values = values[:, :-1]
        if values.shape[:-1] != self.valid.shape:
            expected = (*self.valid.shape[:-1], self.valid.shape[-1] + self.shift)
            raise ConfigError(f"{name} has positions of shape {tuple(there)}, the labels have {tuple(expected)}")
        if self.n_tokens == self.valid.numel():
            return values.reshape(-1, values.shape[-1])  # no copy where everything counts
        return values[self.valid.to(values.device)]

    def result(self, loss: Tensor, ce: Tensor, kl: Tensor, reduction: Reduction, divisor: float) -> KDLoss:
        """Bring losses of the positions, each (n,), to what the caller asked for."""
        return KDLoss(
            loss=self.reduced(loss, reduction, divisor),
            ce=self.reduced(ce, reduction, divisor),
            kl=self.reduced(kl, reduction, divisor),
            n_tokens=self.n_tokens,
            per_token=self.spread(loss.detach()),
        )

    def reduced(self, rows: Tensor, reduction: Reduction, divisor: float) -> Tensor:
        """Weigh values of the positions, (n,), and add them up, or put them where they belong."""
        weighted = rows if self.weights is None else rows * self.weights.to(rows.dtype)
        return self.spread(weighted) if reduction == "none" else weighted.sum() / divisor

    def spread(self, rows: Tensor) -> Tensor:
        """Put values of the positions, (n,), to where they belong: in the shape of the labels, 0 elsewhere."""
        return rows.new_zeros(self.valid.shape).masked_scatter(self.valid, rows)

    def divisor(self, reduction: Reduction, num_items_in_batch: int | float | Tensor | None) -> float:
        """Say what to divide the sum over the positions by.

        Args:
            reduction: Where it is not "mean", the sum stays as it is.
            num_items_in_batch: Number of tokens of the whole batch, where this one is a part of it.

        Returns:
            The number; 1 where nothing counts, since 0 / 0 would be no loss.

        Raises:
            ConfigError: An unknown reduction, or a number of items that does not fit it.
        """
        one_of("reduction", reduction, Reduction)
        if num_items_in_batch is None:
            return float(max(self.n_tokens, 1)) if reduction == "mean" else 1.0
        if reduction != "mean":
            raise ConfigError(f"num_items_in_batch goes with reduction='mean', not with {reduction!r}")
        items = float(num_items_in_batch)
        if self.n_tokens == 0:
            return max(items, 1.0)
        if not items > 0:
            raise ConfigError(f"num_items_in_batch must be above 0, and is {items}; here alone are {self.n_tokens}")
        return items


def locate(
    labels: Tensor,
    vocabulary: int,
    *,
    ignore_index: int = -100,
    token_weights: Tensor | None = None,
    shift: bool = False,
) -> Positions:
    """Find the positions that count.

    Args:
        labels: Token ids, (batch, seq) or (tokens,).
        vocabulary: How many tokens the student knows.
        ignore_index: The label of positions that do not count.
        token_weights: What each position counts, in the shape of ``labels``.
        shift: Labels are the input ids themselves, so that a position is compared with the label of the next one.

    Raises:
        ConfigError: Shapes that do not fit, or a label that is no token of the student.
    """
    if token_weights is not None and token_weights.shape != labels.shape:
        raise ConfigError(
            f"token_weights have shape {tuple(token_weights.shape)}, the labels have {tuple(labels.shape)}"
        )
    if shift:
        if labels.dim() != 2:
            raise ConfigError(f"shift=True needs labels of shape (batch, seq); these have {tuple(labels.shape)}")
        labels = labels[:, 1:]
        token_weights = None if token_weights is None else token_weights[:, 1:]
    valid = labels != ignore_index
    found = labels[valid]
    if len(found) and not (int(found.min()) >= 0 and int(found.max()) < vocabulary):
        raise ConfigError(
            f"labels go from {int(found.min())} to {int(found.max())}, but the student knows the tokens 0 to "
            f"{vocabulary - 1}; positions to leave out are labelled {ignore_index} (ignore_index)"
        )
    weights = None if token_weights is None else token_weights[valid].detach()
    return Positions(found, weights, valid, shift)


def one_of(name: str, value: str, choices: object) -> None:
    """Raise ConfigError where a setting is none of the values of its Literal type."""
    if value not in get_args(choices):
        raise ConfigError(f"{name}={value!r} is none of {', '.join(map(repr, get_args(choices)))}")
