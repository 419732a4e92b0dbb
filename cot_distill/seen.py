"""What was seen before, and where: a set of numbers that takes some twenty bytes for each.

A dict would take a hundred, which at ten million tasks is a gigabyte. It knows numbers only.
"""

from __future__ import annotations

from array import array

__all__ = ["Seen"]

_PARTS = 256
"""Each grows by itself, so that no step takes long: of a million numbers, a part holds four thousand."""
_FIRST = 16
_FULL = 0.7
_LARGEST = 2**32 - 1


class Seen:
    """Numbers of 64 bits that are spread evenly, and the place where each was first seen.

    Example:
        >>> seen = Seen()
        >>> seen.first(1 << 60 | 5, 1), seen.first(1 << 61 | 5, 2), seen.first(1 << 60 | 5, 3)
        (1, 2, 1)
    """

    def __init__(self) -> None:
        self._parts = [_Part() for _ in range(_PARTS)]

    def first(self, number: int, place: int) -> int:
        """Where a number was first seen: at ``place``, if it was not seen before.

        Places are counted up to 2**32 - 1; from there on, all are the same.
        """
        return self._parts[number & _PARTS - 1].first(number >> 8 or 1, min(place, _LARGEST))


class _Part:
    """A hash table with open addressing. 0 stands for an empty slot."""

    def __init__(self) -> None:
        self._numbers = array("Q", bytes(8 * _FIRST))
        self._places = array("I", bytes(4 * _FIRST))
        self._count = 0

    def first(self, number: int, place: int) -> int:
        at = self._slot(number)
        if self._numbers[at]:
            return self._places[at]
        self._numbers[at], self._places[at] = number, place
        self._count += 1
        if self._count > _FULL * len(self._numbers):
            self._grow()
        return place

    def _slot(self, number: int) -> int:
        numbers, mask = self._numbers, len(self._numbers) - 1
        at = number & mask
        while numbers[at] and numbers[at] != number:
            at = at + 1 & mask
        return at

    def _grow(self) -> None:
        old = zip(self._numbers, self._places, strict=True)
        self._numbers = array("Q", bytes(16 * len(self._numbers)))
        self._places = array("I", bytes(8 * len(self._places)))
        for number, place in old:
            if number:
                at = self._slot(number)
                self._numbers[at], self._places[at] = number, place
