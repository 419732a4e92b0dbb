"""Means over what passes by between two lines of a log."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Meter"]


class Meter:
    """Adds up values with their weights, on the device where they are, until somebody asks for the means.

    Example:
        >>> meter = Meter()
        >>> meter.add("ce", torch.tensor(6.0), 3)
        >>> meter.add("ce", torch.tensor(1.0), 1)
        >>> meter.take()
        {'ce': (1.75, 4.0)}
        >>> meter.take()
        {}
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, name: str, total: Tensor, weight: Tensor | float) -> None:
        """Add values.

        Args:
            name: Of what.
            total: Their sum, each times its weight.
            weight: The sum of the weights.
        """
        total = total.detach().to(torch.float32 if total.device.type == "mps" else torch.float64)
        both = torch.stack((total, torch.as_tensor(weight, dtype=total.dtype, device=total.device)))
        self._sums[name] = self._sums[name] + both if name in self._sums else both

    def take(self, gather: Callable[[Tensor], Tensor] = lambda sums: sums) -> dict[str, tuple[float, float]]:
        """Give the means and begin again.

        Args:
            gather: Adds up over all processes.

        Returns:
            Mean and sum of the weights of each name; the mean is 0 where there was nothing.
        """
        sums, self._sums = self._sums, {}
        if not sums:
            return {}
        found = gather(torch.stack(list(sums.values()))).tolist()
        return {
            name: (total / weight if weight else 0.0, weight)
            for name, (total, weight) in zip(sums, found, strict=True)
        }
