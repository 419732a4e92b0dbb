"""The values that flow through the library: frozen, comparable, serialisable.

This file knows pydantic and nothing else of the library. Each value moves in one direction,
``Task -> Message -> Completion -> Trace -> Sample``, and is never changed on the way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import to_json

from cot_distill.printable import printable

__all__ = [
    "SEAM",
    "Allowance",
    "Completion",
    "Failure",
    "FinishReason",
    "Message",
    "Quota",
    "Role",
    "Row",
    "Sample",
    "Sampling",
    "Stage",
    "Task",
    "ThinkTags",
    "Trace",
    "TraceKind",
    "Usage",
    "Verdict",
]

Role = Literal["system", "user", "assistant"]

TraceKind = Literal["full", "summary", "encrypted", "hidden", "none"]
"""What a provider let us see of the thinking.

``full``: the model's own tokens, the only kind worth imitating. ``summary``: rewritten by the provider.
``encrypted``, ``hidden``: there was thinking, and we cannot read it. ``none``: there was none.
"""

FinishReason = Literal["stop", "length", "refused", "tool_calls", "error", "unknown"]
"""Normalised reason why the answer ended. Only ``stop`` can become a Trace."""

Stage = Literal["request", "parse", "verify"]
"""Where an attempt failed: asking the teacher, reading the trace, or judging it."""

Row = Mapping[str, Any]
"""One line of a dataset: plain values only."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(_Value):
    """One turn of a conversation, as it goes to the teacher."""

    role: Role
    content: str


class Task(_Value):
    """One thing to solve.

    ``instruction`` or ``messages`` must be given. ``messages`` is a conversation that ends with the user's
    turn; ``instruction`` then is that last turn.

    Example:
        >>> Task(instruction="What is 2 + 2?", answer=4).answer
        '4'
    """

    id: int | str = ""
    """Identity within a run. Default: a hash of what is asked; not of ``answer`` and ``tests``, so that correcting
    them does not pay for the task again."""
    instruction: str = ""
    system: str | None = None
    messages: tuple[Message, ...] = ()
    """Earlier turns and the question, for tasks that are conversations."""
    answer: str | None = Field(default=None, coerce_numbers_to_str=True)
    """The reference answer that verifiers compare with. Never shown to the teacher."""
    tests: str | list[Any] | dict[str, Any] | None = None
    """Tests for tasks whose answer is code. Never shown to the teacher."""
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Anything else; carried along untouched."""

    @field_validator("answer", mode="before")
    @classmethod
    def _plain_number(cls, answer: object) -> object:
        # pandas turns a column [4, None] into floats, and a model that says 4 would then be wrong.
        return int(answer) if isinstance(answer, float) and answer.is_integer() else answer

    @model_validator(mode="after")
    def _complete(self) -> Task:
        if self.messages:
            if self.messages[-1].role != "user":
                raise ValueError("the last of `messages` must be the user's turn")
            if self.instruction not in ("", self.messages[-1].content):
                raise ValueError("give `instruction` or `messages`, not two different questions")
            if self.system is not None and any(m.role == "system" for m in self.messages):
                raise ValueError("the system prompt is given twice: as `system` and in `messages`")
            self.__dict__["instruction"] = self.messages[-1].content
        if not self.instruction.strip():
            raise ValueError("`instruction` is empty")
        if self.id == "":
            content = [self.instruction, self.system, self.messages]
            self.__dict__["id"] = blake2b(to_json(content), digest_size=12).hexdigest()
        return self

    def prompt(self) -> tuple[Message, ...]:
        """The task as a conversation without any template: what a student will be asked."""
        turns = self.messages or (Message(role="user", content=self.instruction),)
        return turns if self.system is None else (Message(role="system", content=self.system), *turns)


class Sampling(_Value):
    """How the teacher samples. ``None`` always means: the endpoint's own default."""

    temperature: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, gt=0, lt=2**31)
    """Cap on reasoning and answer together, in tokens. Raising it later asks again only for what was cut."""
    max_tokens_limit: int | None = Field(default=None, gt=0, lt=2**31)
    """Up to which an answer that the cap cut is asked for again, with twice the room each time: ``max_tokens=8192,
    max_tokens_limit=32768`` asks with 8,192, and what is cut with 16,384, then 32,768."""
    seed: int | None = None
    """Attempt ``i`` of a task is asked with ``seed + i``, so that attempts differ and stay reproducible."""
    reasoning_effort: str | None = None
    """How hard to think, in the provider's words: ``"low"``, ``"medium"``, ``"high"``…"""
    reasoning_budget: int | None = Field(default=None, ge=0)
    """Cap on the reasoning alone, in tokens, where the provider has one."""
    top_logprobs: int | None = Field(default=None, ge=0)
    """Ask for the log-probabilities of this many alternatives a token."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Passed through to the wire as it is, over anything the library would send."""

    @field_validator("extra")
    @classmethod
    def _is_json(cls, extra: dict[str, Any]) -> dict[str, Any]:
        try:
            json.dumps(extra, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"must be JSON, to be sent and to be kept: {error}") from error
        return extra

    @model_validator(mode="after")
    def _ladder(self) -> Sampling:
        if self.max_tokens_limit is not None and (self.max_tokens is None or self.max_tokens_limit < self.max_tokens):
            raise ValueError("max_tokens_limit needs a max_tokens, and must not be below it")
        return self

    def cap_after(self, cut_at: int) -> int | None:
        """The cap with which an answer is asked for again that was cut at so many tokens; None where it is not."""
        if self.max_tokens is None:
            return None
        highest = self.max_tokens_limit or self.max_tokens
        return min(highest, max(self.max_tokens, 2 * cut_at)) if cut_at < highest else None


class Usage(_Value):
    """Tokens as the provider counted them. ``None`` is "not told", never 0."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    """All that was generated: reasoning and answer."""
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    """The part of the prompt that the provider had in its cache."""
    cache_write_tokens: int | None = None
    """The part of the prompt that the provider put into its cache, and charges extra for."""

    @property
    def total(self) -> int | None:
        """Prompt and completion together, where both counts are known."""
        if self.prompt_tokens is None or self.completion_tokens is None:
            return None
        return self.prompt_tokens + self.completion_tokens

    @property
    def answer_tokens(self) -> int | None:
        """Generated tokens that are not reasoning, where both counts are known."""
        if self.completion_tokens is None or self.reasoning_tokens is None:
            return None
        return max(0, self.completion_tokens - self.reasoning_tokens)


class Quota(NamedTuple):
    """What is left of one allowance of an account, as an endpoint tells it in the headers of a reply."""

    remaining: float
    limit: float | None
    """All of it, where that is told."""
    resets_in: float
    """Seconds until it is whole again."""


class Allowance(NamedTuple):
    """What an account may still ask for at the moment: requests, and tokens."""

    requests: Quota | None = None
    tokens: Quota | None = None


class Completion(_Value):
    """What the wire gave, normalised. It may well be unusable: :func:`cot_distill.trace.parse_trace` decides."""

    content: str = ""
    """The answer, or answer and inline reasoning where the server does not separate them."""
    reasoning: str = ""
    """The reasoning where the server gives it in a field of its own."""
    trace_kind: TraceKind = "none"
    finish_reason: FinishReason = "stop"
    raw_finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    """The model that answered, as the server names it."""
    logprobs: dict[str, Any] | None = None
    """Log-probabilities as the wire gave them: ``content``, and ``reasoning`` where that list is apart."""
    request_id: str | None = None
    latency: float | None = None
    """Seconds from sending the request to having the whole answer."""
    prefilled: bool | None = None
    """Whether the prompt already opened the thinking tag, where the teacher knows."""
    raw: str | None = Field(default=None, repr=False)
    """The response body, verbatim."""
    allowance: Allowance | None = Field(default=None, exclude=True, repr=False)
    """What the endpoint said was left of the account's allowance. Of the moment only: it is not kept."""


class ThinkTags(_Value):
    """The pair of tags that encloses reasoning in plain text.

    Example:
        >>> ThinkTags(open="[THINK]", close="[/THINK]").close
        '[/THINK]'
    """

    open: str = "<think>"
    close: str = "</think>"

    @field_validator("open", "close")
    @classmethod
    def _not_blank(cls, tag: str) -> str:
        if not tag.strip():
            raise ValueError("a tag must not be blank")
        return tag

    @model_validator(mode="after")
    def _distinct(self) -> ThinkTags:
        if self.open in self.close or self.close in self.open:
            raise ValueError("opening and closing tag must differ, and neither may contain the other")
        return self


SEAM = "\r\n"
"""What is dropped at both ends of reasoning and answer."""


class Trace(_Value):
    """Reasoning and answer, kept apart: what the student learns.

    A Trace that exists is whole. Line breaks at both ends of either part are dropped (spaces stay, they may be
    indentation), both parts say something, and neither holds ``<think>`` or ``</think>``.

    Raises:
        pydantic.ValidationError: A part is blank or holds a tag.
    """

    reasoning: str
    answer: str

    @field_validator("reasoning", "answer")
    @classmethod
    def _whole(cls, text: str) -> str:
        text = text.strip(SEAM)
        if not text.strip():
            raise ValueError("must not be blank")
        for tag in ("<think>", "</think>"):
            if tag in text:
                raise ValueError(f"must not hold {tag}")
        return text


class Verdict(_Value):
    r"""What a verifier found.

    In ``by`` and ``reason``, which may quote a program or a model, half a surrogate pair and control characters are
    escaped: what is no text could not be kept.

    Example:
        >>> Verdict(by="exact", passed=False, reason="expected 4, got 5").passed
        False
        >>> print(Verdict(by="exact", passed=False, reason="got \udc80").reason)
        got \udc80
    """

    by: str
    """Name of the verifier."""
    passed: bool | None
    """Right, wrong, or ``None``: cannot tell."""
    score: float | None = None
    """How good, from 0 to 1, where the verifier has degrees."""
    reason: str | None = None
    """Why, in a sentence; with the passage, where there is one."""
    about: Literal["answer", "quality"] | None = None
    """``"answer"``: whether the answer is right. ``"quality"``: how the trace is written. None: not said."""
    applies: bool = True
    """False where the verifier has nothing to judge this task by: no reference, no tests. ``passed`` then is None."""
    usage: Usage | None = None
    """Tokens that the verdict cost, where a model was asked."""

    @field_validator("by", "reason")
    @classmethod
    def _printable(cls, text: str | None) -> str | None:
        return None if text is None else printable(text)

    @model_validator(mode="after")
    def _consistent(self) -> Verdict:
        if not self.applies and self.passed is not None:
            raise ValueError("a verdict that does not apply has `passed=None`")
        return self


class Sample(_Value):
    """A trace with its task, its verdicts and where it came from."""

    task: Task
    trace: Trace
    verdicts: tuple[Verdict, ...] = ()
    attempt: int = 0
    """0 for the first time the task was asked, 1 for the second…"""
    teacher: str = ""
    """Name of the Teacher that was asked."""
    model: str | None = None
    """The model that answered, as the server named it."""
    trace_kind: TraceKind = "full"
    usage: Usage = Usage()
    cost: float | None = None
    """In US dollars, all requests of the attempt together; ``None`` where the price is not known."""
    request_id: str | None = None
    latency: float | None = None
    """Seconds the teacher took."""
    logprobs: dict[str, Any] | None = Field(default=None, repr=False)
    """Log-probabilities, where they were asked for; :func:`cot_distill.logprobs.read_logprobs` reads them."""

    @property
    def passed(self) -> bool | None:
        """Whether the sample is right: what all its verdicts say together.

        1. False, if any of them says so.
        2. Verdicts that do not apply are left out, if another verifier found the *answer* right. So tasks with
           reference answers and tasks with tests can be judged by the same list of verifiers.
        3. None, if any of the rest cannot tell, or if there is none. Else True.
        """
        if not self.verdicts:
            return None
        if any(verdict.passed is False for verdict in self.verdicts):
            return False
        right = any(verdict.passed and verdict.about == "answer" for verdict in self.verdicts)
        found = {verdict.passed for verdict in self.verdicts if verdict.applies or not right}
        return True if found == {True} else None


class Failure(_Value):
    """An attempt that gave no Sample."""

    task: Task
    attempt: int = 0
    stage: Stage
    kind: str
    """The word under which the ledger counts it: ``truncated``, ``no_reasoning``, ``refused``, ``timeout``…"""
    message: str
    """What happened, in a sentence."""
    teacher: str = ""
    status: int | None = None
    """HTTP status, where there was one."""
    request_id: str | None = None
    usage: Usage = Usage()
    """What it cost all the same, in tokens."""
    cost: float | None = None
    """In US dollars, all requests of the attempt together; ``None`` where the price is not known."""
    tries: int = 1
    """Requests that were made for this attempt."""
