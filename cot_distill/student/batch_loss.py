"""The loss of one batch, of what student and teacher say about it.

A batch may be a part of an optimizer step. Its loss is then its share: the shares of all batches of a step add up to
the mean over the whole step, however it was cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cot_distill.errors import ConfigError
from cot_distill.student.collating import predicting
from cot_distill.student.dataset import ANSWER, EOS, THINK
from cot_distill.student.feature_losses import AttentionKind, attention_loss, hidden_state_loss
from cot_distill.student.fused_kd import TeacherTopK, fused_linear_kd_loss
from cot_distill.student.kd import kd_loss
from cot_distill.student.layer_map import LayerMap
from cot_distill.student.meter import Meter
from cot_distill.student.model_outputs import Outputs
from cot_distill.student.positions import KDLoss
from cot_distill.student.sparse_kd import sparse_kd_loss
from cot_distill.student.teacher_sources import Taught

if TYPE_CHECKING:
    from cot_distill.student.trainer_config import DistillationConfig

__all__ = ["BatchLoss", "Features", "StepSize", "attention_units", "batch_loss", "total_of"]

_SPANS = {"think": (THINK,), "answer": (ANSWER, EOS)}


@dataclass(frozen=True)
class StepSize:
    """What a step is a mean over, all its batches together."""

    tokens: Tensor | int | None = None
    """Those with a label. None: this batch is all."""
    attention: float | None = None
    """As :func:`attention_units` counts. None: this batch is all."""
    batches: int = 0
    """How many these are; 0 in an evaluation, which has no steps."""


@dataclass(frozen=True, eq=False)
class Features:
    """How the insides of the two models are compared."""

    layers: LayerMap
    projectors: nn.ModuleList
    """One for each pair of layers."""


@dataclass(frozen=True, eq=False)
class BatchLoss:
    """What came of a batch."""

    loss: Tensor
    """Its share of the loss of the step."""
    parts: Mapping[str, Tensor]
    """Its shares of ``ce``, ``kl``, ``feature`` and ``attention``, before their weights, as far as these have one."""
    units: Mapping[str, float]
    """How many tokens, or other units, each part of this batch is of."""
    per_token: Tensor
    """The loss of each token before its weight, without features, (batch, seq - 1)."""

    def note(self, meter: Meter, inputs: Mapping[str, Tensor], step: StepSize, processes: int) -> None:
        """Put the parts of the loss, and the losses of reasoning and answer, on a meter.

        Args:
            meter: Where to.
            inputs: The batch.
            step: What it is a part of.
            processes: Among how many the mean over a step is divided.
        """
        for name, value in self.parts.items():
            if step.batches:  # shares, which over the batches of a step add up to its mean
                meter.add(name, value * processes, 1 / step.batches)
            else:
                meter.add(name, value * self.units[name], self.units[name])
        if "spans" not in inputs:
            return
        kinds, counts = inputs["spans"][:, 1:], predicting(inputs["labels"])[:, :-1]
        for name, numbers in _SPANS.items():
            here = counts & torch.isin(kinds, torch.tensor(numbers, device=kinds.device))
            meter.add(f"loss/{name}", (self.per_token * here).sum(), here.sum())


def batch_loss(
    said: Outputs,
    taught: Taught,
    inputs: Mapping[str, Tensor],
    settings: DistillationConfig,
    features: Features | None,
    step: StepSize,
) -> BatchLoss:
    """Compute the loss of a batch.

    Args:
        said: What the student says.
        taught: What the teacher says.
        inputs: As :class:`~cot_distill.student.collating.Collator` makes them.
        settings: The weights.
        features: How to compare hidden states and attention; None where neither has a weight.
        step: What the whole step is a mean over.

    Raises:
        ConfigError: There are weights for spans and no spans, or the models do not go together.
    """
    kd = _kd(said, taught, inputs, settings, step.tokens)
    parts = {"ce": kd.ce, "kl": kd.kl} if settings.gamma > 0 else {"ce": kd.ce}
    units = {name: float(kd.n_tokens) for name in ("ce", "kl", "feature")}
    loss = kd.loss
    if features is not None and settings.feature_weight > 0:
        share = 1.0 if step.tokens is None else units["feature"] / max(float(step.tokens), 1.0)
        parts["feature"] = share * _feature(said, taught, inputs["labels"], settings, features)
        loss = loss + settings.feature_weight * parts["feature"]
    if features is not None and settings.attention_weight > 0:
        units["attention"] = attention_units([inputs], settings.attention_kind)
        share = 1.0 if step.attention is None else units["attention"] / step.attention
        mine, theirs = features.layers.attentions(said.attentions, taught.attentions)
        found = attention_loss(mine, theirs, inputs["attention_mask"], kind=settings.attention_kind)
        parts["attention"] = share * found
        loss = loss + settings.attention_weight * parts["attention"]
    return BatchLoss(loss, parts, units, kd.per_token)


def attention_units(batches: Sequence[Mapping[str, Tensor]], kind: AttentionKind) -> float:
    """Count what an attention loss is a mean over: queries, or for "mse" pairs of query and key.

    Args:
        batches: With ``attention_mask``.
        kind: How attention maps are compared.
    """
    lengths = torch.cat([batch["attention_mask"].sum(-1).cpu() for batch in batches])
    return float((lengths.square() if kind == "mse" else lengths).sum())


def total_of(parts: Mapping[str, float], settings: DistillationConfig) -> float:
    """Add up the parts of a loss with their weights; other names are passed over."""
    weights = {"ce": 1 - settings.gamma, "kl": settings.gamma * settings.temperature**2}
    weights |= {"feature": settings.feature_weight, "attention": settings.attention_weight}
    return sum(weights[name] * value for name, value in parts.items() if weights.get(name))


def _kd(
    said: Outputs,
    taught: Taught,
    inputs: Mapping[str, Tensor],
    settings: DistillationConfig,
    tokens: Tensor | int | None,
) -> KDLoss:
    labels, knowledge = inputs["labels"], taught.knowledge
    common: dict[str, Any] = {
        "gamma": settings.gamma,
        "temperature": settings.temperature,
        "num_items_in_batch": tokens,
        "token_weights": _token_weights(inputs, settings),
        "shift": True,
    }
    dense: dict[str, Any] = {
        "divergence": settings.divergence,
        "beta": settings.beta,
        "vocab_policy": settings.vocab_policy,
    }
    sparse: dict[str, Any] = {"residual": taught.residual}
    if said.logits is None:
        options = {**common, **dense, **sparse, "chunk_size": settings.chunk_size}
        return fused_linear_kd_loss(said.hidden, said.head, knowledge, labels, **options)
    if isinstance(knowledge, TeacherTopK):
        return sparse_kd_loss(said.logits, knowledge.ids, knowledge.logprobs, labels, **common, **sparse)
    return kd_loss(said.logits, knowledge, labels, **common, **dense)


def _token_weights(inputs: Mapping[str, Tensor], settings: DistillationConfig) -> Tensor | None:
    if settings.think_weight == settings.answer_weight == 1:
        return None
    if "spans" not in inputs:
        raise ConfigError(
            "think_weight and answer_weight need the column `spans`, and the dataset has none: make it with "
            "encode_dataset, or leave both weights at 1"
        )
    weights = torch.ones(4, device=inputs["spans"].device)
    weights[THINK] = settings.think_weight
    weights[[ANSWER, EOS]] = settings.answer_weight
    return weights[inputs["spans"]]


def _feature(
    said: Outputs, taught: Taught, labels: Tensor, settings: DistillationConfig, features: Features
) -> Tensor:
    mine, theirs = features.layers.hidden(said.hidden_states, taught.hidden_states)
    with torch.autocast(labels.device.type, enabled=False):  # a projector computes in its own type
        mine = [projector(hidden) for projector, hidden in zip(features.projectors, mine, strict=True)]
    return hidden_state_loss(mine, theirs, predicting(labels), kind=settings.feature_kind)
