"""Comparing two traces by asking a model which is the better one, in both orders.

Models tend to prefer what they read first. So each pair is shown twice, the second time the other way round, and only
a preference that survives the change counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from types import TracebackType
from typing import Literal

from pydantic_core import to_json

from cot_distill.arguments import check_text
from cot_distill.errors import ConfigError, TeacherError
from cot_distill.limits import RateLimit
from cot_distill.protocols import Teacher
from cot_distill.types import Completion, Sampling, Task, Trace, Usage
from cot_distill.verifiers._asking import Asking
from cot_distill.verifiers._asking_settings import check_sampling
from cot_distill.verifiers._judge_reply import explanation, final_text, is_forgeable, read_line, total
from cot_distill.verifiers.judge_prompt import PREFERENCE, candidate, code_of, conversation, material

__all__ = ["Comparison", "Preference", "compare"]

_VALUES = "A|B|tie"


@dataclass(frozen=True)
class Preference:
    """Which of two traces is the better one."""

    winner: Literal[0, 1] | None
    """0: the first, 1: the second. None: neither, or there is no telling."""
    reason: str
    """Why, in a sentence."""
    usage: Usage
    """Tokens that it cost to find out."""


def compare(
    teacher: Teacher,
    *,
    rubric: str = PREFERENCE,
    show_reasoning: bool = False,
    sampling: Sampling = Sampling(temperature=0),
    concurrency: int = 16,
    retries: int = 4,
    rate_limit: RateLimit | None = None,
    name: str = "compare",
) -> Comparison:
    r"""Make a comparison that asks a model, for instance for :func:`cot_distill.pairs.dpo`.

    Args:
        teacher: Who compares.
        rubric: What makes one answer better than another, in your words.
        show_reasoning: Whether the reasoning is shown, too.
        sampling: How the model is asked.
        concurrency: Requests on the wire at once.
        retries: How often one question is asked again after an error that may pass.
        rate_limit: Caps of the account.
        name: Identity of the comparison.

    Returns:
        Something to call as ``await better(task, one, other)``, which gives 1 for the first, -1 for the second and 0
        for neither; ``await better.prefer(task, one, other)`` gives the reason and the cost as well.

    Raises:
        ConfigError: A setting makes no sense.

    Example:
        >>> import anyio
        >>> from cot_distill.testing import ScriptedTeacher
        >>> better = compare(ScriptedTeacher(["Short is good.\nBetter: A", "Short is good.\nBetter: B"]))
        >>> one, other = (Trace(reasoning="2 and 2 make 4.", answer=answer) for answer in ("4", "It is four, I say."))
        >>> anyio.run(better.prefer, Task(instruction="2 + 2?"), one, other).winner
        0
    """
    if not isinstance(rubric, str) or not rubric.strip():
        raise ConfigError("compare(rubric=…) needs words that say what makes an answer better")
    check_text(name, "compare(name=…)")
    check_sampling(sampling, rate_limit, "compare")
    asking = Asking(teacher, sampling, concurrency=concurrency, retries=retries, rate_limit=rate_limit)
    return Comparison(asking, name, rubric=rubric, show_reasoning=show_reasoning)


class Comparison:
    """Asks a model which of two traces is the better one; :func:`compare` makes one."""

    def __init__(self, asking: Asking, name: str, *, rubric: str, show_reasoning: bool) -> None:
        self.name = self.__name__ = name
        self._asking = asking
        self._rubric = rubric
        self._show_reasoning = show_reasoning
        self._replies = 0
        self._spent = Usage(prompt_tokens=0, completion_tokens=0)

    @property
    def digest(self) -> str:
        """Of all that decides a preference."""
        sampling = self._asking.sampling.model_dump()
        words = [message.content for message in conversation([_format("")])]
        settings = [self.name, self._asking.teacher.name, self._rubric, self._show_reasoning, sampling, words]
        return blake2b(to_json(settings), digest_size=16).hexdigest()

    @property
    def spent(self) -> Usage:
        """Tokens that all comparisons took so far."""
        return self._spent

    async def __aenter__(self) -> Comparison:
        await self._asking.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._asking.__aexit__(kind, error, traceback)

    async def __call__(self, task: Task, one: Trace, other: Trace, /) -> int:
        """Compare, and say only which is better.

        Args:
            task: What both were asked.
            one: A trace.
            other: Another one.

        Returns:
            1 for the first, -1 for the second, 0 where there is no telling.

        Raises:
            TeacherError: As :meth:`prefer`.
        """
        winner = (await self.prefer(task, one, other)).winner
        return 0 if winner is None else 1 - 2 * winner

    async def prefer(self, task: Task, one: Trace, other: Trace, /) -> Preference:
        """Compare, in both orders.

        Args:
            task: What both were asked.
            one: A trace.
            other: Another one.

        Returns:
            The preference.

        Raises:
            TeacherError: The key is wrong, the quota is used up, there is no such model; or nothing but errors has
                come from this model.
        """
        replies: list[Completion] = []
        try:
            winner, reason = await self._both_orders(task, one, other, replies)
        except TeacherError as error:
            if error.fatal or self._asking.is_hopeless:
                raise
            winner, reason = None, f"the model could not be asked: {error}"
        finally:
            self._spent = total([self._spent, *(reply.usage for reply in replies)])
        return Preference(winner, reason, total(reply.usage for reply in replies) if replies else Usage())

    async def _both_orders(
        self, task: Task, one: Trace, other: Trace, replies: list[Completion]
    ) -> tuple[Literal[0, 1] | None, str]:
        if one.answer.strip() == other.answer.strip() and not (self._show_reasoning and one != other):
            return None, "both say the same"
        first = await self._ask(task, one, other, replies)
        if first.value in (None, "tie"):
            return None, first.reason
        second = await self._ask(task, other, one, replies)
        if {first.value, second.value} != {"a", "b"}:
            return None, f"no preference that holds in both orders: {first.reason} | {second.reason}"
        return (0 if first.value == "a" else 1), first.reason

    async def _ask(self, task: Task, one: Trace, other: Trace, replies: list[Completion]) -> _Reply:
        code = code_of(str(task.id), task.instruction, one.reasoning, one.answer, other.reasoning, other.answer)
        shown = material(task)
        for letter, trace in (("A", one), ("B", other)):
            shown += candidate(f"Answer {letter}", trace, reasoning=self._show_reasoning)
        messages = conversation([*shown, f"How to compare:\n{self._rubric}", _format(code)])
        texts = [*(turn.content for turn in task.prompt()), task.answer or "", one.reasoning, one.answer]
        strict = is_forgeable("better", _VALUES, [*texts, other.reasoning, other.answer])
        reply = await self._asking(messages)
        replies.append(reply)
        text = final_text(reply)
        value = read_line(text, "better", _VALUES, code, strict=strict) if reply.finish_reason == "stop" else None
        if value is None:
            return _Reply(None, f"the reply could not be read: {explanation(text, code)!r}")
        return _Reply(value, explanation(text, code) or value)


@dataclass(frozen=True)
class _Reply:
    value: str | None
    reason: str


def _format(code: str) -> str:
    return (
        "Weigh both first, in a few sentences; which of them comes first means nothing. Then end your reply with "
        f"this line, filled in, and with nothing after it:\nBetter {code}: one of A, B, tie"
    )
