"""How a sample becomes a row of a dataset: one function per layout that trainers read.

Every row asks the bare task (``task.prompt()``), never the teacher's template: that is what the student will be
asked. A formatter takes every sample it is given, except where the layout has no place for a conversation. Leave out
the samples that would break a student's chat format with :func:`cot_distill.filters.clean`.
"""

from __future__ import annotations

from cot_distill.formatters.chat_template import ChatTokenizer, text
from cot_distill.formatters.layouts import Thinking, alpaca, messages, prompt_completion, sharegpt
from cot_distill.formatters.rendered import rendered
from cot_distill.formatters.topk import topk

__all__ = [
    "ChatTokenizer",
    "Thinking",
    "alpaca",
    "messages",
    "prompt_completion",
    "rendered",
    "sharegpt",
    "text",
    "topk",
]
