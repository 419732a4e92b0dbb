"""Two completions of the same task, of which one is to be preferred, for DPO and its kin."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, get_args

from cot_distill.answers import final_answer, normalise
from cot_distill.arguments import check_function, check_samples, shown
from cot_distill.blocking import run_blocking
from cot_distill.entering import entered
from cot_distill.errors import ConfigError
from cot_distill.pairs.attempts import Attempts, Tally, by_task
from cot_distill.pairs.layout import Layout, Style, Thinking, layout
from cot_distill.types import Row, Sample, Task, Trace
from cot_distill.workers import drive

__all__ = ["Better", "Kind", "dpo"]

Kind: TypeAlias = Literal["verdict", "length", "judge"]
"""``"verdict"``: right against wrong. ``"length"``: short against long, both right. ``"judge"``: of two that are not
wrong, the one that ``better`` prefers."""

_AT_ONCE = 16


class Better(Protocol):
    """Says which of two traces is the better one. May be sync or async.

    Example:
        ::

            def politer(task, one, other):
                return ("please" in one.answer) - ("please" in other.answer)
    """

    def __call__(self, task: Task, one: Trace, other: Trace, /) -> int | Awaitable[int | None] | None:
        """Compare.

        Args:
            task: What both were asked.
            one: A trace.
            other: Another one.

        Returns:
            More than 0 for the first, less than 0 for the second; 0 or None where there is no telling.
        """
        ...


def dpo(
    samples: Iterable[Sample],
    *,
    by: Sequence[Kind] = ("verdict", "length"),
    per_task: int | None = 1,
    min_ratio: float = 1.5,
    style: Style = "conversational",
    thinking: Thinking | None = None,
    better: Better | None = None,
) -> Iterator[Row]:
    r"""Make rows ``prompt``, ``chosen``, ``rejected`` of samples of the same task.

    Both sides have their think block in the same place, and never say the same. A right and a wrong sample with the
    same final answer are no pair, if it was for the answer that one was found wrong: one verdict is a mistake then.

    The rows also hold ``id`` (of the task), ``pair`` (the kind), ``chosen_attempt`` and ``rejected_attempt``; TRL
    ignores them.

    Args:
        samples: Ordered by task, with the wrong ones: ``run.samples()``.
        by: The kinds of pairs. A later kind is looked at where the kinds before it gave fewer than ``per_task``.
        per_task: The most pairs of one task; None: all that there are. The first ones are as different as can be:
            other samples in each, and for ``"length"`` the shortest against the longest.
        min_ratio: How many times longer the longer reasoning must be for a pair by length, in characters.
        style: Messages or text.
        thinking: A field of its own for the reasoning, as for :func:`cot_distill.formatters.messages`.
        better: For ``"judge"``: who compares. It is asked about ``per_task`` pairs of a task at most. If it is an
            async context manager, it is entered for each task.

    Returns:
        The rows. Where there is not one, the end of it raises :class:`~cot_distill.errors.ConfigError` with the
        counts.

    Raises:
        ConfigError: An option does not make sense, or these are no samples.

    Example:
        >>> from cot_distill.types import Verdict
        >>> def sample(answer, right):
        ...     trace, verdict = Trace(reasoning="Easy.", answer=answer), Verdict(by="exact", passed=right)
        ...     return Sample(task=Task(instruction="2 + 2?"), trace=trace, verdicts=(verdict,))
        >>> row, = dpo([sample("5", False), sample("4", True)])
        >>> row["chosen"], row["pair"]
        ([{'role': 'assistant', 'content': '<think>\nEasy.\n</think>\n\n4'}], 'verdict')
    """
    check_samples(samples, "pairs.dpo()")
    known = get_args(Kind)
    if not isinstance(by, list | tuple | set) or not by or any(kind not in known for kind in by):
        given = repr(by) if isinstance(by, list | tuple | set) else shown(by)
        raise ConfigError(f"by={given:.80} must hold some of {', '.join(map(repr, known))}, in a list")
    if ("judge" in by) is (better is None):
        raise ConfigError("'judge' in `by` and `better=…` go together: give both or neither")
    if per_task is not None and (not isinstance(per_task, int) or isinstance(per_task, bool) or per_task < 1):
        raise ConfigError(f"per_task must be at least 1, or None for all pairs; got {shown(per_task)}")
    if better is not None:
        check_function(better, "better=…", "a task", "a trace", "another trace")
    if not isinstance(min_ratio, int | float) or not min_ratio > 1:
        raise ConfigError(f"min_ratio must be more than 1, since equal lengths make no pair; got {shown(min_ratio)}")
    kinds: dict[str, Callable[[Attempts], Iterator[_Pair]]] = {
        "verdict": _by_verdict,
        "length": partial(_by_length, min_ratio=min_ratio),
    }
    if better is not None:
        kinds["judge"] = partial(_by_judge, better=better, most=per_task)
    return _rows(samples, [kinds[kind] for kind in dict.fromkeys(by)], per_task, layout(style, thinking))


class _Pair(NamedTuple):
    kind: Kind
    chosen: Sample
    rejected: Sample


def _rows(
    samples: Iterable[Sample],
    kinds: Sequence[Callable[[Attempts], Iterator[_Pair]]],
    per_task: int | None,
    laid_out: Layout,
) -> Iterator[Row]:
    tally, made = Tally(), 0
    for attempts in by_task(samples, tally):
        for kind, chosen, rejected in islice(_pairs(attempts, kinds), per_task):
            prompt = laid_out.prompt(chosen.task)
            made += 1
            yield {
                "prompt": prompt,
                "chosen": laid_out.completion(prompt, chosen.trace),
                "rejected": laid_out.completion(prompt, rejected.trace),
                "id": chosen.task.id,
                "pair": kind,
                "chosen_attempt": chosen.attempt,
                "rejected_attempt": rejected.attempt,
            }
    if not made:
        raise tally.nothing(
            "pair", "ask each task more often (`attempts=8`), at a higher temperature, or lower `min_ratio`"
        )


def _pairs(attempts: Attempts, kinds: Iterable[Callable[[Attempts], Iterator[_Pair]]]) -> Iterator[_Pair]:
    """The pairs of a task, kind after kind; no two samples twice, since kinds may contradict one another."""
    seen: set[frozenset[int]] = set()
    for kind in kinds:
        for pair in kind(attempts):
            both = frozenset((pair.chosen.attempt, pair.rejected.attempt))
            if both not in seen:
                seen.add(both)
                yield pair


def _by_verdict(attempts: Attempts) -> Iterator[_Pair]:
    for chosen, rejected in _spread(attempts.right, attempts.wrong):
        wrong_answer = any(found.passed is False and found.about == "answer" for found in rejected.verdicts)
        if not (wrong_answer and _final(chosen) == _final(rejected)):
            yield _Pair("verdict", chosen, rejected)


def _by_length(attempts: Attempts, min_ratio: float) -> Iterator[_Pair]:
    shortest = sorted(attempts.right, key=_length)
    for chosen, rejected in _spread(shortest, shortest[::-1]):
        if _length(rejected) >= min_ratio * _length(chosen):
            yield _Pair("length", chosen, rejected)


def _by_judge(attempts: Attempts, better: Better, most: int | None) -> Iterator[_Pair]:
    fit = [*attempts.right, *attempts.unjudged]
    matches = list(islice(zip(fit[::2], fit[1::2], strict=False), most))
    for (one, other), found in zip(matches, _compared(better, matches), strict=True):
        if found:
            yield _Pair("judge", *((one, other) if found > 0 else (other, one)))


def _spread(ones: Sequence[Sample], others: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    """Every combination once; as long as there are unused samples on both sides, these."""
    longer = max(len(ones), len(others))
    for shift in range(longer if ones and others else 0):
        for place in range(min(len(ones), len(others))):
            moved = (place + shift) % longer
            yield (ones[place], others[moved]) if len(others) == longer else (ones[moved], others[place])


def _length(sample: Sample) -> int:
    return len(sample.trace.reasoning)


def _final(sample: Sample) -> str:
    return normalise(final_answer(sample.trace.answer))


def _compared(better: Better, matches: Sequence[tuple[Sample, Sample]]) -> list[int | None]:
    found: list[Any] = [better(one.task, one.trace, other.trace) for one, other in matches]
    if any(map(inspect.isawaitable, found)):
        run_blocking(partial(_awaited, better, found))
    return found


async def _awaited(better: Better, found: list[Any]) -> None:
    """Put what each comparison gives in its place."""

    async def places() -> AsyncIterator[int]:
        for place in range(len(found)):
            yield place

    async def wait(place: int) -> None:
        found[place] = await found[place]

    async with entered(better):
        await drive(places(), wait, _AT_ONCE)
