"""Running programs on this machine: for event loops, threads and scripts alike."""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from cot_distill.errors import ConfigError, SandboxUnavailableError
from cot_distill.sandbox.forms import Nothing, Programs, normalised
from cot_distill.sandbox.inside.wire import UncrossableError
from cot_distill.sandbox.outcome import Outcome
from cot_distill.sandbox.pool import Call, Pool
from cot_distill.sandbox.probing import strongest, tier_named
from cot_distill.sandbox.reading import program_outcome, tests_outcome
from cot_distill.sandbox.tiers import NONE, Tier
from cot_distill.sandbox.zygote import Job

__all__ = ["LocalSandbox", "run_python"]

_LEAST_MEMORY = 64
_MOST_WORKERS = 8


class LocalSandbox:
    """Runs programs on this machine, kept in by what :func:`cot_distill.sandbox.isolation` names.

    Its servers start when they are first needed and end with the ``async with`` block, with :meth:`close`, or with
    the process. Serves any number of threads and event loops, one after the other or at the same time. One that is
    pickled, or finds itself in a forked process, starts servers of its own.

    Args:
        workers: How many programs may run at once. Default: one per CPU that this process may use, at most 8.
        execute_unsafely: Run programs as you, with nothing to keep them in but limits on time and memory.
        paths: Directories that programs may import from, beside the standard library: the ``site-packages`` that
            has numpy, say. All that is in them can be read. What is imported counts as ``memory``.

    Raises:
        ConfigError: ``workers`` is not positive, or one of ``paths`` is no directory.

    Example:
        >>> async def check():
        ...     async with LocalSandbox(workers=1) as sandbox:
        ...         return await sandbox.run("def double(x): return 2 * x", "assert double(2) == 4")
        >>> anyio.run(check).status  # doctest: +SKIP
        'passed'
    """

    _numbers = itertools.count()

    def __init__(
        self,
        *,
        workers: int | None = None,
        execute_unsafely: bool = False,
        paths: Iterable[str | os.PathLike[str]] = (),
        _tier: str | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise ConfigError("workers must be positive")
        places = tuple(str(Path(path).resolve()) for path in paths)
        for place in places:
            if not Path(place).is_dir():
                raise ConfigError(f"{place} is no directory to import from")
        self._options: dict[str, Any] = {
            "workers": workers,
            "execute_unsafely": execute_unsafely,
            "paths": places,
            "_tier": _tier,
        }
        self._forced = NONE.name if execute_unsafely else _tier
        self._workers = workers or min(_MOST_WORKERS, _usable_cpus())
        self._pool = Pool(self._tier, self._workers, places)
        # More threads than workers could only wait for one another. Once an event loop.
        self._threads: RunVar[anyio.CapacityLimiter] = RunVar(f"cot_distill sandbox {next(self._numbers)}")

    @property
    def digest(self) -> str:
        """What verdicts depend on: not on the number of workers."""
        return repr((self._forced, self._options["paths"]))

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._options,)

    async def __aenter__(self) -> LocalSandbox:
        await anyio.to_thread.run_sync(self._tier)
        self._pool.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._pool.leave)

    async def run(self, code: str, tests: Any, *, timeout: float = 10.0, memory: int = 512) -> Outcome:
        """Run a program against its tests. To cancel this kills the program.

        Args:
            code: Python.
            tests: In any of the forms of ``Task.tests``.
            timeout: Seconds of wall-clock time: for all tests together, or for each run of a program that reads
                standard input. Where the machine is so busy that the program does not get to run, up to three times
                as much.
            memory: MiB of address space for each process; the interpreter itself takes about 40.

        Returns:
            What came of it.

        Raises:
            SandboxUnavailableError: Nothing here can keep a program in.
            ConfigError: A limit is too small.
        """
        threads = self._threads.get(None)
        if threads is None:
            threads = anyio.CapacityLimiter(self._workers)
            self._threads.set(threads)
        call = Call()
        try:
            return await anyio.to_thread.run_sync(
                self._run, code, tests, timeout, memory, call, abandon_on_cancel=True, limiter=threads
            )
        finally:
            self._pool.cancel(call)

    def run_blocking(self, code: str, tests: Any, *, timeout: float = 10.0, memory: int = 512) -> Outcome:
        """Do what :meth:`run` does, from a thread or a script.

        Args:
            code: As in :meth:`run`.
            tests: As in :meth:`run`.
            timeout: As in :meth:`run`.
            memory: As in :meth:`run`.

        Returns:
            What came of it.
        """
        call = Call()
        try:
            return self._run(code, tests, timeout, memory, call)
        finally:
            self._pool.cancel(call)

    def close(self) -> None:
        """End all servers, and the programs that run in them. Another run starts new ones."""
        self._pool.close()

    def _tier(self) -> Tier:
        if self._forced is None:
            return strongest()
        if not hasattr(os, "fork"):
            raise SandboxUnavailableError("programs are run in forked processes, which this system does not have")
        return tier_named(self._forced)

    def _run(self, code: str, tests: Any, timeout: float, memory: int, call: Call) -> Outcome:
        if timeout <= 0 or memory < _LEAST_MEMORY:
            raise ConfigError(f"timeout must be positive, and memory at least {_LEAST_MEMORY} MiB")
        isolation = self._tier().name
        plan = normalised(tests)
        if isinstance(plan, Nothing):
            return Outcome("unverifiable", plan.reason, isolation=isolation)
        try:
            source = code.encode()
        except UnicodeEncodeError as error:
            letter = f"U+{ord(code[error.start]):04X}"
            return Outcome("error", f"the program is no text: it holds half a letter ({letter})", isolation=isolation)
        if isinstance(plan, Programs):
            return self._run_programs(source, plan, timeout, memory << 20, call)
        try:
            payload = json.dumps(plan.payload()).encode()
        except UncrossableError as error:
            return Outcome("unverifiable", str(error), isolation=isolation)
        ran = self._pool.run(Job(source, payload, True, timeout, memory << 20), call)
        return tests_outcome(ran, timeout=timeout, isolation=isolation) if ran else _broken_down(isolation)

    def _run_programs(self, source: bytes, plan: Programs, timeout: float, memory: int, call: Call) -> Outcome:
        """Run a program once for each input. After the first that goes wrong the rest only counts for the score."""
        isolation = self._tier().name
        passed, seconds, number = 0, 0.0, len(plan.pairs)
        wrong: Outcome | None = None
        for index, (given, expected) in enumerate(plan.pairs, start=1):
            job = Job(source, given.encode("utf-8", "surrogatepass"), False, timeout, memory)
            ran = self._pool.run(job, call)
            if ran is None:
                return _broken_down(isolation)
            found = program_outcome(ran, expected, timeout=timeout, isolation=isolation)
            seconds += found.seconds
            passed += found.passed is True
            if found.status != "passed" and wrong is None:
                wrong = found if number == 1 else replace(found, reason=f"test {index} of {number}: {found.reason}")
            if wrong is not None and (
                seconds > timeout or found.status in ("timeout", "output_limit", "unverifiable")
            ):
                return replace(wrong, seconds=seconds)
        return replace(wrong or found, seconds=seconds, score=passed / number)


@functools.cache
def _shared(execute_unsafely: bool) -> LocalSandbox:
    """The one that :func:`run_python` uses."""
    return LocalSandbox(execute_unsafely=execute_unsafely)


def run_python(
    code: str, tests: Any, *, timeout: float = 10.0, memory: int = 512, execute_unsafely: bool = False
) -> Outcome:
    """Run a program against its tests, and wait for it: in a script, a thread, or inside a running loop.

    The first call starts a server, which later calls share and which ends with this process. For more than one
    program at a time use it from several threads, or :class:`LocalSandbox`.

    Args:
        code: Python.
        tests: In any of the forms of ``Task.tests``: asserts, ``check(candidate)``, pairs of input and output…
        timeout: Seconds of wall-clock time.
        memory: MiB of address space for each process; the interpreter itself takes about 40.
        execute_unsafely: Run the program as you, with nothing to keep it in but limits on time and memory.

    Returns:
        What came of it.

    Raises:
        SandboxUnavailableError: Nothing here can keep a program in; the message says what is missing.
        ConfigError: A limit is too small.

    Example:
        >>> outcome = run_python("def double(x): return x + 2", ["assert double(2) == 4", "assert double(3) == 6"])
        ... # doctest: +SKIP
        >>> outcome.status, outcome.reason, outcome.score  # doctest: +SKIP
        ('failed', 'test 2 of 2: double(3) == 6: 5 == 6 is false', 0.5)
    """
    return _shared(execute_unsafely).run_blocking(code, tests, timeout=timeout, memory=memory)


def _broken_down(isolation: str) -> Outcome:
    return Outcome(
        "sandbox_error", "the sandbox broke down twice; this says nothing about the program", isolation=isolation
    )


def _made(options: dict[str, Any]) -> LocalSandbox:
    return LocalSandbox(**options)


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
