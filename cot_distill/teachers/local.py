"""A teacher in this process: a model of transformers, on the processor or GPU of this machine.

One thread owns the model (:mod:`cot_distill.teachers._worker`). Questions wait in its queue; it answers up to
``max_batch`` of them at once, and no event loop is ever blocked.
"""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import anyio
import anyio.to_thread
from anyio.from_thread import BlockingPortal

from cot_distill.errors import ConfigError, MissingExtraError
from cot_distill.teachers._tokens import check_extra, require_template
from cot_distill.teachers._worker import Loaded, Question, Worker
from cot_distill.types import Completion, Message, Sampling

__all__ = ["TransformersTeacher"]

log = logging.getLogger("cot_distill")


class TransformersTeacher:
    """A causal language model of transformers. A Teacher; ``open_teacher("transformers:Qwen/Qwen3-0.6B")`` for short.

    What the sampling leaves open is as in the model's own ``generation_config``: temperature, top_p, top_k, and the
    number of tokens. The same seed draws the same random numbers, whatever else is answered at the time; but rounding
    depends on the batch, and may tip the scales between two tokens that are equally likely.

    Args:
        model: The name on the hub or the folder, to be loaded when it is first needed; or the model itself, which
            then belongs to the teacher.
        tokenizer: Goes with a model that is given as an object.
        name: Identity in the recipe of a run. Default: ``transformers:`` and the name of the model.
        max_batch: Answers that are generated at once: what fits into memory.
        device: Where a model that is given by name is put. Default: the GPU, if there is one.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigError: A model without a tokenizer, or one without a chat template.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        name: str | None = None,
        max_batch: int = 16,
        device: str | None = None,
    ) -> None:
        if not all(importlib.util.find_spec(needed) for needed in ("torch", "transformers")):
            raise MissingExtraError("A teacher in this process", "local")
        if max_batch < 1:
            raise ConfigError(f"max_batch={max_batch}: at least one answer must be generated at once")
        by_name = isinstance(model, str)
        if not by_name and tokenizer is None:
            raise ConfigError("a model given as an object needs its tokenizer: TransformersTeacher(model, tokenizer)")
        self._model_name = model if by_name else (getattr(model.config, "_name_or_path", "") or type(model).__name__)
        self.name = name or f"transformers:{self._model_name}"
        self._max_batch = max_batch
        self._device = device
        self._loaded = None if by_name else _loaded(model, tokenizer, self._model_name)
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._users = 0
        self._queue: SimpleQueue[Question | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._warned = False

    def __repr__(self) -> str:
        return f"TransformersTeacher({self.name!r})"

    async def __aenter__(self) -> TransformersTeacher:
        loaded = self._loaded
        if loaded is None:
            loaded = await anyio.to_thread.run_sync(self._load, abandon_on_cancel=True)
        with self._lock:
            if self._users == 0:
                self._queue = SimpleQueue()
                worker = Worker(loaded, self._queue, self._max_batch, self.name)
                self._thread = threading.Thread(target=worker.run, name=self.name, daemon=True)
                self._thread.start()
            self._users += 1
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._users -= 1
            ending = self._thread if self._users == 0 else None
            if ending is not None:
                self._queue.put(None)
        if ending is not None:  # it says one more token at most; cut off in the middle, torch would end the process
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(ending.join)

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Ask once. Cancelled, it leaves at once, and its place in the batch is free after the next token.

        Args:
            messages: The conversation.
            sampling: How to answer. ``extra`` takes ``top_k`` and ``chat_template_kwargs``. There is no way to keep
                to a ``reasoning_budget``: it is left out, with one warning.

        Raises:
            ConfigError: The model cannot be loaded, has no chat template, or ``extra`` holds something else.
            RequestError: The prompt is longer than the model reads, or its chat template refuses it.
            UnavailableError: So many answers at once do not fit into memory.
        """
        check_extra(sampling)
        if sampling.reasoning_budget is not None and not self._warned:
            self._warned = True
            log.warning("%s takes no reasoning_budget: it is left out", self.name)
        async with self:  # so that the thread stays until this answer is there, whoever else leaves
            return await self._ask(messages, sampling)

    async def _ask(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        answered = anyio.Event()
        async with BlockingPortal() as portal:
            question = Question(list(messages), sampling, portal, answered)
            self._queue.put(question)
            try:
                await answered.wait()
            finally:
                question.given_up = True
        if isinstance(question.outcome, Completion):
            return question.outcome
        assert question.outcome is not None  # noqa: S101 - set before the event
        raise question.outcome

    def _load(self) -> Loaded:
        """Runs in a thread of its own: it may take minutes."""
        with self._loading:
            if self._loaded is None:
                self._loaded = _load(self._model_name, self._device)
            return self._loaded


def _load(name: str, device: str | None) -> Loaded:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
        model = AutoModelForCausalLM.from_pretrained(name, dtype="auto").to(place)
    except (OSError, ValueError) as error:
        raise ConfigError(f"transformers cannot load {name!r}: {error}") from error
    return _loaded(model, tokenizer, name)


def _loaded(model: Any, tokenizer: Any, name: str) -> Loaded:
    require_template(tokenizer, name)
    own = model.generation_config.eos_token_id
    ends = {tokenizer.eos_token_id, *(own if isinstance(own, list | tuple) else [own])}
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Loaded(model.eval(), tokenizer, name, frozenset(ends - {None}), context)
