"""The thread that owns a model, and answers the questions of any number of event loops with it."""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from random import Random
from typing import Any, NamedTuple

import anyio
from anyio.from_thread import BlockingPortal

from cot_distill.errors import RequestError, UnavailableError
from cot_distill.logprob_formats import Choice, Token
from cot_distill.teachers._decoding import Answer, Decoder
from cot_distill.teachers._tokens import Prompt, completion_of, prompt_of
from cot_distill.types import Completion, Message, Sampling

__all__ = ["Loaded", "Question", "Worker"]

_GATHER = 0.01  # seconds that the first question waits for others, to be read together with them
_LONGEST = 32_768  # tokens of an answer where neither the user nor the model sets a limit


class Loaded(NamedTuple):
    """A model that is ready to be asked."""

    model: Any
    tokenizer: Any
    name: str
    ends: frozenset[int]
    context: int | None
    """Tokens of prompt and answer together."""


class Question:
    """What waits for an answer: made in an event loop, answered by the thread."""

    def __init__(
        self, messages: list[Message], sampling: Sampling, portal: BlockingPortal, answered: anyio.Event
    ) -> None:
        self.messages = messages
        self.sampling = sampling
        self.asked = time.monotonic()
        self.given_up = False
        self.outcome: Completion | Exception | None = None
        self._portal = portal
        self._answered = answered

    def answer(self, outcome: Completion | Exception) -> None:
        """Hand over the outcome, from the other thread."""
        self.outcome = outcome
        with suppress(RuntimeError):  # given up in this moment: its event loop, or the portal, is gone
            self._portal.start_task_soon(self._answered.set)


class Worker:
    """Answers the questions of a queue until it finds None there."""

    def __init__(self, loaded: Loaded, queue: SimpleQueue[Question | None], max_batch: int, name: str) -> None:
        self._loaded = loaded
        self._queue = queue
        self._max_batch = max_batch
        self._name = name
        self._decoder = Decoder(loaded.model, loaded.ends)
        self._under_way: dict[Answer, tuple[Question, Prompt]] = {}

    def run(self) -> None:
        """Work until the end; nothing is raised here, but to whoever asked."""
        while True:
            questions = self._arrivals()
            if questions is None:
                return
            begun = [answer for question in questions if (answer := self._begin(question)) is not None]
            try:
                whole = self._decoder.join(begun) if begun else []
                whole += self._decoder.step() if self._decoder.answers else []
            except Exception as error:  # whatever it is, those who wait must hear of it
                self._fail(error)
                continue
            for answer in whole:
                self._finish(answer)
            self._under_way = {answer: self._under_way[answer] for answer in self._decoder.answers}

    def _arrivals(self) -> list[Question] | None:
        """The questions that can be taken in now; waits only if there is nothing else to do. None: the end."""
        room = self._max_batch - len(self._decoder.answers) if self._decoder.is_open else 0
        busy = bool(self._decoder.answers)
        until = None if busy else time.monotonic() + _GATHER
        found: list[Question] = []
        while len(found) < room:
            try:
                if busy:
                    question = self._queue.get_nowait()
                elif not found:
                    question = self._queue.get()
                    until = time.monotonic() + _GATHER
                else:
                    question = self._queue.get(timeout=max(0.0, (until or 0.0) - time.monotonic()))
            except Empty:
                break
            if question is None:
                return None
            if not question.given_up:
                found.append(question)
        return found

    def _begin(self, question: Question) -> Answer | None:
        """Make an answer of a question; None if it has failed, and been told so."""
        try:
            prompt = prompt_of(self._loaded.tokenizer, question.messages, question.sampling, name=self._name)
            answer = self._plan(question, prompt)
        except Exception as error:  # of this question only
            question.answer(error)
            return None
        self._under_way[answer] = (question, prompt)
        return answer

    def _plan(self, question: Question, prompt: Prompt) -> Answer:
        sampling, usual = question.sampling, self._loaded.model.generation_config
        context = self._loaded.context
        if context is not None and len(prompt.ids) >= context:
            raise RequestError(
                f"{self._name} reads {context} tokens at most; this prompt has {len(prompt.ids)}: shorten the task",
                provider=self._name,
                kind="too_long",
            )
        room = sampling.max_tokens or usual.max_new_tokens or _LONGEST
        sampled = bool(usual.do_sample)
        temperature = sampling.temperature
        if temperature is None:
            temperature = (usual.temperature or 1.0) if sampled else 0.0
        return Answer(
            prompt=prompt.ids,
            room=room if context is None else min(room, context - len(prompt.ids)),
            temperature=temperature,
            top_p=sampling.top_p or (usual.top_p if sampled else None) or 1.0,
            top_k=int(sampling.extra.get("top_k", (usual.top_k if sampled else None) or 0)),
            random=Random(sampling.seed),  # noqa: S311 - to sample with, not to keep a secret
            top_logprobs=sampling.top_logprobs,
            given_up=lambda: question.given_up,
        )

    def _finish(self, answer: Answer) -> None:
        question, prompt = self._under_way[answer]
        try:
            completion = completion_of(
                self._loaded.tokenizer,
                prompt,
                answer.ids,
                ended=answer.ended,
                logprobs=_tokens(answer),
                model=self._loaded.name,
                latency=time.monotonic() - question.asked,
            )
        except Exception as error:  # of this answer only
            question.answer(error)
        else:
            question.answer(completion)

    def _fail(self, error: Exception) -> None:
        """Tell all that wait for the batch that nothing came of it."""
        import torch

        many = len(self._under_way)
        if isinstance(error, torch.OutOfMemoryError):
            if many > 1:
                what = (
                    f"{self._name}: {many} answers at once do not fit into memory: lower max_batch={self._max_batch}"
                )
                error = UnavailableError(what, provider=self._name, kind="http")
            else:
                what = f"{self._name}: this task does not fit into memory, not even alone"
                error = RequestError(what, provider=self._name, kind="too_long")
        for question, _ in self._under_way.values():
            question.answer(error)
        self._under_way = {}
        self._decoder = Decoder(self._loaded.model, self._loaded.ends)


def _tokens(answer: Answer) -> list[Token]:
    """Log-probabilities of an answer, without the bytes of its tokens."""
    return [
        Token(
            Choice(None, chance, token), tuple(Choice(None, value, other) for other, value in zip(*top, strict=True))
        )
        for token, chance, top in zip(answer.ids, answer.chances, answer.tops, strict=False)
    ]
