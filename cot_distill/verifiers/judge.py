"""Judging by asking a model: a Teacher reads the answer by a rubric, and says right, wrong or unsure.

It knows what to do with a reply. What the judge is shown is in :mod:`cot_distill.verifiers.judge_prompt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from types import TracebackType
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic_core import to_json

from cot_distill.arguments import check_function, check_number, check_text
from cot_distill.errors import ConfigError, TeacherError
from cot_distill.identity import identity_of
from cot_distill.limits import RateLimit
from cot_distill.protocols import Teacher
from cot_distill.types import Completion, Message, Sampling, Task, Trace, Usage, Verdict
from cot_distill.verifiers._asking import Asking
from cot_distill.verifiers._asking_settings import check_sampling
from cot_distill.verifiers._judge_reply import explanation, final_text, is_forgeable, read_line, total
from cot_distill.verifiers.judge_prompt import CORRECTNESS, JudgeTemplate, Show, code_of

__all__ = ["TeacherJudge", "judge"]

_WORDS = "right|wrong|unsure|correct|incorrect"
_NUMBERS = r"-?\d+(?:\.\d+)?"
_PASSED = {"right": True, "correct": True, "wrong": False, "incorrect": False, "unsure": None}


def judge(
    teacher: Teacher,
    *,
    rubric: str = CORRECTNESS,
    template: JudgeTemplate | None = None,
    show_reasoning: bool = False,
    scale: int = 10,
    threshold: float | None = None,
    about: Literal["answer", "quality"] = "answer",
    sampling: Sampling = Sampling(temperature=0),
    concurrency: int = 16,
    retries: int = 4,
    rate_limit: RateLimit | None = None,
    name: str = "judge",
) -> TeacherJudge:
    r"""Make a verifier that asks a model.

    It is asked for an explanation, a score and a word, and asked once more if the reply cannot be read. Requests that
    fail are retried as those of a run are; if there is no reply in the end the verdict is ``passed=None``, never
    "wrong". What stands in the text that is judged cannot pass for the judge's own verdict.

    Args:
        teacher: Who judges: ``open_teacher("deepseek:deepseek-flash")``, or any Teacher. It is entered once per run.
        rubric: What makes an answer right, in your words.
        template: Makes the conversation from the task, the trace and the rubric; how the reply is to end is added to
            it. Default: the task, the reference answer if there is one, and the answer.
        show_reasoning: Whether the default template also shows the reasoning.
        scale: The best score; the worst is 0. In the verdict it is from 0 to 1.
        threshold: The least score, from 0 to 1, with which an answer passes. Default: the judge's word decides.
        about: ``"quality"`` for a rubric about how the trace is written, and not about whether the answer is right.
        sampling: How the judge is asked.
        concurrency: Requests on the wire at once.
        retries: How often one question is asked again after an error that may pass.
        rate_limit: Caps of the account.
        name: Under which its verdicts are booked. Give several judges different names.

    Returns:
        A verifier, to be awaited. ``Verdict.usage`` holds the tokens that the judge took.

    Raises:
        ConfigError: A setting makes no sense.

    Example:
        >>> import anyio
        >>> from cot_distill.testing import ScriptedTeacher
        >>> verify = judge(ScriptedTeacher(lambda messages: "It adds up.\nScore: 9\nVerdict: right"))
        >>> verdict = anyio.run(verify, Task(instruction="2 + 2?"), Trace(reasoning="2 and 2 make 4.", answer="4"))
        >>> verdict.passed, verdict.score, verdict.reason
        (True, 0.9, 'right: It adds up.')
    """
    if not isinstance(rubric, str) or not rubric.strip():
        raise ConfigError("judge(rubric=…) needs words that say what makes an answer right")
    if template is not None:
        check_function(template, "judge(template=…)", "a task", "a trace", "a rubric")
    if template is not None and show_reasoning:
        raise ConfigError("judge(show_reasoning=True) is for the default template: show it in your own")
    if not isinstance(scale, int) or scale < 1:
        raise ConfigError(f"judge(scale={scale!r}) needs a whole number, 1 or more")
    if threshold is not None:
        check_number(threshold, "judge(threshold=…)")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"judge(threshold={threshold!r}) needs a share of the scale, from 0 to 1")
    if about not in ("answer", "quality"):
        raise ConfigError(f"judge(about={about!r}) is neither 'answer' nor 'quality'")
    check_text(name, "judge(name=…)")
    check_sampling(sampling, rate_limit, "judge")
    asking = Asking(teacher, sampling, concurrency=concurrency, retries=retries, rate_limit=rate_limit)
    return TeacherJudge(
        asking,
        name,
        rubric=rubric,
        template=template or Show(show_reasoning),
        scale=scale,
        threshold=threshold,
        about=about,
    )


class _Reply(NamedTuple):
    passed: bool | None
    score: float | None
    reason: str


class TeacherJudge:
    """A verifier that asks a model; :func:`judge` makes one."""

    paid: ClassVar[bool] = True
    """Verdicts cost something: the engine does not ask for one twice, nor for one of a trace that failed already."""

    def __init__(
        self,
        asking: Asking,
        name: str,
        *,
        rubric: str,
        template: JudgeTemplate,
        scale: int,
        threshold: float | None,
        about: Literal["answer", "quality"],
    ) -> None:
        self.name = self.__name__ = name
        self._asking = asking
        self._rubric = rubric
        self._template = template
        self._scale = scale
        self._threshold = threshold
        self._about = about

    @property
    def digest(self) -> str:
        """Of all that decides a verdict: the model by its name, and what it is asked in which words."""
        sampling = self._asking.sampling.model_dump()
        settings: list[Any] = [self.name, self._asking.teacher.name, self._rubric, identity_of(self._template)]
        settings += [sampling, self._scale, self._threshold, self._about, self._format("")]
        return blake2b(to_json(settings), digest_size=16).hexdigest()

    async def __aenter__(self) -> TeacherJudge:
        await self._asking.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._asking.__aexit__(kind, error, traceback)

    async def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        """Ask for a verdict.

        Args:
            task: The task, with its reference.
            trace: What is to be judged.

        Returns:
            The verdict; ``passed=None`` where the judge is unsure, could not be asked, or could not be understood.

        Raises:
            TeacherError: The key is wrong, the quota is used up, there is no such model; or nothing but errors has
                come from this judge.
        """
        code = code_of(str(task.id), task.instruction, trace.reasoning, trace.answer)
        messages = _with_ending(self._template(task, trace, self._rubric), self._format(code))
        # Whoever is judged may have written a line that looks like a verdict; then only the code tells them apart.
        shown = [*(turn.content for turn in task.prompt()), task.answer or "", trace.reasoning, trace.answer]
        strict = is_forgeable("verdict", _WORDS, shown) or is_forgeable("score", _NUMBERS, shown)
        replies: list[Completion] = []
        try:
            replies.append(await self._asking(messages))
            reply = self._read(replies[-1], code, strict=strict)
            if reply is None and replies[-1].finish_reason == "stop":
                replies.append(await self._asking(_once_more(messages, replies[-1], self._format(code))))
                reply = self._read(replies[-1], code, strict=strict)
        except TeacherError as error:
            if error.fatal or self._asking.is_hopeless:
                raise
            reply = _Reply(None, None, f"the judge could not be asked: {error}")
        passed, score, reason = reply or _Reply(None, None, _unreadable(replies[-1]))
        usage = total(one.usage for one in replies) if replies else Usage()
        return Verdict(by=self.name, passed=passed, score=score, reason=reason, about=self._about, usage=usage)

    def _format(self, code: str) -> str:
        return (
            "Think it through first, in a few sentences. Then end your reply with these two lines, filled in, and "
            "with nothing after them:\n"
            f"Score {code}: a whole number from 0 (worst) to {self._scale} (best)\n"
            f"Verdict {code}: one word of right, wrong, unsure"
        )

    def _read(self, completion: Completion, code: str, *, strict: bool) -> _Reply | None:
        if completion.finish_reason != "stop":
            return None
        text = final_text(completion)
        word = read_line(text, "verdict", _WORDS, code, strict=strict)
        number = read_line(text, "score", _NUMBERS, code, strict=strict)
        score = None if number is None else float(number) / self._scale
        if score is not None and not 0 <= score <= 1:
            score = None
        if word is None or (self._threshold is not None and score is None and word != "unsure"):
            return None
        passed = _PASSED[word]
        if self._threshold is not None and passed is not None:
            assert score is not None  # noqa: S101 - looked at above
            passed = score >= self._threshold
        return _Reply(passed, score, f"{word}: {explanation(text, code)}".removesuffix(": "))


def _with_ending(messages: Sequence[Message], ending: str) -> list[Message]:
    """The conversation, with how the reply is to end as the last words of the user."""
    if not messages:
        raise ConfigError("the template of the judge gave no message")
    *before, last = messages
    if last.role != "user":
        return [*messages, Message(role="user", content=ending)]
    return [*before, Message(role="user", content=f"{last.content}\n\n{ending}")]


def _once_more(messages: Sequence[Message], reply: Completion, ending: str) -> list[Message]:
    said = final_text(reply).strip()
    if not said:  # not every endpoint takes an empty turn
        return list(messages)
    again = f"The end of your reply cannot be read. {ending}"
    return [*messages, Message(role="assistant", content=said), Message(role="user", content=again)]


def _unreadable(completion: Completion) -> str:
    if completion.finish_reason == "length":
        return "the judge's reply was cut by its token limit: raise judge(sampling=Sampling(max_tokens=…))"
    if completion.finish_reason != "stop":
        return f"the judge's reply ended with {completion.finish_reason!r}"
    said = explanation(final_text(completion), "")
    return f"the judge's reply could not be read: {said!r}"
