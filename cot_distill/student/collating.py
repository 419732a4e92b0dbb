"""From rows of token ids to a batch of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cot_distill.encoding import IGNORED
from cot_distill.errors import ConfigError

__all__ = ["TOPK_COLUMNS", "Collator", "model_inputs", "predicting"]

TOPK_COLUMNS = ("topk_ids", "topk_logprobs")
"""Columns with a teacher's most likely tokens, and their log-probabilities."""
_OURS = ("labels", "spans", *TOPK_COLUMNS)


def model_inputs(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What of a batch is for a model to read."""
    return {name: value for name, value in batch.items() if name not in _OURS}


def predicting(labels: Tensor) -> Tensor:
    """Where a token with a label is predicted: at the position before it.

    Args:
        labels: (batch, seq).

    Returns:
        Booleans, (batch, seq).
    """
    return torch.nn.functional.pad(labels[:, 1:] != IGNORED, (0, 1))


@dataclass(frozen=True)
class Collator:
    """Makes a batch of rows, padded on the right.

    Rows hold ``input_ids`` and ``labels``, and may hold ``spans`` and the two columns of a teacher's top k; their
    values may be lists, arrays or tensors. The batch holds

    - ``input_ids``, ``attention_mask``, ``labels`` and, if they are there, ``spans``: (batch, seq), int64
    - if they are there, ``topk_ids`` and ``topk_logprobs``, (batch, seq, k): those of a token stand at the position
      before it, where the logits that predict it are; -inf where there are none

    The first token of a row has no label: nothing predicts it.

    Args:
        pad_token_id: What to fill up with. No loss and no attention falls there, so it may be any token.
        topk: The names of the two columns in the rows.
    """

    pad_token_id: int = 0
    topk: tuple[str, str] = TOPK_COLUMNS

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Make a batch.

        Args:
            rows: Of the dataset.

        Raises:
            ConfigError: A column is missing, or does not fit the others.
        """
        ids = [_tensor(_column(row, "input_ids")) for row in rows]
        labels = [_tensor(_column(row, "labels")) for row in rows]
        for row in labels:
            row[:1] = IGNORED
        columns = {"labels": (labels, IGNORED)}
        if "spans" in rows[0]:
            columns["spans"] = ([_tensor(_column(row, "spans")) for row in rows], 0)
        for name, (values, _) in columns.items():
            for number, (row, value) in enumerate(zip(ids, values, strict=True)):
                if len(row) != len(value):
                    raise ConfigError(f"row {number} of a batch has {len(row)} input_ids and {len(value)} {name}")
        batch = {
            "input_ids": _padded(ids, self.pad_token_id),
            "attention_mask": _padded([torch.ones_like(row) for row in ids], 0),
            **{name: _padded(values, fill) for name, (values, fill) in columns.items()},
        }
        if self.topk[0] in rows[0]:
            batch.update(self._topk(rows, predicting(batch["labels"])))
        return batch

    def _topk(self, rows: Sequence[Mapping[str, Any]], where: Tensor) -> dict[str, Tensor]:
        found = []
        for number, row in enumerate(rows):
            pair = [_filled(_column(row, name), fill) for name, fill in zip(self.topk, (0, -np.inf), strict=True)]
            wanted = int(where[number].sum())
            if pair[0].shape != pair[1].shape or len(pair[0]) != wanted:
                raise ConfigError(
                    f"row {number} of a batch has {self.topk[0]} of shape {pair[0].shape} and {self.topk[1]} of "
                    f"shape {pair[1].shape} for {wanted} tokens with a label: were they made of this dataset?"
                )
            found.append(pair)
        k = max(pair[0].shape[1] for pair in found)
        ids = torch.zeros((*where.shape, k), dtype=torch.int64)
        logprobs = torch.full((*where.shape, k), float("-inf"))
        for number, pair in enumerate(found):
            there = where[number].nonzero().squeeze(-1)
            ids[number, there, : pair[0].shape[1]] = torch.from_numpy(pair[0].astype(np.int64))
            logprobs[number, there, : pair[1].shape[1]] = torch.from_numpy(pair[1].astype(np.float32))
        return dict(zip(TOPK_COLUMNS, (ids, logprobs), strict=True))


def _column(row: Mapping[str, Any], name: str) -> Any:
    if row.get(name) is None:
        raise ConfigError(
            f"a row has no column {name!r}, its columns are {', '.join(row) or '(none)'}: encode_dataset(tokenizer, "
            f"samples) makes a dataset that a DistillationTrainer takes"
        )
    return row[name]


def _tensor(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.int64)


def _padded(rows: Sequence[Tensor], fill: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _filled(lists: Any, fill: float) -> Any:
    """An array (tokens, k), from lists that may be of unequal length."""
    rows = [np.asarray(row) for row in lists]
    k = max(map(len, rows), default=0)
    if rows and all(len(row) == k for row in rows):
        return np.stack(rows)
    made = np.full((len(rows), k), fill)
    for place, row in enumerate(rows):
        made[place, : len(row)] = row
    return made
