"""Folding one record after the other: the rules, as they are read most easily."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cot_distill.folding._parts import Folded, Part, spot_of
from cot_distill.index_file import IndexFile
from cot_distill.journal_index import ENTRY_BYTES, KINDS, known_fields, order_in, place_at

__all__ = ["fold_few"]

_ANSWERS = frozenset(("completion", "cut", "failure", "refusal"))
_REPLACEABLE = frozenset(("completion", "cut", "reopened"))


@dataclass(slots=True)
class _State:
    number: int
    kind: str
    prompt: bytes
    order: int
    task: int
    verdict: int
    mark: int = 0


def fold_few(index: IndexFile, part: Part, *, view: bool) -> Folded:
    """Fold one part, one record after the other. As :func:`cot_distill.folding.fold`."""
    none = len(index)
    states: dict[bytes, _State] = {}
    for number, entry in _entries_of(index, part):
        place = place_at(entry)
        kind, prompt, _, mark = known_fields(entry)
        state = states.get(place)
        if kind in _ANSWERS:
            fails = kind == "failure" or (view and kind == "refusal")
            # An answer that was to be replaced, and could not be, outlives the failure.
            if state is None or not fails or state.kind not in _REPLACEABLE or state.prompt != prompt:
                states[place] = _State(number, kind, prompt, order_in(entry), none, none)
        elif state is None:
            continue
        elif kind == "task":
            state.task, state.verdict, state.mark = number, none, 0
        elif kind == "verdict":
            state.verdict, state.mark = number, mark
        elif kind == "reopened" and not view:
            state.kind = kind
    folded = Folded()
    for place in sorted(states):
        state = states[place]
        folded.answers.append(state.number)
        folded.tasks.append(state.task)
        folded.verdicts.append(state.verdict)
        if not view:
            folded.spots.append(spot_of(place))
            folded.kinds.append(KINDS.index(state.kind))
            folded.marks.append(state.mark)
    if view:
        folded.orders.extend(_newest_orders(states))
    return folded


def _newest_orders(states: dict[bytes, _State]) -> Iterator[int]:
    """For each attempt, sorted, the order in the newest answer among those to the same task."""
    newest: dict[bytes, _State] = {}
    for place, state in states.items():
        before = newest.get(place[:16])
        if before is None or state.number > before.number:
            newest[place[:16]] = state
    return (newest[place[:16]].order for place in sorted(states))


def _entries_of(index: IndexFile, part: Part) -> Iterator[tuple[int, bytes]]:
    """The entries of a part, packed, with their numbers."""
    wanted = re.compile(b"[%b-%b]" % (re.escape(bytes([part.first])), re.escape(bytes([part.last]))))
    for number, chunk in index.chunks():
        for found in wanted.finditer(chunk[::ENTRY_BYTES]):
            at = found.start() * ENTRY_BYTES
            yield number + found.start(), chunk[at : at + ENTRY_BYTES]
