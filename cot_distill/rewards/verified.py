"""Rewards that a verifier gives: the same object that judged the teacher's traces judges the student's.

This file knows how to ask a verifier about a whole batch from plain code. It knows no verifier.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import anyio
from pydantic import ValidationError

from cot_distill.answers import final_answer, normalise
from cot_distill.arguments import check_text, check_verifier, shown
from cot_distill.asking_verifiers import ask_verifier
from cot_distill.blocking import run_blocking
from cot_distill.errors import ConfigError, TeacherError, VerifierError
from cot_distill.identity import name_of
from cot_distill.protocols import Verifier
from cot_distill.rewards.reading import CLOSE, OPEN, Reward, check_batch, spans
from cot_distill.rewards.tasks import NO_COLUMNS, tasks_of
from cot_distill.types import Task, Trace, Verdict
from cot_distill.workers import drive

__all__ = ["answer_correct", "from_verifier"]

log = logging.getLogger("cot_distill")

_AT_ONCE = 64
_THREADS = 8
_NOT_SHOWN = "(not shown)"
_NO_ANSWER = "(no answer)"

Score = Literal["passed", "score"]


def from_verifier(
    verifier: Verifier, *, score: Score = "passed", column: str = "solution", tests: str = "tests"
) -> Reward:
    r"""Reward what a verifier finds right.

    The whole batch is judged at once: by an async verifier on one event loop, by a plain one in threads unless it is
    ``light``. It is not entered, so that what it keeps warm between two batches stays so.

    Args:
        verifier: Any. It gets the last question of the prompt as its task, with reference answer and tests from
            their columns, and all other columns as metadata.
        score: ``"passed"``: 1, 0, or None where it cannot tell. ``"score"``: the verdict's score, or the same as
            ``"passed"`` where it has none.
        column: The column with the reference answers.
        tests: The column with tests, as such or as JSON.

    Returns:
        A reward with the verifier's name. A completion without thinking that ends and an answer after it gets 0, or
        None where the verifier says of any answer that it does not apply to the task. (It is asked about a stand-in,
        unless it is ``paid``.) One that the verifier crashes on gets None.

    Raises:
        ConfigError: This is no verifier, or there is no such score.

    Example:
        >>> from cot_distill.types import Verdict
        >>> def brief(task, trace):
        ...     return Verdict(by="brief", passed=len(trace.answer) < 10)
        >>> from_verifier(brief)(["2 + 2?"] * 2, ["<think>Easy.</think>4", "<think>Easy.</think>It is four."])
        [1.0, 0.0]
    """
    _check(verifier, "from_verifier()")
    _check_columns(column=column, tests=tests)
    if score not in get_args(Score):
        raise ConfigError(f"score={score!r} is none of {', '.join(map(repr, get_args(Score)))}")
    return _Verified(verifier, name_of(verifier), score=score, column=column, tests=tests)


def answer_correct(*, column: str = "solution", verifier: Verifier | None = None) -> Reward:
    r"""Reward the right answer: 1 or 0. It looks only at what follows the last ``</think>``.

    Args:
        column: The column with the reference answers. None in it means that the reward does not apply.
        verifier: Who compares, such as ``verifiers.math()``. It is not shown the thinking. Default: the final answers
            must be the same, but for differences in writing (:mod:`cot_distill.answers`).

    Returns:
        A reward named "answer_correct". Thinking that never ends gets 0.

    Raises:
        ConfigError: This is no verifier. The reward raises it when there is no such column.

    Example:
        >>> reward = answer_correct()
        >>> thoughts = ["<think>Easy.</think>It is \\boxed{4}", "<think>Hm.</think>5", "<think>It is 4, or"]
        >>> reward(["2 + 2?"] * 3, thoughts, solution=["4", "4", "4"])
        [1.0, 0.0, 0.0]
    """
    compare = _same_answer if verifier is None else verifier
    _check(compare, "answer_correct(verifier=…)")
    _check_columns(column=column)
    return _Verified(compare, "answer_correct", column=column, blind=True)


def _check(verifier: object, where: str) -> None:
    if isinstance(verifier, list | tuple):
        kind = type(verifier).__name__
        raise ConfigError(f"a reward is made of one verifier, not of a {kind}; `combine` adds several rewards up")
    check_verifier(verifier, where)


def _check_columns(**names: object) -> None:
    for setting, name in names.items():
        check_text(name, f"{setting}=…")


def _same_answer(task: Task, trace: Trace, /) -> Verdict:
    right = normalise(final_answer(trace.answer)) == normalise(final_answer(task.answer or ""))
    return Verdict(by="answer_correct", passed=right, about="answer")


_same_answer.light = True  # type: ignore[attr-defined]


class _Job(NamedTuple):
    place: int
    task: Task
    trace: Trace
    is_stand_in: bool = False
    """Whether the completion has no answer, and it is only of interest whether the verifier applies."""


@dataclass(frozen=True, eq=False)
class _Verified:
    verifier: Verifier
    name: str
    score: Score = "passed"
    column: str = "solution"
    tests: str = "tests"
    blind: bool = False
    """Whether only the answer counts: then there must be a reference, and the verifier sees no thinking."""

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Reward a batch.

        Raises:
            ConfigError: The column with the references is missing, or a column does not go with the prompts.
        """
        if self.blind and self.column not in columns:
            given = ", ".join(sorted(columns.keys() - NO_COLUMNS)) or "none"
            raise ConfigError(
                f"answer_correct needs a column {self.column!r} with the reference answers, and the columns are: "
                f"{given}. Say `column=…`"
            )
        check_batch(prompts, completions)
        for name in (self.column, self.tests):
            _check_column(name, columns.get(name), len(prompts))
        rewards: list[float | None] = [0.0] * len(completions)
        jobs = []
        for place, task in enumerate(tasks_of(prompts, columns, answer=self.column, tests=self.tests)):
            if self.blind and not (task.answer or "").strip():
                rewards[place] = None
            elif trace := self._trace(prompts[place], completions[place]):
                jobs.append(_Job(place, task, trace))
            elif not getattr(self.verifier, "paid", False):
                jobs.append(_Job(place, task, Trace(reasoning=_NOT_SHOWN, answer=_NO_ANSWER), is_stand_in=True))
        for job, verdict in zip(jobs, _verdicts(self.verifier, jobs), strict=True):
            rewards[job.place] = self._value(job, verdict)
        return rewards

    def _value(self, job: _Job, verdict: Verdict | None) -> float | None:
        if job.is_stand_in:
            return 0.0 if verdict is None or verdict.applies else None
        if verdict is None:
            return None
        if self.score == "score" and verdict.score is not None:
            return verdict.score
        return None if verdict.passed is None else float(verdict.passed)

    def _trace(self, prompt: object, completion: object) -> Trace | None:
        thinking, answer = spans(prompt, completion)
        if self.blind or thinking is None:
            thinking = _NOT_SHOWN
        for tag in (OPEN, CLOSE):  # of a second block: it must not decide about the answer
            thinking = thinking.replace(tag, " ")
        try:
            return Trace(reasoning=thinking if thinking.strip() else _NOT_SHOWN, answer=answer or "")
        except ValidationError:
            return None


def _check_column(name: str, values: object, count: int) -> None:
    """A column that is too long or short is none: which value goes with which prompt, nobody knows."""
    if values is None:
        return
    if not isinstance(values, list | tuple):
        raise ConfigError(f"the column {name!r} is {shown(values)}: give a list with a value for each completion")
    if len(values) != count:
        raise ConfigError(f"the column {name!r} has {len(values)} values for {count} completions: give one for each")


def _verdicts(verifier: Verifier, jobs: Sequence[_Job]) -> list[Verdict | None]:
    """A verdict for each job; None where the verifier crashed.

    Raises:
        VerifierError: It crashed on all of several: then it is at fault, not one odd completion.
        ConfigError: It cannot work here at all.
        TeacherError: A judge's key is wrong, or its quota used up.
    """
    verdicts: list[Verdict | None] = [None] * len(jobs)
    crashes: list[BaseException] = []

    async def judge_all() -> None:
        threads = anyio.CapacityLimiter(_THREADS)

        async def judge(place: int) -> None:
            try:
                verdicts[place] = await ask_verifier(verifier, jobs[place].task, jobs[place].trace, threads)
            except (Exception, SystemExit) as error:  # a verifier may run a model's code, and that may leave
                if isinstance(error, ConfigError) or (isinstance(error, TeacherError) and error.fatal):
                    raise
                log.warning("the verifier %s crashed on a completion", name_of(verifier), exc_info=error)
                crashes.append(error)

        await drive(_places(len(jobs)), judge, min(_AT_ONCE, len(jobs)))

    if jobs:
        run_blocking(judge_all)
    if len(crashes) == len(jobs) > 1:
        raise VerifierError(f"the verifier {name_of(verifier)} crashes: {crashes[0]}") from crashes[0]
    return verdicts


async def _places(count: int) -> AsyncIterator[int]:
    for place in range(count):
        yield place
