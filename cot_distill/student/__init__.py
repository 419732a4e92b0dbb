"""Training a student: losses, projectors and layer maps, a trainer, and a measure of what it has learned.

Needs the extra "train". Importing this loads nothing heavy: torch comes with the first name that needs it. Only
:class:`DistillationConfig` and :class:`DistillationTrainer` need transformers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cot_distill.errors import MissingExtraError

if TYPE_CHECKING:
    from cot_distill.student.collating import Collator
    from cot_distill.student.dataset import encode_dataset, encode_rows
    from cot_distill.student.feature_losses import attention_loss, hidden_state_loss
    from cot_distill.student.fused_kd import TeacherHidden, TeacherTopK, fused_linear_kd_loss
    from cot_distill.student.heads import Head
    from cot_distill.student.kd import kd_loss
    from cot_distill.student.layer_map import LayerMap
    from cot_distill.student.positions import KDLoss
    from cot_distill.student.projectors import Projector
    from cot_distill.student.scoring import Score, generate_and_score
    from cot_distill.student.sparse_kd import sparse_kd_loss
    from cot_distill.student.teacher_sources import LocalTeacher, StoredTopK, Taught, TeacherSource
    from cot_distill.student.topk import precompute_topk
    from cot_distill.student.trainer import DistillationTrainer
    from cot_distill.student.trainer_config import DistillationConfig

__all__ = [
    "Collator",
    "DistillationConfig",
    "DistillationTrainer",
    "Head",
    "KDLoss",
    "LayerMap",
    "LocalTeacher",
    "Projector",
    "Score",
    "StoredTopK",
    "Taught",
    "TeacherHidden",
    "TeacherSource",
    "TeacherTopK",
    "attention_loss",
    "encode_dataset",
    "encode_rows",
    "fused_linear_kd_loss",
    "generate_and_score",
    "hidden_state_loss",
    "kd_loss",
    "precompute_topk",
    "sparse_kd_loss",
]

_HOMES = {
    "Collator": "collating",
    "DistillationConfig": "trainer_config",
    "DistillationTrainer": "trainer",
    "Head": "heads",
    "KDLoss": "positions",
    "LayerMap": "layer_map",
    "LocalTeacher": "teacher_sources",
    "Projector": "projectors",
    "Score": "scoring",
    "StoredTopK": "teacher_sources",
    "Taught": "teacher_sources",
    "TeacherHidden": "fused_kd",
    "TeacherSource": "teacher_sources",
    "TeacherTopK": "fused_kd",
    "attention_loss": "feature_losses",
    "encode_dataset": "dataset",
    "encode_rows": "dataset",
    "fused_linear_kd_loss": "fused_kd",
    "generate_and_score": "scoring",
    "hidden_state_loss": "feature_losses",
    "kd_loss": "kd",
    "precompute_topk": "topk",
    "sparse_kd_loss": "sparse_kd",
}
"""In which file of this package each public name lives."""

_OF_THE_EXTRA = ("accelerate", "peft", "safetensors", "torch", "transformers")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in _OF_THE_EXTRA:
            raise
        raise MissingExtraError(f"cot_distill.student.{name}", "train") from error
    globals()[name] = found  # so that the next look finds it at once
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
