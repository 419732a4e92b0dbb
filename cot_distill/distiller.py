"""The engine's public face: ask a teacher to solve tasks, and keep every answer."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from random import Random
from typing import Literal

import anyio
import anyio.to_thread

from cot_distill import templates
from cot_distill.adaptive import AdaptiveLimit
from cot_distill.answered_by import sources_of
from cot_distill.arguments import check_path, check_verifiers, shown
from cot_distill.batching import run_batch
from cot_distill.blocking import run_blocking
from cot_distill.engine import Engine
from cot_distill.entering import entered
from cot_distill.errors import ConfigError
from cot_distill.estimating import Estimate, Observation, estimate
from cot_distill.gate import FixedLimit, Gate, gate_of
from cot_distill.ledger import Ledger
from cot_distill.limits import Budget, Purse, RateLimit
from cot_distill.logprobs import check_top_logprobs
from cot_distill.outcome import Outcome
from cot_distill.pacing import pacer_of
from cot_distill.planning import Settings
from cot_distill.prices import Prices, dollars
from cot_distill.protocols import Teacher, Template, Verifier
from cot_distill.records import Slot
from cot_distill.run import Run
from cot_distill.session import Session
from cot_distill.sources import TaskInput, open_tasks
from cot_distill.teachers import open_teacher
from cot_distill.trace import Prefilled
from cot_distill.types import Sampling, Task, ThinkTags
from cot_distill.workers import drive

__all__ = ["Distiller"]

log = logging.getLogger("cot_distill")


_GUESS = 64
"""Requests at once that an estimate assumes where that is still to be found out."""


class Distiller:
    """Asks a teacher to solve tasks and keeps the reasoning with the answers.

    Args:
        teacher: A Teacher, or ``"provider:model"`` such as ``"deepseek:deepseek-flash"``, ``"vllm:Qwen/QwQ-32B"`` or
            ``"demo"``; see :func:`cot_distill.teachers.open_teacher`.
        template: Makes the messages of a task.
        verifiers: Judge every trace as it comes. Samples that one of them calls wrong stay out of datasets.
        sampling: Temperature, token cap and so on; by default the endpoint's own.
        attempts: How often each task is asked.
        until_passed: Stop asking a task once this many of its attempts have passed all verifiers.
        concurrency: Requests in flight at most. ``"auto"`` finds out how many the endpoint can take, while asking,
            and is shared by all Distillers that ask the same teacher object.
        retries: How often one attempt is asked again after a transient error. Being rate limited does not count.
        rate_limit: Caps of the account, in requests and tokens a minute; shared by all Distillers of this process
            with the same teacher object and the same caps.
        budget: What a run may use in all its sessions; also what all calls of :meth:`attempt` and :meth:`stream` may
            use together. Dollars need a price; see ``prices``.
        prices: What answers cost, over the public prices of the extra ``cost``. What is not known costs ``None``.
        require_reasoning: Stop at once if the first three answers carry no reasoning.
        tags: The tags around reasoning that a server leaves inline; see :data:`cot_distill.trace.KNOWN_TAGS`.
        prefilled: Whether the chat template opens that tag, so that answers start inside the reasoning.

    Raises:
        ConfigError: A setting is out of range, the teacher unknown, or its key missing.

    Example:
        >>> run = Distiller("demo").run(["Work out 2 + 3 + 4."], tmp_path / "run", progress=False)
        >>> next(run.samples()).trace.answer.splitlines()[-1]
        'Answer: 9'
    """

    def __init__(
        self,
        teacher: Teacher | str | None = None,
        *,
        template: Template = templates.solve,
        verifiers: Sequence[Verifier] = (),
        sampling: Sampling = Sampling(),
        attempts: int = 1,
        until_passed: int | None = None,
        concurrency: int | Literal["auto"] = "auto",
        retries: int = 6,
        rate_limit: RateLimit | None = None,
        budget: Budget | None = None,
        prices: Prices | None = None,
        require_reasoning: bool = True,
        tags: ThinkTags = ThinkTags(),
        prefilled: Prefilled = "auto",
    ) -> None:
        _check_numbers(attempts, retries, until_passed)
        _check(template, verifiers, sampling, concurrency, rate_limit, budget, prices)
        if until_passed is not None and not verifiers:
            raise ConfigError("until_passed needs verifiers: without one no attempt can pass")
        self._settings = Settings(
            teacher=_teacher(teacher),
            template=template,
            verifiers=tuple(verifiers),
            sampling=sampling,
            attempts=attempts,
            until_passed=until_passed,
            concurrency=concurrency,
            retries=retries,
            require_reasoning=require_reasoning,
            tags=tags,
            prefilled=prefilled,
            prices=Prices() if prices is None else prices,
        )
        for source in sources_of(self.teacher):
            if (doubt := check_top_logprobs(source.name.partition(":")[0], sampling.top_logprobs)) is not None:
                log.warning("%s", doubt)
        self._budget = budget
        if budget is not None and budget.usd is not None:
            self._settings.prices.require(self.teacher)
        self._purse = None if budget is None else Purse(budget.tokens, nanos=budget.nanos)
        self._pacer = pacer_of(self.teacher, rate_limit)
        self._gate: Gate | None = None

    def __repr__(self) -> str:
        return f"Distiller({self._settings.teacher.name!r})"

    @property
    def teacher(self) -> Teacher:
        """The teacher that is asked."""
        return self._settings.teacher

    async def attempt(self, task: Task, attempt: int = 0) -> Outcome:
        """Ask one task once, with retries, and judge the answer. Nothing is written anywhere.

        Args:
            task: What to solve.
            attempt: Which attempt it is; moves the seed, where there is one.

        Returns:
            A Sample, or the Failure that says why there is none.

        Raises:
            TeacherError: A fatal one (wrong key, unknown model, quota), or the endpoint cannot be reached.
        """
        engine = self._engine()
        async with entered(*self._settings.verifiers, self.teacher):
            outcome = await engine.attempt(self._slot(task, attempt))
        if outcome is None:
            engine.finish()  # raises the reason
        assert outcome is not None  # noqa: S101 - an attempt that is not made has a reason
        return outcome

    def stream(self, tasks: TaskInput) -> AbstractAsyncContextManager[AsyncIterator[Outcome]]:
        """Ask tasks and yield outcomes as they come, in no particular order. Nothing is written anywhere.

        The source may be endless. It is pulled only as fast as outcomes are taken, and leaving the block, also by
        ``break`` or an exception, cancels what is under way.

        Example:
            ::

                async with distiller.stream(tasks) as outcomes:
                    async for outcome in outcomes:
                        ...

        Raises:
            TeacherError: While iterating: a fatal one, as it is.
        """
        return self._stream(tasks)

    async def arun(self, tasks: TaskInput, path: str | PathLike[str], *, progress: bool | None = None) -> Run:
        """Ask tasks and keep every answer in the directory ``path``.

        Same path, same command: what an earlier session finished is not asked again. See ``docs/runs.md`` for what
        may change in between. Whatever is raised, the answers that came are kept.

        Args:
            tasks: Tasks, dicts or strings in any iterable, async iterable or ``datasets`` object; or the path of a
                JSONL, JSON, CSV or Parquet file. :mod:`cot_distill.sources` has the options.
            path: The run directory; made if it is missing.
            progress: True for a bar, False for silence, None for what fits the place.

        Returns:
            The run, finished.

        Raises:
            TeacherError: A fatal one, or the endpoint has stopped answering.
            TraceError: The first completions carry no reasoning.
            SourceError: The input cannot be read, or there is none.
            RunError: The directory is in use, of another recipe, damaged, or the disk is full.
            VerifierError: The verifiers crash on everything.
        """
        check_path(path)
        session = Session(
            self._settings, gate=self._gate_here(), pacer=self._pacer, budget=self._budget, path=Path(path)
        )
        await session.run(tasks, progress=progress)
        return Run.open(path)

    def run(self, tasks: TaskInput, path: str | PathLike[str], *, progress: bool | None = None) -> Run:
        """Blocking twin of :meth:`arun`: works in a script and in a notebook cell.

        Ctrl-C returns at once; the journal is whole and the same call goes on from there.
        """
        return run_blocking(partial(self.arun, tasks, path, progress=progress))

    async def abatch(self, tasks: TaskInput, path: str | PathLike[str], *, progress: bool | None = None) -> Run:
        """Async twin of :meth:`batch`."""
        check_path(path)
        await run_batch(self._settings, tasks, path, budget=self._budget, progress=progress)
        return Run.open(path)

    def batch(self, tasks: TaskInput, path: str | PathLike[str], *, progress: bool | None = None) -> Run:
        """Ask through batch jobs, which cost half and take up to a day. The result is the same as of :meth:`run`.

        Stopped or killed at any moment, the same call goes on: it finds its jobs again, and submits none twice. What
        they leave open is asked in a further job, or by :meth:`run` on the same path. See ``docs/batch.md``.

        Args:
            tasks: As for :meth:`arun`.
            path: The run directory.
            progress: As for :meth:`arun`.

        Returns:
            The run, finished.

        Raises:
            ConfigError: The provider takes no batch jobs, or a setting makes no sense in them: ``until_passed``, and
                a budget in dollars.
            TeacherError, SourceError, RunError, VerifierError: As :meth:`arun`.
        """
        return run_blocking(partial(self.abatch, tasks, path, progress=progress))

    def estimate(
        self, tasks: TaskInput, path: str | PathLike[str], *, sample: int = 5, progress: bool | None = None
    ) -> Estimate:
        """Ask a few tasks, drawn from all, and estimate what the whole run will take.

        Their answers are kept in the run directory: :meth:`run` with the same tasks and path goes on from there, and
        asks none of them again.

        Args:
            tasks: As for :meth:`arun`, but nothing that can be gone through only once: it is counted first.
            path: The run directory.
            sample: How many tasks.
            progress: As for :meth:`arun`.

        Returns:
            Tokens, dollars and time, each with an interval.

        Raises:
            ConfigError: ``sample`` is not positive, the tasks cannot be gone through twice, or not one answer came.
            TeacherError, TraceError, SourceError, RunError: As :meth:`arun`.

        Example:
            >>> tasks = [f"Work out {n} + 3 + 4." for n in range(100)]
            >>> print(Distiller("demo").estimate(tasks, tmp_path / "run", progress=False))  # doctest: +ELLIPSIS
            answers     100; estimated from 5 of them
            ...
        """
        return run_blocking(partial(self.aestimate, tasks, path, sample=sample, progress=progress))

    async def aestimate(
        self, tasks: TaskInput, path: str | PathLike[str], *, sample: int = 5, progress: bool | None = None
    ) -> Estimate:
        """Async twin of :meth:`estimate`."""
        if not isinstance(sample, int) or sample < 1:
            raise ConfigError(f"sample={sample!r}: must be 1 or more")
        check_path(path)
        if isinstance(tasks, Iterator | AsyncIterator):
            raise ConfigError("estimate() goes through the tasks twice: give a list, a path or a dataset")
        count = 0
        async with aclosing(open_tasks(tasks)) as found:
            async for _ in found:
                count += 1
        chosen = set(Random(0).sample(range(count), min(sample, count)))  # noqa: S311 - no secret depends on it
        settings = self._settings
        session = Session(settings, gate=self._gate_here(), pacer=self._pacer, budget=self._budget, path=Path(path))
        await session.run(tasks, progress=progress, only=chosen)
        seen = await anyio.to_thread.run_sync(_observed, Path(path), chosen)
        if not seen:
            raise ConfigError("not one answer came to estimate from: run.failures() says why")
        cap = settings.sampling.max_tokens_limit or settings.sampling.max_tokens
        at_once = _GUESS if settings.concurrency == "auto" else settings.concurrency
        return estimate(seen, count * settings.attempts, concurrency=at_once, max_tokens=cap)

    def _engine(self) -> Engine:
        return Engine(self._settings, gate=self._gate_here(), pacer=self._pacer, purse=self._purse)

    def _gate_here(self) -> Gate:
        """The gate of the running event loop: one for all that ask this teacher, or with a fixed number our own."""
        at_once = self._settings.concurrency
        if at_once == "auto":
            self._gate = gate_of(self.teacher, AdaptiveLimit)
        else:
            self._gate = gate_of(self, lambda: FixedLimit(at_once))
        return self._gate  # kept, so that the next call finds it and what it has learned

    def _slot(self, task: Task, attempt: int) -> Slot:
        return Slot.make(task, attempt, 0, self._settings.template(task))

    @asynccontextmanager
    async def _stream(self, tasks: TaskInput) -> AsyncGenerator[AsyncIterator[Outcome], None]:
        engine = self._engine()
        send, receive = anyio.create_memory_object_stream[Outcome](0)
        failed: list[Exception] = []

        async def produce() -> None:
            try:
                async with aclosing(open_tasks(tasks, unique=False)) as found, aclosing(engine.jobs(found)) as jobs:
                    await drive(jobs, lambda job: engine.work(job, send.send), engine.workers, room=engine.room)
                engine.finish()
            except Exception as error:
                failed.append(error)
            finally:
                send.close()

        async def outcomes() -> AsyncGenerator[Outcome, None]:
            async for outcome in receive:
                yield outcome
            if failed:
                raise failed[0]

        body: list[BaseException] = []
        with receive:
            async with entered(*self._settings.verifiers, self.teacher), anyio.create_task_group() as group:
                group.start_soon(produce)
                async with aclosing(outcomes()) as iterator:
                    try:
                        yield iterator
                    except (Exception, KeyboardInterrupt) as error:  # raised below, so that no group wraps it
                        body.append(error)
                    # Cancel before the stream is closed: a worker that is about to send must not find it gone.
                    group.cancel_scope.cancel()
        if body:
            raise body[0]


def _observed(path: Path, chosen: Container[int]) -> list[Observation]:
    """What the answers took that a run directory holds to these tasks, by their places in the input."""
    seen = []
    with Ledger(path, writable=False) as ledger:
        for place in ledger.latest():
            record = ledger.record(place) if place.answer.head.order in chosen else None
            if record is not None and record.completion is not None:
                used, took = record.completion.usage, record.completion.latency or 0.0
                tokens = used.prompt_tokens or 0, used.completion_tokens or 0
                seen.append(Observation(*tokens, took, dollars(record.cost)))
    return seen


def _teacher(given: object) -> Teacher:
    if given is None or isinstance(given, str):
        return open_teacher(given)
    if not isinstance(given, Teacher):
        raise ConfigError(f"teacher={given!r} is no Teacher: it needs a `name` and an async `complete`")
    return given


def _check_numbers(attempts: int, retries: int, until_passed: int | None) -> None:
    wanted = [("attempts", attempts, 1), ("retries", retries, 0)]
    wanted += [] if until_passed is None else [("until_passed", until_passed, 1)]
    for name, value, least in wanted:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{name}={shown(value)}: must be a whole number, {least} or more")
    if until_passed is not None and until_passed > attempts:
        raise ConfigError(f"until_passed={until_passed}: must be between 1 and attempts={attempts}")


def _check(
    template: object,
    verifiers: object,
    sampling: object,
    concurrency: object,
    rate_limit: object,
    budget: Budget | None,
    prices: object,
) -> None:
    """Name what was given in the wrong form, before anything is asked."""
    if not callable(template):
        raise ConfigError(f"template={template!r} is no function: for a text use templates.from_string(…)")
    if not isinstance(verifiers, Sequence) or isinstance(verifiers, str):
        raise ConfigError(f"verifiers={shown(verifiers)}: give a list of verifiers, such as [verifiers.exact()]")
    check_verifiers(verifiers, "verifiers=[…]")
    if not isinstance(sampling, Sampling):
        raise ConfigError(f"sampling={sampling!r}: give Sampling(…)")
    is_number = isinstance(concurrency, int) and not isinstance(concurrency, bool)
    if concurrency != "auto" and not (is_number and concurrency >= 1):  # type: ignore[operator]
        raise ConfigError(f"concurrency={concurrency!r}: must be 1 or more, or 'auto'")
    if not isinstance(prices, Prices | None):
        raise ConfigError(f"prices={shown(prices)}: give Prices({{'model': Price(input=…, output=…)}})")
    if not isinstance(rate_limit, RateLimit | None):
        raise ConfigError(f"rate_limit={rate_limit!r}: give RateLimit(requests_per_minute=…, tokens_per_minute=…)")
    if budget is None:
        return
    if not isinstance(budget, Budget):
        raise ConfigError(f"budget={budget!r}: give Budget(usd=…, tokens=…)")
    if sampling.max_tokens is None:
        raise ConfigError("a budget needs Sampling(max_tokens=…): otherwise an answer has no worst case to reserve")
