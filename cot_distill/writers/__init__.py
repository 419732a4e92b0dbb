"""Where rows go: each writer pulls all of them, and commits whole or not at all."""

from __future__ import annotations

from cot_distill.writers.hugging_face import hugging_face
from cot_distill.writers.jsonl import jsonl
from cot_distill.writers.parquet import parquet

__all__ = ["hugging_face", "jsonl", "parquet"]
