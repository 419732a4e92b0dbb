"""One session of a run: a fixed set of workers that pull attempts, ask, book and judge.

It knows the protocols, the ledger and the limits; not a provider, not a file. The rules it keeps:

* An answer is in the ledger before it is judged or counted.
* A fatal error is raised once and plainly, never as a group. Where answers may still be under way that are paid for
  (quota gone, disk full, budget reached) they are brought home first.
* Nothing grows with the number of tasks but what earlier sessions left.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import anyio

from cot_distill.errors import (
    QuotaError,
    RequestError,
    RunError,
    TeacherError,
    TraceError,
    UnavailableError,
)
from cot_distill.judging import Judge
from cot_distill.ledger import Known, Ledger, Place, Slot, address
from cot_distill.limits import BudgetReachedError, Hold, Pacer, Purse
from cot_distill.outcome import Outcome, read, unanswered
from cot_distill.protocols import Teacher, Template, Verifier
from cot_distill.retry import Tries, build_retrying
from cot_distill.trace import Prefilled
from cot_distill.types import Completion, Failure, Message, Sample, Sampling, Task, ThinkTags

__all__ = ["Engine", "Job", "Settings", "entered"]

log = logging.getLogger("cot_distill")

_PROBE = 3
_UNREACHED_IN_A_ROW = 8


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
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._known = known or {}
        self._pacer = pacer
        self._purse = purse
        self._hold = hold
        self._retrying = build_retrying(settings.retries)
        self._judge = Judge(settings.verifiers, ledger)
        self._mean_tokens = 1000.0
        self._answers = self._unreached = 0
        self._bare: list[Slot] = []
        self._warned = False
        self._proven = proven
        self.workers = settings.concurrency
        self.abandoned = 0
        """Requests that were cancelled under way."""
        self.ending: Exception | None = None
        """Why no further attempt is started; what is under way comes home first."""

    async def jobs(self, tasks: AsyncIterator[tuple[int, Task]]) -> AsyncGenerator[Job, None]:
        """What there is to do, as the tasks are pulled. Ends early once :attr:`ending` is set."""
        settings = self._settings
        async for order, task in tasks:
            messages = settings.template(task)
            due = []
            passed = 0
            for attempt in range(settings.attempts):
                slot = Slot.make(task, attempt, order, messages)
                known = self._known.get(address(slot))
                if known is not None and known.content != slot.content:
                    known = self._correct(slot, known)
                if known is None or known.is_due(slot, settings.sampling) or self._judge.is_due(known):
                    due.append(slot)
                elif known.verdict & 1:
                    passed += 1
            if settings.until_passed is None:
                for slot in due:
                    yield Job((slot,), 0)
            elif due and passed < settings.until_passed:
                yield Job(tuple(due), passed)
            if self.ending is not None:
                return

    def is_finished(self, known: Known) -> bool:
        """Whether an attempt of an earlier session needs nothing more, as long as its task has not changed."""
        return not known.is_open(self._settings.sampling) and not self._judge.is_due(known)

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
            None where the session is ending and the attempt was not made.

        Raises:
            TeacherError: A fatal one, or the endpoint has not answered for long.
            TraceError: The first completions carry no reasoning.
            VerifierError: The first verdicts all crashed.
            RunError: The journal cannot be written.
        """
        known = self._known.get(address(slot))
        if known is not None and self._ledger is not None and not known.is_due(slot, self._settings.sampling):
            record = self._ledger.record(Place(self._ledger.journal.entry(known.number)))
            assert record.completion is not None  # noqa: S101 - only completions are left unjudged
            return await self._settle(slot, record.completion, record.tries, fresh=False)
        tries = Tries()
        try:
            completion: Completion = await self._retrying(self._request, tries, slot)
        except BudgetReachedError as error:
            self.end(RunError("the budget is reached: raise it and run again to go on"), error)
            return None
        except TeacherError as error:
            return self._not_answered(slot, error, tries)
        self._answers += 1
        self._unreached = 0
        if self._ledger is not None:
            self._ledger.completion(slot, completion, self._settings.sampling, tries.made)
            if self._ledger.journal.full is not None:
                full = self._ledger.journal.full
                self.end(RunError(f"cannot write to {self._ledger.journal.path}: {full.strerror}"), full)
        return await self._settle(slot, completion, tries.made, fresh=True)

    def end(self, reason: Exception, cause: BaseException | None = None) -> None:
        """Start no further attempt. What is under way comes home, then :meth:`finish` raises the reason."""
        if self.ending is None:
            reason.__cause__ = cause
            self.ending = reason
            log.warning("%s; waiting for the answers under way", reason)

    def finish(self) -> None:
        """Called when all is done: raises what only the whole shows.

        Raises:
            TraceError: Not one completion carried reasoning.
            Exception: The reason of an early ending.
        """
        if self.ending is not None:
            raise self.ending
        all_bare = self._bare and not self._proven and len(self._bare) == self._answers
        if all_bare and self._settings.require_reasoning:
            self._no_reasoning()

    def _correct(self, slot: Slot, known: Known) -> Known:
        """Take over a task whose reference answer, tests or metadata were changed since it was answered."""
        if self._ledger is None or known.is_due(slot, self._settings.sampling):
            return known  # it is asked again, and booked with the new task then
        self._ledger.correct(slot)
        corrected = known._replace(content=slot.content, verdict=0)
        self._known[address(slot)] = corrected
        return corrected

    async def _request(self, tries: Tries, slot: Slot) -> Completion:
        settings = self._settings
        sampling = settings.sampling
        if slot.attempt and sampling.seed is not None:
            sampling = sampling.model_copy(update={"seed": sampling.seed + slot.attempt})
        await self._hold.wait()
        if self.ending is not None:
            raise self.ending
        expected, worst = self._weigh(slot.messages)
        if self._pacer is not None:
            await self._pacer.admit(expected)
        if self._purse is not None:
            self._purse.reserve(worst)
        tries.made += 1
        used = worst
        try:
            completion = await settings.teacher.complete(slot.messages, sampling)
            used = _used(completion, worst)
        except anyio.get_cancelled_exc_class():
            self.abandoned += 1
            raise
        except TeacherError as error:
            # Where no reply came, the answer may have been generated and billed all the same.
            used = worst if error.status is None else 0
            tries.count(error)
            self._note_trouble(error)
            raise
        finally:
            if self._purse is not None:
                self._purse.settle(worst, used)
            if self._pacer is not None:
                self._pacer.settle(expected, used)
        self._mean_tokens += 0.1 * ((completion.usage.completion_tokens or self._mean_tokens) - self._mean_tokens)
        return completion

    def _weigh(self, messages: Sequence[Message]) -> tuple[float, int]:
        """Tokens that a request is expected to use, and may use at worst."""
        if self._pacer is None and self._purse is None:
            return 0.0, 0
        # No token is shorter than a byte; the chat template adds a few tokens a turn.
        prompt = sum(len(message.content.encode()) + 16 for message in messages)
        return prompt / 4 + self._mean_tokens, prompt + (self._settings.sampling.max_tokens or 0)

    def _note_trouble(self, error: TeacherError) -> None:
        if error.transient and error.retry_after:
            self._hold.extend(error.retry_after)
        if isinstance(error, UnavailableError) and not self._answers and not self._warned:
            self._warned = True  # the first sign of trouble shows at once, not after all retries
            log.warning("%s%s", error, "; asking again" if self._settings.retries else "")

    def _not_answered(self, slot: Slot, error: TeacherError, tries: Tries) -> Failure | None:
        """Book an attempt that got no answer; raise where going on is pointless."""
        if isinstance(error, QuotaError):
            self.end(error)
            return None
        if error.fatal:
            raise error
        if error.transient:
            self._unreached += 1
            hopeless = error.kind == "unreachable" and not self._answers
            if hopeless or self._unreached > _UNREACHED_IN_A_ROW:
                raise UnavailableError(
                    f"{error} (asked {tries.made} times). Is the server up, and is base_url right? "
                    "What was answered so far is kept: run again to go on",
                    provider=error.provider,
                    status=error.status,
                    kind=error.kind,
                ) from error
        name = self._settings.teacher.name
        failure = unanswered(slot.task, slot.attempt, error, teacher=name, tries=tries.made)
        if self._ledger is not None:
            self._ledger.failure(slot, failure, final=isinstance(error, RequestError))
        return failure

    async def _settle(self, slot: Slot, completion: Completion, tries: int, *, fresh: bool) -> Outcome:
        """Read the trace of a booked answer and have it judged."""
        settings = self._settings
        outcome = read(
            slot.task,
            slot.attempt,
            completion,
            teacher=settings.teacher.name,
            tags=settings.tags,
            prefilled=settings.prefilled,
            tries=tries,
        )
        if isinstance(outcome, Failure):
            if outcome.kind == "no_reasoning" and fresh and not self._proven:
                self._bare.append(slot)
                if settings.require_reasoning and len(self._bare) >= _PROBE:
                    self._no_reasoning()
            return outcome
        self._proven = True
        return await self._judge(slot.head("verdict"), outcome)

    def _no_reasoning(self) -> NoReturn:
        """Stop before more is paid for: this teacher, asked in this way, shows no thinking."""
        if self._ledger is not None:
            for slot in self._bare:  # once the cause is mended, these are worth asking again
                self._ledger.reopen(slot.head("completion"))
        raise TraceError(
            "no_reasoning",
            f"{self._settings.teacher.name} answered {self._answers} times and no answer carries reasoning. Start a "
            "vLLM or SGLang server with --reasoning-parser, choose a model that thinks, switch thinking on (a "
            "provider may want Sampling(reasoning_effort=…) or extra={…}), or name the tags with tags=ThinkTags(…); "
            "some providers never show it. require_reasoning=False goes on regardless",
        )


def _used(completion: Completion, worst: int) -> int:
    """Tokens that a completion cost; the worst case where the provider does not count."""
    usage = completion.usage
    if usage.prompt_tokens is None or usage.completion_tokens is None:
        return worst
    return usage.prompt_tokens + usage.completion_tokens


@asynccontextmanager
async def entered(teacher: Teacher) -> AsyncIterator[None]:
    """Enter the teacher where it is an async context manager."""
    async with AsyncExitStack() as stack:
        if isinstance(teacher, AbstractAsyncContextManager):
            await stack.enter_async_context(teacher)
        yield
