"""The demo teacher: a program that solves made-up tasks behind real HTTP, so that everything can be tried at no cost.

It starts a chat-completions server on 127.0.0.1 in this process and asks it through the same code as any endpoint.
A stated share of its answers is wrong, cut or refused for now, so that verification and retries have work to do. It
is not a model, says so in every record, and what it writes has little value as training data.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from random import Random
from types import TracebackType
from typing import Any

from cot_distill.demo_problems import solve
from cot_distill.errors import RequestError
from cot_distill.loopback import LoopbackServer, Reply, Request
from cot_distill.teachers.endpoint import Endpoint
from cot_distill.teachers.presets import Preset
from cot_distill.types import Completion, Message, Sampling

__all__ = ["DemoTeacher"]

_MODEL = "cot-distill-demo"
_ROOM = 4096
"""Tokens of ``max_tokens`` from which on no answer is cut."""


class DemoTeacher:
    """Solves the tasks of :func:`cot_distill.sources.demo_tasks`. A Teacher; ``"demo"`` for short.

    The shares apply to requests, decided by ``seed``, the question, and how often it was asked before.

    Args:
        wrong: Share of answers with a slip in them.
        cut: Share of answers that end in the middle of the reasoning, unless ``Sampling(max_tokens=4096)`` or more
            gives them room.
        rate_limited: Share of requests that are told to come back in a moment.
        seed: Another seed spreads these over other questions.
        latency: Seconds that an answer takes, on average.

    Example:
        >>> DemoTeacher(wrong=0.5).name
        'demo'
    """

    name = "demo"

    def __init__(
        self,
        *,
        wrong: float = 0.10,
        cut: float = 0.03,
        rate_limited: float = 0.02,
        seed: int = 0,
        latency: float = 0.2,
    ) -> None:
        self._wrong = wrong
        self._cut = cut
        self._rate_limited = rate_limited
        self._seed = seed
        self._latency = latency
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._server: LoopbackServer | None = None
        self._endpoint: Endpoint | None = None
        self._users = 0

    async def __aenter__(self) -> DemoTeacher:
        with self._lock:  # one teacher may serve runs in several threads
            if self._users == 0:
                self._server = LoopbackServer(self._answer)
                self._server.__enter__()
                self._endpoint = self._connect(f"{self._server.url}/v1")
            self._users += 1
        assert self._endpoint is not None  # noqa: S101 - made above by the first user
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._endpoint is not None  # noqa: S101 - entered before
        await self._endpoint.__aexit__(kind, error, trace)
        with self._lock:
            self._users -= 1
            server = self._server if self._users == 0 else None
        if server is not None:
            server.stop()

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask the server.

        Raises:
            RequestError: The question is none of ``demo_tasks``.
            RateLimitError: Now and then, on purpose.
        """
        if solve(messages[-1].content) is None:
            raise RequestError(
                "the demo teacher is a program: it solves only the tasks of cot_distill.sources.demo_tasks()",
                provider=self.name,
            )
        if self._users:
            assert self._endpoint is not None  # noqa: S101 - there are users
            return await self._endpoint.complete(messages, sampling)
        async with self:
            assert self._endpoint is not None  # noqa: S101 - entered in the line above
            return await self._endpoint.complete(messages, sampling)

    def _connect(self, url: str) -> Endpoint:
        preset = Preset(name=self.name, base_url=url, local=True)
        return Endpoint(
            name=self.name, model=_MODEL, preset=preset, base_url=url, api_key=None, headers={}, timeout=60.0
        )  # fmt: skip

    def _answer(self, request: Request) -> Reply:
        """Serve one request. Runs in a thread of the server."""
        body = request.json()
        question: str = body["messages"][-1]["content"]
        with self._lock:
            self._asked[question] += 1
            nth = self._asked[question]
        dice = Random(f"{self._seed}:{nth}:{question}")  # noqa: S311 - repeatable on purpose, nothing secret
        wrong, cut, limited = (dice.random() < share for share in (self._wrong, self._cut, self._rate_limited))
        if limited:
            error = {"message": "the demo teacher wants a moment", "type": "rate_limit", "code": "slow_down"}
            return Reply.json({"error": error}, status=429, headers={"retry-after-ms": "300"})
        solution = solve(question, mistake=wrong)
        assert solution is not None  # noqa: S101 - `complete` asks nothing else
        reasoning, answer = solution
        tokens = _tokens(reasoning)
        limit = body.get("max_tokens")
        if (limit is not None and limit < tokens + _tokens(answer)) or (cut and (limit or 0) < _ROOM):
            tokens = min(limit or tokens, tokens // 2)
            reasoning, answer = " ".join(reasoning.split(" ")[:tokens]), ""
        reply = Reply.json(self._completion(question, reasoning, answer, tokens))
        return Reply(reply.status, reply.body, reply.headers, delay=self._latency * (0.5 + dice.random()))

    def _completion(self, question: str, reasoning: str, answer: str, tokens: int) -> dict[str, Any]:
        total = tokens + _tokens(answer)
        return {
            "id": f"demo-{next(self._numbers)}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": _MODEL,
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop" if answer else "length",
                    "message": {"role": "assistant", "reasoning_content": reasoning, "content": answer},
                }
            ],
            "usage": {
                "prompt_tokens": _tokens(question),
                "completion_tokens": total,
                "total_tokens": _tokens(question) + total,
                "completion_tokens_details": {"reasoning_tokens": tokens},
            },
        }


def _tokens(text: str) -> int:
    """Words stand in for tokens."""
    return len(text.split())
