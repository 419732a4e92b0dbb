"""What became of each attempt, found from the entries of the index alone.

Records come as things happened: an attempt fails, is answered, judged, corrected, opened again. Folding takes the
records of each attempt in the order of writing and leaves the few numbers of records that still count. The rules are
written down twice: one record after the other, and with numpy for all attempts at once, which pays from some hundred
thousand records on. A test holds the two together.

Memory: the attempts are taken in parts, by the first byte of their task's key, and the index is read once for each
part. What is held at a time is one part of a bounded size, however many records there are.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from cot_distill.folding._few import fold_few
from cot_distill.folding._parts import Folded, parts_of, spot_of
from cot_distill.index_file import IndexFile

__all__ = ["MANY", "Folded", "fold", "sort", "spot_of"]

MANY = 300_000
"""Records from which on numpy is worth its import."""

_FEW_AT_ONCE = 1 << 12
_MANY_AT_ONCE = 1 << 18
_PASSES = 32
"""At most so often the index is read: with very many records the parts are larger instead."""


def fold(index: IndexFile, *, view: bool, many: int = MANY) -> Iterator[Folded]:
    """Fold all records, part by part, ordered by task and attempt.

    Args:
        index: The records.
        view: For showing what there is: an answer that was to be replaced stays in view where the endpoint then
            refused, and being opened again changes nothing yet. Otherwise for finding what is still to do.
        many: From how many records on numpy is used.
    """
    if len(index) < many:
        for part in parts_of(index, _FEW_AT_ONCE):
            yield fold_few(index, part, view=view)
        return
    from cot_distill.folding._many import fold_many  # here, since it imports numpy

    for part in parts_of(index, max(_MANY_AT_ONCE, len(index) // _PASSES)):
        yield fold_many(index, part, view=view)


def sort(words: array[int]) -> array[int]:
    """Sort an array of type ``"Q"``; it may be the same one that is returned."""
    if len(words) < MANY:
        return array("Q", sorted(words))
    import numpy as np

    np.frombuffer(words, np.uint64).sort()
    return words
