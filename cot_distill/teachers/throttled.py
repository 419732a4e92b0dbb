"""A teacher that is asked no faster than its account may."""

from __future__ import annotations

from collections.abc import Sequence

from cot_distill.errors import ConfigError, TeacherError
from cot_distill.limits import RateLimit
from cot_distill.pacing import pacer_of
from cot_distill.prices import most_prompt_tokens
from cot_distill.protocols import Teacher
from cot_distill.teachers._wrapper import Wrapper, check_teachers
from cot_distill.types import Completion, Message, Sampling

__all__ = ["throttled"]

_BYTES_A_TOKEN = 4


def throttled(teacher: Teacher, rate_limit: RateLimit) -> Teacher:
    """Make a teacher that waits until the caps of a minute allow a request, and then asks this one.

    For one teacher alone ``Distiller(rate_limit=…)`` does it better, since it knows what else is waiting. This is for
    the parts of a :func:`mix` or :func:`fallback`, which have accounts of their own, and for what is asked without a
    Distiller, a judge for instance. The caps hold for all that ask this teacher object under the same caps.

    Args:
        teacher: Who is asked.
        rate_limit: Requests and tokens a minute.

    Returns:
        A Teacher of the same name: how fast it is asked changes no answer.

    Raises:
        ConfigError: One of the two is something else.

    Example:
        >>> from cot_distill import RateLimit, open_teacher
        >>> throttled(open_teacher("vllm:Qwen/QwQ-32B"), RateLimit(requests_per_minute=60)).name
        'vllm:Qwen/QwQ-32B'
    """
    check_teachers("throttled()", (teacher,))
    if not isinstance(rate_limit, RateLimit):
        raise ConfigError(f"throttled() got {rate_limit!r}: give RateLimit(requests_per_minute=…)")
    return _Throttled(teacher, rate_limit)


class _Throttled(Wrapper):
    def __init__(self, teacher: Teacher, rate_limit: RateLimit) -> None:
        super().__init__(teacher.name, teacher)
        self._pacer = pacer_of(teacher, rate_limit)

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Wait for the turn of this question, and ask.

        Raises:
            TeacherError: As the teacher raises it.
        """
        expected = most_prompt_tokens(messages) / _BYTES_A_TOKEN
        admission = await self._pacer.admit(expected, sampling.max_tokens)
        used, answer = admission.tokens, None  # what is known of a request that was given up
        try:
            completion = await self.teachers[0].complete(messages, sampling)
            answer = completion.usage.completion_tokens
            used = used if completion.usage.total is None else completion.usage.total
            if completion.allowance is not None:
                self._pacer.observe(completion.allowance)
        except TeacherError as error:
            used = used if error.status is None else 0
            raise
        finally:
            self._pacer.settle(admission, used, answer)
        return completion
