"""The records that count, in the order of tasks and attempts, for showing and exporting what there is.

What is held while they are gone through is 16 bytes an attempt: a word of eight to sort by, which holds the order of
the task and where its columns are, and the numbers of the records with the answer and the verdict.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

from cot_distill.folding import MANY, fold, sort
from cot_distill.index_file import IndexFile

__all__ = ["Latest", "Numbers"]


class Numbers(NamedTuple):
    """The numbers of the records of one attempt."""

    answer: int
    task: int | None
    """Set where the task was corrected after the answer had come."""
    verdict: int | None


class Latest:
    """The latest of each attempt. An iterable, ordered by task and attempt.

    Args:
        index: The records.
        many: From how many records on numpy is used.
    """

    def __init__(self, index: IndexFile, *, many: int = MANY) -> None:
        self._none = none = len(index)
        self._bits = bits = none.bit_length()
        largest = (1 << 64 - bits) - 1  # no input is so long; its end would come in the order of the keys
        kind = "I" if none < 1 << 8 * array("I").itemsize else "Q"
        self.answers, self._verdicts = array(kind), array(kind)
        self._corrected, self._tasks = array(kind), array(kind)
        self._sorted = array("Q")
        for part in fold(index, view=True, many=many):
            start = len(self.answers)
            self._sorted.extend(min(order, largest) << bits | at for at, order in enumerate(part.orders, start))
            self.answers.extend(iter(part.answers))  # of another type, perhaps
            self._verdicts.extend(iter(part.verdicts))
            for at, number in enumerate(part.tasks, start):
                if number != none:
                    self._corrected.append(at)
                    self._tasks.append(number)
        self._sorted = sort(self._sorted)

    def __iter__(self) -> Iterator[Numbers]:
        mask = (1 << self._bits) - 1
        for word in self._sorted:
            at = word & mask
            verdict = self._verdicts[at]
            yield Numbers(self.answers[at], self._task(at), None if verdict == self._none else verdict)

    def _task(self, at: int) -> int | None:
        place = bisect_left(self._corrected, at)
        there = place < len(self._corrected) and self._corrected[place] == at
        return self._tasks[place] if there else None
