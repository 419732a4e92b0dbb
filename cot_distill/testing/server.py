r"""A teacher that misbehaves on purpose: an OpenAI-compatible server for your own pipeline's tests, without a key.

Knows the shape of chat completions and the ways in which real servers break it. Does not know any client, this
library's own included, and generates nothing: the answers come from a function. As a process of its own::

    python -m cot_distill.testing.server --port 0 --faults '{"429": 0.1, "reset": 0.02}' --latency 0.2 --bill FILE

prints its URL on the first line. The bill gets one JSON line (``number``, ``prompt``) for each whole answer, so that
a test can kill its own process and see what was paid for. A line follows its answer: stop the server, then compare.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Self, cast, get_args

from cot_distill.errors import ConfigError
from cot_distill.loopback import Fault, LoopbackServer, Reply, Request
from cot_distill.testing.event_replies import event_stream
from cot_distill.testing.replies import BAD_REQUEST, REFUSALS, completion, refusal, text_of, tokens
from cot_distill.testing.teachers import echo_answer

__all__ = ["FAULTS", "FaultServer", "Faults", "LoggedRequest", "ReasoningField", "main"]

ReasoningField = Literal[
    "reasoning_content",  # DeepSeek, SGLang, llama.cpp, Qwen, Kimi, GLM
    "reasoning",  # vLLM, Groq, OpenRouter
    "thinking",  # Ollama
    "inline",  # <think> tags in the content: TGI, MiniMax, any server without a reasoning parser
    "prefilled",  # the same without the opening tag, which the chat template wrote
    "legacy",  # the field and the tags: llama.cpp's deepseek-legacy
    "parts",  # content is a list of parts: Mistral
]
"""Where a server puts the reasoning."""

FAULTS: Mapping[str, str] = {
    "429": "429, rate limit reached: Retry-After in seconds",
    "429-ms": "429, rate limit reached: retry-after-ms and no Retry-After",
    "429-bare": "429, rate limit reached: no hint",
    "quota": "429, insufficient_quota: the balance is used up",
    "400": "400, context_length_exceeded: longer than the model's maximum context length",
    "401": "401, invalid_api_key: incorrect API key provided",
    "404": "404, model_not_found: the model does not exist",
    "500": "500, server error",
    "503": "503, still loading the model",
    "529": "529, overloaded",
    "reset": "the connection is reset, nothing is sent",
    "hang": "nothing is sent until the client leaves",
    "cut": "the connection closes half-way through the body",
    "blank": "200 with blank lines only",
    "blank-first": "blank lines while waiting, then a whole answer: a client must take it",
    "blank-forever": "blank lines without an end: only a total deadline helps",
    "malformed": "200 with JSON that stops half-way",
    "html": "200 with an HTML page",
    "error-200": "200 with an error object",
    "empty": "200 with `choices: []`",
    "length": "cut inside the reasoning: finish_reason length, no answer",
    "refused": "finish_reason content_filter",
    "no_reasoning": "a normal stop without any reasoning",
    "no_answer": "a normal stop with reasoning and empty content",
    "inline": "a whole answer with the reasoning in <think> tags, whatever `reasoning_field` says",
}
"""Every fault by name, and what the client sees. ``blank-first`` and ``inline`` are odd, yet whole answers."""

_WHOLE = frozenset({None, "blank-first", "inline"})

Faults = Mapping[str, float] | Sequence[str | None] | Callable[[Request], str | None]


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One chat request (``prompt`` is its last turn) and what was decided about it."""

    prompt: str
    fault: str | None
    time: float
    """When it came, by ``time.monotonic()``."""
    body: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    """Names in lower case. Not in the ``repr``, since they may hold an API key."""


class FaultServer:
    """An OpenAI-compatible teacher with faults, on 127.0.0.1 while the ``with`` block lasts.

    It answers ``POST …/chat/completions``, lists one model at ``GET …/models``, and knows nothing else (404). One
    choice is given whatever ``n`` says, as some servers do; ``max_tokens`` is obeyed, at four characters a token; a
    stream that is asked for is sent in one go. The faults are listed in :data:`FAULTS`.

    Args:
        answer: From the prompt (the last turn) to reasoning and answer. Default: :func:`echo_answer`.
        faults: Shares of requests by fault, such as ``{"429": 0.1, "reset": 0.02}``; or a script, one fault or
            ``None`` for each request in their order, and no faults after its end; or a function of the request. A
            share is drawn from the seed, the prompt and how often it was asked before: a retry can succeed, and the
            same prompts meet the same faults in whatever order they come.
        latency: Seconds that an answer takes. Refusals (4xx, 5xx) come at once.
        seed: For the shares.
        retry_after: Seconds that a 429 asks the client to wait.
        reasoning_field: Where the reasoning is put.
        port: 0 takes a free one.
        bill: A file that gets one line for each whole answer, written in one piece; appended to if it exists.

    Raises:
        ConfigError: ``faults`` names an unknown fault or is not a list of shares; on entering, if the port is taken.

    Example:
        >>> with FaultServer(faults={"429": 0.1, "malformed": 0.05}) as server:
        ...     server.base_url.startswith("http://127.0.0.1:"), server.base_url.endswith("/v1"), server.requests
        (True, True, 0)
    """

    def __init__(
        self,
        answer: Callable[[str], tuple[str, str]] | None = None,
        *,
        faults: Faults | None = None,
        latency: float = 0.0,
        seed: int = 0,
        retry_after: float = 1.0,
        reasoning_field: ReasoningField = "reasoning_content",
        port: int = 0,
        bill: str | PathLike[str] | None = None,
    ) -> None:
        _require("reasoning_field", [reasoning_field], get_args(ReasoningField))
        self._answer = answer or echo_answer
        self._faults = _checked(() if faults is None else faults)
        self._latency = latency
        self._seed = seed
        self._hints = {
            "429": {"retry-after": f"{retry_after:g}"},
            "429-ms": {"retry-after-ms": f"{1e3 * retry_after:g}"},
        }
        self._reasoning_field: ReasoningField = reasoning_field
        self._bill = None if bill is None else Path(bill)
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._asked: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._loopback = LoopbackServer(self._handle, port=port)
        self.log: list[LoggedRequest] = []
        """Every chat request that could be read, in the order in which they came."""

    def __enter__(self) -> Self:
        self._loopback.__enter__()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._loopback.__exit__(kind, error, traceback)

    @property
    def base_url(self) -> str:
        """``http://127.0.0.1:PORT/v1``, as an OpenAI client takes it."""
        return f"{self._loopback.url}/v1"

    @property
    def requests(self) -> int:
        """Chat requests so far, with and without faults."""
        return len(self.log)

    @property
    def answered(self) -> Counter[str]:
        """How many whole answers each prompt got: only those whose last byte was handed to the network.

        An answer that a client has in hand is counted. One that cannot become a trace is not: cut, refused, without
        reasoning or answer.
        """
        self._loopback.settle()
        with self._lock:
            return Counter(self._answered)

    def _handle(self, request: Request) -> Reply:
        path = request.path.partition("?")[0]
        if request.method == "POST" and path.endswith("/chat/completions"):
            reply = self._chat(request)
        elif request.method == "GET" and path.endswith("/models"):
            reply = Reply.json({"object": "list", "data": [{"id": "fault-teacher", "object": "model"}]})
        else:
            reply = refusal(404, "invalid_request_error", None, f"Nothing at {request.method} {path}.")
        return replace(reply, headers={**reply.headers, "x-request-id": f"req-{request.number}"})

    def _chat(self, request: Request) -> Reply:
        try:
            body = request.json()
            prompt = text_of(body["messages"][-1]["content"])
        except (ValueError, LookupError, TypeError, AttributeError):
            return refusal(*BAD_REQUEST, "This is no chat request.")
        with self._lock:
            turn, number = self._asked[prompt], next(self._numbers)
            self._asked[prompt] += 1
        fault = self._choose(request, prompt, turn, number)
        self.log.append(LoggedRequest(prompt, fault, time.monotonic(), body, request.headers))
        if fault is not None and fault in REFUSALS:
            return replace(refusal(*REFUSALS[fault], FAULTS[fault]), headers=self._hints.get(fault, {}))
        return self._generate(prompt, body, fault, request.number)

    def _choose(self, request: Request, prompt: str, turn: int, number: int) -> str | None:
        if callable(self._faults):
            fault = self._faults(request)
            _require("fault", [fault], FAULTS)
            return fault
        if not isinstance(self._faults, Mapping):
            return self._faults[number] if number < len(self._faults) else None
        key = ascii((self._seed, turn, prompt)).encode()
        draw = int.from_bytes(blake2b(key, digest_size=8).digest(), "big") / 2**64
        bounds = itertools.accumulate(self._faults.values())
        return next((name for name, bound in zip(self._faults, bounds, strict=True) if draw < bound), None)

    def _generate(self, prompt: str, body: Mapping[str, Any], fault: str | None, number: int) -> Reply:
        trace = self._answer(prompt)
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        payload = completion(trace, limit=limit, fault=fault, where=self._reasoning_field)
        choices = payload["choices"]
        whole = fault in _WHOLE and choices[0]["finish_reason"] == "stop" and all(part.strip() for part in trace)
        if fault == "empty":
            choices.clear()
        usage = payload["usage"]
        usage["prompt_tokens"] = sum(tokens(text_of(message.get("content"))) for message in body["messages"])
        usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        head = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": int(time.time())}
        payload = {**head, "model": body.get("model") or "fault-teacher", **payload}
        if body.get("stream"):
            counts = bool((body.get("stream_options") or {}).get("include_usage"))
            events = event_stream(payload, usage=counts)
            reply = Reply(body=events, headers={"content-type": "text/event-stream"})
        else:
            reply = Reply.json(payload)
        if fault in ("malformed", "cut"):
            reply = replace(reply, body=reply.body[: len(reply.body) // 2])
        elif fault == "html":
            reply = Reply(body=b"<!DOCTYPE html><h1>Please sign in</h1>", headers={"content-type": "text/html"})
        wire = cast("Fault", fault) if fault in get_args(Fault) else None
        sent = (lambda: self._book(prompt, number)) if whole else None
        return replace(reply, delay=self._latency, fault=wire, sent=sent)

    def _book(self, prompt: str, number: int) -> None:
        with self._lock:
            self._answered[prompt] += 1
        if self._bill is not None:
            line = json.dumps({"number": number, "prompt": prompt}) + "\n"
            with self._bill.open("ab", buffering=0) as file:  # unbuffered: one write, so lines never mix
                file.write(line.encode())


def _checked(faults: Faults) -> Faults:
    if callable(faults):
        return faults
    if isinstance(faults, str) or not isinstance(faults, Mapping | Sequence):
        raise ConfigError(f'faults must be shares ({{"429": 0.1}}) or a script (["429", None]), not {faults!r}')
    _require("fault", faults, FAULTS)
    if not isinstance(faults, Mapping):
        return tuple(faults)
    if not all(isinstance(share, int | float) for share in faults.values()):
        raise ConfigError(f"the shares of faults must be numbers, not {dict(faults)}")
    if min(faults.values(), default=0) < 0 or sum(faults.values()) > 1 + 1e-9:
        raise ConfigError(f"the shares of faults must be 0 or more and sum up to at most 1, not {dict(faults)}")
    return dict(faults)


def _require(what: str, names: Iterable[str | None], known: Iterable[str]) -> None:
    for name in names:
        if name is not None and name not in known:
            raise ConfigError(f"no {what} is called {name!r}; known are {', '.join(known)}")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        example = """'{"429": 0.1}'"""
        raise argparse.ArgumentTypeError(
            f"this is not JSON: {text!r} ({error}); write it such as {example}"
        ) from None


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM or Ctrl-C, as ``python -m cot_distill.testing.server`` does.

    Args:
        argv: The options. Default: those of the command line.
    """
    parser = argparse.ArgumentParser(prog="python -m cot_distill.testing.server", description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--faults", type=_json, metavar="JSON", help='{"429": 0.1} or a script, ["429", null]')
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that an answer takes")
    parser.add_argument("--seed", type=int, default=0, help="for the shares of faults")
    parser.add_argument("--retry-after", type=float, default=1.0, help="seconds that a 429 asks to wait")
    parser.add_argument(
        "--reasoning-field",
        choices=get_args(ReasoningField),
        default="reasoning_content",
        help="where the reasoning is put",
    )
    parser.add_argument("--bill", type=Path, metavar="FILE", help="append one JSON line for each whole answer")
    options = vars(parser.parse_args(argv))
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: sys.exit(0))
    try:
        with FaultServer(**options) as server:
            print(server.base_url, flush=True)  # noqa: T201 - this is the program's output
            while True:
                time.sleep(3600)
    except ConfigError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
