"""The last step of a language model: from hidden states to logits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cot_distill.errors import ConfigError

__all__ = ["Head"]


@dataclass(frozen=True, eq=False)
class Head:
    """How a model makes logits of its last hidden state: ``cap * tanh(scale * (h @ W.T + b) / cap)``.

    Args:
        weight: W, (vocab, width).
        bias: b, (vocab,).
        scale: Factor of the logits (``logit_scale`` of Cohere, ``1 / logits_scaling`` of Granite).
        softcap: Where logits level off, above 0 (``final_logit_softcapping`` of Gemma). Default: nowhere.

    Raises:
        ConfigError: Shapes that do not fit, or a softcap that is not above 0.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def __post_init__(self) -> None:
        if self.weight.dim() != 2:
            raise ConfigError(f"the weight of a head is (vocab, width); this one has {tuple(self.weight.shape)}")
        if self.bias is not None and self.bias.shape != self.weight.shape[:1]:
            raise ConfigError(
                f"the bias of this head has shape {tuple(self.bias.shape)}, its weight {tuple(self.weight.shape)}"
            )
        if self.softcap is not None and not self.softcap > 0:
            raise ConfigError(f"softcap={self.softcap} is not above 0; leave it out where there is none")

    @classmethod
    def of(cls, given: Head | Tensor | nn.Linear, name: str) -> Head:
        """Take a head in any of its forms.

        Args:
            given: A head, its weight, or the linear layer itself (``model.get_output_embeddings()``).
            name: Which head this is, for the error.

        Raises:
            ConfigError: A layer that is more than linear, as one with an adapter is: its weight alone would be
                another function.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, Tensor):
            return cls(given)
        if type(given) is nn.Linear:
            return cls(given.weight, given.bias)
        raise ConfigError(
            f"{name} is a {type(given).__name__}, of which it is not known how it makes logits: pass a Head, its "
            f"weight, or an nn.Linear. With an adapter in it, take kd_loss on the model's own logits"
        )

    @property
    def vocabulary(self) -> int:
        """How many logits it makes."""
        return int(self.weight.shape[0])

    def logits(self, hidden: Tensor) -> Tensor:
        """Make logits, (n, vocab), of hidden states, (n, width)."""
        logits = nn.functional.linear(hidden, self.weight, self.bias)
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap

    def check(self, hidden: Tensor, name: str) -> None:
        """Raise ConfigError where the hidden states are not of its width."""
        if hidden.shape[-1] != self.weight.shape[1]:
            raise ConfigError(
                f"{name} is {hidden.shape[-1]} wide, and its head takes {self.weight.shape[1]}: pass what the model "
                f"gives to its head (hidden_states[-1])"
            )

    def detached(self, weight: bool = False, bias: bool = False) -> Head:
        """Copy it without its history; say which of the two are to have a gradient of their own."""
        return Head(
            self.weight.detach().requires_grad_(weight),
            None if self.bias is None else self.bias.detach().requires_grad_(bias),
            self.scale,
            self.softcap,
        )
