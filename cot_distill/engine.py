"""Attempts: asking each, and what becomes of it.

It knows the protocols and the ledger; not a provider, not a file, not how requests are limited. Its rules:

* An answer is in the ledger before it is judged or counted.
* Judging never holds up asking: it has workers of its own, and where these are not enough, answers are left in the
  ledger to be judged when all is asked.
* Whatever ends a session early ends it in one way: no further attempt is started, the answers under way are brought
  home, and the first reason is raised, plainly. Only an endpoint that has stopped answering is not waited for.
* Nothing grows with the number of tasks but what earlier sessions left.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial

import anyio
import anyio.to_thread
from pydantic_core import PydanticSerializationError

from cot_distill.asking import Asker, EndpointBrokenError, StoppedError
from cot_distill.errors import (
    ConfigError,
    RequestError,
    RunError,
    TeacherError,
    TraceError,
    UnavailableError,
    VerifierError,
)
from cot_distill.gate import Gate
from cot_distill.judging import Judge, judge_places
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.limits import BudgetReachedError, Purse
from cot_distill.logprob_formats import compact
from cot_distill.outcome import Outcome, read, read_record, unanswered
from cot_distill.pacing import Pacer
from cot_distill.planning import Job, Planner, Settings
from cot_distill.records import Known, Slot
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure, Sample, Sampling, Task, Verdict

__all__ = ["Engine"]

log = logging.getLogger("cot_distill")

_PROBE = 3
_UNREACHED_IN_A_ROW = 8
_REFUSED_IN_A_ROW = 8
_MOST_IN_HAND = 4096
"""Jobs in hand at once where concurrency is found out: those in flight, and those that wait to be asked again."""
_JUDGED_AT_ONCE = 128
"""Answers that wait for a verdict in memory; beyond that they wait in the ledger."""


class Engine:
    """Runs attempts.

    Args:
        settings: How to ask and judge.
        gate: Lets the requests pass, each in its turn; shared by all that ask this teacher.
        pacer: Rate limit.
        ledger: Where to book; None for :meth:`Distiller.stream`, which keeps nothing.
        known: What earlier sessions left.
        purse: Budget.
        proven: An earlier session had reasoning from this teacher, so that a few answers without need not alarm.
        earlier: Told of attempts that need nothing, as their tasks are pulled.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        gate: Gate,
        pacer: Pacer,
        ledger: Ledger | None = None,
        known: KnownAttempts | None = None,
        purse: Purse | None = None,
        proven: bool = False,
        earlier: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        known = KnownAttempts() if known is None else known
        self._judge = Judge(settings.verifiers, ledger, reading=(settings.tags, settings.prefilled))
        self._judge.trust(known.marks)
        self._planner = Planner(settings, self._judge, ledger, known, earlier=earlier)
        self._asker = Asker(
            settings.teacher,
            retries=settings.retries,
            gate=gate,
            pacer=pacer,
            purse=purse,
            prices=settings.prices,
        )
        self._earlier = earlier
        self._answers = self._bare = self._refused = self._unreached = 0
        self._proven = proven
        self._summarised = False
        waits = self._judge.waits
        at_once = _MOST_IN_HAND if settings.concurrency == "auto" else settings.concurrency
        self._unproven = anyio.CapacityLimiter(min(at_once, _JUDGED_AT_ONCE)) if waits else None
        self._gate = gate
        self._level = 0  # requests in flight that the ledger knows of
        self._judging = 0
        self._left = False  # answers were left in the ledger without a verdict
        self.workers = at_once + (_JUDGED_AT_ONCE if waits else 0)
        """Jobs that are worked on at once."""
        self.ending: Exception | None = None
        """Why no further attempt is started; what is under way comes home first."""

    @property
    def abandoned(self) -> int:
        """Requests that were cancelled on the wire."""
        return self._asker.abandoned

    def finished(self, own: Sequence[range]) -> bytearray:
        """The tasks that need nothing: see :meth:`cot_distill.planning.Planner.finished`."""
        return self._planner.finished(own)

    async def jobs(self, tasks: AsyncIterator[tuple[int, Task]]) -> AsyncGenerator[Job, None]:
        """What there is to do, as the tasks are pulled. Ends early once :attr:`ending` is set.

        An error of the source or the template ends the session like any other: what is under way comes home first.
        """
        try:
            async for order, task in tasks:
                for job in self._planner.jobs(task, order):
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
                if wanted is not None:
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
        known = self._planner.answer_to(slot)
        if known is not None and self._ledger is not None:
            return await self._judge_earlier(self._ledger, slot, known)
        if self._unproven is None or self._judge.proven:
            answer, tries = await self._whole_answer(slot)
        else:  # while it is not known whether the verifiers work, no more is asked than they can judge
            async with self._unproven:
                answer, tries = await self._whole_answer(slot)
                if isinstance(answer, Completion) and not self._judge.proven:
                    return await self._settle(slot, answer, tries)
        return await self._settle(slot, answer, tries) if isinstance(answer, Completion) else answer

    async def _whole_answer(self, slot: Slot) -> tuple[Completion | Failure | None, Tries]:
        """Ask, and where the cap cuts the answer ask again with more room, as far as the settings allow."""
        sampling = self._planner.sampling(slot)
        while True:
            tries = Tries()
            answer = await self._answer(slot, sampling, tries)
            if not isinstance(answer, Completion) or answer.finish_reason != "length" or sampling.max_tokens is None:
                return answer, tries
            cap = sampling.cap_after(sampling.max_tokens)
            if cap is None or self.ending is not None:
                return answer, tries
            sampling = sampling.model_copy(update={"max_tokens": cap})

    async def _answer(self, slot: Slot, sampling: Sampling, tries: Tries) -> Completion | Failure | None:
        """Ask, and book what came. None where the session is ending."""
        self._tell_level()
        try:
            completion = await self._asker.ask(slot.messages, sampling, tries)
        except StoppedError:
            self._abandon(tries)
            return None
        except anyio.get_cancelled_exc_class():
            self._abandon(tries)
            raise
        except EndpointBrokenError as broken:
            error = broken.__cause__
            raise UnavailableError(
                f"{self._settings.teacher.name}: {broken}. The last error: {error}. What was answered so far is "
                "kept: run again to go on",
                kind="unreachable",
            ) from error
        except BudgetReachedError as error:
            self.end(RunError("the budget is reached: raise it and run again to go on"), error)
            return None
        except TeacherError as error:
            return self._not_answered(slot, error, tries)
        self._unreached = 0
        if completion.logprobs:  # in the body they take ten times as much, and a body is kept as well
            completion = completion.model_copy(update={"logprobs": compact(completion.logprobs), "raw": None})
        if self._ledger is not None:
            try:
                self._ledger.completion(slot, completion, sampling, tries)
            except PydanticSerializationError as error:
                what = RequestError(f"the answer cannot be stored: {error}", kind="malformed")
                return self._not_answered(slot, what, tries)
            if self._ledger.full is not None:
                self.end(self._ledger.full)
        self._answers += 1
        return completion

    def _abandon(self, tries: Tries) -> None:
        """Count what the requests may have cost of an attempt that is left for another session."""
        if self._ledger is not None:
            self._ledger.abandon(tries)

    async def room(self) -> None:
        """Return once another request could be sent, or none is to be any more."""
        await self._asker.room()

    def _tell_level(self) -> None:
        """Book how many requests may be in flight, before they are: a session that is killed leaves them behind."""
        if self._ledger is not None and self._gate.in_flight >= self._level:
            self._level = max(2 * self._level, self._gate.limit.limit)
            self._ledger.note("level", workers=self._level)

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
        failure = unanswered(slot.task, slot.attempt, error, teacher=name, tries=tries.made, cost=tries.cost)
        if self._ledger is not None:
            # A parameter that is refused before anything was ever accepted is probably a setting: it may be mended.
            final = isinstance(error, RequestError) and (self._answers > 0 or error.kind != "bad_request")
            self._ledger.failure(slot, failure, tries, final=final)
        return failure

    async def _judge_earlier(self, ledger: Ledger, slot: Slot, known: Known) -> Outcome | None:
        """Judge an answer of an earlier session that lacks a verdict of just these verifiers."""
        record = ledger.answer(known)
        assert record.completion is not None  # noqa: S101 - only completions are left unjudged
        outcome = self._read(slot, record.completion, record.tries, record.cost)
        if isinstance(outcome, Failure):
            self._earlier(1)
            return None
        return await self._judged(slot, outcome, ledger.said_of(known) if self._judge.asks else None)

    async def _settle(self, slot: Slot, completion: Completion, tries: Tries) -> Outcome | None:
        """Read the trace of an answer that was booked, and have it judged."""
        outcome = self._read(slot, completion, tries.made, tries.cost)
        if isinstance(outcome, Sample):
            self._proven = True
            self._tell_of_summary(outcome)
            return await self._judged(slot, outcome)
        if outcome.kind == "no_reasoning" and not self._proven:
            self._bare += 1
            if self._settings.require_reasoning and self._bare >= _PROBE:
                self._end_without_reasoning(outcome.message)
        return outcome

    def _tell_of_summary(self, sample: Sample) -> None:
        if sample.trace_kind == "summary" and not self._summarised:
            self._summarised = True
            log.warning(
                "%s shows a summary of its reasoning, not the reasoning: these samples are kept, and left out of "
                "datasets unless you say include_summaries=True",
                self._settings.teacher.name,
            )

    def _read(self, slot: Slot, completion: Completion, tries: int, cost: int | None) -> Outcome:
        settings = self._settings
        return read(
            slot.task,
            slot.attempt,
            completion,
            teacher=settings.teacher.name,
            tags=settings.tags,
            prefilled=settings.prefilled,
            tries=tries,
            cost=cost,
        )

    async def _judged(
        self, slot: Slot, sample: Sample, earlier: Mapping[str, Verdict] | None = None
    ) -> Outcome | None:
        if self._judging >= _JUDGED_AT_ONCE and self._ledger is not None and self._settings.until_passed is None:
            self._left = True
            return None
        self._judging += 1
        try:
            return await self._judge(slot.head("verdict"), sample, earlier)
        except (VerifierError, ConfigError, TeacherError) as error:
            self.end(error)
            return None
        finally:
            self._judging -= 1

    async def judge_the_rest(self, emit: Callable[[Outcome], Awaitable[None]]) -> None:
        """Judge what was left without a verdict while requests were under way."""
        if not self._left or self._ledger is None or self.ending is not None:
            return
        ledger = self._ledger
        settings = self._settings

        reading = partial(
            read_record, teacher=settings.teacher.name, tags=settings.tags, prefilled=settings.prefilled
        )
        try:
            with Ledger(ledger.journal.path, writable=False) as now:
                places = await anyio.to_thread.run_sync(now.latest)  # takes a while where there are millions
                left = (place for place in places if self._judge.is_left(place, ledger))
                await judge_places(self._judge, now, left, read=reading, emit=emit)
        except (VerifierError, ConfigError, TeacherError) as error:
            self.end(error)

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
