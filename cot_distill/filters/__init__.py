"""Which samples go into the dataset: functions over a stream of samples.

A filter sees samples only, and changes none. It passes them on in their order, holds as few as it can, decides the
same way every time, and tells ``on_drop`` of each sample that it drops, with the reason. Filters that compare the
attempts of a task need them side by side, as those of a run are.
"""

from __future__ import annotations

from cot_distill.filters._dropping import OnDrop
from cot_distill.filters.amounts import balance, sample
from cot_distill.filters.attempts import longest, pass_rate, per_task, shortest
from cot_distill.filters.choose import clean, limit, passed
from cot_distill.filters.contamination import decontaminate
from cot_distill.filters.duplicates import dedup
from cot_distill.filters.tokens import within_tokens

__all__ = [
    "OnDrop",
    "balance",
    "clean",
    "decontaminate",
    "dedup",
    "limit",
    "longest",
    "pass_rate",
    "passed",
    "per_task",
    "sample",
    "shortest",
    "within_tokens",
]
