"""One forward pass of a language model that stops before its logits.

The last layer of a model is kept from making logits of every position: what it is given is taken instead, and one
single position goes through. So nothing of the size positions x vocabulary comes to be, and the logits of that one
position show whether the head is understood: some models scale or bend their logits in ways of their own.

This file knows models of transformers. It knows no loss and no teacher.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from cot_distill.errors import ConfigError
from cot_distill.student.heads import Head

__all__ = ["Outputs", "head_of", "outputs_of", "require_eager", "text_config"]

_WAY = "with a student, set fused=False in the DistillationConfig; a teacher has to be merged first, or stored"
_SLACK = 0.02
"""How far logits may be from what they should be, as a share of the largest one: what bfloat16 leaves open."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a model says about a batch."""

    logits: Tensor | None
    """(batch, seq, vocab), where they were asked for."""
    hidden: Tensor | None
    """What the model gives to its head, (batch, seq, width), where logits were not asked for."""
    head: Head | None
    """That head."""
    hidden_states: Sequence[Tensor] | None
    """Embeddings and all blocks, (batch, seq, width), where they were asked for."""
    attentions: Sequence[Tensor] | None
    """All blocks, (batch, heads, seq, seq), where they were asked for."""


def outputs_of(
    model: nn.Module,
    core: nn.Module,
    inputs: Mapping[str, Tensor],
    *,
    whose: str,
    logits: bool = False,
    hidden_states: bool = False,
    attentions: bool = False,
) -> Outputs:
    """Run a model.

    Args:
        model: What to call: the model itself, or what a trainer has wrapped around it.
        core: The model itself.
        inputs: Its arguments: ``input_ids``, ``attention_mask``.
        whose: "student" or "teacher", for errors.
        logits: Whether all logits are wanted. Without them nothing of that size is made.
        hidden_states: Whether the hidden states of all layers are wanted.
        attentions: Whether the attention maps are wanted.

    Returns:
        What was wanted.

    Raises:
        ConfigError: Its logits are not wanted, and its head is more than the linear layer that this file knows.
    """
    options = {"output_hidden_states": hidden_states, "output_attentions": attentions, "use_cache": False}
    if logits:
        found = model(**inputs, **options, return_dict=True)
        return Outputs(found.logits, None, None, found.hidden_states, found.attentions)
    head = head_of(core, whose)
    with _tapped(core.get_output_embeddings(), whose) as given:
        found = model(**inputs, **options, return_dict=True)
    if len(given) != 1:
        raise ConfigError(f"the {whose}'s head was called {len(given)} times in one pass, not once: {_WAY}")
    fitting = _fitting(head, text_config(core), given[0], found.logits, whose)
    return Outputs(None, given[0], fitting, found.hidden_states, found.attentions)


def head_of(model: nn.Module, whose: str) -> Head:
    """Find the weights that a model makes its logits with.

    Args:
        model: A model of transformers, or one with adapters elsewhere than at its head.
        whose: "student" or "teacher", for the error.

    Raises:
        ConfigError: It is more than a linear layer, such as one with an adapter.
    """
    layer = model.get_output_embeddings()
    if type(layer) is not nn.Linear:
        raise ConfigError(
            f"the {whose}'s head is a {type(layer).__name__}, and only of an nn.Linear is it known how it makes "
            f"logits: {_WAY}"
        )
    return Head(layer.weight, layer.bias)


def require_eager(model: nn.Module, whose: str) -> None:
    """Raise ConfigError where a model will give no attention maps: with any but eager attention there are none."""
    found = getattr(text_config(model), "_attn_implementation", None)
    if found != "eager":
        raise ConfigError(
            f"attention_weight is above 0, but the {whose} computes its attention with {found!r}, which makes no "
            f'maps to compare. Call {whose}.set_attn_implementation("eager") first, or load it with '
            f'attn_implementation="eager"'
        )


def text_config(model: nn.Module) -> Any:
    """The config of the part of a model that knows text."""
    config = model.config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


@contextmanager
def _tapped(layer: nn.Module, whose: str) -> Iterator[list[Tensor]]:
    """Take what a layer is given, and let it compute one position only."""
    given: list[Tensor] = []

    def take(_layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(args) != 1 or args[0].dim() != 3:
            raise ConfigError(f"the {whose}'s head is not given (batch, seq, width) alone: {_WAY}")
        given.append(args[0])
        return (args[0][:1, -1:],)  # the last one has something to attend to, on whichever side a row is padded

    hook = layer.register_forward_pre_hook(take)
    try:
        yield given
    finally:
        hook.remove()


def _fitting(head: Head, config: Any, hidden: Tensor, logits: Tensor, whose: str) -> Head:
    """Find out how a model scales and bends its logits: in the way of those it has a setting for that gives these."""
    softcap = getattr(config, "final_logit_softcapping", None)  # Gemma
    real = logits.detach().float().reshape(-1)
    for scale in (1.0, *_scales(config)):
        candidate = Head(head.weight, head.bias, scale, softcap)
        given = hidden[:1, -1:].detach().to(head.weight.dtype)
        made = candidate.detached().logits(given).float().reshape(-1).to(real.device)
        if made.shape == real.shape and not bool((made - real).abs().max() > _SLACK * real.abs().max()):
            return candidate
    raise ConfigError(
        f"the {whose} makes its logits in a way of its own: they are not the weight of its head times hidden states, "
        f"nor that with a scale or a softcap of its config: {_WAY}"
    )


def _scales(config: Any) -> Iterator[float]:
    """The factors that models put before their logits: those of Cohere, Falcon-H1, Granite and HyperCLOVA X."""
    for name in ("logit_scale", "lm_head_multiplier", "output_multiplier"):
        if isinstance(value := getattr(config, name, None), int | float):
            yield float(value)
    if isinstance(value := getattr(config, "logits_scaling", None), int | float) and value:
        yield from (1 / value, float(value))
