"""Calling functions in worker processes that can be killed: for what computes for long, or may never end.

It knows nothing of verifiers. Unlike ``multiprocessing`` and ``anyio.to_process`` it never imports the user's
``__main__``, so a script without ``if __name__ == "__main__"`` does not start its run again in each worker. It is no
sandbox: a worker may do whatever its user may.
"""

from __future__ import annotations

import io
import itertools
import os
import pickle
import threading
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType, TracebackType
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from cot_distill.errors import ConfigError
from cot_distill.process_worker import Settings, Worker, WorkerDiedError, WorkerTimeoutError, value_of

__all__ = ["WorkerDiedError", "WorkerPool", "WorkerTimeoutError", "packed"]

T = TypeVar("T")


class WorkerPool:
    """A few worker processes, started when they are first needed. Serves any number of threads and event loops.

    A call that takes too long, or that is cancelled, is ended by killing its worker, which is then replaced. Workers
    have a low priority, and end with this process however it ends. A pool that is pickled, or that finds itself in
    a forked process, comes up empty.

    Args:
        timeout: Seconds a call may take, from when a worker that is ready has it.
        workers: How many. Default: one per CPU that this process may use, but at least 2 and at most 8.
        memory: MiB of address space a worker may have. Default: no limit.
        warm: Called in each new worker before its first call, which does not count as time of the call.

    Raises:
        ConfigError: A number is not positive, or ``warm`` cannot be sent to another process.

    Example:
        >>> import math
        >>> with WorkerPool(workers=1, timeout=10) as pool:
        ...     pool.call(math.factorial, 5)
        120
    """

    _numbers = itertools.count()

    def __init__(
        self,
        *,
        timeout: float,
        workers: int | None = None,
        memory: int | None = None,
        warm: Callable[[], object] | None = None,
    ) -> None:
        if timeout <= 0 or (workers is not None and workers < 1) or (memory is not None and memory < 1):
            raise ConfigError("timeout, workers and memory of worker processes must be positive")
        self._options = {"timeout": timeout, "workers": workers, "memory": memory, "warm": warm}
        self._size = workers or min(8, max(2, _usable_cpus()))
        self._settings = Settings(timeout, memory, None if warm is None else packed((warm,)))
        self._slots: RunVar[anyio.CapacityLimiter] = RunVar(f"cot_distill pool {next(self._numbers)}")
        self._reset()
        _POOLS.add(self)

    def _reset(self) -> None:
        self._lock = threading.Condition()
        self._users = 0
        self._idle: list[Worker] = []
        self._workers: set[Worker] = set()
        self._finalizer = weakref.finalize(self, _end, self._workers, os.getpid())

    def __reduce__(self) -> tuple[Callable[..., WorkerPool], tuple[dict[str, Any]]]:
        return _made, (self._options,)

    def __enter__(self) -> WorkerPool:
        """Start the workers, without waiting for them."""
        with self._lock:
            self._users += 1
            while len(self._workers) < self._size:
                self._idle.append(self._spawn())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1  # two runs may share the pool
            is_last = self._users == 0
        if is_last:
            self.close()

    def close(self) -> None:
        """End all workers, also those that are at work. Another call starts new ones."""
        with self._lock:
            self._idle.clear()
            ending = list(self._workers)
            self._workers.clear()
            self._lock.notify_all()
        _end(ending, os.getpid())

    def call(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in a worker and wait for what it returns.

        Args:
            function: Any function that pickles: one of a module.
            args: Its arguments.

        Returns:
            What it returns.

        Raises:
            WorkerTimeoutError: It took too long.
            WorkerDiedError: Its process ended.
            ConfigError: The function or its arguments cannot be sent to another process.
            BaseException: Whatever the function raises, with the traceback in the worker as a note.
        """
        result: T = self._run(packed((function, *args)), _Ticket())
        return result

    async def acall(self, function: Callable[..., T], *args: object) -> T:
        """Call a function in a worker, as :meth:`call`. To cancel this kills the worker."""
        frame = packed((function, *args))
        ticket = _Ticket()
        slots = self._slots.get(None)
        if slots is None:  # once an event loop: more threads than workers could only wait for one another
            slots = anyio.CapacityLimiter(self._size)
            self._slots.set(slots)
        try:
            result: T = await anyio.to_thread.run_sync(
                self._run, frame, ticket, abandon_on_cancel=True, limiter=slots
            )
        finally:
            self._cancel(ticket)
        return result

    def _run(self, frame: bytes, ticket: _Ticket) -> Any:
        worker = self._take(ticket)
        try:
            reply = worker.ask(frame)
        except BaseException:
            worker.kill()
            self._replace(worker, ticket)
            raise
        with self._lock:
            ticket.worker = None
            if worker in self._workers:  # else the pool was closed meanwhile
                self._idle.append(worker)
                self._lock.notify()
        return value_of(reply)

    def _take(self, ticket: _Ticket) -> Worker:
        with self._lock:
            while True:
                if ticket.is_cancelled:
                    raise WorkerDiedError("the call was cancelled")
                if self._idle:
                    ready = (number for number, worker in enumerate(self._idle) if worker.is_ready)
                    ticket.worker = self._idle.pop(next(ready, 0))
                    return ticket.worker
                if len(self._workers) < self._size:
                    ticket.worker = self._spawn()
                    return ticket.worker
                self._lock.wait()

    def _replace(self, worker: Worker, ticket: _Ticket) -> None:
        with self._lock:
            ticket.worker = None
            if worker in self._workers:
                self._workers.discard(worker)
                if worker.is_ready:  # another one that cannot even start would help nobody
                    self._idle.append(self._spawn())
                self._lock.notify()

    def _cancel(self, ticket: _Ticket) -> None:
        with self._lock:
            ticket.is_cancelled = True
            if ticket.worker is not None:
                ticket.worker.kill()
            self._lock.notify_all()

    def _spawn(self) -> Worker:
        worker = Worker(self._settings)
        self._workers.add(worker)
        return worker

    def _forget(self) -> None:
        """In a forked process: the workers are the parent's, and nobody holds the lock any more."""
        for worker in self._workers:
            worker.forget()
        self._finalizer.detach()
        self._reset()


class _Ticket:
    """Which worker a call has, so that it can be cancelled from elsewhere."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.is_cancelled = False


class _Pickler(pickle.Pickler):
    """Refuses what only exists in ``__main__``, since a worker has another one."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type | FunctionType) and value.__module__ in ("__main__", "__mp_main__"):
            raise ConfigError(
                f"{value.__qualname__} is defined in the script or notebook itself, which no worker process can see: "
                "define it in a module and import it"
            )
        return NotImplemented


def packed(value: object) -> bytes:
    """Pickle something for a worker.

    Raises:
        ConfigError: It cannot be sent to another process.
    """
    with io.BytesIO() as file:
        try:
            _Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConfigError(
                f"this cannot be sent to a worker process ({error}): define the function or class at the top level "
                "of a module, and give it only what can be pickled"
            ) from error
        return file.getvalue()


def _made(options: dict[str, Any]) -> WorkerPool:
    return WorkerPool(**options)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _end(workers: Iterable[Worker], pid: int) -> None:
    if os.getpid() != pid:  # a forked process inherits what is to be done at exit, but not the workers
        return
    ending = list(workers)
    for worker in ending:
        worker.kill()
    for worker in ending:
        worker.join()


def _forget_all() -> None:
    for pool in list(_POOLS):
        pool._forget()


_POOLS: weakref.WeakSet[WorkerPool] = weakref.WeakSet()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
