"""Judging the answer by a regular expression."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Literal

from cot_distill.answers import normalise
from cot_distill.arguments import check_number, shown
from cot_distill.errors import ConfigError
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict
from cot_distill.verifiers._verdicts import short, without_reference
from cot_distill.verifiers.isolated import isolated

__all__ = ["regex"]


def regex(pattern: str, *, flags: int = 0, full: bool = False, timeout: float = 2.0) -> Verifier:
    r"""Make a verifier that looks for a pattern in the answer.

    With a group named ``answer`` it compares what the group holds, at the last match, with ``Task.answer``, as
    :func:`cot_distill.verifiers.exact` does; without one it is about the form only. It runs in worker processes: a
    pattern that backtracks for ever ends at ``timeout``, and could not be told.

    Args:
        pattern: A regular expression of :mod:`re`.
        flags: Such as ``re.IGNORECASE | re.MULTILINE``.
        full: The whole answer must match, but for white space around it.
        timeout: Seconds for one answer.

    Returns:
        A verifier named "regex".

    Raises:
        ConfigError: The pattern is none.

    Example:
        ::

            regex(r"^[A-E]$", full=True)
            regex(r"^#### (?P<answer>.+)$", flags=re.MULTILINE)
    """
    if not isinstance(pattern, str):
        raise ConfigError(f"regex() takes a pattern as text, not {shown(pattern)}")
    if not isinstance(flags, int):
        raise ConfigError(f"regex(flags=…) takes flags such as re.IGNORECASE, not {shown(flags)}")
    check_number(timeout, "regex(timeout=…)")
    try:
        compiled = re.compile(pattern, flags)
    except (re.error, ValueError) as error:
        raise ConfigError(f"regex(): {pattern!r} is no regular expression: {error}") from error
    verifier = _Regex(pattern, int(flags), full, "answer" if "answer" in compiled.groupindex else "quality")
    return isolated(verifier, timeout=timeout)


@dataclass(frozen=True)
class _Regex:
    pattern: str
    flags: int
    full: bool
    about: Literal["answer", "quality"]
    name: ClassVar[str] = "regex"
    __name__: ClassVar[str] = "regex"

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if self.about == "answer" and (verdict := without_reference(task, self.name)) is not None:
            return verdict
        match = self._match(trace.answer)
        if match is None:
            return self._verdict(False, f"{short(self.pattern)} does not match")
        if self.about == "quality":
            return self._verdict(True, f"{short(self.pattern)} matches {short(match[0])}")
        expected, got = normalise(task.answer or ""), normalise(match["answer"] or "")
        return self._verdict(expected == got, f"expected {short(expected)}, got {short(got)}")

    def _match(self, text: str) -> re.Match[str] | None:
        compiled = re.compile(self.pattern, self.flags)
        if self.full:
            return compiled.fullmatch(text.strip())
        if self.about == "quality":
            return compiled.search(text)
        last = deque(compiled.finditer(text), maxlen=1)
        return last[0] if last else None

    def _verdict(self, passed: bool, reason: str) -> Verdict:
        return Verdict(by=self.name, passed=passed, about=self.about, reason=reason)
