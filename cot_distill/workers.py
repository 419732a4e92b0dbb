"""Workers over a lazy iterator: the only shape of concurrency in the library.

Never a task per item, never a gather: with ten million items, what is in memory is what the workers hold.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from cot_distill.cancelling import EscapedCancellationError, is_escaped
from cot_distill.turns import Turns

__all__ = ["drive"]

T = TypeVar("T")

_A_TURN = 0.01  # seconds


async def drive(
    jobs: AsyncIterator[T],
    work: Callable[[T], Awaitable[None]],
    workers: int,
    *,
    room: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Work off ``jobs`` with so many workers at most; pulls a job only when a worker is free and there is room.

    Workers are started as they are needed: no more of them than jobs were in hand at once.

    Args:
        jobs: What there is to do.
        work: Does one job.
        workers: How many jobs may be in hand at once.
        room: Returns when another job may be pulled. Default: at once.

    Raises:
        Exception: The first one that the iterator or a worker raises, as it is; the other workers are cancelled.
    """
    failed: list[Exception] = []
    turn = _Turn()
    free = started = 0
    turns = Turns(_A_TURN)

    async def worker() -> None:
        nonlocal free, started
        try:
            await checkpoint_if_cancelled()  # else, with nothing to wait for, each would start the next one
            while True:
                if time.monotonic() >= turns.due:  # neither jobs nor work need ever wait
                    await turns.give()
                async with turn:
                    if room is not None:
                        await room()
                    job = await anext(jobs, None)
                if job is None:
                    return
                free -= 1
                if not free and started < workers:
                    start()
                await work(job)
                free += 1
        except BaseException as error:  # kept and raised plainly below: a group of 64 equal errors helps nobody
            if not isinstance(error, Exception):
                if not is_escaped(error):
                    raise
                what = EscapedCancellationError("a source, a template or another part of the run")
                what.__cause__ = error
                error = what
            failed.append(error)
            group.cancel_scope.cancel()

    def start() -> None:
        nonlocal free, started
        started += 1
        free += 1
        group.start_soon(worker)

    async with anyio.create_task_group() as group:
        start()
    if failed:
        raise failed[0]


class _Turn:
    """A lock that costs nothing where nobody else holds it.

    anyio's yields to the event loop and asks for the current task each time, which is a twentieth of a request. It
    also hands itself over: once two wait, everybody who comes must wait for the loop to wake the one before. Here
    whoever comes first when it is free takes it, and those who were woken for nothing wait again.
    """

    def __init__(self) -> None:
        self._is_taken = False
        self._waiting: deque[anyio.Event] = deque()

    async def __aenter__(self) -> None:
        while self._is_taken:
            woken = anyio.Event()
            self._waiting.append(woken)
            try:
                await woken.wait()
            except BaseException:
                if woken.is_set():
                    self._wake()
                else:
                    self._waiting.remove(woken)
                raise
        self._is_taken = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_taken = False
        self._wake()

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
