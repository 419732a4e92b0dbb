"""Judging by comparing the final answer with the reference, letter by letter.

It knows no mathematics: ``1/2`` and ``0.5`` differ here. It never looks at the reasoning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from cot_distill.answers import final_answer, normalise
from cot_distill.arguments import check_function
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict

__all__ = ["exact"]

_REASON_CHARACTERS = 200


def exact(*, extract: Callable[[str], str] | None = None) -> Verifier:
    r"""Make a verifier that compares the final answer with ``Task.answer``.

    Args:
        extract: Finds the final answer in ``trace.answer``. Default: :func:`cot_distill.answers.final_answer`, by
            which the reference is read in any case.

    Returns:
        A verifier named "exact". It passes no judgement (``passed=None``) on a task without a reference answer.

    Raises:
        ConfigError: ``extract`` is no function.

    Example:
        >>> verify = exact()
        >>> task = Task(instruction="What is 1000 + 234?", answer="1,234")
        >>> verify(task, Trace(reasoning="Add.", answer=r"It is \boxed{1234}.")).passed
        True
        >>> verify(task, Trace(reasoning="It is 1234.", answer="Answer: 1235")).reason
        "expected '1234', got '1235'"
    """
    if extract is not None:
        check_function(extract, "exact(extract=…)", "a text")
    return _Exact(extract or final_answer)


@dataclass(frozen=True)
class _Exact:
    """A class and not a closure, so that it can be sent to another process."""

    extract: Callable[[str], str]
    name: ClassVar[str] = "exact"
    __name__: ClassVar[str] = "exact"
    light: ClassVar[bool] = True

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if task.answer is None or not task.answer.strip():
            reason = "the task has no reference answer"
            return Verdict(by=self.name, passed=None, about="answer", applies=False, reason=reason)
        expected = normalise(final_answer(task.answer))
        got = normalise(self.extract(trace.answer))
        reason = f"expected {_short(expected)}, got {_short(got)}"
        return Verdict(by=self.name, passed=got == expected, about="answer", reason=reason)


def _short(text: str) -> str:
    return repr(text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…")
