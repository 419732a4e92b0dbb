r"""Judging what stands in ``\boxed{…}``, and wanting it there."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

from cot_distill.answers import boxes, final_answer, normalise
from cot_distill.arguments import check_verifier
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._verdicts import short, without_reference

__all__ = ["boxed"]


def boxed(*, verifier: Verifier | None = None) -> Verifier:
    r"""Make a verifier that demands ``\boxed{…}`` and compares the last one with ``Task.answer``.

    An answer without a box is wrong, however right it is. That teaches the student to mark its answers; where any
    way will do, take the verifier inside alone.

    Args:
        verifier: Judges an answer that is nothing but the last box: :func:`cot_distill.verifiers.math`,
            :func:`cot_distill.verifiers.numeric` or one of yours. Default: letter by letter.

    Returns:
        A verifier named "boxed". That boxes differ is in its reason.

    Raises:
        ConfigError: ``verifier`` is none.

    Example:
        >>> verify = boxed()
        >>> task = Task(instruction="2 + 2?", answer="4")
        >>> verify(task, Trace(reasoning="Hm.", answer=r"\boxed{4}")).passed
        True
        >>> verify(task, Trace(reasoning="Hm.", answer="Answer: 4")).reason
        'there is no \\boxed{…} in the answer'
    """
    if verifier is None:
        return _Boxed()
    check_verifier(verifier, "boxed(verifier=…)")
    return _BoxedWith(verifier)


_NAME = "boxed"


def _without_box() -> Verdict:
    return Verdict(by=_NAME, passed=False, about="answer", reason=r"there is no \boxed{…} in the answer")


def _differing(found: list[str]) -> str:
    """What there is to say of several boxes that do not say the same."""
    different = list(dict.fromkeys(map(normalise, found)))
    if len(different) == 1:
        return ""
    listed = ", ".join(short(text, 40) for text in different[:4]) + (", …" if len(different) > 4 else "")
    return f" (the last of {len(found)} boxes, which differ: {listed})"


@dataclass(frozen=True)
class _Boxed:
    name: ClassVar[str] = _NAME
    __name__: ClassVar[str] = _NAME
    light: ClassVar[bool] = True

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if (verdict := without_reference(task, self.name)) is not None:
            return verdict
        found = boxes(trace.answer)
        if not found:
            return _without_box()
        expected, got = normalise(final_answer(task.answer or "")), normalise(found[-1])
        reason = f"expected {short(expected)}, got {short(got)}{_differing(found)}"
        return Verdict(by=self.name, passed=expected == got, about="answer", reason=reason)


@dataclass(frozen=True)
class _BoxedWith:
    verifier: Verifier
    name: ClassVar[str] = _NAME
    __name__: ClassVar[str] = _NAME

    @property
    def light(self) -> bool:
        return getattr(self.verifier, "light", False) is True

    def __call__(self, task: Task, trace: Trace, /) -> Verdict | Awaitable[Verdict]:
        found = boxes(trace.answer)
        if not any(box.strip() for box in found[-1:]):
            return _without_box()
        verdict = self.verifier(task, trace.model_copy(update={"answer": rf"\boxed{{{found[-1]}}}"}))
        return self._named(verdict, found) if isinstance(verdict, Verdict) else self._later(verdict, found)

    async def _later(self, verdict: Awaitable[Verdict], found: list[str]) -> Verdict:
        return self._named(await verdict, found)

    def _named(self, verdict: Verdict, found: list[str]) -> Verdict:
        return verdict.model_copy(update={"by": self.name, "reason": (verdict.reason or "") + _differing(found)})

    async def __aenter__(self) -> _BoxedWith:
        if isinstance(self.verifier, AbstractAsyncContextManager):
            await self.verifier.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self.verifier, AbstractAsyncContextManager):
            await self.verifier.__aexit__(kind, error, trace)
