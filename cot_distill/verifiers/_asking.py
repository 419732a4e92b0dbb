"""Asking a teacher for a verdict: so many at once, under a rate limit, and again where that may help.

It knows the Teacher protocol. It serves any number of runs, also in several event loops at once.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType

from anyio.lowlevel import RunVar

from cot_distill.asking import Asker, EndpointBrokenError
from cot_distill.errors import ConfigError, TeacherError, UnavailableError
from cot_distill.gate import FixedLimit, gate_of
from cot_distill.limits import RateLimit
from cot_distill.pacing import pacer_of
from cot_distill.protocols import Teacher
from cot_distill.retry import Tries
from cot_distill.types import Completion, Message, Sampling

log = logging.getLogger("cot_distill")

_NUMBERS = itertools.count()
_HOPELESS = 8


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
        self._retries = retries
        self._pacer = pacer_of(teacher, rate_limit)
        self._askers: RunVar[Asker] = RunVar(f"cot_distill.judge.{next(_NUMBERS)}")
        self._answered = False
        self._failed = 0

    async def __call__(self, messages: Sequence[Message]) -> Completion:
        """Ask until there is a reply, or no point in asking on.

        Raises:
            TeacherError: The last one.
        """
        try:
            completion = await self._here().ask(messages, self.sampling, Tries())
        except EndpointBrokenError as error:
            self._failed += 1
            raise UnavailableError(f"{self.teacher.name}: {error}", kind="unreachable") from error
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

    def _here(self) -> Asker:
        """What asks in this event loop."""
        asker = self._askers.get(None)
        if asker is None:
            gate = gate_of(self, partial(FixedLimit, self._concurrency))
            asker = Asker(self.teacher, retries=self._retries, gate=gate, pacer=self._pacer)
            self._askers.set(asker)
        return asker
