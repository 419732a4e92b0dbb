"""Sending requests: one attempt's, with its retries, through all that limits them.

It knows the Teacher protocol and the limits; it books nothing and reads no trace. Once it is stopped, what waits for
its turn gives up at once, and what is on the wire comes home.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio

from cot_distill.errors import TeacherError, UnavailableError
from cot_distill.limits import Hold, Pacer, Purse
from cot_distill.protocols import Teacher
from cot_distill.records import Slot
from cot_distill.retry import Tries, build_retrying
from cot_distill.types import Completion, Message, Sampling

__all__ = ["Asker", "StoppedError"]

log = logging.getLogger("cot_distill")


class StoppedError(Exception):
    """The request was not sent, since no more are to be. Internal to the engine."""


class Asker:
    """Asks one teacher.

    Args:
        teacher: Who is asked.
        sampling: How; the seed moves with the attempt.
        retries: How often one attempt is asked again after a transient error.
        hold: The pause that a server can impose, shared by all that ask it.
        pacer: Rate limit.
        purse: Budget.
    """

    def __init__(
        self,
        teacher: Teacher,
        sampling: Sampling,
        *,
        retries: int,
        hold: Hold,
        pacer: Pacer | None = None,
        purse: Purse | None = None,
    ) -> None:
        self._teacher = teacher
        self._sampling = sampling
        self._retries = retries
        self._hold = hold
        self._pacer = pacer
        self._purse = purse
        self._retrying = build_retrying(retries, sleep=self._pause)
        self._stopped = anyio.Event()
        self._mean_tokens = 1000.0
        self._warned = False
        self.in_flight = 0
        """Requests on the wire."""
        self.abandoned = 0
        """Requests that were cancelled on the wire."""

    async def ask(self, slot: Slot, tries: Tries) -> Completion:
        """Ask until there is an answer or no point in asking on. ``tries`` is kept up to date.

        Raises:
            TeacherError: The last one.
            StoppedError: :meth:`stop` was called before the request could be sent.
            BudgetReachedError: Not even this request alone could be paid for at its worst.
        """
        # The first request is made outside tenacity, which takes as long as all else here; most need no second one.
        try:
            completion = await self._request(tries, slot)
        except TeacherError as error:
            if not error.transient:
                raise
            completion = await self._retrying(self._ask_again, tries, slot, [error])
        self._warned = True  # it works: later trouble is for the report
        return completion

    async def _ask_again(self, tries: Tries, slot: Slot, first: list[TeacherError]) -> Completion:
        """For tenacity: ends in the first request's error once, then asks."""
        if first:
            raise first.pop()
        return await self._request(tries, slot)

    def stop(self) -> None:
        """Send no further request."""
        self._stopped.set()

    async def _request(self, tries: Tries, slot: Slot) -> Completion:
        sampling = self._sampling
        if slot.attempt and sampling.seed is not None:
            sampling = sampling.model_copy(update={"seed": sampling.seed + slot.attempt})
        expected = _prompt_tokens(slot.messages) / 4 + self._mean_tokens
        # No answer can use more: no token is shorter than a byte, and the cap covers reasoning and answer.
        worst = _prompt_tokens(slot.messages) + (sampling.max_tokens or 0)
        if self._pacer is not None:
            await self._pacer.admit(expected, self._pause)
        await self._hold.wait(self._pause)
        if self._purse is not None:
            await self._purse.reserve(worst)
        used = 0
        try:
            if self._stopped.is_set():
                raise StoppedError
            tries.made += 1
            used = worst  # where no reply came, the answer may have been generated and billed all the same
            completion = await self._send(slot.messages, sampling)
            used = completion.usage.total if completion.usage.total is not None else worst
        except TeacherError as error:
            used = 0 if error.status is not None else used
            tries.count(error)
            self._note(error)
            raise
        finally:
            tries.used += used
            if self._purse is not None:
                self._purse.settle(worst, used)
            if self._pacer is not None:
                self._pacer.settle(expected, used)
        self._mean_tokens += 0.1 * ((completion.usage.completion_tokens or self._mean_tokens) - self._mean_tokens)
        return completion

    async def _send(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        self.in_flight += 1
        try:
            return await self._teacher.complete(messages, sampling)
        except anyio.get_cancelled_exc_class():
            self.abandoned += 1
            raise
        finally:
            self.in_flight -= 1

    def _note(self, error: TeacherError) -> None:
        if error.transient and error.retry_after:
            self._hold.extend(error.retry_after)
        if isinstance(error, UnavailableError) and not self._warned:
            self._warned = True  # the first sign of trouble shows at once, not after all retries
            log.warning("%s%s", error, "; asking again" if self._retries else "")

    async def _pause(self, seconds: float) -> None:
        """Sleep, unless no more requests are to be sent."""
        with anyio.move_on_after(seconds):
            await self._stopped.wait()
            raise StoppedError


def _prompt_tokens(messages: Sequence[Message]) -> int:
    """At most so many tokens: a byte each, and what a chat template adds a turn."""
    return sum(len(message.content.encode()) + 16 for message in messages)
