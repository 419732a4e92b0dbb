"""A few fork servers that many threads share: each job gets one for itself, broken ones are replaced.

Knows nothing of programs and tests. Safe after a fork: the child starts servers of its own.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable

from cot_distill.sandbox.tiers import Tier
from cot_distill.sandbox.zygote import BrokenDownError, Job, Ran, Zygote, forget_launcher

__all__ = ["Call", "CancelledError", "Pool"]

_TRIES = 2


class CancelledError(Exception):
    """Nobody waits for the job any more."""


class Call:
    """Somebody who waits for jobs, and may stop waiting."""

    def __init__(self) -> None:
        self.zygote: Zygote | None = None
        self.is_cancelled = False


class Pool:
    """Hands jobs to fork servers, which start when they are first needed.

    Args:
        tier: Gives the way that programs are kept in. Called when the first server starts.
        workers: How many servers there may be.
        paths: Where programs may import from, beside the standard library.
    """

    def __init__(self, tier: Callable[[], Tier], workers: int, paths: tuple[str, ...]) -> None:
        self._tier = tier
        self._workers = workers
        self._paths = paths
        self._begin()
        _POOLS.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[Zygote] = []
        self._all: set[Zygote] = set()
        self._starting = 0
        self._users = 0
        self._finalizer = weakref.finalize(self, _end, self._all, os.getpid())

    def run(self, job: Job, call: Call) -> Ran | None:
        """Run a job, once more if a server breaks down.

        Returns:
            What came of it; None if servers broke down twice.

        Raises:
            SandboxUnavailableError: No server can be started here.
            CancelledError: The call was cancelled.
        """
        for _ in range(_TRIES):
            zygote = self._lease(call)
            done = False
            try:
                ran = zygote.run(job)
                done = True
            except BrokenDownError:
                if call.is_cancelled:
                    raise CancelledError from None
            else:
                return ran
            finally:
                self._give_back(zygote, call, usable=done)
        return None

    def cancel(self, call: Call) -> None:
        """End the job of a call, from any thread."""
        with self._changed:
            call.is_cancelled = True
            if call.zygote is not None:
                call.zygote.kill()
            self._changed.notify_all()

    def enter(self) -> None:
        """Say that servers are wanted until :meth:`leave`."""
        with self._changed:
            self._users += 1

    def leave(self) -> None:
        """End all servers, if nobody else has entered: two runs may share a pool."""
        with self._changed:
            self._users -= 1
            is_last = self._users <= 0
        if is_last:
            self.close()

    def close(self) -> None:
        """End all servers, also those that are at work. Another job starts new ones."""
        with self._changed:
            self._idle.clear()
            ending = list(self._all)
            self._all.clear()
            self._changed.notify_all()
        _end(ending, os.getpid())

    def _lease(self, call: Call) -> Zygote:
        with self._changed:
            while not self._idle and len(self._all) + self._starting >= self._workers and not call.is_cancelled:
                self._changed.wait()
            if call.is_cancelled:
                raise CancelledError
            if self._idle:
                call.zygote = self._idle.pop()
                return call.zygote
            self._starting += 1
        zygote = None
        try:
            zygote = Zygote(self._tier(), self._paths)
        finally:
            with self._changed:
                self._starting -= 1
                if zygote is not None:
                    self._all.add(zygote)
                    call.zygote = zygote
                self._changed.notify()
        return zygote

    def _give_back(self, zygote: Zygote, call: Call, *, usable: bool) -> None:
        with self._changed:
            call.zygote = None
            usable = usable and not call.is_cancelled and zygote in self._all  # else the pool was closed meanwhile
            if usable:
                self._idle.append(zygote)
            else:
                self._all.discard(zygote)
            self._changed.notify()
        if not usable:
            zygote.close()

    def _forget(self) -> None:
        """In a forked process: the servers are the parent's, and nobody holds the lock any more."""
        for zygote in self._all:
            zygote.abandon()
        self._finalizer.detach()
        self._begin()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()


def _end(zygotes: Iterable[Zygote], pid: int) -> None:
    if os.getpid() != pid:
        return
    ending = list(zygotes)
    for zygote in ending:
        zygote.kill()
    for zygote in ending:
        zygote.close()


def _forget_all() -> None:
    forget_launcher()
    for pool in list(_POOLS):
        pool._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
