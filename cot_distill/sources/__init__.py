"""Where tasks come from: files, datasets, the Hub, data frames, lists, generators, and the demo.

Every function here returns a :class:`Source`: tasks with a place, to be read again and again. Columns with the usual
names are found; others are named::

    sources.read("problems.jsonl", instruction="exercise", answer="key", on_error="skip")

The engine takes more than sources: whatever :func:`open_tasks` can open.
"""

from __future__ import annotations

from cot_distill.sources.columns import Columns
from cot_distill.sources.demo import demo_tasks
from cot_distill.sources.files import csv, json, jsonl, parquet
from cot_distill.sources.hub import dataset, hub
from cot_distill.sources.paths import read
from cot_distill.sources.pull import TaskInput, as_source, open_tasks
from cot_distill.sources.source import FileState, OnError, Source, rows

__all__ = [
    "Columns",
    "FileState",
    "OnError",
    "Source",
    "TaskInput",
    "as_source",
    "csv",
    "dataset",
    "demo_tasks",
    "hub",
    "json",
    "jsonl",
    "open_tasks",
    "parquet",
    "read",
    "rows",
]
