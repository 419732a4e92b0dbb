"""Notices when somebody blocks the event loop. Knows neither teachers nor what is awaited."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint

__all__ = ["longest_stall"]

T = TypeVar("T")

_TICK = 0.005  # seconds
_STALL = 20  # ticks without a beat


async def longest_stall(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """Await something, and watch for how long nothing else could run meanwhile.

    A task beats, and a thread counts how often it wakes up without having seen a beat. Where the whole machine is
    busy the thread stands still as well and counts nothing: a loop that is slow is not taken for one that is blocked.

    Args:
        work: What to await.

    Returns:
        What it gave, and the longest time in seconds that the event loop was blocked; 0.0 if that was never for a
        tenth of a second.

    Raises:
        Exception: What the work raises, as it is.

    Example:
        >>> async def work():
        ...     time.sleep(0.5)
        ...     return 42
        >>> result, seconds = anyio.run(longest_stall, work)
        >>> result, seconds > 0.1
        (42, True)
    """
    watch = _Watch()
    results: list[T] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as group:
        group.start_soon(watch.beat)
        with watch.counting():
            await checkpoint()  # the first beat
            try:
                results.append(await work())
            except Exception as error:  # raised below, outside of the group: one plain error
                errors.append(error)
        group.cancel_scope.cancel()
    if errors:
        raise errors[0]
    return results[0], watch.longest


class _Watch:
    def __init__(self) -> None:
        self.longest = 0.0
        self._beats = 0
        self._done = threading.Event()

    async def beat(self) -> None:
        while True:
            self._beats += 1
            await anyio.sleep(_TICK)

    @contextmanager
    def counting(self) -> Iterator[None]:
        thread = threading.Thread(target=self._count, name="stalls", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join()

    def _count(self) -> None:
        seen, since, ticks = -1, time.monotonic(), 0
        while not self._done.wait(_TICK):
            if self._beats != seen:
                seen, since, ticks = self._beats, time.monotonic(), 0
                continue
            ticks += 1
            if ticks >= _STALL:
                self.longest = max(self.longest, time.monotonic() - since)
