"""The cheapest chat-completions server that will do: hand-written HTTP on asyncio, in a process of its own.

It must cost far less than any client, so it parses no more than the length of the body, and answers with a body that
was made beforehand, into which only the question is copied. Run it as ``python server.py --bytes 2000 --latency 0``;
the first line it prints is its URL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re

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


class Connection(asyncio.Protocol):
    parts: tuple[bytes, bytes, bytes]
    latency: float = 0.0
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
            if self.latency:
                seconds = self.latency * self.dice.lognormvariate(0, 0.5)
                asyncio.get_running_loop().call_later(seconds, self.reply, asked)
            else:
                self.reply(asked)

    def reply(self, question: bytes) -> None:
        body = question.join(self.parts)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bytes", type=int, default=2000, help="length of the reasoning")
    parser.add_argument("--latency", type=float, default=0.0, help="median seconds of a lognormal, sigma 0.5")
    options = parser.parse_args()
    Connection.parts = make_body(options.bytes)
    Connection.latency = options.latency
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
