"""Where a teacher's knowledge comes from while a student trains: a model beside it, or columns of its dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from cot_distill.errors import ConfigError
from cot_distill.student.collating import TOPK_COLUMNS, model_inputs
from cot_distill.student.fused_kd import TeacherHidden, TeacherTopK
from cot_distill.student.kd import check_vocabularies
from cot_distill.student.model_outputs import outputs_of, require_eager, text_config
from cot_distill.student.residuals import Residual
from cot_distill.student.sparse_kd import check_residual

if TYPE_CHECKING:
    from cot_distill.student.trainer_config import DistillationConfig

__all__ = ["LocalTeacher", "StoredTopK", "Taught", "TeacherSource"]


@dataclass(frozen=True, eq=False)
class Taught:
    """What a teacher says about a batch; what was not asked for is None."""

    knowledge: TeacherHidden | TeacherTopK | Tensor | None = None
    """Its distribution over the next token: in a form that the fused loss takes, or logits (batch, seq, vocab)."""
    hidden_states: Sequence[Tensor] | None = None
    """Embeddings and all blocks, (batch, seq, width)."""
    attentions: Sequence[Tensor] | None = None
    """All blocks, (batch, heads, seq, seq)."""
    residual: Residual = "renormalize"
    """What becomes of the probability that a top k leaves over."""


class TeacherSource(Protocol):
    """What a :class:`~cot_distill.student.trainer.DistillationTrainer` learns from."""

    @property
    def shape(self) -> tuple[int, int] | None:
        """Its number of blocks and the width of its hidden states; None where these cannot be had."""
        ...

    def prepare(self, student: nn.Module, settings: DistillationConfig, device: torch.device) -> None:
        """Get ready, once, before training.

        Args:
            student: Who will learn.
            settings: What will be wanted.
            device: Where the student is.

        Raises:
            ConfigError: Not everything that is wanted can be had.
        """
        ...

    def __call__(self, batch: Mapping[str, Tensor], *, logits: bool) -> Taught:
        """Say what is wanted about a batch, without a gradient.

        Args:
            batch: As :class:`~cot_distill.student.collating.Collator` makes it.
            logits: Whether a model's logits are wanted whole, rather than in a form for the fused loss.
        """
        ...


class LocalTeacher:
    """A teacher that is there as a model of transformers.

    It is put into evaluation mode, and moved to the student's device, once; a model that is spread over devices or
    quantised stays where it is. It computes in the type that it was loaded in, gets no gradient, is in no checkpoint,
    and is never changed.

    Args:
        model: The model, with the student's tokenizer. Not the student itself: give a copy of it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._settings: DistillationConfig | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Its number of blocks and the width of its hidden states."""
        config = text_config(self.model)
        return config.num_hidden_layers, config.hidden_size

    def prepare(self, student: nn.Module, settings: DistillationConfig, device: torch.device) -> None:
        """Check that the two go together, and move the teacher.

        Args:
            student: Who will learn.
            settings: What will be wanted.
            device: Where the student is.

        Raises:
            ConfigError: Other vocabularies, no attention maps, or one model in both parts.
        """
        ours = {id(parameter) for parameter in student.parameters()}
        if any(id(parameter) in ours for parameter in self.model.parameters()):
            raise ConfigError("teacher and student share their weights: give LocalTeacher(copy.deepcopy(model))")
        check_vocabularies(
            student.get_output_embeddings().weight.shape[0],
            self.model.get_output_embeddings().weight.shape[0],
            settings.vocab_policy,
        )
        if settings.attention_weight > 0:
            require_eager(self.model, "teacher")
        stays = getattr(self.model, "hf_device_map", None) or getattr(self.model, "is_quantized", False)
        if not stays and next(self.model.parameters()).device != device:
            self.model.to(device)
        self._settings = settings

    def __call__(self, batch: Mapping[str, Tensor], *, logits: bool) -> Taught:
        """Run the model on a batch.

        Args:
            batch: With ``input_ids`` and ``attention_mask``.
            logits: Whether its logits are wanted whole.
        """
        settings = self._settings
        if settings is None:
            raise ConfigError(
                "this LocalTeacher belongs to no trainer yet: pass it to DistillationTrainer(teacher=…)"
            )
        if self.model.training:  # here, since whoever else has it may change that
            self.model.eval()
        with torch.no_grad():
            said = outputs_of(
                self.model,
                self.model,
                model_inputs(batch),
                whose="teacher",
                logits=logits and settings.gamma > 0,
                hidden_states=settings.feature_weight > 0,
                attentions=settings.attention_weight > 0,
            )
        knowledge: Any = said.logits
        if said.hidden is not None and said.head is not None:
            knowledge = TeacherHidden(said.hidden, said.head)
        return Taught(knowledge if settings.gamma > 0 else None, said.hidden_states, said.attentions)


class StoredTopK:
    """A teacher whose most likely tokens are columns of the dataset, as ``precompute_topk`` writes them.

    It costs nothing while the student trains, and needs no model. It has no hidden states.

    Args:
        columns: The names of the two columns, ids and log-probabilities at temperature 1. For each token with a
            label, in order, they hold the teacher's k most likely tokens in its place; some may have fewer.
        residual: What becomes of the probability that the k leave over; see
            :func:`~cot_distill.student.sparse_kd.sparse_kd_loss`.
    """

    shape = None

    def __init__(self, columns: tuple[str, str] = TOPK_COLUMNS, *, residual: Residual = "renormalize") -> None:
        self.columns = columns
        self.residual = residual

    def prepare(self, student: nn.Module, settings: DistillationConfig, device: torch.device) -> None:
        """Check that top k are enough for what is wanted.

        Args:
            student: Who will learn.
            settings: What will be wanted.
            device: Where the student is.

        Raises:
            ConfigError: They are not.
        """
        del student, device
        for name in ("feature_weight", "attention_weight"):
            if getattr(settings, name) > 0:
                raise ConfigError(f"{name} is above 0, and stored top k hold no such thing: take a LocalTeacher")
        if settings.divergence != "forward_kl":
            raise ConfigError(
                f"divergence={settings.divergence!r} needs a LocalTeacher: top k give 'forward_kl' only"
            )
        check_residual(self.residual, settings.temperature)

    def __call__(self, batch: Mapping[str, Tensor], *, logits: bool) -> Taught:
        """Take the columns from a batch.

        Args:
            batch: With ``topk_ids`` and ``topk_logprobs``, (batch, seq, k).
            logits: Is not looked at: there are none.

        Raises:
            ConfigError: The columns are not there.
        """
        del logits
        if any(name not in batch for name in TOPK_COLUMNS):
            raise ConfigError(
                f"the dataset has no columns {' and '.join(self.columns)}: precompute_topk(model, dataset, k) "
                f"writes them, or name yours with StoredTopK(columns=…)"
            )
        ids, logprobs = (batch[name] for name in TOPK_COLUMNS)
        return Taught(TeacherTopK(ids, logprobs), residual=self.residual)
