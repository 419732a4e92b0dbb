"""What answers tell of the load: how many come in a second, and how long one takes.

It knows sums and their errors; nothing of limits. All results are logarithms, since only ratios matter here: with
Little's law (in flight = rate x latency) a product becomes a sum.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Flow", "Meter", "Window"]

_FEWEST, _MOST = 32, 512
"""Answers that a measurement takes: no fewer, since their lengths differ by a factor of ten; no more, for time."""
_SHARE_OF_ROUND = 1 / 4
"""It spans this part of a round trip at least, since answers that come in together have seen the same moment."""
_PRECISE = 0.04
"""It ends early at this relative error: a fifth of what a trial changes."""
_TINY = 1e-9


class Flow(NamedTuple):
    """Answers per second and mean number in flight over a span of time, as logarithms."""

    rate: float
    in_flight: float
    answers: int


class Window:
    """The answers since some moment, and those of them that were also sent since then.

    Args:
        since: Its beginning, in seconds.
        number: The last request that was sent before.
        exposure: Requests in flight, summed over the time before, in seconds.
    """

    def __init__(self, since: float, number: int, exposure: float) -> None:
        self.since, self.number, self.exposure = since, number, exposure
        self.answers = 0
        """Answers that came, whenever they were sent."""
        self.count = self._seconds = self._work = self._ss = self._sw = self._ww = self._levels = 0.0

    def add(self, seconds: float, work: float, in_flight: int) -> None:
        """Take in an answer: its latency, its length, and how many were in flight when it was sent."""
        self.count += 1
        self._seconds += seconds
        self._work += work
        self._ss += seconds * seconds
        self._sw += seconds * work
        self._ww += work * work
        self._levels += math.log(max(1, in_flight))

    def fade(self, newer: Window) -> None:
        """Take in a newer window, and count what was there before half."""
        for name in ("count", "_seconds", "_work", "_ss", "_sw", "_ww", "_levels"):
            setattr(self, name, getattr(self, name) / 2 + getattr(newer, name))

    @property
    def level(self) -> float:
        """How many were in flight when the requests were sent."""
        return self._levels / self.count

    @property
    def ratio(self) -> float:
        """Seconds per token, right where no request waits, and too high where some do."""
        return math.log(max(self._seconds, _TINY) / self._work)

    def load(self, work: float) -> tuple[float, float]:
        """Seconds per token of an answer of this length, and the error.

        By linear regression of latency on length. The answers that are in first are the short ones: a plain mean
        would take that for speed, a ratio would take their waiting for slowness. This minds neither, nor whether
        load comes on top of a latency (a queue) or multiplies it (a GPU).
        """
        seconds, length = self._seconds / self.count, self._work / self.count
        spread = self._ww / self.count - length * length
        together = self._sw / self.count - seconds * length
        slope = max(0.0, together / spread) if spread > 1e-6 * length * length else 0.0
        expected = max(seconds + slope * (work - length), seconds / 8, _TINY)
        rest = max(0.0, self._ss / self.count - seconds * seconds - slope * together)
        reach = 1 + ((work - length) ** 2 / spread if slope else 0.0)
        return math.log(expected / work), math.sqrt(rest * reach / max(self.count - 2, 1)) / expected

    def is_enough(self, size: float, work: float) -> bool:
        """Whether the load is known well enough, or was measured for so long that the rest is bad luck."""
        if self.count < max(_FEWEST, _SHARE_OF_ROUND * size):
            return False
        return self.load(work)[1] < _PRECISE or self.count >= min(_MOST, max(3 * _FEWEST, 2 * size))


class Meter:
    """Counts what is under way, and how long answers are."""

    def __init__(self) -> None:
        self.number = 0
        """The last request that was sent."""
        self.in_flight = 0
        self.peak = 0
        """The most that were in flight since this was last set to 0."""
        self.counts_tokens: bool | None = None
        """Whether the answers come with a number of tokens; None before the first."""
        self.mean_work = 0.0
        """How long an answer is on average, in tokens; 1 where they are not counted."""
        self._answers = 0
        self._clock = self._exposure = 0.0

    def sent(self, now: float, in_flight: int) -> int:
        """Count a request. Returns its number."""
        self._tick(now)
        self.in_flight = in_flight
        self.peak = max(self.peak, in_flight)
        self.number += 1
        return self.number

    def ended(self, now: float) -> None:
        """A request ended, in whatever way."""
        self._tick(now)
        self.in_flight = max(0, self.in_flight - 1)

    def work(self, tokens: int | None) -> float:
        """What the latency of an answer is divided by. Tokens are counted or they are not; gaps are filled."""
        if self.counts_tokens is None:
            self.counts_tokens = tokens is not None
        work = float(tokens or self.mean_work or 1) if self.counts_tokens else 1.0
        self._answers += 1
        self.mean_work += max(1 / 512, 1 / self._answers) * (work - self.mean_work)
        return work

    def window(self, now: float) -> Window:
        """Begin a window."""
        self._tick(now)
        return Window(now, self.number, self._exposure)

    def flow(self, now: float, window: Window) -> Flow:
        """What went through since a window began."""
        self._tick(now)
        seconds = max(now - window.since, _TINY)
        in_flight = max((self._exposure - window.exposure) / seconds, _TINY)
        return Flow(math.log(max(window.answers, 1) / seconds), math.log(in_flight), window.answers)

    def _tick(self, now: float) -> None:
        self._exposure += self.in_flight * max(0.0, now - self._clock)
        self._clock = max(self._clock, now)
