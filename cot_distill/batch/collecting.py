"""From the results of a job to the records of a run.

It knows the ledger and what an answer is; not HTTP, not how a job is made. An answer is booked as if it had been
asked for at once, so that nothing that reads a run can tell the difference. A line is booked once, however often its
job is collected: what is in the journal since the job was made is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import anyio.lowlevel
from pydantic_core import PydanticSerializationError

from cot_distill.batch.batch_client import BatchClient
from cot_distill.batch.jobs import BatchJob
from cot_distill.batch.lines import Line, address_in
from cot_distill.batch.spool import Ask, SlotFile
from cot_distill.batch.wire import Wire
from cot_distill.errors import RequestError, TeacherError
from cot_distill.known import KnownAttempts
from cot_distill.ledger import Ledger
from cot_distill.outcome import Outcome, read, unanswered
from cot_distill.planning import Settings
from cot_distill.records import Slot
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure

__all__ = ["Collected", "collect", "too_large", "worst_case"]

log = logging.getLogger("cot_distill")

_LINES_A_TURN = 50


@dataclass(slots=True)
class Collected:
    """What a job brought."""

    answers: int = 0
    bare: int = 0
    """Answers without reasoning."""
    used: int = 0
    """Tokens."""
    left: list[tuple[str, int | None]] = field(default_factory=list)
    """Lines that are to be asked again, with their caps: nothing came for them, or too little room was there."""
    lines: int = 0
    """Lines that something came for, in this session or before."""
    error: TeacherError | None = None
    """One that would meet every other request too; what it met is not booked."""


async def collect(
    job: BatchJob,
    files: Iterable[Path],
    slots: SlotFile,
    *,
    client: BatchClient,
    wire: Wire,
    ledger: Ledger,
    known: KnownAttempts,
    works: bool,
    settings: Settings,
    tell: Callable[[Outcome], None],
) -> Collected:
    """Book the results of a job: answers first, then errors, since only then it is known whether anything works.

    Args:
        job: The job.
        files: Its results, downloaded.
        slots: Its attempts.
        client: Reads the lines.
        wire: Reads the answers.
        ledger: Where to book.
        known: What is in the journal from before this session.
        works: This teacher has answered before, so that a refusal is about the task and not about a setting.
        settings: How traces are read.
        tell: Told of each outcome.

    Raises:
        RunError: The journal cannot be written.
    """
    found = Collected()
    # Only where there are records from after it was made can there be some of it.
    later = job.since < len(ledger.journal)
    done = {name for name in slots if _is_booked(name, slots.ask(name).cap, job, known)} if later else set()
    errors: list[tuple[str, TeacherError]] = []
    found.lines = len(done)
    for name in done:  # what was cut then may be asked again now, as if it had come just now
        there = known.get(address_in(name))
        if (
            there is not None
            and there.kind == "cut"
            and (cap := settings.sampling.cap_after(there.cut_at)) is not None
        ):
            found.left.append((name, cap))
    unknown = 0
    async for line in _lines(client, files):
        if line is None or line.id not in slots:
            unknown += 1
            continue
        if line.id in done or line.left:
            continue
        done.add(line.id)
        found.lines += 1
        try:
            completion = wire.decode(line)
        except TeacherError as error:
            errors.append((line.id, error))
            continue
        ask = slots.ask(line.id)
        used = completion.usage.total
        cost = settings.prices.cost(settings.teacher, completion, batch=True)
        tries = Tries(made=1, used=worst_case(ask) if used is None else used, cost=cost, paid=cost or 0)
        outcome = _book(ask, completion, tries, ledger, settings)
        found.answers += 1
        found.used += tries.used
        found.bare += isinstance(outcome, Failure) and outcome.kind == "no_reasoning"
        cap = settings.sampling.cap_after(ask.cap) if ask.cap and completion.finish_reason == "length" else None
        if cap is None:
            tell(outcome)
        else:  # with more room it may come to its end
            found.left.append((line.id, cap))
    works = works or found.answers > 0
    for name, what in errors:
        if what.fatal or (what.kind == "bad_request" and not works):  # a key, a model, a setting: it may be mended
            found.error = found.error or what
        if not what.fatal:
            tell(_book_failure(slots.ask(name).slot, what, ledger, settings, final=works))
    if unknown:
        log.warning("%s, job %s: %d lines of its results are not ours: ignored", job.provider, job.id, unknown)
    found.left += [(name, slots.ask(name).cap) for name in slots if name not in done]
    return found


def worst_case(ask: Ask) -> int:
    """Tokens that an attempt may take at most: no token is shorter than a byte."""
    return sum(len(message.content.encode()) + 16 for message in ask.slot.messages) + (ask.cap or 0)


def too_large(slot: Slot, size: int, ledger: Ledger, settings: Settings) -> Failure:
    """Book that a request of so many bytes goes into no job."""
    what = RequestError(f"the request has {size} bytes, more than fit into a job", kind="too_long")
    return _book_failure(slot, what, ledger, settings, final=True)


async def _lines(client: BatchClient, files: Iterable[Path]) -> AsyncIterator[Line | None]:
    for file in files:
        for number, line in enumerate(client.read_lines(file)):
            yield line
            if number % _LINES_A_TURN == 0:
                await anyio.lowlevel.checkpoint()  # whoever waits beside us, or wants to end this, gets a turn


def _is_booked(name: str, cap: int | None, job: BatchJob, known: KnownAttempts) -> bool:
    there = known.get(address_in(name))
    if there is None or there.number < job.since or there.kind == "failure":
        return False
    return not there.mark or cap is None or there.cut_at >= cap  # what a lower cap cut came from the job before


def _book(ask: Ask, completion: Completion, tries: Tries, ledger: Ledger, settings: Settings) -> Outcome:
    slot = ask.slot
    # The cap that it was asked with: the session that collects it may have another one.
    sampling = settings.sampling.model_copy(update={"max_tokens": ask.cap})
    try:
        ledger.completion(slot, completion, sampling, tries)
    except PydanticSerializationError as error:
        what = RequestError(f"the answer cannot be stored: {error}", kind="malformed")
        return _book_failure(slot, what, ledger, settings, final=True)
    return read(
        slot.task,
        slot.attempt,
        completion,
        teacher=settings.teacher.name,
        tags=settings.tags,
        prefilled=settings.prefilled,
        cost=tries.cost,
    )


def _book_failure(slot: Slot, error: TeacherError, ledger: Ledger, settings: Settings, *, final: bool) -> Failure:
    failure = unanswered(slot.task, slot.attempt, error, teacher=settings.teacher.name, tries=1)
    is_final = isinstance(error, RequestError) and (final or error.kind != "bad_request")
    ledger.failure(slot, failure, Tries(made=1, cost=None), final=is_final)
    return failure
