"""The attempts in parts, and what is left of a part when it is folded."""

from __future__ import annotations

import struct
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cot_distill.index_file import IndexFile
from cot_distill.journal_index import ENTRY_BYTES

__all__ = ["STEP", "Folded", "Part", "parts_of", "spot_of"]

_HIGH_AND_ATTEMPT = struct.Struct(">Q8xI")

STEP = 0x9E3779B97F4A7C15
"""Odd, so that the attempts at a task are filed far from one another."""


@dataclass
class Folded:
    """The attempts of a part, one column a fact, ordered by task and attempt.

    Where there is no such record, its number is that of the records that there are in all. Some columns are filled
    for a view only, others for other purposes only, as :func:`cot_distill.folding.fold` calls them.
    """

    answers: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the answer, or failure, that counts."""
    tasks: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the corrected task."""
    verdicts: array[int] = field(default_factory=lambda: array("Q"))
    """Number of the record of the verdict."""

    orders: array[int] = field(default_factory=lambda: array("Q"))
    """View: where the task stood in the input when an attempt at it was answered last, so that they stay together."""

    spots: array[int] = field(default_factory=lambda: array("Q"))
    """Else: as :func:`spot_of` has it."""
    kinds: array[int] = field(default_factory=lambda: array("Q"))
    """Else: the kind of the answer as a number; that of ``reopened`` where the attempt was opened again since."""
    marks: array[int] = field(default_factory=lambda: array("Q"))
    """Else: the mark of the verdict, or 0."""


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
    high, attempt = _HIGH_AND_ATTEMPT.unpack(place)
    spot: int = high ^ attempt * STEP & 0xFFFFFFFFFFFFFFFF
    return spot
