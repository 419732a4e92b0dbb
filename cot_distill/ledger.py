"""What the records of a journal mean: what was asked, answered, judged, and is still to do.

An *attempt* is one task asked once; its latest answer counts. Everything that follows from an answer (the trace, why
there is none) is worked out again on reading and never stored; only what cost something is: completions, failed
requests, and verdicts.

Nothing here holds more than a few bytes an attempt: :mod:`cot_distill.known` and :mod:`cot_distill.latest` say how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from cot_distill.errors import RunError
from cot_distill.journal import Journal
from cot_distill.journal_index import Entry, Head
from cot_distill.known import KnownAttempts
from cot_distill.latest import Latest
from cot_distill.records import Known, Place, Record, Sessions, Slot, Spent
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure, Sampling, Task, Usage, Verdict

__all__ = ["Ledger"]

_LARGEST_CAP = 2**31 - 1
_ANSWERS = ("completion", "cut", "failure", "refusal")


class Ledger:
    """The records of a run directory. A context manager.

    Args:
        path: The directory.
        writable: As for :class:`~cot_distill.journal.Journal`.

    Raises:
        RunError: As :class:`~cot_distill.journal.Journal`.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.journal = Journal(path, writable=writable)
        self._used = self._paid = 0

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.journal.close()

    # Writing

    @property
    def full(self) -> RunError | None:
        """Set once the disk is full: what is under way can still be booked, but no more."""
        error = self.journal.full
        return None if error is None else RunError(f"cannot write to {self.journal.path}: {error.strerror}")

    @property
    def next(self) -> int:
        """The number of the next record that is booked."""
        return len(self.journal) + self.journal.written

    def sync(self) -> None:
        """Make everything so far survive a power loss. Blocks for milliseconds: call it in a thread."""
        self.journal.sync()

    def completion(self, slot: Slot, completion: Completion, sampling: Sampling, tries: Tries) -> None:
        """Book an answer: before it is judged, before it is counted.

        Raises:
            pydantic_core.PydanticSerializationError: It holds text that is not Unicode. Nothing was written.
            RunError: The disk is full.
        """
        head = slot.head("completion")
        if completion.finish_reason == "length":
            cut_at = sampling.max_tokens or completion.usage.completion_tokens or 0
            head = slot.head("cut", min(cut_at, _LARGEST_CAP) << 1 | (sampling.max_tokens is not None))
        self._append(head, tries, {"task": slot.task, "completion": completion})

    def failure(self, slot: Slot, failure: Failure, tries: Tries, *, final: bool) -> None:
        """Book an attempt that ended without an answer. ``final``: asking again would give the same."""
        head = slot.head("refusal" if final else "failure")
        fields = failure.model_dump(exclude={"task"})
        self._append(head, tries, {"task": slot.task, "failure": fields})

    def abandon(self, tries: Tries) -> None:
        """Count what an attempt has used that is given up without a record, toward the sum of this session."""
        self._used += tries.used
        self._paid += tries.paid

    def verdicts(
        self, head: Head, verdicts: Mapping[str, Verdict], *, mark: int, used: int = 0, crash: str | None = None
    ) -> None:
        """Book what the verifiers said, by their identities, of the answer whose record has this head.

        ``used``: tokens that it cost.
        """
        said = {"verdicts": list(verdicts.values()), "by": list(verdicts)}
        body = {"at": time.time(), **said, "used": used, "crash": crash}
        self.journal.append(head._replace(kind="verdict", mark=mark), body)

    def correct(self, slot: Slot) -> None:
        """Book that the task of an answer has changed in what the teacher does not see. Its verdict is void."""
        self.journal.append(slot.head("task"), {"at": time.time(), "task": slot.task})

    def reopen(self, head: Head) -> None:
        """Let the next session ask this attempt again."""
        self.journal.append(head._replace(kind="reopened", mark=0), {"at": time.time()})

    def note(self, kind: str, **fields: Any) -> None:
        """Book the start of a session, how many requests it has in flight, or its end, with what its answers used."""
        used = {"used": self._used, "paid": self._paid} if kind == "ended" else {}
        self.journal.append(Head(kind), {"at": time.time(), **fields, **used})

    # Reading

    def known(self, *, said: bool = False) -> KnownAttempts:
        """What earlier sessions left of each attempt. ``said``: what verifiers said will be asked for as well."""
        return KnownAttempts(self.journal.index, said=said)

    def latest(self) -> Iterator[Place]:
        """Where the latest of each attempt is, ordered by task and attempt. Returns once the order is known."""
        entry = self.journal.index.entry
        return (
            Place(entry(answer), None if task is None else entry(task), None if verdict is None else entry(verdict))
            for answer, task, verdict in Latest(self.journal.index)
        )

    def record(self, place: Place) -> Record:
        """Read an answer, its task and its verdict from disk."""
        answer, corrected, verdict = place
        fields = self.journal.read(answer)
        task = Task.model_validate(fields["task"] if corrected is None else self.journal.read(corrected)["task"])
        completion = Completion.model_validate(fields["completion"]) if "completion" in fields else None
        failure = Failure.model_validate({**fields["failure"], "task": task}) if "failure" in fields else None
        said = {} if verdict is None else self.journal.read(verdict)
        verdicts = tuple(Verdict.model_validate(one) for one in said.get("verdicts", ()))
        tries, cost = fields["tries"], fields.get("cost")
        return Record(task, answer.head.attempt, completion, failure, verdicts, said.get("crash"), tries, cost)

    def answer(self, known: Known) -> Record:
        """Read the answer that an earlier session left, without its verdict."""
        return self.record(Place(self.journal.index.entry(known.number)))

    def was_there(self, entry: Entry) -> bool:
        """Whether a record was there when the ledger was opened."""
        number = len(self.journal)
        last = self.journal.index.entry(number - 1) if number else None
        return last is not None and (entry.segment, entry.offset) <= (last.segment, last.offset)

    def said(self, verdict: Entry | None) -> dict[str, Verdict]:
        """What verifiers said, by their identities, in this record."""
        fields = {} if verdict is None else self.journal.read(verdict)
        found = zip(fields.get("by", ()), fields.get("verdicts", ()), strict=False)
        return {identity: Verdict.model_validate(said) for identity, said in found}

    def said_of(self, known: Known) -> dict[str, Verdict]:
        """What verifiers said, by their identities, of the answer that an earlier session left."""
        return {} if known.judged < 0 else self.said(self.journal.index.entry(known.judged))

    def records(self) -> Iterator[Record]:
        """The latest record of each attempt, ordered by task and attempt."""
        return map(self.record, self.latest())

    def spent(self, superseded: Callable[[Usage], None] = lambda _: None) -> Spent:
        """Go through every answer. ``superseded`` is told what each one used that a later one replaced."""
        index = self.journal.index
        counts = bytearray(len(index))  # which records are the latest answers
        for number in Latest(index).answers:
            counts[number] = 1
        replaced = retries = judging = 0
        cost: int | None = 0
        cuts: dict[int, tuple[int, int]] = {}
        for number in index.numbers("verdict", *_ANSWERS):
            entry = index.entry(number)
            fields = self.journal.read(entry)
            if fields["kind"] == "verdict":
                judging += fields.get("used", 0)
                continue
            retries += fields["tries"] - 1
            more = fields.get("cost")
            cost = None if cost is None or more is None else cost + more
            if fields["kind"] == "cut" and entry.head.mark & 1:  # by a cap of ours
                count, used = cuts.get(entry.head.mark >> 1, (0, 0))
                cuts[entry.head.mark >> 1] = count + 1, used + fields["used"]
            if "completion" in fields and not counts[number]:
                replaced += 1
                superseded(Usage.model_validate(fields["completion"]["usage"]))
        return Spent(replaced, retries, judging, cost, dict(sorted(cuts.items())))

    def inputs(self) -> list[tuple[str, int | None]]:
        """The inputs of all sessions, as far as they were noted: digest, and size where it may grow."""
        index = self.journal.index
        noted = (self.journal.read(index.entry(number)) for number in index.numbers("input"))
        return [(fields["digest"], fields["size"]) for fields in noted if fields["digest"] is not None]

    def records_of(self, inputs: Container[str]) -> list[range]:
        """The numbers of the records from a note of an input with one of these digests to the next start or note.

        A note that the input was touched says up to which record it was not.
        """
        index, none = self.journal.index, dict[str, Any]()
        notes = [(number, self.journal.read(index.entry(number))) for number in index.numbers("started", "input")]
        parts = pairwise([*notes, (len(index), none)])
        return [
            range(start, following.get("until", end))
            for (start, fields), (end, following) in parts
            if fields.get("digest") in inputs
        ]

    def sessions(self, *, running: bool) -> Sessions:
        """Go through the starts and ends of the sessions. ``running``: the last one has not ended yet."""
        number = ended = abandoned = skipped = workers = 0
        seconds = 0.0
        began: float | None = None
        for place, fields in self._notes():
            if fields["kind"] == "started":
                if began is not None:  # the one before was killed: its last record tells when
                    seconds += self._time(place - 1) - began
                    abandoned += workers
                number, began, workers = number + 1, fields["at"], fields["workers"]
            elif fields["kind"] == "level":
                workers = fields["workers"]
            elif began is not None:
                seconds += fields["at"] - began
                ended, abandoned, skipped, began = ended + 1, abandoned + fields["abandoned"], fields["skipped"], None
        if began is not None:
            seconds += self._time(len(self.journal) - 1) - began
            abandoned += 0 if running else workers
        return Sessions(number, number - ended - running, abandoned, seconds, skipped)

    def used(self) -> int:
        """Tokens that all requests took so far: as the provider counted them, else at worst."""
        return self._sum("used")

    def paid(self) -> int:
        """Billionths of a dollar that all requests took so far: by their price where it was known, else at worst."""
        return self._sum("paid")

    def _append(self, head: Head, tries: Tries, body: Mapping[str, Any]) -> None:
        """Append what came of an attempt, and what it cost."""
        fields: dict[str, Any] = {"at": time.time(), "tries": tries.made, "used": tries.used}
        if tries.cost is not None:
            fields["cost"] = tries.cost
        if tries.paid:
            fields["paid"] = tries.paid
        if tries.history:
            fields["history"] = tries.history
        self.journal.append(head, {**fields, **body})
        self._used += tries.used
        self._paid += tries.paid

    def _sum(self, field: str) -> int:
        """Add up a field of all answers. A session that ended left its sum behind; only those of others are read."""
        total = begin = 0
        for place, fields in self._notes():
            known = fields.get(field)
            total += self._sum_between(field, begin, place) if known is None else known
            begin = place + 1
        return total + self._sum_between(field, begin, len(self.journal))

    def _sum_between(self, field: str, begin: int, end: int) -> int:
        total = 0
        for number in self.journal.index.numbers(*_ANSWERS, start=begin):
            if number >= end:
                break
            total += self.journal.read(self.journal.index.entry(number)).get(field, 0)
        return total

    def _notes(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """The starts and ends of the sessions, with their numbers."""
        for number in self.journal.index.numbers("started", "level", "ended"):
            yield number, self.journal.read(self.journal.index.entry(number))

    def _time(self, number: int) -> float:
        at: float = self.journal.read(self.journal.index.entry(number))["at"]
        return at
