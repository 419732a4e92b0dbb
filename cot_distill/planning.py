"""What there is to do for each task, given what earlier sessions left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from cot_distill.errors import SourceError
from cot_distill.judging import Judge
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.prices import Prices
from cot_distill.protocols import Teacher, Template, Verifier
from cot_distill.records import Known, Slot, address
from cot_distill.trace import Prefilled
from cot_distill.types import Sampling, Task, ThinkTags

__all__ = ["Job", "Planner", "Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Distiller was made with."""

    teacher: Teacher
    template: Template
    verifiers: tuple[Verifier, ...]
    sampling: Sampling
    attempts: int
    until_passed: int | None
    concurrency: int | Literal["auto"]
    retries: int
    require_reasoning: bool
    tags: ThinkTags
    prefilled: Prefilled
    prices: Prices = field(default_factory=Prices)


class Job(NamedTuple):
    """Attempts at one task that follow one another."""

    slots: tuple[Slot, ...]
    passed: int
    """Verified traces that the task has already."""


class Planner:
    """Finds what is missing.

    Args:
        settings: How to ask and judge.
        judge: Knows which answers lack a verdict.
        ledger: Where corrected tasks are booked; None to book nothing.
        known: What earlier sessions left.
        earlier: Told of attempts that need nothing, as their tasks are planned.
    """

    def __init__(
        self,
        settings: Settings,
        judge: Judge,
        ledger: Ledger | None,
        known: KnownAttempts,
        *,
        earlier: Callable[[int], None],
    ) -> None:
        self._settings = settings
        self._judge = judge
        self._ledger = ledger
        self._known = known
        self._earlier = earlier
        self._own: Sequence[range] = ()

    def finished(self, own: Sequence[range]) -> bytearray:
        """Find the tasks that need nothing, without looking at them. Called before :meth:`jobs`, if at all.

        Args:
            own: The numbers of the records of sessions with the same input and template.

        Returns:
            A byte for each place in the input: 1 where there is nothing to do, and :meth:`jobs` need not be asked.
        """
        if self._ledger is None or not own:
            return bytearray()
        from cot_distill.finished import find_finished  # here, since it imports numpy

        settings, judge = self._settings, self._judge
        tasks, attempts = find_finished(
            self._ledger.journal.index,
            self._known,
            own,
            attempts=settings.attempts,
            until_passed=settings.until_passed,
            is_judged=lambda mark: not settings.verifiers or judge.is_mark_of(mark),
        )
        self._own = own if 1 in tasks else ()
        self._earlier(attempts)
        return tasks

    def jobs(self, task: Task, order: int) -> Iterator[Job]:
        """What there is to do for a task. ``order``: its position in the input.

        Raises:
            SourceError: The same task stood at another place, and was passed over since it is finished.
        """
        settings = self._settings
        first = Slot.make(task, 0, order, settings.template(task))
        due: list[Slot] = []
        passed = 0
        for attempt in range(settings.attempts):
            slot = first._replace(attempt=attempt) if attempt else first  # the digests are those of the task
            known = self._known.get(address(slot))
            if known is not None and self._own:
                self._check_order(slot, known)
            if known is not None and known.content != slot.content and not known.is_due(slot, settings.sampling):
                # Where it is due it is asked again, and booked with the new task then.
                if self._ledger is not None:
                    self._ledger.correct(slot)
                known = _corrected(slot, known)
            if known is None or known.is_due(slot, settings.sampling) or self._judge.is_due(known):
                due.append(slot)
            else:
                passed += known.verdict & 1
        self._earlier(settings.attempts - len(due))
        if len(due) > 1:
            due.sort(key=self._is_to_ask)  # what only needs judging may do, and costs nothing
        if settings.until_passed is None:
            yield from (Job((slot,), 0) for slot in due)
        elif due and passed < settings.until_passed:
            yield Job(tuple(due), passed)

    def _check_order(self, slot: Slot, known: Known) -> None:
        """Tasks that were passed over cannot be compared with those that follow: see that this is none of them."""
        assert self._ledger is not None  # noqa: S101 - there are no sessions without one
        journal = self._ledger.journal
        entry = journal.index.entry(known.number)
        if entry.head.order == slot.order or not any(known.number in part for part in self._own):
            return
        before = journal.read(entry)["order"]  # the index is only a cache
        if before != slot.order:
            raise SourceError(
                f"tasks {before + 1} and {slot.order + 1} of the input have the same id, {slot.task.id!r}; ids must "
                "be unique: change one"
            )

    def answer_to(self, slot: Slot) -> Known | None:
        """The answer that an earlier session left, where it need not be asked for again."""
        known = self._known.get(address(slot))
        if known is None or known.is_due(slot, self._settings.sampling):
            return None
        return known if known.content == slot.content else _corrected(slot, known)

    def sampling(self, slot: Slot) -> Sampling:
        """How an attempt is asked: the seed moves with its number, and what was cut before gets more room."""
        sampling, changes = self._settings.sampling, {}
        if slot.attempt and sampling.seed is not None:
            changes["seed"] = sampling.seed + slot.attempt
        known = self._known.get(address(slot))
        was_cut = known is not None and known.kind == "cut" and known.prompt == slot.prompt
        if known is not None and was_cut and (cap := sampling.cap_after(known.cut_at)) is not None:
            changes["max_tokens"] = cap
        return sampling.model_copy(update=changes) if changes else sampling

    def _is_to_ask(self, slot: Slot) -> bool:
        return self.answer_to(slot) is None


def _corrected(slot: Slot, known: Known) -> Known:
    """The same answer to a task whose reference answer, tests or metadata were changed since: not judged yet."""
    return known._replace(content=slot.content, verdict=0, judged=-1)
