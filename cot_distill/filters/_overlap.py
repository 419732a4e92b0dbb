"""Which runs of words stand in a set of texts, as a sorted list of hashes.

This file knows words and places; neither samples nor files. It is imported when it is needed, since it needs numpy.

A run takes 12 bytes: 8 of hash and 4 for the place it was first found at, so a million runs take 12 MB (50 MB while
they are sorted). The text itself is not kept, so that a hash that is found cannot be compared with the words
behind it: with a million runs held, a run of other words is taken for one of them with a chance of 5 in 10**14.
"""

from __future__ import annotations

from array import array

import numpy as np

from cot_distill.filters._text import digest, grams, words

__all__ = ["Overlap"]


class Overlap:
    """Gathers texts with :meth:`add`; then finds what another text has in common with them.

    A text of fewer than ``n`` words is taken as a whole: it is found in a text that is the same, word by word.

    Args:
        n: Words in a run.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._hashes = array("Q")
        self._places = array("I")
        self._sorted = False

    def __len__(self) -> int:
        """How many runs there are; before the first search, those that stand in several places counted for each."""
        return len(self._hashes)

    def add(self, text: str, place: int) -> None:
        """Take a text in.

        Args:
            text: The text.
            place: A number below 2**32 for where it stands.
        """
        runs = [digest(run) for run in self._runs(words(text), text)]
        self._hashes.extend(runs)
        self._places.extend([place] * len(runs))
        self._sorted = False

    def find(self, text: str, *, whole: bool = True) -> tuple[int, str] | None:
        """Find the first passage of a text that stands in one of those that were taken in.

        Args:
            text: The text to look through.
            whole: Also look for a text of fewer than ``n`` words, as a whole.

        Returns:
            The place, and the passage in lower case and without punctuation, as long as it goes on; or None.
        """
        self._sort()
        found = words(text)
        if not len(self) or (len(found) < self._n and not whole):
            return None
        hashes = np.frombuffer(self._hashes, np.uint64)
        runs = np.array([digest(run) for run in self._runs(found, text)], np.uint64)
        at = np.searchsorted(hashes, runs)
        at[at == len(hashes)] = 0
        hits = hashes[at] == runs
        if not hits.any():
            return None
        first = int(hits.argmax())
        length = len(hits) - first if hits[first:].all() else int((~hits[first:]).argmax())
        passage = " ".join(found[first : first + length + self._n - 1]) or text.strip()
        return self._places[int(at[first])], passage

    def _runs(self, found: list[str], text: str) -> list[str]:
        if len(found) >= self._n:
            return list(grams(found, self._n))
        # Marked, so that it is no run. In a short text signs matter: 2 + 2 is not 2 - 2.
        return ["=" + "".join(text.casefold().split()).rstrip(".?!:")]

    def _sort(self) -> None:
        if not self._sorted:
            hashes, first = np.unique(np.frombuffer(self._hashes, np.uint64), return_index=True)
            places = np.frombuffer(self._places, np.uint32)[first]
            self._hashes, self._places = array("Q", hashes.tobytes()), array("I", places.tobytes())
            self._sorted = True
