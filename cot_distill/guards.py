"""Guards: they look at an answer while it comes, and say when to stop.

A guard is a small function of the reasoning and the answer so far that returns why to stop, or None. This file knows
what a guard is and how a verifier becomes one; it knows no verifier, no teacher and no network. A guard is called on
the event loop, every few thousand characters of every answer, so it must be quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from cot_distill.arguments import check_verifiers
from cot_distill.errors import ConfigError
from cot_distill.identity import name_of
from cot_distill.protocols import Verifier
from cot_distill.types import Message, Task, Trace, Verdict

__all__ = ["Fails", "Guard", "fails"]

Guard = Callable[[str, str], str | None]
"""Called with the reasoning and the answer so far; returns why to stop, or None.

Example::

    def too_long(reasoning, answer):
        return "it thinks for too long" if len(reasoning) > 100_000 else None
"""

_TAIL = 16_384
"""Characters, from the end, that a verifier is shown: to judge everything anew each time would take too long."""
_NOTHING_YET = "…"
_NO_FUNCTION = "fails(…): {} gives no verdict at once, so it cannot watch a stream: pass a plain function"
_TAGS = ("<think>", "</think>")


def fails(*verifiers: Verifier) -> Fails:
    """Make a guard that stops an answer which a verifier calls wrong: loops, or another script.

    The verifiers see the last 16,384 characters of each part. Take such as judge how a trace is written, not whether
    its answer is right; and quick ones, which are no coroutines.

    Args:
        verifiers: :func:`cot_distill.verifiers.repetition`, :func:`cot_distill.verifiers.scripts`, or your own.

    Returns:
        The guard.

    Raises:
        ConfigError: There is none, or one is no verifier, or a coroutine.

    Example:
        >>> from cot_distill.verifiers import repetition
        >>> stop = fails(repetition())
        >>> stop("So 4. " + "Wait, let me check that again. " * 20, "")
        "repetition: 20 times in a row: 'Wait, let me check that again. ' (reasoning, at character 6)"
    """
    if not verifiers:
        raise ConfigError("fails() needs at least one verifier: fails(verifiers.repetition())")
    check_verifiers(verifiers, "fails()")
    for verifier in verifiers:
        if inspect.iscoroutinefunction(verifier) or inspect.iscoroutinefunction(type(verifier).__call__):
            raise ConfigError(_NO_FUNCTION.format(name_of(verifier)))
    return Fails(verifiers, Task(instruction=_NOTHING_YET))


class Fails:
    """A guard made of verifiers. Made by :func:`fails`."""

    def __init__(self, verifiers: Sequence[Verifier], task: Task) -> None:
        self._verifiers = verifiers
        self._task = task

    def about(self, messages: Sequence[Message]) -> Fails:
        """The guard of the answer to these messages: what they speak of may come up in it, another script too."""
        said = "\n".join(message.content for message in messages)
        return Fails(self._verifiers, Task(instruction=said)) if said.strip() else self

    def __call__(self, reasoning: str, answer: str) -> str | None:
        """Say why to stop, or None.

        Raises:
            ConfigError: A verifier gives no verdict.
        """
        trace = Trace(reasoning=_shown(reasoning), answer=_shown(answer))
        for verifier in self._verifiers:
            verdict = verifier(self._task, trace)
            if not isinstance(verdict, Verdict):
                raise ConfigError(_NO_FUNCTION.format(name_of(verifier)))
            if verdict.passed is False:
                return f"{verdict.by}: {verdict.reason or 'it does not pass'}"
        return None


def _shown(text: str) -> str:
    """The end of a text, as a trace can hold it."""
    text = text[-_TAIL:]
    for tag in _TAGS:  # of a server that leaves the reasoning inline
        text = text.replace(tag, "")
    return text if text.strip() else _NOTHING_YET
