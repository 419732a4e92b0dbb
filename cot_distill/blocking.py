"""Calling async code from plain code: in a script, and in a notebook cell whose loop is already running."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from cot_distill.extras import is_faster_with

__all__ = ["run_blocking"]

T = TypeVar("T")


def run_blocking(function: Callable[[], Awaitable[T]]) -> T:
    """Run ``await function()`` on an event loop in a thread of its own, and wait for it.

    The caller's thread stays free to receive Ctrl-C, which cancels the coroutine, lets it clean up, and is raised
    here. No running loop is touched, so this works inside one.

    ``anyio.from_thread.start_blocking_portal`` does nearly this, but hangs for ever where Ctrl-C comes while its
    thread is starting.

    Returns:
        What the coroutine returns; what it raises is raised here.
    """
    outcome: Future[T] = Future()
    interrupted = threading.Event()
    cancels: list[Callable[[], object]] = []

    async def supervised() -> None:
        async with BlockingPortal() as portal:
            with anyio.CancelScope() as scope:
                cancels.append(lambda: portal.start_task_soon(scope.cancel))
                # Looked at only after the way to cancel is known: one of the two sides always sees the other.
                if interrupted.is_set():
                    scope.cancel()
                try:
                    outcome.set_result(await function())
                except Exception as error:  # here, since the portal is a task group and would wrap it
                    outcome.set_exception(error)

    def work() -> None:
        # The loop is ours alone: nobody's code can depend on which one it is.
        try:
            anyio.run(supervised, backend_options={"use_uvloop": _may_use_uvloop()})
        except BaseException as error:  # raised where it is waited for
            if not outcome.done():
                outcome.set_exception(error)
        if not outcome.done():
            outcome.cancel()

    thread = threading.Thread(target=work, name="cot_distill", daemon=True)
    try:
        thread.start()
        return outcome.result()
    except BaseException:
        interrupted.set()
        for cancel in cancels:
            with suppress(RuntimeError):  # the portal is closed already: there is nothing left to cancel
                cancel()
        raise
    finally:
        if thread.is_alive():
            thread.join()


def _may_use_uvloop() -> bool:
    """Whether uvloop is there, and will not end the process: it aborts where a standard file is closed."""
    if sys.platform == "win32" or not is_faster_with("uvloop"):
        return False
    try:
        for standard in range(3):
            os.fstat(standard)
    except OSError:
        return False
    return True
