"""Where the records of millions of attempts are: a sorted array of eight bytes each.

A word of it holds, from the highest bit down, the beginning of the attempt's spot (64 bits that are spread evenly),
the number of a record, and a small code that the caller chooses. With two million records and a code of eight bits
that leaves 35 bits of the spot, so that of a million attempts one in 30,000 shares its beginning with another. That
costs a second look and nothing more: what is found is compared with the whole address in the index, so a wrong record
is never taken, however many there are.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from cot_distill.folding import sort, spot_of
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import place_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AddressBook"]

_AT_ONCE = 1 << 16

_LARGEST_DIRECTORY = 15
"""Bits: 256 KiB, so that among a million words 30 are searched."""


class AddressBook:
    """Numbers of records by the address of their attempt, at most one for each.

    Args:
        index: The records.
        code_bits: Room for the codes.
    """

    def __init__(self, index: IndexFile, code_bits: int = 0) -> None:
        self._index = index
        self._code_bits = code_bits
        self._low_bits = len(index).bit_length() + code_bits
        self._words = array("Q")
        self._rest_bits = 64
        self._starts = array("Q", (0, 0))
        """Where the words begin whose spots begin with 0, 1, 2…: to search among a few instead of all."""

    def __len__(self) -> int:
        return len(self._words)

    def add(self, attempts: Iterable[tuple[int, int, int]]) -> None:
        """Enter attempts: the spot, the number of the record, and the code of each."""
        low, shift = self._low_bits, self._code_bits
        self._words.extend(spot >> low << low | number << shift | code for spot, number, code in attempts)

    def seal(self) -> None:
        """Called after the last :meth:`add`, and before anything is looked up."""
        self._words = words = sort(self._words)
        bits = max(0, min(_LARGEST_DIRECTORY, len(words).bit_length(), 64 - self._low_bits))
        self._rest_bits = 64 - bits
        self._starts = array("Q", (bisect_left(words, begin << self._rest_bits) for begin in range(1 << bits)))
        self._starts.append(len(words))

    def columns(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Numbers and codes of all records, in pieces, in no particular order."""
        import numpy as np

        words = np.frombuffer(self._words, np.uint64)
        numbers, codes = (np.uint64((1 << bits) - 1) for bits in (self._low_bits, self._code_bits))
        for start in range(0, len(words), _AT_ONCE):
            part = words[start : start + _AT_ONCE]
            yield (part & numbers) >> np.uint64(self._code_bits), part & codes

    def find(self, place: bytes) -> tuple[int, int, bytes] | None:
        """Number, code and packed entry of the record of an attempt, or None where it was not entered."""
        words, low = self._words, self._low_bits
        if not words:  # as in a run's first session
            return None
        spot = spot_of(place)
        begin, section = spot >> low, spot >> self._rest_bits
        at = bisect_left(words, begin << low, self._starts[section], self._starts[section + 1])
        while at < len(words) and words[at] >> low == begin:
            word = words[at]
            number = (word & (1 << low) - 1) >> self._code_bits
            entry = self._index.packed(number)
            if place_at(entry) == place:
                return number, word & (1 << self._code_bits) - 1, entry
            at += 1
        return None
