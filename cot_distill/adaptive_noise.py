"""Refusals that say nothing of our load: an endpoint that refuses a part of whatever it is asked, however little.

Others fill it, or a proxy in front of it draws lots. To ask less would then bring less, and no fewer refusals. They
are told by comparing the share that was refused of requests sent with few others in flight to that of requests sent
with many: a limit on requests at once or per minute refuses none of the former.
"""

from __future__ import annotations

__all__ = ["Noise"]

_LEVELS = 16
_MEMORY = 600.0
"""Requests that are remembered; older ones count less and less."""
_LOW = 2
"""Powers of two between few and many in flight."""
_ENOUGH = 40
"""Requests with few in flight that it takes."""
_REFUSED = 3
"""Those of them that must have been refused."""
_MOST = 0.35
"""An endpoint that refuses more than this part has trouble of its own, and is asked less in any case."""
_ALIKE = 0.5
"""The share with few in flight is at least this part of that with many."""
_ABOVE = 2.0
"""Where so many times the share is refused after all, it was no noise."""
_ONCE_MORE = 2000
"""Requests before it may be taken for noise again; doubled each time."""


class Noise:
    """Finds out whether refusals depend on how much is in flight."""

    def __init__(self) -> None:
        self.share = 0.0
        """The part of the requests that is refused whatever we do; 0 where that is not known."""
        self._asked = [0.0] * _LEVELS
        self._refused = [0.0] * _LEVELS
        self._not_before = self._number = 0
        self._pause = _ONCE_MORE

    @property
    def tolerated(self) -> float:
        """The share of refused requests up to which nothing is to be done."""
        return _ABOVE * self.share

    def count(self, in_flight: int, *, refused: bool) -> None:
        """A request ended that was sent with so many in flight."""
        level = min(in_flight.bit_length() - 1, _LEVELS - 1)
        self._asked[level] += 1
        self._refused[level] += refused
        self._number += 1
        if sum(self._asked) > _MEMORY:
            self._asked = [count / 2 for count in self._asked]
            self._refused = [count / 2 for count in self._refused]

    def is_found(self) -> bool:
        """Whether the refusals do not depend on us. If so, :attr:`share` is set."""
        if self._number < self._not_before:
            return False
        top = max((level for level, asked in enumerate(self._asked) if asked >= _ENOUGH / 2), default=0)
        asked, refused = self._sums(0, max(1, top - _LOW + 1))
        if asked < _ENOUGH or refused < _REFUSED:
            return False
        few, many = refused / asked, 0.0
        if top:  # else there never was more than one in flight
            asked, refused = self._sums(top, _LEVELS)
            many = refused / asked
        if max(few, many) > _MOST or few < _ALIKE * many:
            return False
        self.share = max(few, many)
        return True

    def is_still(self) -> bool:
        """Whether as many are refused as ever where only few are in flight, as far as there were any."""
        top = max((level for level, asked in enumerate(self._asked) if asked >= _ENOUGH / 2), default=0)
        asked, refused = self._sums(0, max(1, top - _LOW + 1))
        return asked < _ENOUGH or refused >= _ALIKE / 2 * self.share * asked

    def lost(self) -> None:
        """It was no noise, or is none any more."""
        self.share = 0.0
        self._not_before, self._pause = self._number + self._pause, 2 * self._pause
        self._asked, self._refused = [0.0] * _LEVELS, [0.0] * _LEVELS

    def _sums(self, begin: int, end: int) -> tuple[float, float]:
        """Requests and refusals of these levels."""
        return sum(self._asked[begin:end]), sum(self._refused[begin:end])
