"""Turn a large reasoning model into a training-ready dataset of verified chains of thought.

::

    from cot_distill import Distiller

    run = Distiller("deepseek:deepseek-flash").run("tasks.jsonl", "runs/r1")
    run.to_jsonl("train.jsonl")

Importing this loads nothing heavy: no datasets, pandas, pyarrow or torch, and it makes no network call.
"""

from cot_distill import (
    errors,
    filters,
    formatters,
    pairs,
    protocols,
    rewards,
    sandbox,
    sources,
    teachers,
    templates,
    trace,
    verifiers,
    writers,
)
from cot_distill._version import __version__
from cot_distill.distiller import Distiller
from cot_distill.encoding import encode
from cot_distill.errors import DistillError
from cot_distill.estimating import Estimate
from cot_distill.limits import Budget, RateLimit
from cot_distill.prices import Price, Prices
from cot_distill.report import Report
from cot_distill.run import Run
from cot_distill.task_report import TaskReport
from cot_distill.teachers import open_teacher
from cot_distill.template_check import check_template
from cot_distill.types import (
    Completion,
    Failure,
    Message,
    Sample,
    Sampling,
    Task,
    ThinkTags,
    Trace,
    Usage,
    Verdict,
)

__all__ = [
    "Budget",
    "Completion",
    "DistillError",
    "Distiller",
    "Estimate",
    "Failure",
    "Message",
    "Price",
    "Prices",
    "RateLimit",
    "Report",
    "Run",
    "Sample",
    "Sampling",
    "Task",
    "TaskReport",
    "ThinkTags",
    "Trace",
    "Usage",
    "Verdict",
    "__version__",
    "check_template",
    "encode",
    "errors",
    "filters",
    "formatters",
    "open_teacher",
    "pairs",
    "protocols",
    "rewards",
    "sandbox",
    "sources",
    "teachers",
    "templates",
    "trace",
    "verifiers",
    "writers",
]
