"""The tasks of the demo."""

from __future__ import annotations

from cot_distill import sources


def test_demo_tasks() -> None:
    tasks = sources.demo_tasks(12)
    assert [task.id for task in tasks] == [f"demo-{n}" for n in range(12)]
    assert tasks == sources.demo_tasks(12)
    assert tasks[:3] == sources.demo_tasks(3)
    assert tasks != sources.demo_tasks(12, seed=1)
    assert len(sources.demo_tasks()) == 100
