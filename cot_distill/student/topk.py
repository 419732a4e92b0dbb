"""Asking a teacher once for its most likely tokens, so that students can learn from them without it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from cot_distill.errors import ConfigError
from cot_distill.student.collating import TOPK_COLUMNS, Collator, model_inputs, predicting
from cot_distill.student.model_outputs import head_of, outputs_of
from cot_distill.student.rows import log_softmax

if TYPE_CHECKING:
    import datasets

__all__ = ["precompute_topk"]


def precompute_topk(
    model: nn.Module, dataset: datasets.Dataset, k: int, *, batch_size: int = 8, chunk_size: int = 1024
) -> datasets.Dataset:
    """Add a teacher's k most likely tokens to a dataset, in place of each token that has a label.

    The ids are int32, which holds any vocabulary, in half the room of int64. The log-probabilities are float32: a
    loss has to know what the k leave over, ``1 - sum(p)``, and for a teacher that is sure of itself that is less than
    the rounding of float16; which would save a fourth. A token takes ``8 * k`` bytes, the prompt takes none. The rows
    are written to a file as they are made, where ``dataset`` itself has one. Keep them with
    ``save_to_disk``.

    Args:
        model: The teacher, on the device where it is to run.
        dataset: As :func:`~cot_distill.student.dataset.encode_dataset` makes it, with the tokenizer of both.
        k: How many. With as many as there are tokens, nothing is lost.
        batch_size: Rows to run at a time.
        chunk_size: How many rows of logits there may be at once.

    Returns:
        The dataset with the columns ``topk_ids`` and ``topk_logprobs``, a list of k for each token with a label, most
        likely first; what :class:`~cot_distill.student.teacher_sources.StoredTopK` reads. In the format "numpy",
        which is much faster to read than lists.

    Raises:
        ConfigError: ``k`` is not from 1 to the size of the vocabulary, the teacher's head is not linear, or the
            dataset has other columns.
    """
    vocabulary = head_of(model, "teacher").vocabulary
    if not 1 <= k <= vocabulary:
        raise ConfigError(f"k={k} is not from 1 to {vocabulary}, the number of tokens that the teacher knows")
    if chunk_size < 1:
        raise ConfigError(f"chunk_size={chunk_size} is below 1")

    def add(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        found: dict[str, list[Any]] = _topk(model, rows, k, chunk_size)
        return found

    was_training = model.training
    model.eval()
    try:
        # A fingerprint of our own: the one by default would hash the whole model, and might find an old result.
        made = dataset.map(add, batched=True, batch_size=batch_size, new_fingerprint=uuid.uuid4().hex)
    finally:
        model.train(was_training)
    return made.with_format("numpy")


@torch.no_grad()  # type: ignore[untyped-decorator]
def _topk(model: nn.Module, rows: list[dict[str, Any]], k: int, chunk_size: int) -> dict[str, list[Any]]:
    device = next(model.parameters()).device
    batch = {name: value.to(device) for name, value in Collator()(rows).items()}
    said = outputs_of(model, model, model_inputs(batch), whose="teacher")
    assert said.hidden is not None  # noqa: S101 # logits were not asked for
    assert said.head is not None  # noqa: S101
    where = predicting(batch["labels"])
    hidden = said.hidden[where.to(said.hidden.device)]
    ids, logprobs = [], []
    for start in range(0, len(hidden), chunk_size):
        best = log_softmax(said.head.logits(hidden[start : start + chunk_size])).topk(k)
        ids.append(best.indices.to("cpu", torch.int32))
        logprobs.append(best.values.to("cpu", torch.float32))
    of_rows = where.sum(-1).tolist()
    split = (
        torch.cat([empty, *parts]).split(of_rows)
        for empty, parts in (
            (torch.empty((0, k), dtype=torch.int32), ids),
            (torch.empty((0, k), dtype=torch.float32), logprobs),
        )
    )
    return {name: [row.numpy() for row in each] for name, each in zip(TOPK_COLUMNS, split, strict=True)}
