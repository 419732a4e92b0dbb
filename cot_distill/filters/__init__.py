"""Which samples go into the dataset: functions over a stream of samples.

A filter sees samples only, one at a time and in order. It changes none, and knows nothing of rows or files.
"""

from __future__ import annotations

from cot_distill.filters.choose import clean, limit, passed

__all__ = ["clean", "limit", "passed"]
