"""A teacher that asks the next one where the first is out of order.

One call costs one answer at most: the next teacher is asked in the same call only where nothing was generated. So the
budget of a run holds, and what was paid for is never asked for twice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Self

from cot_distill.answered_by import tell
from cot_distill.errors import ConfigError, RateLimitError, RequestError, TeacherError
from cot_distill.protocols import Teacher
from cot_distill.teachers._wrapper import Wrapper, check_teachers
from cot_distill.types import Completion, Message, Sampling

__all__ = ["fallback"]

log = logging.getLogger("cot_distill")

_FATAL_SECONDS = 900.0
"""For so long a teacher is left alone whose key, model or quota was refused."""
_TRANSIENT_SECONDS = 60.0
"""And one that did not answer."""
_IN_A_ROW = 3
"""So many failures without an answer between them are no accident."""


def fallback(*teachers: Teacher) -> Teacher:
    """Make a teacher that asks the first of these that is in order.

    * **A fatal error** (wrong key, unknown model, quota used up) or a server that cannot be reached: the question
      goes to the next teacher at once. This one is left alone for 15 minutes, or for one if it cannot be reached.
    * **Any other transient error** is raised, and the engine asks again as usual; after three in a row without an
      answer this teacher is left alone for a minute, so that the next try goes to the next one.
    * **Being rate limited** is raised: that teacher works, and wants to be asked later.
    * **A task that is declined** (``refused``) with an error goes to the next teacher, and only this task. Declined
      in an answer, it was paid for, and is returned as it is.
    * **Any other error of a task** (too long, bad parameter) is raised.

    If all are left alone, all are tried as if they were not. A new run begins with none left alone.

    Args:
        teachers: At least two, the preferred one first, all of other names.

    Returns:
        A Teacher. ``Sample.model`` begins with the name of the one that answered.

    Raises:
        ConfigError: One of them is no teacher, or two have the same name.

    Example:
        >>> from cot_distill import open_teacher
        >>> own, rented = open_teacher("vllm:Qwen/QwQ-32B"), open_teacher("groq:qwen/qwen3-32b", api_key="sk-none")
        >>> fallback(own, rented).name
        'fallback(vllm:Qwen/QwQ-32B, groq:qwen/qwen3-32b)'
    """
    check_teachers("fallback()", teachers)
    if len(teachers) < 2:
        raise ConfigError("fallback() needs two teachers or more")
    return _Fallback(f"fallback({', '.join(teacher.name for teacher in teachers)})", *teachers)


class _Fallback(Wrapper):
    def __init__(self, name: str, *teachers: Teacher) -> None:
        super().__init__(name, *teachers)
        self._clock = time.monotonic
        self._back_at = [0.0] * len(teachers)
        self._in_a_row = [0] * len(teachers)

    async def __aenter__(self) -> Self:
        self._back_at = [0.0] * len(self.teachers)
        self._in_a_row = [0] * len(self.teachers)
        return await super().__aenter__()

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask the first that is in order, and others only if it could not even begin.

        Raises:
            TeacherError: That of a teacher that could have answered; a fatal one only if all were fatal.
        """
        now = self._clock()
        numbers = range(len(self.teachers))
        errors: list[TeacherError] = []
        for number in [one for one in numbers if self._back_at[one] <= now] or numbers:
            teacher = self.teachers[number]
            try:
                completion = await teacher.complete(messages, sampling)
            except TeacherError as error:
                errors.append(error)
                if not self._is_for_the_next(number, error):
                    break
            else:
                self._in_a_row[number] = 0
                return tell(completion, teacher)
        # Where one of them is in order the run can go on: only if all are out of order it is to end.
        raise next((error for error in reversed(errors) if not error.fatal), errors[0])

    def _is_for_the_next(self, number: int, error: TeacherError) -> bool:
        """Take note of an error; say whether another teacher is to be asked in this call."""
        if isinstance(error, RequestError):
            return error.kind == "refused"
        if error.fatal:
            self._leave_alone(number, _FATAL_SECONDS, error)
            return True
        if isinstance(error, RateLimitError):
            return False
        self._in_a_row[number] += 1
        unreachable = error.kind == "unreachable"
        if unreachable or self._in_a_row[number] >= _IN_A_ROW:
            self._leave_alone(number, _TRANSIENT_SECONDS, error)
        return unreachable

    def _leave_alone(self, number: int, seconds: float, error: TeacherError) -> None:
        now = self._clock()
        if self._back_at[number] <= now:  # of many requests at once the first tells
            log.warning("%s is left alone for %g s: %s", self.teachers[number].name, seconds, error)
        self._back_at[number] = now + seconds
        self._in_a_row[number] = 0
