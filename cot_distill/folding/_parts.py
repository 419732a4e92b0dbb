"""The attempts in parts, and what is left of a part when it is folded."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cot_distill.index_file import IndexFile
from cot_distill.journal_index import ENTRY_BYTES

__all__ = ["STEP", "Folded", "Part", "parts_of", "spot_of"]

STEP = 0x9E3779B97F4A7C15
"""Odd, so that the attempts at a task are filed far from one another."""


@dataclass
class Folded:
    """The attempts of a part, one column a fact, ordered by task and attempt.

    Where there is no such record, its number is that of the records that there are in all.
    """

    spots: array[int] = field(default_factory=lambda: array("Q"))
    """As :func:`spot_of` has it."""
    answers: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the answer, or failure, that counts."""
    kinds: array[int] = field(default_factory=lambda: array("Q"))
    """Its kind as a number; that of ``reopened`` where the attempt was opened again since."""
    tasks: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the corrected task."""
    verdicts: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the verdict."""
    marks: array[int] = field(default_factory=lambda: array("Q"))
    """Mark of that verdict, else 0."""
    orders: array[int] = field(default_factory=lambda: array("Q"))
    """Where the task stood in the input when an attempt at it was answered last: its attempts stay together."""


class Part(NamedTuple):
    """Attempts that are folded together: their tasks' keys start with a byte from ``first`` to ``last``."""

    first: int
    last: int
    records: int
    """At most so many records are about them."""


def parts_of(index: IndexFile, at_once: int) -> Iterator[Part]:
    """Cut the attempts into parts of about so many records, in the order of their keys."""
    counts: Counter[int] = Counter()
    for _, chunk in index.chunks():
        counts.update(chunk[::ENTRY_BYTES])
    first = count = 0
    for byte in range(256):
        if count and count + counts[byte] > at_once:
            yield Part(first, byte - 1, count)
            first, count = byte, 0
        count += counts[byte]
    if count:
        yield Part(first, 255, count)


def spot_of(place: bytes) -> int:
    """Where the attempt with this address is filed: 64 bits, evenly spread."""
    high, attempt = int.from_bytes(place[:8], "big"), int.from_bytes(place[16:], "big")
    return high ^ attempt * STEP & 0xFFFFFFFFFFFFFFFF
