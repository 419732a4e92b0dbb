"""An endpoint on a simulated clock, and a client that asks it: what adaptive concurrency is tested and measured with.

One model covers all servers, by what it is told to lack: so many answers run at once and the rest wait (``slots``);
all slow down together, beyond a point (``knee``) or from the first on (``soft``); requests are refused, above a
number (``refuse_above``) or by a token bucket (``rate``, ``burst``). All that run advance at one speed, so a heap of
"virtual ends" gives the next that is done, and a run of thousands of requests takes a fraction of a second.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cot_distill.adaptive import Sent

INF = math.inf


@dataclass(frozen=True)
class Endpoint:
    slots: float = INF
    knee: float = INF
    soft: float = INF
    """The speed at n requests is 1 / (1 + n / soft)."""
    refuse_above: float = INF
    rate: float = INF
    """Tokens of the bucket per second; a request takes one."""
    burst: float = 1.0
    hint: float | Literal["token"] | None = None
    """What a refusal says of when to come back; ``token``: when there will be one."""
    seconds: float = 10.0
    """Median latency of an answer where nothing else runs."""
    sigma: float = 0.7
    """Of the lengths of answers: lognormal, 1,000 tokens at the median."""
    jitter: float = 0.15
    """Of the seconds a token takes: lognormal."""
    overhead: float = 0.0
    """Seconds that do not depend on the length."""
    drift: float = 1.0
    """How many times as long the last answer is as the first."""
    round_trip: float = 0.1
    """Seconds on the wire: what a refusal takes."""
    down: tuple[tuple[float, float], ...] = ()
    """Spans of time in which all is refused."""
    moody: float = 0.0
    """Share of requests that is refused, however many there are."""
    flaky: float = 0.0
    """Share of answers that are lost."""
    timeout: float = INF
    capacity: tuple[tuple[int, float], ...] = ()
    """After so many answers, the capacity is so many times the first."""
    speed: tuple[tuple[int, float], ...] = ()
    """After so many answers, everything runs so many times as fast as at first."""

    @property
    def mean_seconds(self) -> float:
        return self.overhead + self.seconds * math.exp((self.sigma**2 + self.jitter**2) / 2) + self.round_trip


class Control(Protocol):
    """What an :class:`~cot_distill.adaptive.AdaptiveLimit` is to its caller."""

    @property
    def limit(self) -> int: ...
    @property
    def blocked_until(self) -> float: ...
    @property
    def broken(self) -> str | None: ...
    def sent(self, now: float, in_flight: int) -> Sent: ...
    def answered(self, now: float, sent: Sent, tokens: int | None = None) -> None: ...
    def refused(self, now: float, sent: Sent, hint: float | None = None) -> None: ...
    def failed(self, now: float, sent: Sent, *, timed_out: bool = False) -> None: ...


class Fixed:
    """A fixed number in flight, as a user would set it: honours hints, and a parked request keeps its slot."""

    broken: str | None = None

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.blocked_until = -INF

    def sent(self, now: float, in_flight: int) -> Sent:
        return Sent(0, now, in_flight)

    def refused(self, now: float, sent: Sent, hint: float | None = None) -> None:
        self.blocked_until = max(self.blocked_until, now + (hint or 0.0))

    def answered(self, now: float, sent: Sent, tokens: int | None = None) -> None: ...
    def failed(self, now: float, sent: Sent, *, timed_out: bool = False) -> None: ...


_NEVER = Sent(0, 0.0, 0)


@dataclass(eq=False)
class Request:
    work: float
    tokens: int
    sent: Sent = _NEVER
    tries: int = 0
    over: bool = False


class Server:
    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.capacity = self.pace = 1.0
        self._moods = random.Random(3)
        self.running: list[tuple[float, int, Request]] = []
        self.queue: deque[Request] = deque()
        self._now = self._done = 0.0  # the work that one request would have got done since the beginning
        self._count = 0
        self._tokens = endpoint.burst

    def advance(self, now: float) -> None:
        self._done += (now - self._now) * self._speed()
        if self.endpoint.rate < INF:
            more = (now - self._now) * self.endpoint.rate * self.capacity
            self._tokens = min(self.endpoint.burst, self._tokens + more)
        self._now = now

    def next_end(self) -> float:
        return self._now + max(0.0, self.running[0][0] - self._done) / self._speed() if self.running else INF

    def take(self, now: float, request: Request) -> bool:
        if self.endpoint.moody and self._moods.random() < self.endpoint.moody:
            return False
        self.advance(now)
        spec = self.endpoint
        if any(begin <= now < end for begin, end in spec.down):
            return False
        if len(self.running) + len(self.queue) >= spec.refuse_above * self.capacity:
            return False
        if spec.rate < INF:
            if self._tokens < 1:
                return False
            self._tokens -= 1
        self.queue.append(request)
        self.fill()
        return True

    def hint(self) -> float | None:
        if self.endpoint.hint == "token":
            return max(0.0, (1 - self._tokens) / (self.endpoint.rate * self.capacity))
        return self.endpoint.hint

    def fill(self) -> None:
        while self.queue and len(self.running) < self.endpoint.slots * self.capacity:
            request = self.queue.popleft()
            self._count += 1
            heapq.heappush(self.running, (self._done + request.work, self._count, request))

    def pop(self) -> Request:
        request = heapq.heappop(self.running)[2]
        self.fill()
        return request

    def drop(self, request: Request) -> None:
        """The client has hung up."""
        if request in self.queue:
            self.queue.remove(request)
        self.running = [entry for entry in self.running if entry[2] is not request]
        heapq.heapify(self.running)
        self.fill()

    def _speed(self) -> float:
        spec, running = self.endpoint, max(1, len(self.running))
        return self.pace * min(1.0, spec.knee * self.capacity / running) / (1 + running / (spec.soft * self.capacity))


@dataclass
class Trace:
    """What happened. Times in seconds."""

    tasks: int
    answers: list[float] = field(default_factory=list)
    sends: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    limits: list[tuple[float, int]] = field(default_factory=list)
    timeouts: int = 0
    dry: float = INF
    """When the last task was taken on: from then on the limit is not used."""
    broken: str | None = None
    end: float = 0.0

    def part(self, begin: float, end: float | None = None) -> tuple[float, float]:
        """Answers per second, and the share of refused requests, between two shares of the answers."""
        answers = len(self.answers)
        first = self.answers[min(int(begin * answers), answers - 1)]
        last = self.dry if end is None else self.answers[int(end * answers) - 1]
        counts = [sum(first < time <= last for time in times) for times in (self.answers, self.sends, self.refusals)]
        return counts[0] / max(last - first, 1e-9), counts[2] / max(counts[1], 1)

    def limit_at(self, share: float) -> int:
        """The limit when this share of the answers was there."""
        moment = self.answers[max(0, int(share * len(self.answers)) - 1)]
        return [limit for time, limit in self.limits if time <= moment][-1]

    def mean_limit(self, begin: float) -> float:
        """The mean limit over time, from this share of the answers on."""
        now, total, last = self.answers[int(begin * len(self.answers))], 0.0, self.limit_at(begin)
        start, end = now, min(self.dry, self.answers[-1])
        for time, limit in self.limits:
            if start < time <= end:
                total, now, last = total + last * (time - now), time, limit
        return (total + last * (end - now)) / max(end - start, 1e-9)


class Client:
    """Asks as the engine does: refused and failed requests are parked, without a slot, until it is their time."""

    def __init__(
        self, endpoint: Endpoint, control: Control, tasks: int, seed: int, *, tokens: bool, most: int
    ) -> None:
        self.server = Server(endpoint)
        self.endpoint, self.control, self.tell_tokens, self.most = endpoint, control, tokens, most
        self.lengths, self.dice = random.Random(seed), random.Random(seed + 1)  # lengths do not depend on the rest
        self.trace = Trace(tasks)
        self.now, self.in_flight, self.parked, self.left = 0.0, 0, 0, tasks
        self.ready: deque[Request] = deque()
        self.events: list[tuple[float, int, str, Request, Any]] = []
        self.count = 0
        self.capacity, self.speed = deque(endpoint.capacity), deque(endpoint.speed)

    def run(self) -> Trace:
        while True:
            while self.has_room() and self.now >= self.control.blocked_until:
                self.send()
            if not self.trace.limits or self.trace.limits[-1][1] != self.control.limit:
                self.trace.limits.append((self.now, self.control.limit))
            wake = self.control.blocked_until if self.has_room() else INF
            soonest = min(self.server.next_end(), self.events[0][0] if self.events else INF, wake)
            self.trace.broken, self.trace.end = self.control.broken, self.now
            if soonest == INF or self.trace.broken:
                return self.trace
            self.now = max(self.now, soonest)
            if self.server.next_end() <= soonest:
                self.server.advance(self.now)
                lost = self.dice.random() < self.endpoint.flaky
                self.later(self.endpoint.round_trip, "failed" if lost else "answered", self.server.pop())
            elif self.events and self.events[0][0] <= soonest:
                _, _, kind, request, detail = heapq.heappop(self.events)
                getattr(self, kind)(request, detail)

    def has_room(self) -> bool:
        slots = self.control.limit - (self.parked if isinstance(self.control, Fixed) else 0)
        return self.in_flight < slots and bool(self.ready or (self.left and self.in_flight + self.parked < self.most))

    def later(self, seconds: float, kind: str, request: Request, detail: Any = None) -> None:
        self.count += 1
        heapq.heappush(self.events, (self.now + seconds, self.count, kind, request, detail))

    def draw(self) -> Request:
        self.left -= 1
        if not self.left:
            self.trace.dry = self.now
        spec, done = self.endpoint, 1 - self.left / self.trace.tasks
        tokens = max(1, int(1000 * spec.drift**done * self.lengths.lognormvariate(0, spec.sigma)))
        work = tokens / 1000 * spec.seconds * self.lengths.lognormvariate(0, spec.jitter) + spec.overhead
        return Request(work, tokens)

    def send(self) -> None:
        request = self.ready.popleft() if self.ready else self.draw()
        self.in_flight += 1
        request.sent, request.over = self.control.sent(self.now, self.in_flight), False
        self.trace.sends.append(self.now)
        if self.endpoint.timeout < INF:
            self.later(self.endpoint.timeout, "timed_out", request, request.sent)
        if not self.server.take(self.now, request):
            self.later(self.endpoint.round_trip, "refused", request, self.server.hint())

    def answered(self, request: Request, _: object) -> None:
        if self.finish(request):
            self.trace.answers.append(self.now)
            self.control.answered(self.now, request.sent, request.tokens if self.tell_tokens else None)
            answers = len(self.trace.answers)
            self.server.advance(self.now)
            while self.capacity and self.capacity[0][0] <= answers:
                self.server.capacity = self.capacity.popleft()[1]
                self.server.fill()
            while self.speed and self.speed[0][0] <= answers:
                self.server.pace = self.speed.popleft()[1]

    def refused(self, request: Request, hint: float | None) -> None:
        if self.finish(request):
            self.trace.refusals.append(self.now)
            self.control.refused(self.now, request.sent, hint)
            self.park(request, hint)

    def failed(self, request: Request, _: object) -> None:
        if self.finish(request):
            self.control.failed(self.now, request.sent)
            self.park(request, None)

    def timed_out(self, request: Request, sent: Sent) -> None:
        if request.sent == sent and self.finish(request):
            self.server.advance(self.now)
            self.server.drop(request)
            self.trace.timeouts += 1
            self.control.failed(self.now, sent, timed_out=True)
            if request.tries < 6:  # the engine gives up as well
                self.park(request, None)

    def wake_up(self, request: Request, _: object) -> None:
        self.parked -= 1
        self.ready.append(request)

    def finish(self, request: Request) -> bool:
        """Whether the request is still under way; from now on it is not."""
        was_over, request.over = request.over, True
        self.in_flight -= not was_over
        return not was_over

    def park(self, request: Request, hint: float | None) -> None:
        request.tries += 1
        self.parked += 1
        backoff = self.dice.uniform(0.05, min(30.0, 0.5 * 2.0 ** min(request.tries - 1, 10)))
        self.later(backoff if hint is None else hint, "wake_up", request)


def simulate(
    endpoint: Endpoint, control: Control, tasks: int, seed: int = 0, *, tokens: bool = True, most: int = 4096
) -> Trace:
    """One run. ``tokens``: answers say how long they are; ``most``: tasks taken on at once, parked ones included."""
    return Client(endpoint, control, tasks, seed, tokens=tokens, most=most).run()
