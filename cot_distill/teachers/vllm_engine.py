"""A teacher in this process: vLLM's engine, without its server.

Written against the documented interface of ``vllm.v1.engine.async_llm.AsyncLLM`` (``from_engine_args``, ``generate``,
``get_tokenizer``, ``shutdown``), ``AsyncEngineArgs`` and ``SamplingParams``, and tested with a stand-in that has it:
the library's own tests do not run vLLM. Its server is the way that is proven (``open_teacher("vllm:…")``).
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread

from cot_distill.errors import ConfigError, RequestError, UnavailableError
from cot_distill.logprob_formats import Choice, Token
from cot_distill.teachers._tokens import completion_of, prompt_of, require_template
from cot_distill.types import Completion, Message, Sampling

__all__ = ["VllmEngineTeacher"]


class VllmEngineTeacher:
    """A model in vLLM's asynchronous engine. A Teacher; ``open_teacher("vllm-engine:Qwen/QwQ-32B")`` for short.

    The engine is started when the teacher is entered, which a run does once, and stopped when it is left. It needs
    asyncio, which runs use. What the sampling leaves open is as in the model's own ``generation_config``.

    Args:
        model: Its name on the hub, or its folder.
        name: Identity in the recipe of a run. Default: ``vllm-engine:`` and the model.
        engine_args: Fields of vLLM's ``AsyncEngineArgs``, such as ``{"tensor_parallel_size": 4}``.

    Raises:
        ConfigError: vLLM is not installed.
    """

    def __init__(self, model: str, *, name: str | None = None, engine_args: Mapping[str, Any] | None = None) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise ConfigError(
                "there is no vllm here: pip install vllm (its documentation says which one for which GPU)"
            )
        self.name = name or f"vllm-engine:{model}"
        self._model = model
        self._engine_args = dict(engine_args or {})
        self._running: _Running | None = None
        self._users = 0

    def __repr__(self) -> str:
        return f"VllmEngineTeacher({self.name!r})"

    async def __aenter__(self) -> VllmEngineTeacher:
        if self._running is None:
            self._running = _Running(threading.get_ident(), anyio.Lock())
        running = self._here()
        self._users += 1
        try:
            async with running.turn:
                if running.engine is None:
                    running.engine = await anyio.to_thread.run_sync(self._start)
                    tokenizer = running.engine.get_tokenizer()  # awaitable in earlier versions
                    running.tokenizer = await tokenizer if inspect.isawaitable(tokenizer) else tokenizer
                    require_template(running.tokenizer, self._model)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._users -= 1
        if self._users or self._running is None:
            return
        engine, self._running = self._running.engine, None
        if engine is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(engine.shutdown)

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask once. Cancelled, the engine aborts the request.

        Args:
            messages: The conversation.
            sampling: How to answer. ``extra`` takes ``chat_template_kwargs`` and the fields of vLLM's
                ``SamplingParams``.

        Raises:
            ConfigError: ``extra`` holds a field that there is not, or another run is using the engine.
            RequestError: The prompt is too long, or the chat template refuses it.
            UnavailableError: The engine gave up in the middle.
        """
        async with self:
            return await self._ask(self._here(), messages, sampling)

    async def _ask(self, running: _Running, messages: Sequence[Message], sampling: Sampling) -> Completion:
        asked = time.monotonic()
        params = self._params(running.engine, sampling)
        render = functools.partial(prompt_of, running.tokenizer, list(messages), sampling, name=self.name)
        async with running.turn:
            prompt = await anyio.to_thread.run_sync(render)
        answers = running.engine.generate({"prompt_token_ids": prompt.ids}, params, f"cot-distill-{uuid.uuid4().hex}")
        last: Any = None
        try:
            async with aclosing(answers):
                async for answer in answers:
                    last = answer
        except ValueError as error:  # its word for what it will not do
            kind = "too_long" if "length" in str(error) or "context" in str(error) else "bad_request"
            raise RequestError(f"{self.name}: {error}", provider=self.name, kind=kind) from error
        said = last.outputs[0] if last is not None and last.outputs else None
        if said is None or said.finish_reason not in ("stop", "length"):
            how = "without an answer" if said is None else f"with {said.finish_reason!r}"
            raise UnavailableError(f"{self.name} ended {how}: ask again later", provider=self.name, kind="http")
        completion = functools.partial(
            completion_of,
            running.tokenizer,
            prompt,
            list(said.token_ids),
            ended=said.finish_reason == "stop",  # no words to stop at are set, so a token ended it: the last one
            logprobs=_tokens(said, sampling.top_logprobs or 0),
            model=self._model,
            latency=time.monotonic() - asked,
        )
        async with running.turn:
            return await anyio.to_thread.run_sync(completion)

    def _here(self) -> _Running:
        running = self._running
        assert running is not None  # noqa: S101 - entered before
        if running.thread != threading.get_ident():
            raise ConfigError(f"{self.name} is in use by another run: its engine belongs to one event loop at a time")
        return running

    def _start(self) -> Any:
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        try:
            return AsyncLLM.from_engine_args(AsyncEngineArgs(model=self._model, **self._engine_args))
        except (OSError, TypeError, ValueError) as error:
            raise ConfigError(f"vLLM cannot start {self._model!r}: {error}") from error

    def _params(self, engine: Any, sampling: Sampling) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        usual = {"max_tokens": None, **engine.model_config.get_diff_sampling_param()}
        wanted = sampling.model_dump(include={"temperature", "top_p", "max_tokens", "seed"}, exclude_none=True)
        extra = {name: value for name, value in sampling.extra.items() if name != "chat_template_kwargs"}
        always = {"output_kind": RequestOutputKind.FINAL_ONLY, "detokenize": False, "logprobs": sampling.top_logprobs}
        try:
            return SamplingParams(**{**usual, **wanted, **always, **extra})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{self.name} does not take these settings: {error}") from error


@dataclass
class _Running:
    """The engine while somebody uses it."""

    thread: int
    turn: anyio.Lock
    """Held while the engine is started, and while the tokenizer is used: two threads at once it does not take."""
    engine: Any = None
    tokenizer: Any = None


def _tokens(said: Any, most: int) -> list[Token]:
    """Log-probabilities: at each place a mapping from ids, which holds the token that was said, however it ranks."""
    tokens: list[Token] = []
    for number, place in zip(said.token_ids, said.logprobs or (), strict=False):
        best = sorted(place.items(), key=lambda item: -item[1].logprob)[:most]
        top = tuple(Choice(None, float(found.logprob), other) for other, found in best)
        tokens.append(Token(Choice(None, float(place[number].logprob), number), top))
    return tokens
