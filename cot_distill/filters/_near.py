"""Which of the texts seen so far is nearly the same: MinHash signatures, found again by their bands.

This file knows sets of text pieces and numbers of rows; neither samples nor words. It is imported when near
duplicates are asked for, not before, since it needs numpy, and rensa to make signatures.

The signature of a set is 128 numbers; of two sets the share of equal numbers estimates the Jaccard similarity
(Broder, "On the resemblance and containment of documents", 1997), with a standard error of 0.035 at 0.8. Only sets
that agree in a whole band of numbers are compared (locality-sensitive hashing). A row takes about 500 bytes: 256 of
signature (16 of the 32 bits of each number, so that two unequal ones look alike once in 65,536 times), and for each
of about 20 bands a place in a hash table and a link to the row that was there before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from cot_distill.errors import MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NearIndex", "rows_per_band"]

_NUMBERS = 128
_SEED = 42
_MISS = 0.01  # how often a pair that is just as similar as asked for may be overlooked


class NearIndex:
    """Remembers sets; finds the first one that is similar enough.

    Args:
        near: The least Jaccard similarity that counts, above 0 and up to 1.

    Raises:
        MissingExtraError: rensa is not installed.
    """

    def __init__(self, near: float) -> None:
        try:
            from rensa import RMinHash
        except ImportError as error:
            raise MissingExtraError("dedup(near=…)", "dedup") from error
        self._minhash = RMinHash
        self._near = near
        self._rows = rows_per_band(near)
        self._bands = np.arange(_NUMBERS // self._rows)
        dice = np.random.default_rng(_SEED)
        # Odd factors, so that a band is hashed by a sum of products.
        self._factors = dice.integers(0, 2**63, size=(len(self._bands), self._rows), dtype=np.uint64) * 2 + 1
        # Arrays of the standard library grow in place, where those of numpy would be copied.
        self._signatures = array("H")
        self._links = array("I")  # for each row and band: the row before it in the same place of the table, plus 1
        self._table = np.zeros((len(self._bands), 1 << 10), np.uint32)  # for each place: the latest row, plus 1
        self._count = 0

    def signature(self, pieces: Iterable[str]) -> NDArray[np.uint16]:
        """Make the signature of a set.

        Args:
            pieces: Its elements; how often one comes does not matter.

        Returns:
            What :meth:`find` and :meth:`add` take, (128,).
        """
        minhash = self._minhash(_NUMBERS, _SEED)
        minhash.update(list(pieces))
        return np.array(minhash.digest(), np.uint32).astype(np.uint16)

    def find(self, signature: NDArray[np.uint16]) -> tuple[int, float] | None:
        """Find the first set that is similar enough.

        Args:
            signature: Of the set to look for.

        Returns:
            The number of its row, and how similar it is; None if there is none.
        """
        if not self._count:
            return None
        links = np.frombuffer(self._links, np.uint32).reshape(-1, len(self._bands))
        bands = self._bands
        rows = self._table[bands, self._places(signature)]
        found = []
        while (there := rows > 0).any():  # one step along all chains at once
            rows, bands = rows[there] - 1, bands[there]
            found.append(rows)
            rows = links[rows, bands]
        if not found:
            return None
        candidates = np.unique(np.concatenate(found))
        signatures = np.frombuffer(self._signatures, np.uint16).reshape(-1, _NUMBERS)
        equal = (signatures[candidates] == signature).sum(axis=1)
        similar = np.flatnonzero(equal >= self._near * _NUMBERS)
        return (int(candidates[similar[0]]), int(equal[similar[0]]) / _NUMBERS) if len(similar) else None

    def add(self, signature: NDArray[np.uint16]) -> int:
        """Remember a set.

        Args:
            signature: Of the set.

        Returns:
            The number of its row, from 0.
        """
        self._signatures.frombytes(signature.tobytes())
        self._links.frombytes(bytes(4 * len(self._bands)))
        self._count += 1
        if self._count > self._table.shape[1]:
            self._grow()
        else:
            self._link(self._count - 1)
        return self._count - 1

    def _places(self, signature: NDArray[np.uint16]) -> NDArray[np.uint64]:
        """The place in the table of each band, (bands,)."""
        numbers = signature[: len(self._bands) * self._rows].reshape(len(self._bands), self._rows)
        hashed: NDArray[np.uint64] = (numbers * self._factors).sum(axis=1, dtype=np.uint64)  # modulo 2**64
        bits = self._table.shape[1].bit_length() - 1
        return np.right_shift(hashed, 64 - bits)  # the high bits depend on all numbers

    def _link(self, row: int) -> None:
        links = np.frombuffer(self._links, np.uint32).reshape(-1, len(self._bands))
        signatures = np.frombuffer(self._signatures, np.uint16).reshape(-1, _NUMBERS)
        places = self._places(signatures[row])
        links[row] = self._table[self._bands, places]
        self._table[self._bands, places] = row + 1

    def _grow(self) -> None:
        """Twice the places, and every row linked anew: one place for each row keeps the chains short."""
        self._table = np.zeros((len(self._bands), 2 * self._table.shape[1]), np.uint32)
        for row in range(self._count):
            self._link(row)


def rows_per_band(near: float) -> int:
    """How many numbers make a band: as many as can be, since long bands give few candidates to compare.

    With ``b`` bands of ``r`` numbers, a pair of similarity ``s`` agrees in at least one band with probability
    ``1 - (1 - s**r)**b``; at ``s = near`` that must be at least 0.99.

    Args:
        near: The least similarity that counts.

    Returns:
        The number of rows in a band.

    Example:
        >>> [rows_per_band(near) for near in (0.5, 0.8, 0.9, 1)]
        [3, 6, 10, 128]
    """
    fitting = (rows for rows in range(_NUMBERS, 1, -1) if (1 - near**rows) ** (_NUMBERS // rows) <= _MISS)
    return next(fitting, 1)
