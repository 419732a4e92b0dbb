"""What the records of a journal mean: what was asked, answered, judged, and is still to do.

An *attempt* is one task asked once; its latest answer counts. Everything that follows from an answer (the trace, why
there is none) is worked out again on reading and never stored; only what cost something is: completions, failed
requests, and verdicts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple
from zlib import crc32

from pydantic_core import to_json

from cot_distill.errors import RunError
from cot_distill.journal import Journal
from cot_distill.journal_index import Entry, Head
from cot_distill.retry import Tries
from cot_distill.types import Completion, Failure, Message, Sampling, Task, Usage, Verdict

__all__ = ["Known", "Ledger", "Place", "Record", "Sessions", "Slot", "Spent", "address", "digest_of", "verdict_mark"]

_LARGEST_CAP = 2**31 - 1
_ANSWERS = ("completion", "cut", "failure", "refusal")


class Slot(NamedTuple):
    """One attempt at one task: the place that its answer goes to."""

    task: Task
    attempt: int
    order: int
    """Position of the task in the input."""
    messages: tuple[Message, ...]
    """What the teacher is asked."""
    key: bytes
    """16 bytes for the task's id; the ids 1 and "1" differ."""
    prompt: bytes
    """8 bytes that change when the messages do."""
    content: bytes
    """8 bytes that change when anything about the task does: its reference answer, say."""

    @classmethod
    def make(cls, task: Task, attempt: int, order: int, messages: Sequence[Message]) -> Slot:
        """Work out the digests."""
        turns = tuple(messages)
        key = blake2b(to_json(task.id), digest_size=16).digest()
        return cls(task, attempt, order, turns, key, _digest(turns), _digest(task))

    def head(self, kind: str, mark: int = 0) -> Head:
        """The head of a record about this slot."""
        return Head(kind, self.key, self.order, self.attempt, self.prompt, self.content, mark)


class Known(NamedTuple):
    """What earlier sessions left of an attempt."""

    number: int
    """Of the record in the journal."""
    kind: str
    prompt: bytes
    content: bytes
    mark: int
    """For a cut answer: twice the number of tokens at which it was cut, plus 1 if that was our own cap."""
    verdict: int
    """The mark of its verdict, 0 where there is none."""
    judged: int = -1
    """Number of the record with that verdict."""

    def is_due(self, slot: Slot, sampling: Sampling) -> bool:
        """Whether the attempt is to be asked again: only what is missing, changed, or was cut by a lower cap."""
        if self.kind in ("failure", "reopened") or self.prompt != slot.prompt:
            return True
        if self.kind != "cut":
            return False
        if sampling.max_tokens is None:
            return self.mark & 1 == 1
        return sampling.max_tokens > self.mark >> 1


class Place(NamedTuple):
    """Where the parts of an attempt are in the journal."""

    answer: Entry
    task: Entry | None = None
    """Set where the task was corrected after the answer had come."""
    verdict: Entry | None = None


class Record(NamedTuple):
    """The latest answer to an attempt, and its verdicts."""

    task: Task
    attempt: int
    completion: Completion | None
    failure: Failure | None
    """Set where no completion came."""
    verdicts: tuple[Verdict, ...]
    crash: str | None
    """What a verifier that crashed said."""
    tries: int


class Spent(NamedTuple):
    """What all sessions cost beyond the latest answers."""

    superseded: list[Completion]
    """Answers that a later one replaced, without their texts."""
    retries: int
    """Requests beyond the first of each attempt."""
    judging: int
    """Tokens that verdicts cost."""


class Sessions(NamedTuple):
    """The sessions of a run."""

    number: int
    killed: int
    """Those that did not end by themselves."""
    abandoned: int
    """At most so many requests were under way when sessions were interrupted or killed."""
    seconds: float
    skipped: int
    """Input rows that the last one skipped."""


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
        self.journal.append(head, {**_cost(tries), "task": slot.task, "completion": completion})

    def failure(self, slot: Slot, failure: Failure, tries: Tries, *, final: bool) -> None:
        """Book an attempt that ended without an answer. ``final``: asking again would give the same."""
        head = slot.head("refusal" if final else "failure")
        fields = failure.model_dump(exclude={"task"})
        self.journal.append(head, {**_cost(tries), "task": slot.task, "failure": fields})

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
        """Book the start or end of a session."""
        self.journal.append(Head(kind), {"at": time.time(), **fields})

    # Reading

    def known(self) -> dict[bytes, Known]:
        """What earlier sessions left of each attempt, by :func:`address`."""
        known: dict[bytes, Known] = {}
        for number, (head, *_) in enumerate(self.journal.entries()):
            place = address(head)
            before = known.get(place)
            if head.kind == "failure" and before is not None and _stays(before.kind, before.prompt, head):
                continue
            if head.kind in _ANSWERS:
                known[place] = Known(number, head.kind, head.prompt, head.content, head.mark, 0)
            elif head.kind == "task" and place in known:
                known[place] = known[place]._replace(content=head.content, verdict=0, judged=-1)
            elif head.kind == "verdict" and place in known:
                known[place] = known[place]._replace(verdict=head.mark, judged=number)
            elif head.kind == "reopened" and place in known:
                known[place] = known[place]._replace(kind="reopened")
        return known

    def latest(self) -> Iterator[Place]:
        """Where the latest of each attempt is, ordered by task and attempt."""
        answers: dict[bytes, int] = {}
        orders: dict[bytes, int] = {}  # of tasks with several attempts: they stay together where the task moved
        tasks: dict[bytes, int] = {}
        verdicts: dict[bytes, int] = {}
        for number, (head, *_) in enumerate(self.journal.entries()):
            place = address(head)
            if head.kind in ("failure", "refusal") and place in answers:
                before = self.journal.entry(answers[place]).head
                if _stays(before.kind, before.prompt, head):
                    continue
            if head.kind in _ANSWERS:
                if head.attempt or head.key in orders:
                    orders[head.key] = head.order
                answers[place] = number
                tasks.pop(place, None)
                verdicts.pop(place, None)
            elif head.kind == "task":
                tasks[place] = number
                verdicts.pop(place, None)
            elif head.kind == "verdict":
                verdicts[place] = number
        entry = self.journal.entry

        def order(place: bytes) -> bytes:  # one flat value: a tuple would be most of the memory that this takes
            return orders.get(place[:16], entry(answers[place]).head.order).to_bytes(8, "big") + place

        for place in sorted(answers, key=order):
            task, verdict = tasks.get(place), verdicts.get(place)
            yield Place(
                entry(answers[place]),
                None if task is None else entry(task),
                None if verdict is None else entry(verdict),
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
        return Record(task, answer.head.attempt, completion, failure, verdicts, said.get("crash"), fields["tries"])

    def answer(self, known: Known) -> Record:
        """Read the answer that an earlier session left, without its verdict."""
        return self.record(Place(self.journal.entry(known.number)))

    def was_there(self, entry: Entry) -> bool:
        """Whether a record was there when the ledger was opened."""
        number = len(self.journal)
        last = self.journal.entry(number - 1) if number else None
        return last is not None and (entry.segment, entry.offset) <= (last.segment, last.offset)

    def said(self, verdict: Entry | None) -> dict[str, Verdict]:
        """What verifiers said, by their identities, in this record."""
        fields = {} if verdict is None else self.journal.read(verdict)
        found = zip(fields.get("by", ()), fields.get("verdicts", ()), strict=False)
        return {identity: Verdict.model_validate(said) for identity, said in found}

    def said_of(self, known: Known) -> dict[str, Verdict]:
        """What verifiers said, by their identities, of the answer that an earlier session left."""
        return {} if known.judged < 0 else self.said(self.journal.entry(known.judged))

    def records(self) -> Iterator[Record]:
        """The latest record of each attempt, ordered by task and attempt."""
        return map(self.record, self.latest())

    def spent(self) -> Spent:
        """Go through every answer, also those that were replaced."""
        latest = {address(place.answer.head): place.answer for place in self.latest()}
        superseded, retries, judging = [], 0, 0
        for entry in self.journal.entries():
            if entry.head.kind == "verdict":
                judging += self.journal.read(entry).get("used", 0)
            if entry.head.kind not in _ANSWERS:
                continue
            fields = self.journal.read(entry)
            retries += fields["tries"] - 1
            if "completion" in fields and latest[address(entry.head)] != entry:
                usage = Usage.model_validate(fields["completion"]["usage"])
                superseded.append(Completion(usage=usage))
        return Spent(superseded, retries, judging)

    def sessions(self, *, running: bool) -> Sessions:
        """Go through the starts and ends of the sessions. ``running``: the last one has not ended yet."""
        number = ended = abandoned = skipped = workers = 0
        seconds = 0.0
        began: float | None = None
        for entry in self.journal.entries():
            if entry.head.kind not in ("started", "ended"):
                previous = entry
                continue
            fields = self.journal.read(entry)
            if entry.head.kind == "started":
                if began is not None:  # the one before was killed: its last record tells when
                    seconds += self._time(previous) - began
                    abandoned += workers
                number, began, workers = number + 1, fields["at"], fields["workers"]
            elif began is not None:
                seconds += fields["at"] - began
                ended, abandoned, skipped, began = ended + 1, abandoned + fields["abandoned"], fields["skipped"], None
            previous = entry
        if began is not None:
            seconds += self._time(previous) - began
            abandoned += 0 if running else workers
        return Sessions(number, number - ended - running, abandoned, seconds, skipped)

    def used(self) -> int:
        """Tokens that all requests took so far: as the provider counted them, else at worst."""
        return sum(
            self.journal.read(entry)["used"] for entry in self.journal.entries() if entry.head.kind in _ANSWERS
        )

    def _time(self, entry: Entry) -> float:
        at: float = self.journal.read(entry)["at"]
        return at


def address(head: Head | Slot) -> bytes:
    """20 bytes that name an attempt: the key of its task and its number."""
    return head.key + head.attempt.to_bytes(4, "big")


def _stays(kind: str, prompt: bytes, head: Head) -> bool:
    """Whether what is there outlives a failure: an answer that was to be replaced, and could not be."""
    return kind in ("completion", "cut", "reopened") and prompt == head.prompt


def _cost(tries: Tries) -> dict[str, int | float]:
    return {"at": time.time(), "tries": tries.made, "used": tries.used}


def digest_of(text: str) -> str:
    """16 hexadecimal digits that change when the text does."""
    return _digest(text).hex()


def _digest(value: object) -> bytes:
    return blake2b(to_json(value), digest_size=8).digest()


def verdict_mark(verifiers: Sequence[str]) -> int:
    """A number below 2**31, and not 0, for these verifiers. One bit is left for whether all of them passed."""
    return crc32(to_json(sorted(verifiers))) & 0x3FFFFFFF | 0x40000000
