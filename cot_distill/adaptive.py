"""How many requests an endpoint can take at once, found while asking it: ``concurrency="auto"``.

It knows times, numbers in flight and how requests ended; not what a request is, not a clock, not a task. Every moment
is passed in, so a test can live a year in a second. State is a few numbers, whatever the length of the run.

An endpoint shows its limit in one of three ways, and each is found in its own:

* It *queues*, or slows down: more in flight, not more per second. The limit is raised as a trial, and kept where the
  answers speed up with it; lowered as a trial, and kept where they do not slow down.
* It *refuses* (429, 529, 503): the limit comes down to what was accepted, and creeps up to where it is refused again.
* It *fails* (time-outs, 5xx): only when most do; a few are the network's trouble, and asking less would not help.

docs/design/adaptive-concurrency.md says why, and what simulations show.
"""

from __future__ import annotations

import math
from typing import Literal

from cot_distill.adaptive_load import Flow, Meter, Window
from cot_distill.adaptive_refusals import Refusals, Sent

__all__ = ["AdaptiveLimit", "Sent"]

_START = 8
"""Requests at once to begin with: a burst that no endpoint minds, and not many more than a small server takes."""
_MOST = 2048
"""Requests at once at most, where the caller sets no other bound: about what one process can feed."""
_PAYS = 0.2
"""More in flight pays where the answers per second rise by this part of it. A GPU's curve, which flattens slowly, is
followed up to there; a queue gains nothing."""
_STEP = 1.5
"""How far a trial upwards goes: far enough to be told from noise. It costs no throughput, only waiting."""
_STEP_DOWN = 0.8
"""How far a trial downwards goes where nothing says how far it should: it may cost throughput, so less far."""
_HEADROOM = 1.25
"""The limit over the estimated knee: too high costs a little waiting at the server, too low costs throughput."""
_QUEUE = 1.3
"""A latency this many times the least ever seen shows a queue, if the endpoint is still the same: worth a trial."""
_TOO_SLOW = 6.0
"""A latency this many times the least ends the start, even if the rate rises: answers may just be getting shorter."""
_REST = 4
"""Measurements between trials: a capacity that doubles is found within some ten round trips."""
_SAME = 0.04
"""A loss of throughput below this is none."""
_CHANGED = 0.15
"""A latency that changes by more than this, and by three errors, makes a trial due at once."""
_LATELY = 1 / 32
"""Weight of one request in the share of failed ones."""
_MOST_FAIL, _ALL_TIME_OUT = 0.5, 0.9
"""Such shares above which the endpoint is overloaded or gone. Half of the answers may really need longer than the
time-out: less in flight would not help them, and cost the others."""


class AdaptiveLimit:
    """The number of requests that may be in flight to one endpoint.

    It is told of every request that is sent and how it ended, and holds its conclusions in :attr:`limit`,
    :attr:`blocked_until` and :attr:`broken`. All times are seconds on one clock that never goes back.

    Args:
        start: Requests at once to begin with.
        most: Requests at once at most.

    Example:
        >>> limit = AdaptiveLimit(start=2, most=8)
        >>> first, second = limit.sent(0.0, 1), limit.sent(0.0, 2)
        >>> limit.answered(1.0, first, tokens=500)
        >>> limit.limit
        3
        >>> limit.refused(1.5, second, hint=20.0)
        >>> limit.limit, limit.blocked_until
        (1, 21.5)
    """

    def __init__(self, start: int = _START, most: int = _MOST) -> None:
        if min(start, most) < 1:
            raise ValueError("start and most must be at least 1")
        self._most = float(most)
        self._size = float(min(start, most))
        self._gate = math.inf  # under the limit for a while after a pause: what has drained is not sent in one burst
        self._meter = Meter()
        self._refusals = Refusals()
        self._failed_share = 0.0
        self._phase: Literal["start", "hold", "up", "down", "storm"] = "start"
        self._window = self._meter.window(0.0)
        self._settle = 0  # answers to leave out
        self._load, self._best = 0.0, math.inf  # seconds per token: the latest, and the least ever; as logarithms
        self._began_at = self._group = self._size  # the limit at the start, and at the last doubling
        self._halfway = False
        self._before: Flow | None = None  # the doubling before
        self._base: Window | None = None  # the level that a trial is compared with
        self._home = self._top = self._target = self._size
        self._rest = 0
        self._explored = False  # whether it is known that less would not do
        self._late = False  # whether a time-out ended the start

    @property
    def limit(self) -> int:
        """Requests that may be in flight, at least one."""
        return max(1, int(min(self._size, self._gate) + 1e-9))

    @property
    def blocked_until(self) -> float:
        """No request may be sent before: what the server asks for, or our own pause where nothing is accepted."""
        return self._refusals.blocked_until

    @property
    def broken(self) -> str | None:
        """Why it is pointless to go on, as the end of a sentence; None while it is not, and again once one tries."""
        return self._refusals.broken

    # --- what happens ---

    def sent(self, now: float, in_flight: int) -> Sent:
        """A request leaves.

        Args:
            now: The time in seconds.
            in_flight: Requests under way, with this one.

        Returns:
            What to pass on when it ends.
        """
        number = self._meter.sent(now, in_flight)
        self._refusals.sent(number)
        return Sent(number, now, in_flight)

    def answered(self, now: float, sent: Sent, tokens: int | None = None) -> None:
        """A usable answer came.

        Args:
            now: The time in seconds.
            sent: The request.
            tokens: How much was generated: the provider's count, or an estimate from the length of the text. It
                takes the lengths of the answers out of their latencies; without it, measuring takes longer.
        """
        self._meter.ended(now)
        self._failed_share *= 1 - _LATELY
        self._refusals.answered(sent)
        if self._phase == "storm":
            self._failed_share = 0.0  # what failed before says nothing of an endpoint that is back
            self._begin(now)
        self._gate = self._gate + 1 if self._gate + 1 < self._size else math.inf
        self._shut_gate(now)
        work = self._meter.work(tokens)
        self._window.answers += 1
        if sent.number > self._window.number:  # what was sent before says nothing of this level
            if self._settle:
                self._settle -= 1  # the first to come back are the short ones
            else:
                self._window.add(max(0.0, now - sent.at), work, sent.in_flight)
        if self._phase == "start":
            self._go_on_starting(now)
        elif self._phase == "up" and self._size < self._target:
            self._go_on_climbing(now)
        else:
            self._creep(now)
            if self._window.is_enough(self._size, self._meter.mean_work):
                self._judge(now)

    def refused(self, now: float, sent: Sent, hint: float | None = None) -> None:
        """The endpoint said that it is too much: 429, 529, or a 503 that speaks of load.

        Args:
            now: The time in seconds.
            sent: The request.
            hint: How long the server asks to wait, in seconds.
        """
        self._meter.ended(now)
        braked = self._refusals.creeping
        if self._refusals.is_noise(now, sent, hint or 0.0):
            if braked:
                self._begin(now)
            return
        self._overloaded(now, sent, hint or 0.0)

    def failed(self, now: float, sent: Sent, *, timed_out: bool = False) -> None:
        """There was no answer, for a reason that need not be load: a 5xx, a reset, a time-out.

        Args:
            now: The time in seconds.
            sent: The request.
            timed_out: We gave up waiting. It may have been a very long answer: no sign that the endpoint is gone.
        """
        self._meter.ended(now)
        self._failed_share += _LATELY * (1 - self._failed_share)
        if self._failed_share > (_ALL_TIME_OUT if timed_out else _MOST_FAIL):
            self._overloaded(now, sent, 0.0, absent=not timed_out)
        elif timed_out and self._phase == "start":  # it may be the load: go no further, and try less first
            self._size, self._late = max(self._began_at, self._size / 2), True
            self._hold(now)

    def abandoned(self, now: float) -> None:
        """A request was cancelled: it says nothing of the endpoint."""
        self._meter.ended(now)

    def _overloaded(self, now: float, sent: Sent, hint: float, *, absent: bool = True) -> None:
        new = self._refusals.is_new(sent)
        if new and self._phase == "up":
            self._size = min(self._size, max(self._home, sent.in_flight - 1.0))
        self._size = self._refusals.refused(now, sent, self._size, self._meter.in_flight, hint, absent)
        self._shut_gate(now)
        if self._refusals.storm:
            self._phase = "storm"
        elif new:
            self._hold(now, self._base if self._phase == "hold" else None)

    # --- the limit ---

    def _shut_gate(self, now: float) -> None:
        """After a pause, up to half the limit may leave at once; the rest follows with the answers."""
        if now < self.blocked_until:
            self._gate = max(self._meter.in_flight, self._size / 2)

    def _is_used(self) -> bool:
        """Whether the limit, and nothing else, is what limits the requests."""
        return self._meter.peak >= 0.9 * self.limit

    def _grow(self, by: float) -> None:
        if self._is_used() and self._size < self._most:
            self._size = min(self._most, self._size + by)
            self._meter.peak = 0

    def _creep(self, now: float) -> None:
        if self._phase != "hold" or not self._refusals.creeping or not self._is_used():
            return
        slots = self._refusals.creep(now, self._size)
        self._begin(now) if slots is None else self._grow(slots)

    def _measure(self, now: float, *, settle: bool = True) -> None:
        self._window = self._meter.window(now)
        self._settle = int(self._size / 2) if settle else 0
        self._meter.peak = 0

    # --- start: twice as many each round trip, while that pays ---

    def _begin(self, now: float, before: Flow | None = None) -> None:
        self._phase, self._before, self._explored, self._began_at = "start", before, False, self._size
        self._refusals.creeping = False
        self._new_group(now)

    def _new_group(self, now: float) -> None:
        self._group, self._halfway = self._size, False
        self._measure(now, settle=False)

    def _go_on_starting(self, now: float) -> None:
        self._grow(1)
        full = self._size >= self._most
        if self._size >= 2 * self._group or self._window.answers >= 4 * self._size or full:
            if not self._is_flat(now):
                self._before = self._meter.flow(now, self._window)
                self._hold(now) if full else self._new_group(now)
        elif not self._halfway and self._size >= math.sqrt(2) * self._group:
            self._halfway = True
            self._is_flat(now)

    def _is_flat(self, now: float) -> bool:
        """Whether the last growth brought no more answers per second. If so, take it back."""
        flow, before, slow = self._meter.flow(now, self._window), self._before, False
        if self._meter.counts_tokens and self._window.count >= 8:
            self._load = self._window.ratio
            self._best = min(self._best, self._load)
            slow = self._load - self._best > math.log(_TOO_SLOW)
        if before is None or min(flow.answers, before.answers) < 8 or flow.in_flight - before.in_flight < 0.2:
            return False
        doubt = 0.5 * math.hypot(flow.answers**-0.5, before.answers**-0.5)  # half an error, in favour of growth
        if flow.rate - before.rate + doubt >= _PAYS * (flow.in_flight - before.in_flight) and not slow:
            return False
        # Little's law: the knee is the rate where it is flat times the latency where nothing waited.
        knee = math.exp(min(flow.rate + self._best, 50.0)) * self._meter.mean_work
        self._size = max(1.0, 0.7 * self._group, min(self._size, 1.25 * self._group, 1.5 * knee))
        self._hold(now)
        return True

    # --- hold: measure, and try now and then whether more or less would do better ---

    def _hold(self, now: float, base: Window | None = None) -> None:
        self._phase, self._base, self._rest = "hold", base, _REST
        self._measure(now)

    def _judge(self, now: float) -> None:
        window, base = self._window, self._base
        self._load, error = window.load(self._meter.mean_work)
        self._best = min(self._best, self._load + error)
        if base is None or self._phase == "hold":
            self._judge_level(now, window, error)
            return
        more = window.level - base.level
        gain = more - (self._load - base.load(self._meter.mean_work)[0])  # of answers per second, by Little's law
        (self._judge_more if self._phase == "up" else self._judge_less)(now, more, gain)

    def _judge_level(self, now: float, window: Window, error: float) -> None:
        base, used = self._base or window, self._is_used()
        if base is not window:
            known, doubt = base.load(self._meter.mean_work)
            if abs(self._load - known) > max(_CHANGED, 3 * math.hypot(error, doubt)):
                base, self._rest, self._explored = window, 0, False
            else:
                base.fade(window)
        self._base = base
        self._rest -= 1
        self._measure(now, settle=False)
        if self._rest <= 0 and used:
            self._try(now, base)

    def _try(self, now: float, base: Window) -> None:
        queue = base.load(self._meter.mean_work)[0] - self._best
        self._home = self._top = self._size
        if (queue > math.log(_QUEUE) or self._late) and not self._explored:
            self._late = False
            self._try_less(now, _HEADROOM * math.exp(-queue))
        elif not self._refusals.creeping and self._size < self._most:
            self._phase = "up"
            self._target = min(self._most, max(self._size + 1, self._size * _STEP))

    def _go_on_climbing(self, now: float) -> None:
        self._grow(0.5)
        if self._size >= self._target:
            self._measure(now)
        elif self._window.answers > 8 * self._size:  # the requests do not come
            self._size = self._home
            self._hold(now, self._base)

    def _judge_more(self, now: float, more: float, gain: float) -> None:
        if more > 0.05 and gain > _PAYS * more:
            self._begin(now, self._meter.flow(now, self._window))
            return
        self._size = self._top = min(self._size, self._home * math.exp(max(0.0, gain)))
        self._hold(now, self._base) if self._explored else self._try_less(now, _STEP_DOWN)

    def _try_less(self, now: float, factor: float) -> None:
        self._explored = True
        smaller = max(1.0, self._size * min(max(factor, 0.25), 0.9))
        if smaller < self._size:
            self._phase, self._size = "down", smaller
            self._measure(now)
        else:
            self._hold(now, self._base)

    def _judge_less(self, now: float, more: float, gain: float) -> None:
        loss = max(0.0, -gain)
        if more < -0.05 and loss < min(_SAME, -more / 2):
            self._refusals.creeping, self._base = False, self._window  # refusals are not what limits it
            self._try_less(now, _STEP_DOWN)
            return
        if loss > -more / 2:
            self._best = max(self._best, self._load)  # the least was measured under other conditions
        self._explored = loss > -_PAYS * more  # else most of the way down cost nothing, and there may be more of it
        # The knee is where the rate of the upper level meets the latency of the lower.
        self._size = min(self._top, _HEADROOM * self._size * math.exp(loss))
        back = self._base is not None and abs(math.log(self._size) - self._base.level) < 0.1
        self._hold(now, self._base if back else None)  # if it is slower here than it was, the endpoint has changed
