"""Folding with numpy: the rules of ``_few`` for all attempts of a part at once.

The records are sorted by attempt, and then the first records of all attempts are taken in one step, then the second
ones, and so on: as many steps as the busiest attempt has records.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from cot_distill.folding._parts import STEP, Folded, Part
from cot_distill.index_columns import ENTRY, tables
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import KINDS, NO_KIND

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["fold_many"]

_COMPLETION, _CUT, _FAILURE, _REFUSAL, _VERDICT, _TASK, _REOPENED = map(
    KINDS.index, ("completion", "cut", "failure", "refusal", "verdict", "task", "reopened")
)
_STEP = np.uint64(STEP)

Columns = dict[str, "NDArray[Any]"]


def fold_many(index: IndexFile, part: Part, *, view: bool) -> Folded:
    """Fold one part. As :func:`cot_distill.folding.fold`."""
    rows = _read(index, part, "order" if view else "mark")
    high, low, attempt = rows["high"], rows["low"], rows["attempt"]
    if not len(high):
        return Folded()
    new_task = _changes(high, low)
    starts = np.flatnonzero(_changes(high, low, attempt))
    answer, kind, task, verdict = _settle(rows, starts, view=view)

    there = np.flatnonzero(answer >= 0)
    answer, kind, task, verdict, starts = (column[there] for column in (answer, kind, task, verdict, starts))
    number, none = rows["number"], len(index)
    tasks_of = np.cumsum(new_task)[starts]
    folded = Folded(
        answers=_array(number[answer]),
        tasks=_array(np.where(task >= 0, number[task], none)),
        verdicts=_array(np.where(verdict >= 0, number[verdict], none)),
    )
    if view:
        folded.orders = _array(_newest_order(tasks_of, number[answer], rows["order"][answer]))
    else:
        folded.spots = _array(high[starts] ^ attempt[starts].astype(np.uint64) * _STEP)
        folded.kinds = _array(kind)
        folded.marks = _array(np.where(verdict >= 0, rows["mark"][verdict], 0))
    return folded


def _read(index: IndexFile, part: Part, extra: str) -> Columns:
    """Columns of the records of a part, sorted by attempt, and those of an attempt in the order of writing."""
    names = ("high", "low", "attempt", "kind", "prompt", extra)
    rows: Columns = {name: np.empty(part.records, ENTRY[name].newbyteorder("=")) for name in names}
    rows["number"] = np.empty(part.records, "u4" if len(index) < 1 << 32 else "u8")
    end = 0
    for start, table in tables(index):
        first = table["first"]
        wanted = np.flatnonzero((first >= part.first) & (first <= part.last) & (table["kind"] <= _REOPENED))
        span = slice(end, end + len(wanted))
        for name in names:
            rows[name][span] = table[name][wanted]
        rows["number"][span] = wanted + start
        end = span.stop
    order = np.lexsort((rows["attempt"][:end], rows["low"][:end], rows["high"][:end]))  # stable
    for name in list(rows):
        rows[name] = rows[name][order]
    return rows


def _settle(rows: Columns, starts: NDArray[Any], *, view: bool) -> tuple[NDArray[Any], ...]:
    """For each attempt the rows of its answer, corrected task and verdict, -1 for none, and the answer's kind."""
    prompt, kinds = rows["prompt"], rows["kind"]
    counts = np.diff(np.append(starts, len(kinds)))
    answer, task, verdict = (np.full(len(starts), -1, np.int64) for _ in range(3))
    kind = np.full(len(starts), NO_KIND, np.uint8)
    places = np.arange(len(starts))
    for turn in range(int(counts.max())):
        places = places[counts[places] > turn]
        row = starts[places] + turn
        now, before = kinds[row], kind[places]

        fails = (now == _FAILURE) | (view & (now == _REFUSAL))
        replaceable = (before == _COMPLETION) | (before == _CUT) | (before == _REOPENED)
        stays = fails & replaceable & (prompt[answer[places]] == prompt[row])
        answers = (now <= _REFUSAL) & ~stays
        which = places[answers]
        answer[which], kind[which] = row[answers], now[answers]
        task[which] = verdict[which] = -1

        there = before != NO_KIND
        corrected, judged = there & (now == _TASK), there & (now == _VERDICT)
        task[places[corrected]], verdict[places[corrected]] = row[corrected], -1
        verdict[places[judged]] = row[judged]
        if not view:
            kind[places[there & (now == _REOPENED)]] = _REOPENED
    return answer, kind, task, verdict


def _newest_order(tasks: NDArray[Any], numbers: NDArray[Any], orders: NDArray[Any]) -> NDArray[Any]:
    """For each attempt the order in the newest answer among those to the same task. ``tasks`` ascends."""
    begins = np.flatnonzero(np.append(True, tasks[1:] != tasks[:-1])) if len(tasks) else np.empty(0, np.int64)
    if len(begins) == len(tasks):
        return orders
    sizes = np.diff(np.append(begins, len(tasks)))
    newest = numbers == np.repeat(np.maximum.reduceat(numbers, begins), sizes)
    return np.repeat(orders[newest], sizes)


def _changes(*columns: NDArray[Any]) -> NDArray[Any]:
    """Whether each row differs from the one before in any of these columns; the first one does."""
    changed = np.ones(len(columns[0]), bool)
    changed[1:] = False
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed


def _array(column: NDArray[Any]) -> array[int]:
    values = array("Q")
    values.frombytes(column.astype("=u8").tobytes())
    return values
