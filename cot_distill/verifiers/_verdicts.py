"""What several answer verifiers say in the same words."""

from __future__ import annotations

from cot_distill.types import Task, Verdict

_CHARACTERS = 200


def without_reference(task: Task, by: str) -> Verdict | None:
    """The verdict on a task that has no reference answer; None where it has one."""
    if task.answer is not None and task.answer.strip():
        return None
    return inapplicable(by, "the task has no reference answer")


def inapplicable(by: str, reason: str) -> Verdict:
    """There is nothing to judge this task by."""
    return Verdict(by=by, passed=None, about="answer", applies=False, reason=reason)


def short(text: str, characters: int = _CHARACTERS) -> str:
    """Quote a text in a reason, which shall stay a sentence."""
    return repr(text if len(text) <= characters else text[: characters - 1] + "…")
