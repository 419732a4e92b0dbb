"""Calling one verifier, wherever it must run so that the event loop goes on."""

from __future__ import annotations

import functools
import inspect

import anyio
import anyio.to_thread

from cot_distill.cancelling import EscapedCancellationError, is_escaped
from cot_distill.identity import name_of
from cot_distill.protocols import Verifier
from cot_distill.types import Task, Trace, Verdict

__all__ = ["ask_verifier"]


async def ask_verifier(verifier: Verifier, task: Task, trace: Trace, threads: anyio.CapacityLimiter) -> Verdict:
    """Ask for a verdict.

    Args:
        verifier: An async one is awaited, one with ``light = True`` is called here, any other in a thread.
        task: What was asked.
        trace: What came.
        threads: How many threads there may be. One that is cancelled goes on to its end, and counts until then.

    Raises:
        TypeError: What it returned is no Verdict.
        Exception: Whatever the verifier raises.
    """
    try:
        if getattr(verifier, "light", False) or _is_async(verifier):
            found = verifier(task, trace)
        else:
            found = await anyio.to_thread.run_sync(verifier, task, trace, abandon_on_cancel=True, limiter=threads)
        verdict = await found if inspect.isawaitable(found) else found
    except BaseException as error:
        if is_escaped(error):
            raise EscapedCancellationError(name_of(verifier)) from error
        raise
    if not isinstance(verdict, Verdict):
        raise TypeError(f"{name_of(verifier)} returned {type(verdict).__name__}, not a Verdict")
    return verdict


def _is_async(verifier: object) -> bool:
    while isinstance(verifier, functools.partial):
        verifier = verifier.func
    return inspect.iscoroutinefunction(verifier) or inspect.iscoroutinefunction(type(verifier).__call__)
