"""One client, one measurement: asks ``--tasks`` questions and prints what that took as one line of JSON.

``cot_distill`` does the whole job: source, template, request, journal, trace, and an export to JSONL; ``fast`` is the
same with the extra of that name. ``aiohttp`` is the reference: a bare loop that only asks and writes a line. ``raw``
is the limit: the least that asyncio can do, with hand-written HTTP that understands this one server only. ``httpx``
is what a first script would do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path


def question(number: int) -> str:
    return f"What is question {number} about?"


def with_cot_distill(url: str, tasks: int, concurrency: int, folder: Path, fast: str = "0") -> Path:
    os.environ["COT_DISTILL_FAST"] = fast
    from cot_distill import Distiller, Task, open_teacher

    source = (Task(id=number, instruction=question(number)) for number in range(tasks))
    distiller = Distiller(open_teacher("vllm:bench", base_url=url), concurrency=concurrency)
    return distiller.run(source, folder / "run", progress=False).to_jsonl(folder / "train.jsonl")


def has_fast() -> bool:
    return find_spec("uvloop") is not None and find_spec("httptools") is not None


def with_fast(url: str, tasks: int, concurrency: int, folder: Path) -> Path:
    if not has_fast():
        sys.exit("pip install 'cot_distill[fast]'")
    return with_cot_distill(url, tasks, concurrency, folder, fast="1")


def with_raw(url: str, tasks: int, concurrency: int, folder: Path) -> Path:
    from pydantic_core import from_json, to_json

    host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")

    async def main() -> None:
        numbers = iter(range(tasks))
        with (folder / "train.jsonl").open("wb", buffering=0) as file:

            class Worker(asyncio.Protocol):
                def __init__(self) -> None:
                    self.done = asyncio.get_running_loop().create_future()
                    self.came = b""

                def connection_made(self, transport: asyncio.BaseTransport) -> None:
                    self.transport = transport
                    self.ask()

                def ask(self) -> None:
                    number = next(numbers, None)
                    if number is None:
                        self.transport.close()
                        self.done.set_result(None)
                        return
                    self.messages = [{"role": "user", "content": question(number)}]
                    body = to_json({"model": "bench", "messages": self.messages})
                    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                    self.transport.write(head + body)

                def data_received(self, data: bytes) -> None:
                    self.came += data
                    head, _, body = self.came.partition(b"\r\n\r\n")
                    if len(body) < int(head[head.rfind(b" ") :]):  # the length is the last header that comes
                        return
                    self.came = b""
                    message = from_json(body)["choices"][0]["message"]
                    text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
                    file.write(
                        to_json({"messages": [*self.messages, {"role": "assistant", "content": text}]}) + b"\n"
                    )
                    self.ask()

            loop = asyncio.get_running_loop()
            workers = [(await loop.create_connection(Worker, host, int(port)))[1] for _ in range(concurrency)]
            await asyncio.gather(*(worker.done for worker in workers))

    asyncio.run(main())
    return folder / "train.jsonl"


def with_aiohttp(url: str, tasks: int, concurrency: int, folder: Path) -> Path:
    import aiohttp

    async def main() -> None:
        numbers = iter(range(tasks))
        with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(connector=connector) as session:

                async def worker() -> None:
                    for number in numbers:
                        messages = [{"role": "user", "content": question(number)}]
                        body = {"model": "bench", "messages": messages}
                        async with session.post(f"{url}/chat/completions", json=body) as reply:
                            payload = await reply.json()
                        message = payload["choices"][0]["message"]
                        text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
                        row = {"messages": [*messages, {"role": "assistant", "content": text}]}
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")

                await asyncio.gather(*(worker() for _ in range(concurrency)))

    asyncio.run(main())
    return folder / "train.jsonl"


def with_httpx(url: str, tasks: int, concurrency: int, folder: Path) -> Path:
    import httpx

    async def main() -> None:
        numbers = iter(range(tasks))
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
            async with httpx.AsyncClient(timeout=None, limits=limits) as client:

                async def worker() -> None:
                    for number in numbers:
                        messages = [{"role": "user", "content": question(number)}]
                        body = {"model": "bench", "messages": messages}
                        message = (await client.post(f"{url}/chat/completions", json=body)).json()["choices"][0][
                            "message"
                        ]
                        text = f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"
                        row = {"messages": [*messages, {"role": "assistant", "content": text}]}
                        file.write(json.dumps(row, ensure_ascii=False) + "\n")

                await asyncio.gather(*(worker() for _ in range(concurrency)))

    asyncio.run(main())
    return folder / "train.jsonl"


CLIENTS: dict[str, Callable[[str, int, int, Path], Path]] = {
    "aiohttp": with_aiohttp,
    "cot_distill": with_cot_distill,
    "fast": with_fast,
    "httpx": with_httpx,
    "raw": with_raw,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("client", choices=sorted(CLIENTS))
    parser.add_argument("--url", required=True)
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        written = CLIENTS[options.client](options.url, options.tasks, options.concurrency, Path(folder))
        seconds = time.perf_counter() - started
        usage = resource.getrusage(resource.RUSAGE_SELF)
        # Every row must be there, once, with the trace of its own question.
        rows = set()
        with written.open(encoding="utf-8") as file:
            lines = file.readlines()
            for line in lines:
                turns = json.loads(line)["messages"]
                asked, said = turns[0]["content"], turns[1]["content"]
                if said.startswith(f"<think>\nThinking about {asked}. ") and said.endswith(f"The answer to {asked}."):
                    rows.add(asked)
    cpu = usage.ru_utime + usage.ru_stime
    print(json.dumps({"rows": len(rows), "cpu": cpu, "wall": seconds, "peak_mb": usage.ru_maxrss / 1024}))
    sys.exit(not (len(rows) == len(lines) == options.tasks))


if __name__ == "__main__":
    main()
