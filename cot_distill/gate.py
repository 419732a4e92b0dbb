"""Who may ask now: the requests to one endpoint pass here, each in its turn.

It knows how many may be in flight from a limit that it is given, and tells the limit how each request ended. It does
not know what a request is. A slot is held from the turn of a request to its end; one that failed gives it back while
it waits to be asked again, and then goes before all that were not asked yet, the oldest first.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

import anyio
from anyio.lowlevel import RunVar

from cot_distill.adaptive import Sent
from cot_distill.errors import RateLimitError, TeacherError
from cot_distill.retry import hint_of

__all__ = ["FixedLimit", "Gate", "Limit", "StoppedError", "gate_of"]

_PATIENCE = 300.0
"""Seconds of nothing but refusals and failures after which a fixed number of requests at once is given up."""
_TRIES = 20
"""So many of them there must be besides."""
_OVERLOADED = (503, 529)


class Limit(Protocol):
    """How many requests may be in flight: :class:`~cot_distill.adaptive.AdaptiveLimit` and :class:`FixedLimit`."""

    @property
    def limit(self) -> int:
        """Requests at once, at least one."""
        ...

    @property
    def blocked_until(self) -> float:
        """No request may leave before this time."""
        ...

    @property
    def broken(self) -> str | None:
        """Why there is no point in going on, as the end of a sentence."""
        ...

    def sent(self, now: float, in_flight: int) -> Sent:
        """A request leaves. ``in_flight`` counts it."""
        ...

    def answered(self, now: float, sent: Sent, tokens: int | None = None) -> None:
        """A usable answer came."""
        ...

    def refused(self, now: float, sent: Sent, hint: float | None = None) -> None:
        """It was too much for the endpoint. ``hint``: the seconds it asks to wait."""
        ...

    def failed(self, now: float, sent: Sent, *, timed_out: bool = False) -> None:
        """There was no answer, for a reason that need not be load."""
        ...

    def abandoned(self, now: float) -> None:
        """The request was cancelled, or its end says nothing of the endpoint."""
        ...


class FixedLimit:
    """A number of requests at once that never changes: ``concurrency=64``."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.blocked_until = -math.inf
        self.broken: str | None = None
        self._since: float | None = None
        self._tries = 0
        self._numbers = itertools.count(1)

    def sent(self, now: float, in_flight: int) -> Sent:
        """A request leaves. If the endpoint counted as broken, someone tries anew: so do we."""
        if self.broken is not None:
            self.broken, self._since, self._tries = None, None, 0
        return Sent(next(self._numbers), now, in_flight)

    def answered(self, now: float, sent: Sent, tokens: int | None = None) -> None:  # noqa: ARG002
        """The endpoint works."""
        self._since, self._tries = None, 0

    def refused(self, now: float, sent: Sent, hint: float | None = None) -> None:
        """Wait as long as the endpoint asks for."""
        if hint:
            self.blocked_until = max(self.blocked_until, now + hint)
        self.failed(now, sent)

    def failed(self, now: float, sent: Sent, *, timed_out: bool = False) -> None:  # noqa: ARG002
        """Give up after long enough. An answer that needs longer than the time-out says nothing."""
        if timed_out:
            return
        self._since = now if self._since is None else self._since
        self._tries += 1
        if now - self._since >= _PATIENCE and self._tries >= _TRIES:
            self.broken = f"it has answered no request for {(now - self._since) / 60:.0f} minutes"

    def abandoned(self, now: float) -> None:
        """Nothing was learned."""


class StoppedError(Exception):
    """The request was not sent, since no more are to be. Internal to the engine."""


class _Waiting:
    """One that waits for its turn."""

    def __init__(self, caller: object, weight: int) -> None:
        self.caller = caller
        self.weight = weight
        """Slots that it wants: one, or none if it only asks whether there is room."""
        self.woken = anyio.Event()
        self.has_turn = False
        self.is_dismissed = False
        self.until = -math.inf
        """The end of the pause that it sleeps through."""


class Gate:
    """Lets the requests to one endpoint pass. Belongs to one event loop; any number of callers in it share it.

    Args:
        limit: How many may be in flight.
        owner: What it is the gate of; kept so that it stays the same object.
        clock: Tells the time in seconds.
    """

    def __init__(self, limit: Limit, owner: object = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit = limit
        self.owner = owner
        self.in_flight = 0
        """Requests on the wire."""
        self._clock = clock
        self._held = 0
        self._tickets = itertools.count()
        self._waiting: list[tuple[float, int, _Waiting]] = []

    def pause(self) -> float:
        """Seconds until the next request may leave; 0 or less where none is held back by the endpoint."""
        return self.limit.blocked_until - self._clock()

    def ticket(self) -> int:
        """A place in the queue, for all requests of an attempt: those that were here first go first."""
        return next(self._tickets)

    async def room(self, caller: object) -> None:
        """Return once another request could pass, and none that was here before waits.

        Raises:
            StoppedError: :meth:`dismiss` was called for this caller.
        """
        if self._waiting or not self._is_open():
            await self._wait(caller, math.inf, 0)

    async def enter(self, caller: object, ticket: int) -> None:
        """Wait for a slot. Every slot must be given back with :meth:`leave`.

        Raises:
            StoppedError: :meth:`dismiss` was called for this caller.
        """
        if self._is_open() and (not self._waiting or ticket < self._waiting[0][0]):
            self._held += 1
        else:
            await self._wait(caller, ticket, 1)

    def leave(self) -> None:
        """Give a slot back."""
        self._held -= 1
        self._let_in()

    def dismiss(self, caller: object) -> None:
        """Let none of this caller's requests pass that wait now."""
        for _, _, waiting in self._waiting:
            if waiting.caller is caller:
                waiting.is_dismissed = True
                waiting.woken.set()

    def sent(self) -> Sent:
        """A request goes out on the wire. Pass on what is returned when it has ended."""
        self.in_flight += 1
        return self.limit.sent(self._clock(), self.in_flight)

    def answered(self, sent: Sent, tokens: int | None) -> None:
        """A request brought an answer, of so many generated tokens where that is known."""
        self.in_flight -= 1
        self.limit.answered(self._clock(), sent, tokens)

    def failed(self, sent: Sent, error: BaseException) -> None:
        """A request ended in this error, or was cancelled by it."""
        self.in_flight -= 1
        now = self._clock()
        hint = hint_of(error)
        if not isinstance(error, TeacherError) or not error.transient:
            self.limit.abandoned(now)
        elif isinstance(error, RateLimitError) or hint or error.status in _OVERLOADED:
            self.limit.refused(now, sent, hint)
        else:
            self.limit.failed(now, sent, timed_out=error.kind == "timeout")

    def _is_open(self) -> bool:
        return self._held < self.limit.limit and self._clock() >= self.limit.blocked_until

    async def _wait(self, caller: object, ticket: float, weight: int) -> None:
        waiting = _Waiting(caller, weight)
        heapq.heappush(self._waiting, (ticket, next(self._tickets), waiting))
        may_pass = False
        try:
            while not waiting.has_turn and not waiting.is_dismissed:
                waiting.woken = anyio.Event()
                waiting.until = self.limit.blocked_until
                pause = waiting.until - self._clock()
                with anyio.move_on_after(pause if pause > 0 else None):
                    await waiting.woken.wait()
                self._let_in()
            may_pass = not waiting.is_dismissed
        finally:
            if not may_pass:
                self._forget(waiting)
            self._let_in()
        if not may_pass:
            raise StoppedError

    def _forget(self, waiting: _Waiting) -> None:
        if waiting.has_turn:
            self._held -= waiting.weight
        else:
            self._waiting = [entry for entry in self._waiting if entry[2] is not waiting]
            heapq.heapify(self._waiting)

    def _let_in(self) -> None:
        """Give those their turn that may pass now; have the first of the rest sleep through a pause."""
        while self._waiting and self._is_open():
            waiting = heapq.heappop(self._waiting)[2]
            waiting.has_turn = True
            self._held += waiting.weight
            waiting.woken.set()
        if self._waiting:
            first = self._waiting[0][2]
            if first.until < self.limit.blocked_until:  # it has not heard of the pause
                first.woken.set()


_GATES: RunVar[WeakValueDictionary[int, Gate]] = RunVar("cot_distill gates")


def gate_of(owner: object, limit: Callable[[], Limit]) -> Gate:
    """The gate of this teacher, or of whatever else shall have one, in the running event loop.

    It lasts as long as someone holds it. Two event loops share none: they are two clients of the endpoint, as two
    processes would be.
    """
    gates = _GATES.get(None)
    if gates is None:
        gates = WeakValueDictionary()
        _GATES.set(gates)
    gate = gates.get(id(owner))
    if gate is None:
        gate = gates[id(owner)] = Gate(limit(), owner)
    return gate
