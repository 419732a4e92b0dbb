"""Which tasks need nothing any more, told by their places in an input that has not changed.

The usual way is to make a task of its row, render it, and look its attempts up: fifteen seconds for a million. Where
the input is the same, byte by byte, and asked with the same template, as when the answers were booked, the place of a
task says which one it is. The places of the answers stand in the index, so that all of them are found at once, and
the rows of these tasks are passed over.

It errs on one side only: what is not surely finished is left to the usual way. So it looks at answers of sessions
with this input alone, and takes none that was cut, opened again, or whose task was corrected since.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cot_distill.index_columns import tables
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS
from cot_distill.known import KnownAttempts

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Finished", "find_finished"]

_COMPLETION, _REFUSAL = map(KINDS.index, ("completion", "refusal"))
_FAR = 64
"""An input has at most so many places for each record, or only the first ones are looked at."""
_COUNTS, _JUDGED, _PASSED = 1, 2, 4


class Finished(NamedTuple):
    """The tasks that need nothing."""

    tasks: bytearray
    """A byte for each place in the input, up to the last one that is known: 1 where the task needs nothing."""
    attempts: int
    """So many attempts at these tasks are there."""


def find_finished(
    index: IndexFile,
    known: KnownAttempts,
    own: Sequence[range],
    *,
    attempts: int,
    until_passed: int | None,
    is_judged: Callable[[int], bool],
) -> Finished:
    """Find the tasks that need nothing. The first one is left out: it is looked at to check the recipe.

    Args:
        index: The records.
        known: What these left of each attempt.
        own: The numbers of the records of sessions with this input and template.
        attempts: How many there are to be of each task.
        until_passed: After how many that passed a task needs no more.
        is_judged: Whether a completion with such a mark of its verdict, 0 for none, needs no other.
    """

    def state(mark: int) -> int:
        return _COUNTS | is_judged(mark) * _JUDGED | (mark & 1) * _PASSED

    states = known.states(state)
    _keep(states, own)
    # Counts of a byte each, nearly always: there may be ten million of them.
    there, passed = (np.zeros(0, np.min_scalar_type(attempts + 1)) for _ in range(2))
    far = _FAR * len(index)
    for start, table in tables(index):
        now, kind = states[start : start + len(table)], table["kind"]
        done = ((kind == _COMPLETION) & (now & _JUDGED > 0)) | ((kind == _REFUSAL) & (now > 0))
        done &= table["attempt"] < attempts
        done &= table["order"] < far
        places = table["order"][done].astype(np.int64)
        there = _add(there, places)
        if until_passed is not None:
            passed = _add(passed, places[now[done] & _PASSED > 0])
    if there.max(initial=0) > attempts:  # one place has two tasks: the index is damaged
        return Finished(bytearray(), 0)
    finished = there >= attempts
    if until_passed is not None:
        finished[: len(passed)] |= passed >= until_passed
    finished[:1] = False
    return Finished(bytearray(finished.tobytes()), int(there[finished].sum()))


def _keep(states: NDArray[np.uint8], own: Sequence[range]) -> None:
    """Forget the records outside of these ranges, which ascend."""
    end = 0
    for part in own:
        states[end : part.start] = 0
        end = part.stop
    states[end:] = 0


def _add(counts: NDArray[Any], places: NDArray[Any]) -> NDArray[Any]:
    """Count one more at each of these places. The array grows where it must."""
    room = int(places.max()) + 1 if len(places) else 0
    if room > len(counts):
        counts = np.concatenate((counts, np.zeros(room - len(counts), counts.dtype)))
    np.add.at(counts, places, 1)
    return counts
