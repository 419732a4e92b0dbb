"""Attempts: what there is to ask, and what becomes of each.

It knows the protocols and the ledger; not a provider, not a file, not how requests are limited. Its rules:

* An answer is in the ledger before it is judged or counted.
* Whatever ends a session early ends it in one way: no further attempt is started, the answers under way are brought
  home, and the first reason is raised, plainly. Only an endpoint that has stopped answering is not waited for.
* Nothing grows with the number of tasks but what earlier sessions left.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import PydanticSerializationError

from cot_distill.asking import Asker, StoppedError
from cot_distill.errors import (
    RequestError,
    RunError,
    TeacherError,
    TraceError,
    UnavailableError,
    VerifierError,
)
from cot_distill.judging import Judge
from cot_distill.ledger import Known, Ledger, Slot, address
from cot_distill.limits import BudgetReachedError, Hold, Pacer, Purse
from cot_distill.outcome import Outcome, read, unanswered
from cot_distill.protocols import Teacher, Template, Verifier
from cot_distill.retry import Tries
from cot_distill.trace import Prefilled
from cot_distill.types import Completion, Failure, Sample, Sampling, Task, ThinkTags

__all__ = ["Engine", "Job", "Settings"]

log = logging.getLogger("cot_distill")

_PROBE = 3
_UNREACHED_IN_A_ROW = 8
_REFUSED_IN_A_ROW = 8


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Distiller was made with."""

    teacher: Teacher
    template: Template
    verifiers: tuple[Verifier, ...]
    sampling: Sampling
    attempts: int
    until_passed: int | None
    concurrency: int
    retries: int
    require_reasoning: bool
    tags: ThinkTags
    prefilled: Prefilled


class Job(NamedTuple):
    """Attempts at one task that follow one another."""

    slots: tuple[Slot, ...]
    passed: int
    """Verified traces that the task has already."""


class Engine:
    """Runs attempts.

    Args:
        settings: How to ask and judge.
        hold: The pause that a server can impose, shared by all that ask it.
        ledger: Where to book; None for :meth:`Distiller.stream`, which keeps nothing.
        known: What earlier sessions left, by :func:`~cot_distill.ledger.address`.
        pacer: Rate limit.
        purse: Budget.
        proven: An earlier session had reasoning from this teacher, so that a few answers without need not alarm.
        earlier: Told of attempts that need nothing, as their tasks are pulled.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        hold: Hold,
        ledger: Ledger | None = None,
        known: dict[bytes, Known] | None = None,
        pacer: Pacer | None = None,
        purse: Purse | None = None,
        proven: bool = False,
        earlier: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._known = known or {}
        self._asker = Asker(
            settings.teacher,
            settings.sampling,
            retries=settings.retries,
            hold=hold,
            pacer=pacer,
            purse=purse,
        )
        self._judge = Judge(settings.verifiers, ledger, reading=(settings.tags, settings.prefilled))
        self._judge.trust(self._known.values())
        self._earlier = earlier
        self._answers = self._bare = self._refused = self._unreached = 0
        self._proven = proven
        self.workers = settings.concurrency
        self.ending: Exception | None = None
        """Why no further attempt is started; what is under way comes home first."""

    @property
    def abandoned(self) -> int:
        """Requests that were cancelled on the wire."""
        return self._asker.abandoned

    async def jobs(self, tasks: AsyncIterator[tuple[int, Task]]) -> AsyncGenerator[Job, None]:
        """What there is to do, as the tasks are pulled. Ends early once :attr:`ending` is set.

        An error of the source or the template ends the session like any other: what is under way comes home first.
        """
        try:
            async for order, task in tasks:
                for job in self._plan(task, order):
                    yield job
                if self.ending is not None:
                    return
        except Exception as error:
            self.end(error)

    async def work(self, job: Job, emit: Callable[[Outcome], Awaitable[None]]) -> None:
        """Work a job off, one attempt after the other, until enough traces have passed."""
        passed, wanted = job.passed, self._settings.until_passed
        for slot in job.slots:
            if self.ending is not None or (wanted is not None and passed >= wanted):
                return
            outcome = await self.attempt(slot)
            if outcome is not None:
                passed += isinstance(outcome, Sample) and outcome.passed is True
                await emit(outcome)

    async def attempt(self, slot: Slot) -> Outcome | None:
        """Ask, book and judge one attempt, or judge the answer that an earlier session left.

        Returns:
            The outcome; None where there is nothing new: the session is ending, or an earlier answer has no trace.

        Raises:
            UnavailableError: The endpoint has not answered for long.
            RunError: The journal cannot be written.
        """
        known = self._known.get(address(slot))
        if known is not None and self._ledger is not None and not self._is_to_ask(slot):
            return await self._judge_earlier(self._ledger, slot, known)
        tries = Tries()
        try:
            completion = await self._asker.ask(slot, tries)
        except StoppedError:
            return None
        except BudgetReachedError as error:
            self.end(RunError("the budget is reached: raise it and run again to go on"), error)
            return None
        except TeacherError as error:
            return self._not_answered(slot, error, tries)
        self._unreached = 0
        if self._ledger is not None:
            try:
                self._ledger.completion(slot, completion, self._settings.sampling, tries)
            except PydanticSerializationError as error:
                what = RequestError(f"the answer cannot be stored: {error}", kind="malformed")
                return self._not_answered(slot, what, tries)
            if self._ledger.full is not None:
                self.end(self._ledger.full)
        self._answers += 1
        return await self._settle(slot, completion, tries)

    def end(self, reason: Exception, cause: BaseException | None = None) -> None:
        """Start no further attempt. What is under way comes home, then :meth:`finish` raises the reason."""
        if self.ending is not None:
            return
        if cause is not None:
            reason.__cause__ = cause
        self.ending = reason
        self._asker.stop()
        if self._asker.in_flight:
            log.warning("%s; waiting for %d answers under way", reason, self._asker.in_flight)

    def finish(self) -> None:
        """Called when all is done: raises what only the whole shows.

        Raises:
            TraceError: Not one completion carried reasoning.
            Exception: The reason of an early ending.
        """
        self._judge.flush()
        if self.ending is None and self._bare and self._bare == self._answers and self._settings.require_reasoning:
            self._end_without_reasoning("")
        if self.ending is not None:
            raise self.ending

    def _plan(self, task: Task, order: int) -> Iterator[Job]:
        settings = self._settings
        messages = settings.template(task)
        due: list[Slot] = []
        passed = 0
        for attempt in range(settings.attempts):
            slot = Slot.make(task, attempt, order, messages)
            known = self._known.get(address(slot))
            if known is not None and known.content != slot.content:
                known = self._correct(slot, known)
            if known is None or known.is_due(slot, settings.sampling) or self._judge.is_due(known):
                due.append(slot)
            else:
                passed += known.verdict & 1
        self._earlier(settings.attempts - len(due))
        due.sort(key=self._is_to_ask)  # what only needs judging may do, and costs nothing
        if settings.until_passed is None:
            yield from (Job((slot,), 0) for slot in due)
        elif due and passed < settings.until_passed:
            yield Job(tuple(due), passed)

    def _is_to_ask(self, slot: Slot) -> bool:
        known = self._known.get(address(slot))
        return known is None or known.is_due(slot, self._settings.sampling)

    def _correct(self, slot: Slot, known: Known) -> Known:
        """Take over a task whose reference answer, tests or metadata were changed since it was answered."""
        if self._ledger is None or known.is_due(slot, self._settings.sampling):
            return known  # it is asked again, and booked with the new task then
        self._ledger.correct(slot)
        corrected = known._replace(content=slot.content, verdict=0)
        self._known[address(slot)] = corrected
        return corrected

    def _not_answered(self, slot: Slot, error: TeacherError, tries: Tries) -> Failure | None:
        """Book an attempt that got no answer; stop where going on is pointless."""
        if error.fatal:
            self.end(error)
            return None
        if error.transient:
            self._unreached += 1
            # A task that makes a working server fail is that task's trouble; a server that is not there is ours.
            absent = error.status is None and error.kind != "timeout"
            hopeless = error.kind == "unreachable" and not self._answers
            if hopeless or (
                self._unreached > _UNREACHED_IN_A_ROW and (absent or not (self._answers or self._proven))
            ):
                raise UnavailableError(
                    f"{error} (requests sent: {tries.made}). Is the server up, and is base_url right? "
                    "What was answered so far is kept: run again to go on",
                    provider=error.provider,
                    status=error.status,
                    kind=error.kind,
                ) from error
        elif error.kind == "bad_request" and not self._answers:
            self._refused += 1
            if self._refused > _REFUSED_IN_A_ROW:
                self.end(
                    RequestError(f"not one of the first requests was accepted. {error}", status=error.status), error
                )
        name = self._settings.teacher.name
        failure = unanswered(slot.task, slot.attempt, error, teacher=name, tries=tries.made)
        if self._ledger is not None:
            # A parameter that is refused before anything was ever accepted is probably a setting: it may be mended.
            final = isinstance(error, RequestError) and (self._answers > 0 or error.kind != "bad_request")
            self._ledger.failure(slot, failure, tries, final=final)
        return failure

    async def _judge_earlier(self, ledger: Ledger, slot: Slot, known: Known) -> Outcome | None:
        """Judge an answer of an earlier session that lacks a verdict of just these verifiers."""
        record = ledger.answer(known)
        assert record.completion is not None  # noqa: S101 - only completions are left unjudged
        outcome = self._read(slot, record.completion, record.tries)
        if isinstance(outcome, Failure):
            self._earlier(1)
            return None
        return await self._judged(slot, outcome)

    async def _settle(self, slot: Slot, completion: Completion, tries: Tries) -> Outcome | None:
        """Read the trace of an answer that was booked, and have it judged."""
        outcome = self._read(slot, completion, tries.made)
        if isinstance(outcome, Sample):
            self._proven = True
            return await self._judged(slot, outcome)
        if outcome.kind == "no_reasoning" and not self._proven:
            self._bare += 1
            if self._settings.require_reasoning and self._bare >= _PROBE:
                self._end_without_reasoning(outcome.message)
        return outcome

    def _read(self, slot: Slot, completion: Completion, tries: int) -> Outcome:
        settings = self._settings
        return read(
            slot.task,
            slot.attempt,
            completion,
            teacher=settings.teacher.name,
            tags=settings.tags,
            prefilled=settings.prefilled,
            tries=tries,
        )

    async def _judged(self, slot: Slot, sample: Sample) -> Outcome | None:
        try:
            return await self._judge(slot.head("verdict"), sample)
        except VerifierError as error:
            self.end(error)
            return None

    def _end_without_reasoning(self, last: str) -> None:
        """Stop before more is paid for: this teacher, asked in this way, shows no thinking."""
        reason = TraceError(
            "no_reasoning",
            f"{self._settings.teacher.name} answered {self._answers} times and no answer carries reasoning"
            f"{f' ({last})' if last else ''}. Start a vLLM or SGLang server with --reasoning-parser, choose a model "
            "that thinks, or switch thinking on (some providers want Sampling(reasoning_effort=…) or extra={…}); "
            "reasoning in other tags is read with tags=ThinkTags(…); some providers never show it. "
            "require_reasoning=False goes on regardless",
        )
        self.end(reason)
