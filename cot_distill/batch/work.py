"""One session's work with jobs: what is missing goes in, what came is booked and judged.

It knows the ledger, the plan of what is missing and the verifiers; not HTTP, and not how a run directory is entered.
Jobs are made as soon as they are full, so that no more than one is being filled at a time. What a job leaves is put
into the next ones before new tasks are pulled.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread

from cot_distill.batch.batch_client import BatchClient
from cot_distill.batch.calls import pauses
from cot_distill.batch.collecting import collect, too_large, worst_case
from cot_distill.batch.jobs import BatchJob, JobBook, new_key
from cot_distill.batch.lines import Said, custom_id
from cot_distill.batch.spool import Ask, Draft, SlotFile, remove
from cot_distill.batch.submitting import submit
from cot_distill.batch.wire import Wire
from cot_distill.errors import RequestError, RunError, TeacherError, TraceError, UnavailableError
from cot_distill.judging import Judge, judge_places
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome, read_record
from cot_distill.planning import Planner, Settings
from cot_distill.progress import Progress
from cot_distill.records import address
from cot_distill.types import Failure, Task

__all__ = ["Work"]

log = logging.getLogger("cot_distill")

_A_TURN = 50
"""Requests written at a stretch, before others get a turn."""
_PATIENCE = 3600.0
"""Seconds that a provider may be out of reach while its jobs are waited for."""


class Work:
    """What there is to do, and how far it is.

    Args:
        settings: How to ask and judge.
        wire: How the teacher is spoken to.
        client: Talks to the provider.
        ledger: Where to book.
        book: The jobs.
        there: What is in the journal.
        known: What of it counts: nothing, where the recipe was mended before there was an answer.
        total: Attempts in all, where it is known.
    """

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        client: BatchClient,
        ledger: Ledger,
        book: JobBook,
        *,
        there: KnownAttempts,
        known: KnownAttempts,
        total: int | None,
    ) -> None:
        self._settings, self._wire, self._client = settings, wire, client
        self._ledger, self._book, self._there = ledger, book, there
        self._since = len(ledger.journal)
        self._judge = Judge(settings.verifiers, ledger, reading=(settings.tags, settings.prefilled))
        self._judge.trust(known.marks)
        self.shown = Progress(total)
        self._planner = Planner(settings, self._judge, ledger, known, earlier=self.shown.count_earlier)
        self._again: list[Iterator[Ask]] = []
        self._held: Ask | None = None
        self._budget: int | None = None
        self._answers = self._bare = 0
        self._trouble: TeacherError | None = None
        self.proven = False
        """An earlier session had reasoning from this teacher."""
        remove(book.folder, keep=book.open)
        self._under_way: set[bytes] = set()
        for job in book.open.values():
            self._under_way.update(SlotFile(book.folder, job.key).addresses())

    def allow(self, tokens: int) -> None:
        """Keep within so many tokens, those under way at their worst."""
        self._budget = tokens - sum(job.worst for job in self._book.open.values())

    async def all(self, tasks: AsyncIterator[tuple[int, Task]]) -> None:
        """Ask, collect and judge until nothing is left to do."""
        async with aclosing(self._missing(tasks)) as asks:
            while True:
                if self._trouble is None:  # else it is left to the jobs under way to show that it is over
                    await self._fill(asks)
                if not self._book.open:
                    break
                await self._collect(*await self._ended())
        await self._judge_the_rest()
        if self._trouble is not None:
            raise self._trouble
        if self._held is not None:
            raise RunError("the budget is reached: raise it and run again to go on")

    async def _missing(self, tasks: AsyncIterator[tuple[int, Task]]) -> AsyncGenerator[Ask, None]:
        """The attempts that are to be asked, as the tasks are pulled."""
        async for order, task in tasks:
            for job in self._planner.jobs(task, order):
                for slot in job.slots:
                    if self._planner.answer_to(slot) is None and address(slot) not in self._under_way:
                        yield Ask(slot, self._planner.sampling(slot).max_tokens)

    async def _next(self, asks: AsyncIterator[Ask]) -> Ask | None:
        """What is to be asked next: what a job left goes first."""
        ask, self._held = self._held, None
        while ask is None and self._again:
            ask = next(self._again[0], None)
            if ask is None:
                self._again.pop(0)
        return await anext(asks, None) if ask is None else ask

    async def _fill(self, asks: AsyncIterator[Ask]) -> None:
        """Put what is to be asked into jobs, and start them."""
        draft: Draft | None = None
        try:
            while (ask := await self._next(asks)) is not None:
                worst = worst_case(ask)
                if self._budget is not None and worst > self._budget:
                    self._held = ask
                    break
                draft = draft or self._draft()
                request = self._request(ask, draft.key)
                if draft.count and not draft.fits(request):
                    full, draft = draft, None
                    await self._start(full)
                    draft = self._draft()
                    request = self._request(ask, draft.key)
                if not draft.fits(request) or self._is_too_long(request):
                    self.shown.count(too_large(ask.slot, len(request), self._ledger, self._settings))
                    continue
                draft.add(ask, request, worst)
                if self._budget is not None:
                    self._budget -= worst
                if draft.count % _A_TURN == 0:
                    await anyio.lowlevel.checkpoint()
        except BaseException:
            if draft is not None:
                draft.drop()
            raise
        if draft is not None:
            await self._start(draft)

    def _is_too_long(self, request: bytes) -> bool:
        most = self._wire.facts.line_size
        return most is not None and len(request) > most

    def _draft(self) -> Draft:
        facts = self._wire.facts
        return Draft(self._book.folder, new_key(), lines=facts.lines, size=facts.size, around=self._client.around)

    def _request(self, ask: Ask, key: str) -> bytes:
        sampling = self._planner.sampling(ask.slot).model_copy(update={"max_tokens": ask.cap})
        body = self._wire.encode(ask.slot.messages, sampling)
        return self._client.encode(custom_id(address(ask.slot), key), body)

    async def _start(self, draft: Draft) -> None:
        await anyio.to_thread.run_sync(draft.close)
        if not draft.count:
            return
        job = self._book.intend(
            key=draft.key,
            provider=self._wire.preset.name,
            lines=draft.count,
            worst=draft.worst,
            since=self._since,
        )
        await submit(self._client, self._book, job, retries=self._settings.retries)
        log.info("%s: job %s asks %d attempts", job.provider, job.id, job.lines)

    async def _ended(self) -> tuple[BatchJob, Said]:
        """Wait until one of the jobs has ended. A day is long: a provider that is out of reach is waited for."""
        reached = time.monotonic()
        for pause in pauses():
            try:
                for job in list(self._book.open.values()):
                    said = await self._client.look(job)
                    reached = time.monotonic()
                    if said.state != "under way":
                        log.info("%s: job %s has ended: %s", job.provider, job.id, said.word)
                        return job, said
            except TeacherError as error:
                if not error.transient or time.monotonic() - reached > _PATIENCE:
                    raise
                log.warning("%s; the jobs go on, and are looked at again", error)
            await anyio.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover - there is no last pause

    async def _collect(self, job: BatchJob, said: Said) -> None:
        """Book what a job brought, and put what it left where it is asked again."""
        folder = self._book.folder
        files = await self._client.download(said, folder / f"{job.key}.requests")
        slots = SlotFile(folder, job.key)
        with slots:
            found = await collect(
                job,
                files,
                slots,
                client=self._client,
                wire=self._wire,
                ledger=self._ledger,
                known=self._there,
                works=self._answers > 0 or self._there.answered,
                settings=self._settings,
                tell=self._tell,
            )
        await anyio.to_thread.run_sync(self._ledger.sync)
        self._book.note(job, "collected", id=job.id)
        for file in (*files, folder / f"{job.key}.requests"):
            file.unlink(missing_ok=True)
        self._again.append(slots.asks(found.left))
        self._answers += found.answers
        self._bare += found.bare
        if self._budget is not None:
            self._budget += job.worst - found.used
        if found.error is not None:
            raise found.error
        if self._ledger.full is not None:
            raise self._ledger.full
        self._check_reasoning()
        self._trouble = None if found.lines else _fruitless(job, said)

    def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) or not self._settings.verifiers:
            self.shown.count(outcome)  # else once it is judged

    def _check_reasoning(self) -> None:
        if self._settings.require_reasoning and not self.proven and self._answers and self._bare == self._answers:
            raise TraceError(
                "no_reasoning",
                f"{self._settings.teacher.name} answered {self._answers} times and no answer carries reasoning. "
                "Choose a model that thinks and shows it, switch thinking on (Sampling(reasoning_effort=…) or "
                "extra={…}), or name its tags with tags=ThinkTags(…). A few tasks asked at once with run() show what "
                "comes before a whole batch is paid for. require_reasoning=False goes on regardless",
            )

    async def _judge_the_rest(self) -> None:
        """Judge all answers that these verifiers have not judged."""
        settings, judge = self._settings, self._judge
        if not settings.verifiers:
            return

        reading = partial(
            read_record, teacher=settings.teacher.name, tags=settings.tags, prefilled=settings.prefilled
        )

        async def emit(outcome: Outcome) -> None:
            self.shown.count(outcome)

        with Ledger(self._ledger.journal.path, writable=False) as now:
            places = await anyio.to_thread.run_sync(now.latest)
            answers = (place for place in places if place.answer.head.kind == "completion")
            left = (place for place in answers if judge.is_left(place, self._ledger))
            await judge_places(judge, now, left, read=reading, emit=emit)


def _fruitless(job: BatchJob, said: Said) -> TeacherError:
    """What to raise of a job that brought nothing at all."""
    reason = f": {said.reason}" if said.reason else ""
    what = f"{job.provider}: job {job.id} ended as {said.word!r} and brought nothing{reason}."
    if said.state == "failed":
        return RequestError(f"{what} Mend what it names and run again", provider=job.provider)
    return UnavailableError(f"{what} Run again to ask what it held", provider=job.provider, kind="timeout")
