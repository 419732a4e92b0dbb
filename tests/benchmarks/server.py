"""The cheapest chat-completions server that will do: hand-written HTTP on asyncio, in a process of its own.

It must cost far less than any client, so it parses no more than the length of the body, and answers with a body that
was made beforehand, into which only the question is copied. Run it as ``python server.py --bytes 2000 --latency 0``;
the first line it prints is its URL.

With ``--slots`` it saturates: beyond so many requests at once it lets them wait (``--when-full queue``), answers 429
(``refuse``), or slows all of them down together, as a GPU that batches does (``share``). ``--change 20:0.5`` halves
the slots after 20 s. ``--faults 0.1`` answers that part of the requests with a 500, at once.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import json
import random
import re
from collections import deque
from collections.abc import Callable

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_QUESTION = re.compile(rb'"content": ?"([^"]*)"')


def make_body(size: int) -> tuple[bytes, bytes, bytes]:
    """A reply in three parts: the question goes between the first two and the last two."""
    mark = "@@@"
    completion = {
        "id": "x",
        "object": "chat.completion",
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "reasoning_content": f"Thinking about {mark}. " + "so it goes on and on, " * (size // 22),
                    "content": f"The answer to {mark}.",
                },
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": size // 4,
            "completion_tokens_details": {"reasoning_tokens": size // 4 - 5},
        },
    }
    first, second, third = json.dumps(completion).encode().split(mark.encode())
    return first, second, third


Done = Callable[[], None]


class Unlimited:
    """Any number at once."""

    slots = float("inf")

    def take(self, seconds: float, done: Done) -> bool:
        """Do ``seconds`` of work, then call. False where there is no place."""
        if seconds:
            asyncio.get_running_loop().call_later(seconds, done)
        else:
            done()
        return True


class Refusing(Unlimited):
    """So many at once; the others are refused."""

    def __init__(self, slots: float) -> None:
        self.slots = slots
        self.busy = 0

    def take(self, seconds: float, done: Done) -> bool:
        if self.busy >= self.slots:
            return False
        self.busy += 1
        asyncio.get_running_loop().call_later(seconds, self.end, done)
        return True

    def end(self, done: Done) -> None:
        self.busy -= 1
        done()


class Queueing(Refusing):
    """So many at once; the others wait for their turn."""

    def __init__(self, slots: float) -> None:
        super().__init__(slots)
        self.waiting: deque[tuple[float, Done]] = deque()

    def take(self, seconds: float, done: Done) -> bool:
        if not super().take(seconds, done):
            self.waiting.append((seconds, done))
        return True

    def end(self, done: Done) -> None:
        super().end(done)
        while self.waiting and self.busy < self.slots:
            super().take(*self.waiting.popleft())


class Sharing(Unlimited):
    """Up to so many at full speed; beyond that they share it."""

    def __init__(self, slots: float) -> None:
        self.slots = slots
        self.busy: list[tuple[float, int, Done]] = []  # by the work that will have been done for each when it ends
        self.numbers = itertools.count()
        self.worked = self.at = 0.0
        self.alarm: asyncio.TimerHandle | None = None

    def take(self, seconds: float, done: Done) -> bool:
        self.advance()
        heapq.heappush(self.busy, (self.worked + seconds, next(self.numbers), done))
        self.arm()
        return True

    def advance(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.busy:
            self.worked += (now - self.at) * min(1.0, self.slots / len(self.busy))
        self.at = now

    def arm(self) -> None:
        if self.alarm is not None:
            self.alarm.cancel()
        if self.busy:
            left = (self.busy[0][0] - self.worked) / min(1.0, self.slots / len(self.busy))
            self.alarm = asyncio.get_running_loop().call_later(max(0.0, left), self.ring)

    def ring(self) -> None:
        self.advance()
        while self.busy and self.busy[0][0] <= self.worked + 1e-6:
            heapq.heappop(self.busy)[2]()
        self.arm()


FULL = {"queue": Queueing, "refuse": Refusing, "share": Sharing}


class Connection(asyncio.Protocol):
    parts: tuple[bytes, bytes, bytes]
    latency: float = 0.0
    faults: float = 0.0
    capacity = Unlimited()
    dice = random.Random(0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            found = _LENGTH.search(self.received, 0, end)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self.received) < whole:
                return
            question = _QUESTION.search(self.received, end)
            self.received, asked = self.received[whole:], question[1] if question else b""
            seconds = self.latency * self.dice.lognormvariate(0, 0.5) if self.latency else 0.0
            if self.faults and self.dice.random() < self.faults:
                self.refuse(b"500 Internal Server Error")
            elif not self.capacity.take(seconds, lambda asked=asked: self.reply(asked)):
                self.refuse(b"429 Too Many Requests")

    def refuse(self, status: bytes) -> None:
        body = b'{"error":{"message":"no"}}'
        head = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(body))
        self.transport.write(head + body)

    def reply(self, question: bytes) -> None:
        body = question.join(self.parts)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=2000, help="length of the reasoning")
    parser.add_argument("--latency", type=float, default=0.0, help="median seconds of a lognormal, sigma 0.5")
    parser.add_argument("--faults", type=float, default=0.0, help="part of the requests that get a 500")
    parser.add_argument("--slots", type=int, help="requests at once before it saturates")
    parser.add_argument("--when-full", choices=sorted(FULL), default="queue")
    parser.add_argument("--change", default="", help="seconds:factor,seconds:factor… of the slots")
    options = parser.parse_args()
    Connection.faults = options.faults
    if options.slots:
        capacity = Connection.capacity = FULL[options.when_full](options.slots)
        for change in filter(None, options.change.split(",")):
            seconds, _, factor = change.partition(":")

            def set_slots(slots: float = options.slots * float(factor)) -> None:
                capacity.slots = slots

            asyncio.get_running_loop().call_later(float(seconds), set_slots)
    Connection.parts = make_body(options.bytes)
    Connection.latency = options.latency
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
