"""Judging by what most attempts at the same task answer: for tasks without a reference.

The answers are counted once, when the verifier is made. What it keeps is one short text and two numbers a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import ClassVar, NamedTuple

from cot_distill.answers import final_answer, vote
from cot_distill.arguments import check_count, check_function, check_number, check_samples, shown
from cot_distill.errors import ConfigError
from cot_distill.identity import identity_of
from cot_distill.protocols import Verifier
from cot_distill.types import Sample, Task, Trace, Verdict
from cot_distill.verifiers._verdicts import inapplicable, short

__all__ = ["majority"]

_SHOWN = 60
"""Characters of the answer that are kept, for the reason."""


def majority(
    samples: Iterable[Sample],
    *,
    key: Callable[[str], str] | None = None,
    minimum: int = 3,
    share: float = 0.5,
) -> Verifier:
    """Make a verifier that says whether an answer is the one that most attempts at its task give.

    Agreement is a hint, no proof: a teacher may make the same mistake again and again. A task with a reference answer
    is therefore left to the verifiers that compare with it; the report of a run tells where the attempts agree on
    another answer.

    Args:
        samples: All the attempts, in any order: ``run.samples()``. They are read once, here.
        key: What a final answer stands for: two answers agree where it gives the same text. Default: that of
            :func:`cot_distill.answers.vote`, for which equal numbers agree.
        minimum: With fewer attempts at a task it cannot be told.
        share: The answer must have more than this share of the attempts. From 0 to 1.

    Returns:
        A verifier named "majority": right where the trace's answer is that of most, wrong where it is another one,
        ``passed=None`` where there are too few attempts or no majority.

    Raises:
        ConfigError: These are no samples, ``minimum`` is less than 1, or ``share`` not between 0 and 1.

    Example:
        ::

            run = Distiller("demo", attempts=8).run(tasks, "runs/demo")
            run.judge(verifiers.majority(run.samples()))
    """
    check_samples(samples, "majority()")
    check_count(minimum, "majority(minimum=…)")
    check_number(share, "majority(share=…)")
    if not 0 <= share < 1:
        raise ConfigError(f"majority(share={share}) must be at least 0 and less than 1")
    if key is not None:
        check_function(key, "majority(key=…)", "a text")
    key = key or vote
    polls: dict[int | str, dict[int, _Poll]] = {}
    for sample in samples:
        if not isinstance(sample, Sample):
            raise ConfigError(f"majority() was given {shown(sample)} as a sample: pass run.samples()")
        if not _has_reference(sample.task):
            final = final_answer(sample.trace.answer)
            poll = polls.setdefault(sample.task.id, {})
            ballot = _ballot(key(final))
            known = poll.get(ballot)
            written = known.written if known else " ".join(final[: 2 * _SHOWN].split())
            poll[ballot] = _Poll(ballot, written, 1 + (known.votes if known else 0), of=0)
    return _Majority(key, minimum, share, {task: _elected(poll) for task, poll in polls.items()})


class _Poll(NamedTuple):
    ballot: int
    """A digest of what the answer stands for: answers may be long."""
    written: str
    votes: int
    of: int
    """All votes for this task."""
    is_tied: bool = False


def _ballot(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _elected(poll: Mapping[int, _Poll]) -> _Poll:
    first = max(poll.values(), key=lambda one: one.votes)
    votes = [one.votes for one in poll.values()]
    return first._replace(of=sum(votes), is_tied=votes.count(first.votes) > 1)


def _has_reference(task: Task) -> bool:
    return task.answer is not None and bool(task.answer.strip())


@dataclass(frozen=True)
class _Majority:
    key: Callable[[str], str]
    minimum: int
    share: float
    polls: Mapping[int | str, _Poll] = field(repr=False)
    digest: str = field(default="", repr=False, compare=False)
    """Changes with the votes, so that more attempts are judged anew."""
    name: ClassVar[str] = "majority"
    __name__: ClassVar[str] = "majority"
    light: ClassVar[bool] = True

    def __post_init__(self) -> None:
        votes = blake2b(digest_size=12)
        for line in sorted(repr((task, *poll)) for task, poll in self.polls.items()):
            votes.update(line.encode("utf-8", "surrogatepass"))
        votes.update(repr((identity_of(self.key), self.minimum, self.share)).encode("utf-8", "surrogatepass"))
        object.__setattr__(self, "digest", votes.hexdigest())

    def __call__(self, task: Task, trace: Trace, /) -> Verdict:
        if _has_reference(task):
            return inapplicable(self.name, "the task has a reference answer, which a majority does not overrule")
        poll = self.polls.get(task.id)
        passed, reason = self._judge(poll, trace) if poll else (None, "no attempt at this task was counted")
        return Verdict(by=self.name, passed=passed, about="answer", reason=reason)

    def _judge(self, poll: _Poll, trace: Trace) -> tuple[bool | None, str]:
        reason = f"{poll.votes} of {poll.of} attempts say {short(poll.written, _SHOWN)}"
        if poll.of < self.minimum:
            return None, f"only {poll.of} attempts at this task; {self.minimum} are needed to compare"
        if poll.is_tied or poll.votes <= self.share * poll.of:
            return None, f"no majority: at most {reason}"
        final = final_answer(trace.answer)
        agrees = _ballot(self.key(final)) == poll.ballot
        return agrees, reason if agrees else f"{reason}, this one {short(final, _SHOWN)}"
