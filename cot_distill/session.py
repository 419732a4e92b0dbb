"""One session of a run directory: from the first task to the last record.

It puts the source, the recipe, the ledger, the engine and the progress bar together. A run is as many sessions as it
takes; each goes on where the one before was stopped.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Container, Iterator, Sized
from contextlib import aclosing, contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from os import PathLike
from pathlib import Path

import anyio
import anyio.to_thread

from cot_distill import templates
from cot_distill.batch.jobs import open_jobs
from cot_distill.engine import Engine
from cot_distill.entering import entered
from cot_distill.errors import RunError, SourceError, TraceError
from cot_distill.folding import MANY
from cot_distill.gate import Gate
from cot_distill.identity import name_of
from cot_distill.input_mark import MarkedInput
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.limits import Budget, Purse
from cot_distill.outcome import Outcome
from cot_distill.pacing import Pacer
from cot_distill.planning import Settings
from cot_distill.progress import Progress, show_progress
from cot_distill.recipe import Recipe, TemplateMark
from cot_distill.sources import TaskInput, open_tasks
from cot_distill.trace import parse_trace
from cot_distill.types import Task
from cot_distill.workers import drive

__all__ = ["Session", "attempts_in", "numbered"]

_SYNC_SECONDS = 1.0
_LOOKED_AT = 200

_Located = AsyncGenerator[tuple[int, Task], None]


class Session:
    """Asks what is missing in one run directory.

    Args:
        settings: How to ask and judge.
        gate: Lets the requests pass, each in its turn.
        pacer: Rate limit.
        budget: What all sessions of the run may use.
        path: The run directory.
    """

    def __init__(self, settings: Settings, *, gate: Gate, pacer: Pacer, budget: Budget | None, path: Path) -> None:
        self._settings = settings
        self._gate = gate
        self._pacer = pacer
        self._budget = budget
        self._path = path

    async def run(self, tasks: TaskInput, *, progress: bool | None, only: Container[int] | None = None) -> None:
        """Ask until nothing is left to ask. Raises as :meth:`cot_distill.Distiller.arun` says.

        ``only``: the places in the input, from 0, of the tasks that are asked now; the others are left for later.
        """
        settings = self._settings
        given = MarkedInput(tasks, settings.template)
        done = bytearray()  # the tasks that are passed over, filled in once it is known which
        async with aclosing(open_tasks(given.tasks, done=done)) as located:
            first = await anext(located, None)
            if first is None:
                raise SourceError(f"no tasks in {_describe(tasks)}")
            with Ledger(self._path, writable=True) as ledger:
                if waiting := open_jobs(self._path):
                    raise RunError(
                        f"{self._path} waits for batch jobs ({', '.join(waiting)}), and to ask now would pay for the "
                        "same twice: collect them with batch() first"
                    )
                # In a thread, since it takes a while where there are millions of records.
                known, purse = await anyio.to_thread.run_sync(self.look_back, ledger)
                is_same = self.check_recipe(first[1], binding=known.answered)
                if not is_same:
                    known = KnownAttempts()
                shown = Progress(attempts_in(tasks, settings))
                shown.waiting = self._gate.pause
                engine = self._engine(ledger, known, purse, shown)
                await anyio.to_thread.run_sync(given.mark)
                if is_same and only is None and len(ledger.journal) >= MANY:
                    done += await anyio.to_thread.run_sync(lambda: engine.finished(given.records(ledger)))
                with show_progress(shown, progress), _booked(ledger, engine, tasks, given):
                    async with entered(*settings.verifiers, settings.teacher):
                        await _drive(engine, numbered(first[1], located, only, done), shown, ledger, given)
                    engine.finish()

    def look_back(self, ledger: Ledger) -> tuple[KnownAttempts, Purse | None]:
        """What earlier sessions left of the tasks, and of the budget if there is one."""
        known = ledger.known(said=any(getattr(one, "paid", False) for one in self._settings.verifiers))
        budget = self._budget
        if budget is None:
            return known, None
        paid = 0 if budget.nanos is None else ledger.paid()
        return known, Purse(budget.tokens, ledger.used(), nanos=budget.nanos, paid=paid)

    def check_recipe(self, first: Task, *, binding: bool) -> bool:
        """Compare with ``run.json``, then write what this session adds to it.

        Returns:
            Whether the recipe is the same. A mistyped model or a setting that was refused may be mended as long as
            it has brought no answer, that is, as long as it is not ``binding``.
        """
        settings = self._settings
        template = settings.template
        old = Recipe.load(self._path)
        # As run.json will give it back: a date in the metadata, say, is text from then on.
        probe = Task.model_validate_json(first.model_dump_json()) if old is None else old.template.probe
        new = Recipe(
            created=datetime.now(UTC).isoformat(timespec="seconds") if old is None else old.created,
            teacher=settings.teacher.name,
            template=TemplateMark(name=name_of(template), digest=templates.digest(template, probe), probe=probe),
            sampling=settings.sampling,
            attempts=settings.attempts,
            verifiers=tuple(map(name_of, settings.verifiers)),
            tags=settings.tags,
            prefilled=settings.prefilled,
        )
        if old is not None and binding:
            old.require_same(new, self._path)
        if new != old:
            new.save(self._path)
        return old is None or not old.differences(new)

    def _engine(self, ledger: Ledger, known: KnownAttempts, purse: Purse | None, shown: Progress) -> Engine:
        settings = self._settings
        return Engine(
            settings,
            gate=self._gate,
            ledger=ledger,
            known=known,
            pacer=self._pacer,
            purse=purse,
            proven=self.is_proven(ledger, known),
            earlier=shown.count_earlier,
        )

    def is_proven(self, ledger: Ledger, known: KnownAttempts) -> bool:
        """Whether one of the first answers that are there carries a trace.

        Where none does, those without reasoning are marked to be asked again: an earlier session was stopped for
        that, and its cause should be mended by now. Other tags may have mended it too; then they are left alone.
        """
        settings = self._settings
        bare = []
        for place, one in islice(known.completions(), _LOOKED_AT):
            completion = ledger.answer(one).completion
            try:
                if completion is not None:
                    parse_trace(completion, tags=settings.tags, prefilled=settings.prefilled)
                    return True
            except TraceError as error:
                if error.kind == "no_reasoning":
                    bare.append(place)
        if settings.require_reasoning:
            known.reopen(bare)
        return False


async def _drive(engine: Engine, tasks: _Located, shown: Progress, ledger: Ledger, given: MarkedInput) -> None:
    """Run the workers. About once a second beside them, sync the journal and look whether the input was touched."""

    async def emit(outcome: Outcome) -> None:
        shown.count(outcome)

    async def sync() -> None:
        try:
            while True:
                await anyio.sleep(_SYNC_SECONDS)
                shown.tick()  # also while nothing comes back
                await anyio.to_thread.run_sync(ledger.sync)
                await given.look_aside()
        except RunError as error:
            engine.end(error)

    failed: list[Exception] = []
    async with aclosing(tasks), aclosing(engine.jobs(tasks)) as jobs, anyio.create_task_group() as group:
        group.start_soon(sync)
        try:
            await drive(jobs, lambda job: engine.work(job, emit), engine.workers, room=engine.room)
            await engine.judge_the_rest(emit)
        except Exception as error:  # raised below, so that no group wraps it
            failed.append(error)
        group.cancel_scope.cancel()
    if failed:
        raise failed[0]


async def numbered(
    first: Task, rest: _Located, only: Container[int] | None = None, done: bytearray | None = None
) -> _Located:
    """The task that was pulled to check the recipe, then the others, numbered from 0.

    ``only``: the places of the tasks that are wanted; ``done``: marks the places of tasks that do not come.
    """
    order, done = 0, done or bytearray()
    if only is None or 0 in only:
        yield 0, first
    async for _, task in rest:
        following = done.find(0, order + 1)
        order = following if following > 0 else max(order + 1, len(done))
        if only is None or order in only:
            yield order, task


@contextmanager
def _booked(ledger: Ledger, engine: Engine, tasks: object, given: MarkedInput) -> Iterator[None]:
    """Book when a session starts, with which input, and ends. How many requests it may cut off the engine books."""
    ledger.note("started", workers=0)
    given.begin(ledger)
    try:
        yield
    finally:
        with suppress(RunError):  # on a full disk the reason has been raised already
            given.look()
            ledger.note("ended", abandoned=engine.abandoned, skipped=getattr(tasks, "skipped", 0))


def attempts_in(tasks: object, settings: Settings) -> int | None:
    """How many attempts it will be, where that can be known."""
    if isinstance(tasks, str) or not isinstance(tasks, Sized) or settings.until_passed is not None:
        return None
    return len(tasks) * settings.attempts


def _describe(tasks: object) -> str:
    if isinstance(tasks, (str, PathLike)):
        return str(tasks)
    return getattr(tasks, "name", None) or f"the {type(tasks).__name__} that was given"
