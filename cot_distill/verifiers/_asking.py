"""Asking a teacher for a verdict: so many at once, under a rate limit, and again where that may help.

It knows the Teacher protocol. It serves any number of runs, also in several event loops at once.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import anyio
from anyio.lowlevel import RunVar

from cot_distill.errors import ConfigError, TeacherError, UnavailableError
from cot_distill.lengths import estimate_tokens
from cot_distill.limits import Hold, Pacer, RateLimit
from cot_distill.protocols import Teacher
from cot_distill.retry import Tries, build_retrying
from cot_distill.types import Completion, Message, Sampling

log = logging.getLogger("cot_distill")

_NUMBERS = itertools.count()
_HOPELESS = 8
_FIRST_GUESS = 500.0
"""Tokens of a reply, until some have come."""


class Asking:
    """Asks one teacher.

    Args:
        teacher: Who is asked.
        sampling: How.
        concurrency: Requests on the wire at once.
        retries: How often one question is asked again after an error that may pass.
        rate_limit: Caps of the account.

    Raises:
        ConfigError: This is no teacher, or a number is none.
    """

    def __init__(
        self, teacher: Teacher, sampling: Sampling, *, concurrency: int, retries: int, rate_limit: RateLimit | None
    ) -> None:
        if isinstance(teacher, str):
            raise ConfigError(f"a judge needs a teacher, not its name: judge(open_teacher({teacher!r}))")
        if not isinstance(teacher, Teacher):
            raise ConfigError(f"a judge needs a teacher; a {type(teacher).__name__} has no `name` and `complete`")
        for name, value, least in (("concurrency", concurrency, 1), ("retries", retries, 0)):
            if not isinstance(value, int) or value < least:
                raise ConfigError(f"{name}={value!r} needs a whole number, {least} or more")
        self.teacher = teacher
        self.sampling = sampling
        self._concurrency = concurrency
        self._retrying = build_retrying(retries)
        self._hold = Hold()
        self._pacer = None if rate_limit is None else Pacer(rate_limit)
        self._room: RunVar[anyio.CapacityLimiter] = RunVar(f"cot_distill.judge.{next(_NUMBERS)}")
        self._mean_tokens = _FIRST_GUESS
        self._answered = False
        self._failed = 0

    async def __call__(self, messages: Sequence[Message]) -> Completion:
        """Ask until there is a reply, or no point in asking on.

        Raises:
            TeacherError: The last one.
        """
        try:
            completion: Completion = await self._retrying(self._request, Tries(), messages)
        except TeacherError as error:
            self._failed += 1
            if self._failed == 1 and not self._answered and not error.fatal:
                log.warning("the judge %s could not be asked: %s", self.teacher.name, error)
            raise
        self._answered = True
        return completion

    @property
    def is_hopeless(self) -> bool:
        """Whether nothing but errors has come so far, and many of them: that is no odd task, and no bad moment."""
        return not self._answered and self._failed > _HOPELESS

    async def __aenter__(self) -> Asking:
        if isinstance(self.teacher, AbstractAsyncContextManager):
            await self.teacher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(self.teacher, AbstractAsyncContextManager):
            await self.teacher.__aexit__(kind, error, traceback)

    async def _request(self, tries: Tries, messages: Sequence[Message]) -> Completion:
        """Send one request. For tenacity, which keeps ``tries``; between two of them, another has the place."""
        expected = sum(estimate_tokens(message.content) for message in messages) + self._mean_tokens
        async with self._limiter():
            if self._pacer is not None:
                await self._pacer.admit(expected)
            await self._hold.wait()
            tries.made += 1
            used = 0.0
            try:
                completion = await self.teacher.complete(messages, self.sampling)
                used = expected if completion.usage.total is None else completion.usage.total
            except TeacherError as error:
                tries.count(error)
                if error.transient and error.retry_after:
                    self._hold.extend(error.retry_after)
                if isinstance(error, UnavailableError) and error.status is None:
                    used = expected  # where no reply came, it may have been written and counted all the same
                raise
            finally:
                if self._pacer is not None:
                    self._pacer.settle(expected, used)
        reply = completion.usage.completion_tokens
        self._mean_tokens += 0.1 * ((self._mean_tokens if reply is None else reply) - self._mean_tokens)
        return completion

    def _limiter(self) -> anyio.CapacityLimiter:
        """The places for requests of this event loop."""
        room = self._room.get(None)
        if room is None:
            room = anyio.CapacityLimiter(self._concurrency)
            self._room.set(room)
        return room
