"""The tasks of the demo. How they are made is for :mod:`cot_distill.demo_problems`."""

from __future__ import annotations

from cot_distill.demo_problems import make_problem
from cot_distill.types import Task

__all__ = ["demo_tasks"]


def demo_tasks(n: int = 100, *, seed: int = 0) -> list[Task]:
    """Make small problems of five families, with reference answers or tests. The same arguments give the same tasks.

    Args:
        n: How many.
        seed: Another seed gives other problems under the same ids.

    Returns:
        The tasks, in the same order always.

    Example:
        >>> [task.id for task in demo_tasks(2)]
        ['demo-0', 'demo-1']
    """
    return [make_problem(index, seed=seed) for index in range(n)]
