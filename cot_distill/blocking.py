"""Calling async code from plain code: in a script, and in a notebook cell whose loop is already running."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from anyio.from_thread import start_blocking_portal

__all__ = ["run_blocking"]

T = TypeVar("T")


def run_blocking(function: Callable[[], Awaitable[T]]) -> T:
    """Run ``await function()`` on an event loop in a thread of its own, and wait for it.

    The caller's thread stays free to receive Ctrl-C, which cancels the coroutine, lets it clean up, and is raised
    here. No running loop is touched, so this works inside one.

    Returns:
        What the coroutine returns; what it raises is raised here.
    """
    with start_blocking_portal() as portal:
        future = portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
