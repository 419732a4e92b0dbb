"""What refusals do to the limit: how far it comes down, how long to wait, how it creeps up again, when to give up.

It knows requests by their numbers, and the limit as a number that it is given and returns changed.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from cot_distill.adaptive_noise import Noise

__all__ = ["Refusals", "Sent"]

_CREEP = 100
"""Answers for one more slot after a refusal. Where the endpoint refuses it again, that is 1 % of the requests."""
_SLOTS_CREEP = 32
"""The same for the smallest limits, in answers per slot of the limit, so that none takes for ever to leave."""
_CREEP_SHARE = 0.01
"""By how much a large limit creeps in that time, where it was strained."""
_RECENT = 1 / 200
"""Weight of one request in the share of refused ones."""
_TOLERATED = 0.015
"""Share of refused requests above which a refusal is not just the price of looking for the limit."""
_CUT = 0.92
"""What a refusal above that share leaves of the limit; the next one leaves the square of it, then the cube."""
_DEEPEST = 0.5
"""What one episode leaves at least: its effect shows only once requests that were sent after the cut come back."""
_COLLAPSED = 0.25
"""A limit that a series of cuts left below this part says little of the endpoint: it starts anew, not by slots."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0
"""Seconds without requests after nothing at all was accepted."""
_PAUSES_SHARE = 0.25
"""A pause as part of the time since the last answer: whenever the endpoint is back, little more is lost."""
_LONGEST_WORD = 5.0
"""Seconds that a new slot is given to be refused, at most: as long as the last one took, but some take minutes."""
_HINTS_SHARE = 1 / 20
"""Share of the time that may pass in pauses which the server asks for whenever the limit is found again."""
_PATIENCE = 300.0
"""Seconds of nothing but refusals until the endpoint counts as broken."""
_BARREN = 4
"""Refused tries that it takes besides, each after a pause, so that one long pause is not enough."""


class Sent(NamedTuple):
    """A request under way: what ``AdaptiveLimit.sent`` returns, to be given back when it ends."""

    number: int
    at: float
    in_flight: int


class Refusals:
    """The refusals of one endpoint.

    A request that is refused tells how many were accepted beside it, and the limit comes down to that. Only where
    refusals go on is it cut by more than it must. One episode lasts until requests come back that were sent after
    its cut; what else is refused in it only tells better how many were accepted.
    """

    def __init__(self) -> None:
        self.blocked_until = -math.inf
        self.broken: str | None = None
        self.creeping = False
        """Whether the limit was set by a refusal, and goes up slot by slot."""
        self.storm = False
        """Whether nothing is accepted at all."""
        self._noise = Noise()
        self._newest = 0  # the last request that was sent
        self._cut_at = 0  # requests up to this number were sent before the last cut
        self._floor = 0.0  # what the present episode leaves at least
        self._after = 0.0  # the limit after the last cut
        self._top = 0.0  # the limit before the series of cuts that it ends
        self._share = 0.0
        self._strain = 0  # refusals in a row, without a slot gained in between, that were more than is tolerated
        self._barren = 0  # tries that found nothing accepted, less the answers since
        self._since: float | None = None  # the first refusal after the last answer
        self._left = self._pace = 0  # answers until the next slot, and from there to the one after it
        self._not_before = self._word = 0.0  # time of the next slot at the earliest; seconds that a refusal takes

    def answered(self, sent: Sent) -> None:
        """An answer came: something is accepted."""
        self._noise.count(sent.in_flight, refused=False)
        self._share *= 1 - _RECENT
        if self.storm:  # what was refused in it says nothing of an endpoint that is back
            self._share, self._barren = self._noise.share, 1
        self._barren = max(0, self._barren - 1)
        self._since, self.storm = None, False

    def sent(self, number: int) -> None:
        """A request leaves. If the endpoint counted as broken, someone tries anew: so do we."""
        self._newest = number
        if self.broken is not None:
            self.broken, self._since, self._barren = None, None, 0

    def is_noise(self, now: float, sent: Sent, hint: float) -> bool:
        """Count a refusal, and tell whether it is one of those that would come whatever we do: then only wait."""
        self._noise.count(sent.in_flight, refused=True)
        if not self._noise.share and self._noise.is_found():
            self._share = self._noise.share
        elif self._noise.share and not self._noise.is_still():
            self._noise.lost()
        if not self._noise.share or self._share > self._noise.tolerated:
            return False
        self._share += _RECENT * (1 - self._share)
        self._strain, self.creeping = 0, False
        self._hint(now, hint)
        return True

    def is_new(self, sent: Sent) -> bool:
        """Whether the request was sent after the last cut."""
        return sent.number > self._cut_at

    def begin_episode(self) -> None:
        """What was sent up to now shall not cause a further cut."""
        self._cut_at = self._newest

    def refused(self, now: float, sent: Sent, size: float, in_flight: int, hint: float, absent: bool) -> float:
        """The limit after a refusal.

        Args:
            now: The time in seconds.
            sent: The refused request.
            size: The limit before.
            in_flight: Requests still under way.
            hint: Seconds that the server asks to wait, or 0.
            absent: Whether it may be that the endpoint is not there at all.
        """
        self._share += _RECENT * (1 - self._share)
        self._since = now if self._since is None and absent else self._since
        self._hint(now, hint)
        accepted = sent.in_flight - 1.0
        if in_flight == 0 and absent:
            self._pause(now)
        if not self.is_new(sent):
            return 1.0 if self.storm else max(self._floor, min(size, accepted))
        self.begin_episode()
        if self.storm:
            return 1.0
        self._floor = max(1.0, _DEEPEST * size)
        if self._share <= max(_TOLERATED, self._noise.tolerated):
            self._strain = 0
        else:
            self._strain = self._strain + 1 if size <= self._after else 1
        if self._strain < 2:
            self._top = size
        target = accepted if self._strain < 2 else min(size - 1, size * _CUT ** (self._strain - 1))
        self._after = max(self._floor, min(size, target))
        self._word = min(now - sent.at, _LONGEST_WORD)
        self._start_creeping(now, hint)
        return self._after

    def _hint(self, now: float, hint: float) -> None:
        if hint > 0:
            self.blocked_until = max(self.blocked_until, now + hint)

    def _pause(self, now: float) -> None:
        """Nothing was accepted and nothing is under way: wait, ever longer, then try with a single request."""
        self._barren += 1
        self.storm = self._barren > 1
        since = now if self._since is None else self._since
        pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, _PAUSES_SHARE * (now - since)))
        self.blocked_until = max(self.blocked_until, now + pause)
        if now - since >= _PATIENCE and self._barren >= _BARREN:
            self.broken = f"it has accepted no request for {(now - since) / 60:.0f} minutes"

    def _start_creeping(self, now: float, hint: float) -> None:
        per_slot = _CREEP / max(1.0, _CREEP_SHARE * self._after) if self._strain > 1 else _CREEP
        self.creeping = True
        self._pace = self._left = max(1, int(min(per_slot, _SLOTS_CREEP * self._after)))
        self._not_before = now + (hint / _HINTS_SHARE if self._strain < 2 else 0.0)
        if self._after < _COLLAPSED * self._top:
            self._pace, self._left = 0, int(self._after) + 1

    def creep(self, now: float, size: float) -> int | None:
        """To be asked with each answer while the limit creeps.

        Each slot that is not refused makes the next come sooner.

        Returns:
            Slots to add, 0 or 1; None when one with every answer would be due, so that creeping is over.
        """
        self._left -= 1
        if self._left > 0 or now < self._not_before:
            return 0
        if self._strain < 2 or size >= 1.25 * self._after:
            self._pace //= 2  # an allowance that refills hides for a while that it is overdrawn: go slowly there
        self._left, self._not_before = self._pace, now + self._word  # by then it would have been refused
        return 1 if self._pace else None
