"""The words of the ledger: an attempt, what is known of it, and where its parts are. No file is opened here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple
from zlib import crc32

from pydantic_core import to_json

from cot_distill.journal_index import Entry, Head
from cot_distill.types import Completion, Failure, Message, Sampling, Task, Verdict

__all__ = ["Known", "Place", "Record", "Sessions", "Slot", "Spent", "address", "digest_of", "verdict_mark"]


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
    """Number of the record with that verdict, where that was asked for."""

    @property
    def cut_at(self) -> int:
        """Tokens at which a cut answer ended."""
        return self.mark >> 1

    def is_due(self, slot: Slot, sampling: Sampling) -> bool:
        """Whether the attempt is to be asked again: only what is missing, changed, or was cut by a lower cap."""
        if self.kind in ("failure", "reopened") or self.prompt != slot.prompt:
            return True
        if self.kind != "cut":
            return False
        if sampling.max_tokens is None:
            return self.mark & 1 == 1
        return sampling.cap_after(self.cut_at) is not None


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
    cost: int | None = None
    """Billionths of a dollar."""


class Spent(NamedTuple):
    """What all sessions cost beyond the latest answers."""

    superseded: int
    """Answers that a later one replaced."""
    retries: int
    """Requests beyond the first of each attempt."""
    judging: int
    """Tokens that verdicts cost."""
    cost: int | None
    """Billionths of a dollar that all answers cost, the superseded ones too; None where one is not known."""
    cuts: Mapping[int, tuple[int, int]]
    """By token limit: the answers that it cut, and the tokens that they took."""


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


def address(head: Head | Slot) -> bytes:
    """20 bytes that name an attempt: the key of its task and its number."""
    return head.key + head.attempt.to_bytes(4, "big")


def digest_of(text: str) -> str:
    """16 hexadecimal digits that change when the text does."""
    return _digest(text).hex()


def verdict_mark(verifiers: Sequence[str]) -> int:
    """A number below 2**31, and not 0, for these verifiers. One bit is left for whether all of them passed."""
    return crc32(to_json(sorted(verifiers))) & 0x3FFFFFFF | 0x40000000


def _digest(value: object) -> bytes:
    return blake2b(to_json(value), digest_size=8).digest()
