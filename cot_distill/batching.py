"""One session of a run directory that asks through batch jobs: half the price, an answer within a day.

It is a :class:`~cot_distill.session.Session` in all but the asking: the same recipe, the same journal, the same
verdicts. What is missing goes into jobs of as many lines as the provider takes; these are made, looked at and
collected one after the other. Wherever the process is killed, the next session takes the jobs up again that are under
way, so that none is made twice and no line is lost: :mod:`cot_distill.batch.jobs` says how.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import aclosing, suppress
from os import PathLike
from pathlib import Path

import anyio.to_thread

from cot_distill.batch.batch_client import client_of
from cot_distill.batch.jobs import JobBook
from cot_distill.batch.submitting import resolve
from cot_distill.batch.wire import wire_of
from cot_distill.batch.work import Work
from cot_distill.entering import entered
from cot_distill.errors import ConfigError, RunError, SourceError
from cot_distill.gate import FixedLimit, Gate
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.limits import Budget
from cot_distill.pacing import pacer_of
from cot_distill.planning import Settings
from cot_distill.progress import show_progress
from cot_distill.session import Session, attempts_in, numbered
from cot_distill.sources import TaskInput, open_tasks

__all__ = ["BatchSession", "run_batch"]


async def run_batch(
    settings: Settings,
    tasks: TaskInput,
    path: str | PathLike[str],
    *,
    budget: Budget | None = None,
    progress: bool | None = None,
) -> None:
    """Ask what is missing in a run directory through batch jobs, and return when all of them are collected.

    Args:
        settings: How to ask and judge. ``concurrency`` makes no difference.
        tasks: As for :meth:`cot_distill.Distiller.arun`.
        path: The run directory.
        budget: What all sessions of the run may use.
        progress: As for :meth:`cot_distill.Distiller.arun`.

    Raises:
        ConfigError: The teacher takes no batch jobs, or ``until_passed`` is set.
        TeacherError: A fatal one; a job was refused as a whole, or brought nothing at all.
        TraceError: Not one answer carries reasoning.
        SourceError: The input cannot be read, or there is none.
        RunError: As for :meth:`cot_distill.Distiller.arun`; or the provider has forgotten a job.
        VerifierError: The verifiers crash on everything.
    """
    await BatchSession(settings, budget=budget, path=Path(path)).run(tasks, progress=progress)


class BatchSession(Session):
    """Asks what is missing in one run directory, through batch jobs.

    Args:
        settings: How to ask and judge.
        budget: What all sessions of the run may use.
        path: The run directory.

    Raises:
        ConfigError: The teacher takes no batch jobs, or ``until_passed`` is set.
    """

    def __init__(self, settings: Settings, *, budget: Budget | None, path: Path) -> None:
        if settings.until_passed is not None:
            raise ConfigError(
                "until_passed asks the attempts at a task one after the other, and a batch asks them all at once: "
                "leave it out, or use run()"
            )
        if budget is not None and budget.usd is not None:
            raise ConfigError("a batch keeps to Budget(tokens=…), not to dollars: prices of jobs are not known here")
        # Nothing is asked through the gate; the base class wants one.
        gate = Gate(FixedLimit(1))
        super().__init__(settings, gate=gate, pacer=pacer_of(settings.teacher, None), budget=budget, path=path)
        self._wire = wire_of(settings.teacher)

    async def run(self, tasks: TaskInput, *, progress: bool | None, only: Container[int] | None = None) -> None:
        """Ask until nothing is left to ask. Raises as :func:`run_batch` says."""
        settings = self._settings
        async with aclosing(open_tasks(tasks)) as located:
            first = await anext(located, None)
            if first is None:
                raise SourceError(f"no tasks in {getattr(tasks, 'name', None) or tasks!r}")
            with Ledger(self._path, writable=True) as ledger, JobBook(self._path) as book:
                there, _ = await anyio.to_thread.run_sync(self.look_back, ledger)
                client = client_of(self._wire, settings.retries)
                self._check_provider(book)
                async with client:
                    await resolve(client, book)
                    # What is under way was asked with the old recipe, and will be paid for.
                    same = self.check_recipe(first[1], binding=there.answered or bool(book.open))
                    known = there if same else KnownAttempts()
                    total = attempts_in(tasks, settings)
                    work = Work(settings, self._wire, client, ledger, book, there=there, known=known, total=total)
                    work.proven = self.is_proven(ledger, known)
                    if self._budget is not None and self._budget.tokens is not None:
                        work.allow(self._budget.tokens - await anyio.to_thread.run_sync(ledger.used))
                    ledger.note("started", workers=0)
                    try:
                        async with (
                            entered(*settings.verifiers),
                            aclosing(numbered(first[1], located, only)) as found,
                        ):
                            with show_progress(work.shown, progress):
                                await work.all(found)
                    finally:
                        with suppress(RunError):  # on a full disk the reason has been raised already
                            ledger.note("ended", abandoned=0, skipped=getattr(tasks, "skipped", 0))

    def _check_provider(self, book: JobBook) -> None:
        name = self._wire.preset.name
        others = sorted({job.provider for job in book.open.values()} - {name})
        if others:
            raise RunError(
                f"{self._path} waits for jobs at {', '.join(others)}, and the teacher is now one of {name}: collect "
                "them with the old teacher, or take another path"
            )
