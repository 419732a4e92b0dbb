"""Sending requests: one question's, with its retries, through all that limits them.

It knows the Teacher protocol and the limits; it books nothing and reads no answer. Once it is stopped, what waits for
its turn gives up at once, and what is on the wire comes home.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress

import anyio

from cot_distill.cancelling import EscapedCancellationError, is_escaped
from cot_distill.errors import RateLimitError, TeacherError, UnavailableError
from cot_distill.gate import Gate, StoppedError
from cot_distill.limits import Purse
from cot_distill.pacing import Pacer
from cot_distill.prices import Prices, most_prompt_tokens
from cot_distill.protocols import Teacher
from cot_distill.retry import RetryBudget, Tries, build_retrying
from cot_distill.types import Completion, Message, Sampling

__all__ = ["Asker", "EndpointBrokenError", "StoppedError"]

log = logging.getLogger("cot_distill")


class EndpointBrokenError(Exception):
    """For long the endpoint has accepted nothing; the message says so. Internal to the engine."""


class Asker:
    """Asks one teacher.

    Args:
        teacher: Who is asked.
        retries: How often one question is asked again after a transient error.
        gate: Lets the requests pass, each in its turn.
        pacer: Rate limit.
        purse: Budget.
        prices: What answers cost. Default: the public ones, where they are installed.
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        retries: int,
        gate: Gate,
        pacer: Pacer,
        purse: Purse | None = None,
        prices: Prices | None = None,
    ) -> None:
        self._teacher = teacher
        self._retries = retries
        self._gate = gate
        self._pacer = pacer
        self._purse = purse
        self._prices = Prices() if prices is None else prices
        self._retrying = build_retrying(retries, sleep=self._pause)
        self._retry_budget = RetryBudget()
        self._stopped = anyio.Event()
        self._warned = False
        self.in_flight = 0
        """Requests on the wire."""
        self.abandoned = 0
        """Requests that were cancelled on the wire."""

    async def ask(self, messages: Sequence[Message], sampling: Sampling, tries: Tries) -> Completion:
        """Ask until there is an answer or no point in asking on. ``tries`` is kept up to date.

        Raises:
            TeacherError: The last one.
            StoppedError: :meth:`stop` was called before the request could be sent.
            BudgetReachedError: Not even this request alone could be paid for at its worst.
            EndpointBrokenError: The endpoint has accepted nothing for long.
        """
        ticket = self._gate.ticket()
        # The first request is made outside tenacity, which takes as long as all else here; most need no second one.
        try:
            completion = await self._request(tries, messages, sampling, ticket)
        except TeacherError as error:
            if not error.transient:
                raise
            completion = await self._retrying(self._ask_again, tries, messages, sampling, ticket, [error])
        self._retry_budget.earn()
        self._warned = True  # it works: later trouble is for the report
        return completion

    async def _ask_again(
        self,
        tries: Tries,
        messages: Sequence[Message],
        sampling: Sampling,
        ticket: int,
        errors: list[TeacherError],
    ) -> Completion:
        """For tenacity: ends in the first request's error once, then asks. Keeps the last error in ``errors``."""
        if len(errors) == 1:
            errors.append(errors[0])
            raise errors[0]
        if not isinstance(errors[-1], RateLimitError):
            await self._retry_budget.spend(self._pause)
        try:
            return await self._request(tries, messages, sampling, ticket)
        except TeacherError as error:
            errors[-1] = error
            raise

    async def room(self) -> None:
        """Return once another request could be sent, or none is to be any more."""
        with suppress(StoppedError):
            await self._gate.room(self)

    def stop(self) -> None:
        """Send no further request."""
        self._stopped.set()
        self._gate.dismiss(self)

    async def _request(
        self, tries: Tries, messages: Sequence[Message], sampling: Sampling, ticket: int
    ) -> Completion:
        await self._gate.enter(self, ticket)
        try:
            if self._stopped.is_set():
                raise StoppedError
            return await self._paid(tries, messages, sampling)
        finally:
            self._gate.leave()

    async def _paid(self, tries: Tries, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Send a request, and account for it."""
        prompt = most_prompt_tokens(messages)
        worst, dear = prompt + (sampling.max_tokens or 0), 0  # the cap covers reasoning and answer
        if self._purse is not None and self._purse.counts_dollars:
            dear = self._prices.worst(self._teacher, messages, sampling) or 0
        admission = await self._pacer.admit(prompt / 4, sampling.max_tokens, self._pause)
        used, paid, answer, is_reserved, started = 0, 0, None, False, time.monotonic()
        try:
            if self._purse is not None:
                await self._purse.reserve(worst, dear)
                is_reserved = True
            if self._stopped.is_set():
                raise StoppedError
            tries.made += 1
            # Where no reply came, the answer may have been generated and billed all the same.
            used, paid, cost = worst, dear, None
            completion = await self._send(messages, sampling)
            answer = completion.usage.completion_tokens
            used = completion.usage.total if completion.usage.total is not None else worst
            cost = self._prices.cost(self._teacher, completion)
            paid = dear if cost is None else cost
            tries.add_cost(cost)
            if completion.allowance is not None:
                self._pacer.observe(completion.allowance)
        except TeacherError as error:
            if error.status is not None or error.kind == "unreachable":  # refused, or never sent: it costs nothing
                used = paid = 0
            else:
                tries.add_cost(None)
            tries.count(error, time.monotonic() - started)
            self._note(error)
            if self._gate.limit.broken is not None and error.transient:
                raise EndpointBrokenError(self._gate.limit.broken) from error
            raise
        finally:
            tries.used += used
            tries.paid += paid
            if self._purse is not None and is_reserved:
                self._purse.settle(worst, used, dear, paid)
            self._pacer.settle(admission, used, answer)
        return completion

    async def _send(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.in_flight += 1
        sent = self._gate.sent()
        try:
            completion = await self._complete(messages, sampling)
        except BaseException as error:
            self.abandoned += isinstance(error, anyio.get_cancelled_exc_class())
            self._gate.failed(sent, error)
            raise
        finally:
            self.in_flight -= 1
        self._gate.answered(sent, completion.usage.completion_tokens)
        return completion

    async def _complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Call the teacher, and take nothing from it but a completion or an error."""
        name = self._teacher.name
        try:
            completion: object = await self._teacher.complete(messages, sampling)
        except BaseException as error:
            if is_escaped(error):
                raise UnavailableError(str(EscapedCancellationError(name))) from error
            raise
        if not isinstance(completion, Completion):
            raise TypeError(f"{name}.complete() returned {type(completion).__name__}, and not a Completion")
        return completion

    def _note(self, error: TeacherError) -> None:
        if isinstance(error, UnavailableError) and not self._warned:
            self._warned = True  # the first sign of trouble shows at once, not after all retries
            log.warning("%s%s", error, "; asking again" if self._retries else "")

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless no more requests are to be sent."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
            raise StoppedError
