"""Distillation from the inside of a teacher: its hidden states and its attention maps.

Both losses take the tensors of one layer, or sequences of them, one for each pair of layers; then the result is the
mean over the pairs. :class:`~cot_distill.student.layer_map.LayerMap` picks these, and a
:class:`~cot_distill.student.projectors.Projector` brings the student's hidden states to the teacher's width.

Computed in float32, or in float64 where the student has it. The teacher gets no gradient. Where the mask leaves
nothing the loss is 0, and ``backward()`` works.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from cot_distill.errors import ConfigError
from cot_distill.student.positions import one_of

__all__ = ["AttentionKind", "HiddenKind", "attention_loss", "hidden_state_loss"]

HiddenKind = Literal["mse", "cosine", "normalized_mse"]
AttentionKind = Literal["mse", "kl"]


def hidden_state_loss(
    student: Tensor | Sequence[Tensor],
    teacher: Tensor | Sequence[Tensor],
    mask: Tensor | None = None,
    *,
    kind: HiddenKind = "mse",
) -> Tensor:
    r"""Bring hidden states close to a teacher's.

    For a position with the states ``s`` and ``t``, of width ``d``:

    - "mse": ``|s - t|**2 / d``
    - "cosine": ``1 - s.t / (|s| |t|)``, which looks only at directions
    - "normalized_mse": ``|s - t|**2 / |t|**2``, so that positions with huge states, as the first one of a text often
      has, do not outweigh all others

    The result is the mean over positions.

    Args:
        student: (batch, seq, width), already of the teacher's width; or one such tensor for each pair of layers.
        teacher: (batch, seq, width).
        mask: Which positions count, (batch, seq): true or not 0, such as ``labels != -100``. Default: all.
        kind: How the distance is measured.

    Returns:
        One number.

    Raises:
        ConfigError: Shapes that do not fit, or an unknown kind.

    Example:
        >>> import torch
        >>> s, t = torch.zeros(1, 2, 3), torch.tensor([[[1.0, 1.0, 1.0], [9.0, 9.0, 9.0]]])
        >>> hidden_state_loss(s, t, torch.tensor([[1, 0]])).item()
        1.0
    """
    one_of("kind", kind, HiddenKind)
    pairs = _pairs(student, teacher, "hidden states", "call the models with output_hidden_states=True")
    return torch.stack([_hidden(s, t.detach(), mask, kind) for s, t in pairs]).mean()


def attention_loss(
    student: Tensor | Sequence[Tensor],
    teacher: Tensor | Sequence[Tensor],
    mask: Tensor | None = None,
    *,
    kind: AttentionKind = "mse",
    heads: Literal["mean"] | Sequence[tuple[int, int]] = "mean",
) -> Tensor:
    r"""Let a student attend to what its teacher attends to.

    - "mse": squared difference of the attention probabilities, the mean over heads and pairs of positions that both
      count (Jiao et al., arXiv:1909.10351, who take it before the softmax)
    - "kl": ``KL(teacher || student)`` of the distribution over keys, normalised to those that count, in nats, the
      mean over heads and queries (Wang et al., arXiv:2002.10957)

    Args:
        student: Attention probabilities, (batch, heads, seq, seq), queries before keys; or one such tensor for each
            pair of layers. They exist only with eager attention.
        teacher: The same of the teacher.
        mask: Which positions count, as queries and as keys, (batch, seq): true or not 0, such as the attention mask.
            Default: all.
        kind: How the difference is measured.
        heads: "mean" compares the maps averaged over heads, which need not be equally many; pairs (head of the
            student, head of the teacher) compare head by head.

    Returns:
        One number.

    Raises:
        ConfigError: There are no attention maps, shapes that do not fit, an unknown kind, or no such head.

    Example:
        >>> import torch
        >>> s, t = torch.tensor([[[[1.0, 0.0], [0.5, 0.5]]]]), torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
        >>> attention_loss(s, t).item()  # (0 + 0 + 0.25 + 0.25) / 4
        0.125
    """
    one_of("kind", kind, AttentionKind)
    way = (
        'only eager attention makes maps. Call set_attn_implementation("eager") on both models, and call them with '
        "output_attentions=True"
    )
    pairs = _pairs(student, teacher, "attention maps", way)
    return torch.stack([_attention(s, t.detach(), mask, kind, heads) for s, t in pairs]).mean()


def _pairs(
    student: Tensor | Sequence[Tensor], teacher: Tensor | Sequence[Tensor], what: str, way: str
) -> list[tuple[Tensor, Tensor]]:
    sides = []
    for whose, given in (("student", student), ("teacher", teacher)):
        layers = [given] if isinstance(given, Tensor) else list(given if given is not None else ())
        if not layers or any(layer is None for layer in layers):
            raise ConfigError(f"the {whose} gave no {what}: {way}")
        sides.append(layers)
    if len(sides[0]) != len(sides[1]):
        raise ConfigError(
            f"{len(sides[0])} layers of the student, {len(sides[1])} of the teacher: pick with a LayerMap"
        )
    return list(zip(*sides, strict=True))


def _hidden(student: Tensor, teacher: Tensor, mask: Tensor | None, kind: HiddenKind) -> Tensor:
    if student.shape[:-1] != teacher.shape[:-1]:
        raise ConfigError(f"hidden states of shapes {tuple(student.shape)} and {tuple(teacher.shape)}")
    if student.shape[-1] != teacher.shape[-1]:
        raise ConfigError(
            f"the student's hidden states are {student.shape[-1]} wide, the teacher's {teacher.shape[-1]}: put a "
            f"Projector({student.shape[-1]}, {teacher.shape[-1]}) between them"
        )
    counts = _counts(mask, student.shape[:-1], student)
    s, t = _wide(student)[counts], _wide(teacher, student)[counts]
    rows = max(len(s), 1)
    if kind == "cosine":
        return (1 - torch.cosine_similarity(s, t, dim=-1)).sum() / rows
    distance = (s - t).square().sum(-1)
    if kind == "mse":
        return distance.sum() / (rows * s.shape[-1])
    return (distance / t.square().sum(-1).clamp(min=torch.finfo(t.dtype).tiny)).sum() / rows


def _attention(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None,
    kind: AttentionKind,
    heads: Literal["mean"] | Sequence[tuple[int, int]],
) -> Tensor:
    batch, _, queries, keys = student.shape
    if (batch, queries, keys) != (teacher.shape[0], *teacher.shape[2:]):
        raise ConfigError(f"attention maps of shapes {tuple(student.shape)} and {tuple(teacher.shape)}")
    if mask is not None and queries != keys:
        raise ConfigError(f"a mask needs as many queries as keys; there are {queries} and {keys}")
    as_query = _counts(mask, (batch, queries), student)
    as_key = _counts(mask, (batch, keys), student)[:, None].expand(batch, queries, keys)[as_query]
    # (rows, heads, keys), rows being the queries that count; keys that do not are 0.
    s, t = (
        maps.transpose(1, 2)[as_query].masked_fill(~as_key[:, None], 0.0)
        for maps in _heads(_wide(student), _wide(teacher, student), heads)
    )
    if kind == "mse":
        return (s - t).square().sum() / max(int(as_key.sum()) * s.shape[1], 1)
    # What float16 makes 0 is not impossible, only small: a logarithm of it would be infinite.
    tiny = torch.finfo(student.dtype).tiny
    s, t = (rows / rows.sum(-1, keepdim=True).clamp(min=tiny) for rows in (s, t))
    return (torch.special.xlogy(t, t) - t * s.clamp(min=tiny).log()).sum() / max(s.shape[0] * s.shape[1], 1)


def _heads(
    student: Tensor, teacher: Tensor, heads: Literal["mean"] | Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    if isinstance(heads, str):
        one_of("heads", heads, Literal["mean"])
        return student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
    ours, theirs = student.shape[1], teacher.shape[1]
    if not heads or not all(0 <= one < ours and 0 <= other < theirs for one, other in heads):
        raise ConfigError(
            f"heads={heads!r} are no pairs (head of the student, head of the teacher): they have {ours} and {theirs} "
            f"heads, and the first is 0"
        )
    return student[:, [one for one, _ in heads]], teacher[:, [other for _, other in heads]]


def _wide(values: Tensor, like: Tensor | None = None) -> Tensor:
    """To the type, and the device, of the computation."""
    like = values if like is None else like
    return values.to(like.device, torch.promote_types(like.dtype, torch.float32))


def _counts(mask: Tensor | None, shape: Sequence[int], like: Tensor) -> Tensor:
    """Which positions count, as booleans."""
    if mask is None:
        return torch.ones(tuple(shape), dtype=torch.bool, device=like.device)
    if tuple(mask.shape) != tuple(shape):
        raise ConfigError(f"the mask has shape {tuple(mask.shape)}, the positions have {tuple(shape)}")
    return mask.to(like.device) != 0
