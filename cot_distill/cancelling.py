"""Telling a cancellation that is meant for us from one that escaped from somebody's code.

In asyncio any await may raise CancelledError: also that of a future which a library cancelled for itself, and did not
catch. Taken for ours, it would end a run in silence.
"""

from __future__ import annotations

import asyncio

__all__ = ["EscapedCancellationError", "is_escaped"]


class EscapedCancellationError(RuntimeError):
    """User code raised CancelledError though nobody had cancelled it; the message says where."""

    def __init__(self, where: str) -> None:
        super().__init__(
            f"{where} raised CancelledError, and nobody had cancelled it: a future or task in it was cancelled "
            "by that code itself"
        )


def is_escaped(error: BaseException) -> bool:
    """Whether this is a CancelledError of asyncio though the running task was not cancelled."""
    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another kind of event loop
        return False
    return task is not None and not task.cancelling()
