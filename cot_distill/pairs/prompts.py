"""Prompts with what to check the student's own answers against, for GRPO."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from itertools import groupby

from cot_distill.arguments import check_samples
from cot_distill.errors import ConfigError
from cot_distill.pairs.layout import Layout, Style, layout
from cot_distill.types import Row, Sample, Task

__all__ = ["grpo"]

log = logging.getLogger("cot_distill")


def grpo(tasks: Iterable[Task | Sample], *, style: Style = "conversational") -> Iterator[Row]:
    """Make rows ``prompt``, ``solution`` (the reference answer), ``tests`` (as JSON) and ``id``: one for each task.

    Of ``solution`` and ``tests`` what a task lacks is None. A task with neither is left out, since nothing could be
    rewarded for being right; how many is logged. The rewards of :mod:`cot_distill.rewards` read these columns.

    Args:
        tasks: Tasks, or the samples of a run, ordered by task. Choose among samples first to train where there is
            something to learn, such as on tasks that are sometimes solved.
        style: Messages or text.

    Returns:
        The rows. Where there is not one, the end of it raises :class:`~cot_distill.errors.ConfigError`.

    Raises:
        ConfigError: No such style, or nothing to go through. The iterator raises it for what is neither task nor
            sample.

    Example:
        >>> list(grpo([Task(id=7, instruction="2 + 2?", answer=4)], style="plain"))
        [{'prompt': '2 + 2?', 'solution': '4', 'tests': None, 'id': 7}]
    """
    check_samples(tasks, "pairs.grpo()")
    return _rows(tasks, layout(style))


def _rows(tasks: Iterable[Task | Sample], laid_out: Layout) -> Iterator[Row]:
    made = left_out = 0
    for _, group in groupby(map(_task, tasks), key=lambda task: task.id):
        task = next(group)
        if not (task.answer or "").strip() and not task.tests:
            left_out += 1
            continue
        made += 1
        yield {
            "prompt": laid_out.prompt(task),
            "solution": task.answer,
            "tests": json.dumps(task.tests, ensure_ascii=False) if task.tests else None,
            "id": task.id,
        }
    if not made:
        raise ConfigError(
            f"there is no prompt with something to check an answer against ({left_out} tasks without): give the "
            "tasks an `answer` or `tests`"
        )
    if left_out:
        log.warning("pairs.grpo left out %d tasks that have neither `answer` nor `tests`", left_out)


def _task(one: Task | Sample) -> Task:
    if isinstance(one, Sample):
        return one.task
    if not isinstance(one, Task):
        raise ConfigError(f"pairs.grpo takes tasks or samples, not {type(one).__name__}; see cot_distill.sources")
    return one
