"""Rows for training by preference and by reinforcement, in the formats of TRL.

Each function takes the samples of a run, ordered by (task, attempt) and *with the wrong ones*, as ``run.samples()``
gives them, and returns an iterator of rows for a writer. Never more than the samples of one task are in memory.
"""

from __future__ import annotations

from cot_distill.pairs.labels import kto
from cot_distill.pairs.layout import Style, Thinking
from cot_distill.pairs.preferences import Better, Kind, dpo
from cot_distill.pairs.prompts import grpo

__all__ = ["Better", "Kind", "Style", "Thinking", "dpo", "grpo", "kto"]
