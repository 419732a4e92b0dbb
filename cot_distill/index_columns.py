"""The entries of an index as columns of numpy, many thousand at once. Imported where that pays only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from cot_distill.index_file import IndexFile
from cot_distill.journal_index import COLUMNS, ENTRY_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ENTRY", "tables"]

ENTRY = np.dtype(
    {
        "names": list(COLUMNS),
        "formats": [kind for kind, _ in COLUMNS.values()],
        "offsets": [offset for _, offset in COLUMNS.values()],
        "itemsize": ENTRY_BYTES,
    }
)
"""The type of an entry; its fields are those of :data:`~cot_distill.journal_index.COLUMNS`."""


def tables(index: IndexFile) -> Iterator[tuple[int, NDArray[Any]]]:
    """All entries in pieces, each an array of :data:`ENTRY`, with the number of its first record."""
    for start, chunk in index.chunks():
        yield start, np.frombuffer(chunk, ENTRY)
