"""The settings of a distillation: those of any training with transformers, and a dozen more."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import cast

from transformers import TrainingArguments

from cot_distill.errors import ConfigError
from cot_distill.student.divergences import Divergence, divergence_rows
from cot_distill.student.feature_losses import AttentionKind, HiddenKind
from cot_distill.student.kd import VocabPolicy
from cot_distill.student.layer_map import LayerMap
from cot_distill.student.positions import one_of
from cot_distill.student.rows import Mix

__all__ = ["DistillationConfig"]


@dataclass
class DistillationConfig(TrainingArguments):  # type: ignore[misc] # transformers is not there when types are checked
    """Settings of a :class:`~cot_distill.student.trainer.DistillationTrainer`, beside those of ``TrainingArguments``.

    What is learned, for the tokens that have a label::

        (1 - gamma) * CE + gamma * temperature**2 * KL + feature_weight * feature + attention_weight * attention

    Each part is a mean over all tokens of an optimizer step, however these are cut into batches. A weight of 0 leaves
    its part out: it is not computed, and needs nothing of the teacher.

    Raises:
        ConfigError: A setting is out of range, or two do not go together.
    """

    remove_unused_columns: bool = field(
        default=False, metadata={"help": "Must stay off: the spans and the stored top k are no arguments of a model."}
    )
    gamma: float = field(default=0.5, metadata={"help": "The teacher's share, from 0 (labels only) to 1."})
    temperature: float = field(default=1.0, metadata={"help": "T of both distributions; the labels are at T=1."})
    divergence: Divergence = field(
        default="forward_kl", metadata={"help": "How far the student's distribution is from the teacher's."}
    )
    beta: float = field(default=0.5, metadata={"help": "For divergence='jsd': 0 is forward KL, 1 reverse KL."})
    vocab_policy: VocabPolicy = field(
        default="error", metadata={"help": "What to do where teacher and student have differently many logits."}
    )
    feature_weight: float = field(default=0.0, metadata={"help": "Weight of the loss on hidden states."})
    feature_kind: HiddenKind = field(default="mse", metadata={"help": "How these are compared."})
    attention_weight: float = field(
        default=0.0, metadata={"help": "Weight of the loss on attention maps; needs eager attention."}
    )
    attention_kind: AttentionKind = field(
        default="kl", metadata={"help": "How these are compared. The squared difference fades with longer texts."}
    )
    layer_map: str = field(
        default="even",
        metadata={
            "help": "Which layers are compared: 'even', 'last', or pairs 'student:teacher', such as '1:2,2:4'; in "
            "Python a LayerMap or a list of pairs as well."
        },
    )
    projector_learning_rate: float | None = field(
        default=None, metadata={"help": "Learning rate of the projectors. Default: the student's."}
    )
    think_weight: float = field(default=1.0, metadata={"help": "What each token of the reasoning counts."})
    answer_weight: float = field(default=1.0, metadata={"help": "What each token of the answer and its end counts."})
    fused: bool = field(
        default=True,
        metadata={"help": "Make logits a few rows at a time. Off: all at once, by the models themselves."},
    )
    chunk_size: int = field(default=1024, metadata={"help": "How many rows of logits there may be at once."})

    def __post_init__(self) -> None:
        super().__post_init__()
        Mix(self.gamma, self.temperature)
        divergence_rows(self.divergence, self.beta)
        one_of("vocab_policy", self.vocab_policy, VocabPolicy)
        one_of("feature_kind", self.feature_kind, HiddenKind)
        one_of("attention_kind", self.attention_kind, AttentionKind)
        for name in ("feature_weight", "attention_weight", "think_weight", "answer_weight"):
            if not (isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"{name}={getattr(self, name)} is not 0 or more")
        if self.chunk_size < 1:
            raise ConfigError(f"chunk_size={self.chunk_size} is below 1")
        if self.remove_unused_columns:
            raise ConfigError("remove_unused_columns=True would remove the columns of spans and top k: leave it out")
        if self.label_smoothing_factor:
            raise ConfigError("label_smoothing_factor has no place beside a teacher: leave it at 0")
        if self.use_liger_kernel:
            raise ConfigError("use_liger_kernel replaces the loss by its own: leave it off; fused=True does the same")
        given: object = self.layer_map
        if not isinstance(given, str):  # as text, so that the settings go into JSON
            layers = given if isinstance(given, LayerMap) else LayerMap.explicit(cast("list[list[int]]", given))
            self.layer_map = ",".join(f"{student}:{teacher}" for student, teacher in layers.pairs)
        self.pairs_of_layers(1, 1)

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher has anything to say."""
        return self.gamma > 0 or self.feature_weight > 0 or self.attention_weight > 0

    def pairs_of_layers(self, student: int, teacher: int) -> LayerMap:
        """Say which layers are compared.

        Args:
            student: The student's number of blocks.
            teacher: The teacher's.

        Raises:
            ConfigError: ``layer_map`` is nothing of what it may be.
        """
        if self.layer_map == "even":
            return LayerMap.even(student, teacher)
        if self.layer_map == "last":
            return LayerMap.last()
        try:
            return LayerMap.explicit(tuple(map(int, pair.split(":"))) for pair in self.layer_map.split(","))
        except ValueError:
            raise ConfigError(
                f"layer_map={self.layer_map!r} is neither 'even' nor 'last', and no pairs such as '1:2,2:4'"
            ) from None
