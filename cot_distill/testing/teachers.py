"""Teachers for tests: one that says what a script tells it to, and one that makes another teacher fail now and then.

Knows the Teacher protocol and nothing of any wire: for faults of HTTP there is :mod:`cot_distill.testing.server`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from hashlib import blake2b
from types import TracebackType
from typing import NamedTuple, Self

import anyio

from cot_distill.errors import ConfigError, UnavailableError
from cot_distill.protocols import Teacher
from cot_distill.trace import KNOWN_TAGS
from cot_distill.types import Completion, Message, Sampling, Trace, TraceKind, Usage

__all__ = ["Call", "FlakyTeacher", "Item", "Script", "ScriptedTeacher", "echo_answer"]

Item = Completion | Trace | tuple[str, str] | str | Exception
"""What a scripted teacher can say.

A Completion is given as it is; a Trace, or a pair of reasoning and answer that need not make a valid Trace, in the
two fields; a text in ``content``, with inline tags if it has them. An exception is raised.
"""

Script = Sequence[Item] | Mapping[str, Item] | Callable[[Sequence[Message]], Item]
"""Items in the order of the calls, by prompt, or made from the messages."""


class Call(NamedTuple):
    """What a teacher was asked."""

    messages: tuple[Message, ...]
    sampling: Sampling

    @property
    def prompt(self) -> str:
        """The last turn."""
        return self.messages[-1].content


def echo_answer(prompt: str) -> tuple[str, str]:
    """Make a reasoning and an answer: the same for the same prompt, and no two prompts share one.

    Both repeat the prompt, so that a test can see that each row got its own trace.

    Args:
        prompt: What is asked.

    Returns:
        The reasoning and the answer.

    Example:
        >>> echo_answer("2 + 2?")[1]
        'The answer to "2 + 2?" is 269b5407.'
    """
    mark = blake2b(ascii(prompt).encode(), digest_size=4).hexdigest()
    return f'I am asked "{prompt}". I think it over, and arrive at {mark}.', f'The answer to "{prompt}" is {mark}.'


class ScriptedTeacher:
    """Says what the script says, and remembers what it was asked.

    Usage counts words as tokens, unless the script gives whole Completions.

    Args:
        script: A list of items, said once each in the order in which the calls begin; a mapping from a prompt (the
            last turn) to its item, said however often it is asked; or a function of the messages. A prompt that is no
            key of the mapping gets the item of the only key that it contains, so that a template may add words.
        name: Identity in the recipe.
        latency: Seconds that a call takes.

    Raises:
        ConfigError: The script is not one of these; on a call, if it has run out or has nothing for the prompt.

    Example:
        >>> teacher = ScriptedTeacher([("2 and 2 make 4.", "4")])
        >>> anyio.run(teacher.complete, [Message(role="user", content="2 + 2?")], Sampling()).content
        '4'
        >>> teacher.calls[0].prompt
        '2 + 2?'
    """

    def __init__(self, script: Script, *, name: str = "scripted", latency: float = 0.0) -> None:
        if isinstance(script, str) or not (callable(script) or isinstance(script, Mapping | Sequence)):
            found = type(script).__name__
            raise ConfigError(
                f"a script is a list, a mapping or a function, not {found}: write [text] for one answer"
            )
        self._script = script
        self._name = name
        self._latency = latency
        self.calls: list[Call] = []
        """What was asked, in the order in which the calls began."""

    @property
    def name(self) -> str:
        """Identity in the recipe."""
        return self._name

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Say the next item.

        Args:
            messages: What is asked; remembered in ``calls``.
            sampling: Remembered, and else without effect.

        Returns:
            The item as a completion.

        Raises:
            ConfigError: The script has nothing to say to this.
            Exception: Whatever the script tells it to raise.
        """
        number = len(self.calls)
        call = Call(tuple(messages), sampling)
        self.calls.append(call)
        item = self._item(number, call)
        await anyio.sleep(self._latency)
        if isinstance(item, Exception):
            raise item.with_traceback(None)  # else one instance that is raised often would drag all its frames along
        return self._completion(item, call)

    def _item(self, number: int, call: Call) -> Item:
        if callable(self._script):
            return self._script(call.messages)
        if not isinstance(self._script, Mapping):
            if number >= len(self._script):
                message = f"the script of {self._name!r} has {len(self._script)} items, and this is call {number + 1}"
                raise ConfigError(f"{message}: give more items, or a function of the messages")
            return self._script[number]
        if call.prompt in self._script:
            return self._script[call.prompt]
        within = [key for key in self._script if key in call.prompt]
        if len(within) != 1:
            found = f"{len(within)} of its keys occur" if within else "none of its keys occurs"
            raise ConfigError(f"the script of {self._name!r} does not fit the prompt {call.prompt!r}: {found} in it")
        return self._script[within[0]]

    def _completion(self, item: object, call: Call) -> Completion:
        match item:
            case Completion():
                return item
            case Trace():
                reasoning, content = item.reasoning, item.answer
            case (str(reasoning), str(content)):
                pass
            case str():
                reasoning, content = "", item
            case _:
                kinds = "a Completion, a Trace, a pair of reasoning and answer, a text or an exception"
                raise ConfigError(f"the script of {self._name!r} holds {item!r}, which is not {kinds}")
        thought = len(reasoning.split())
        usage = Usage(
            prompt_tokens=sum(len(message.content.split()) for message in call.messages),
            completion_tokens=thought + len(content.split()),
            reasoning_tokens=thought if reasoning else None,
        )
        tagged = any(tags.close in content for tags in KNOWN_TAGS.values())
        kind: TraceKind = "full" if reasoning or tagged else "none"
        return Completion(content=content, reasoning=reasoning, trace_kind=kind, usage=usage, model=self._name)


class FlakyTeacher:
    """Passes calls on to another teacher, and raises an error in place of some of them.

    It has the other teacher's name, since it gives the other teacher's answers. If that one is an async context
    manager it is entered and left along with this one.

    Args:
        teacher: Answers the calls that do not fail.
        fail: The share of calls that fail, from 0 to 1; or a script: an error or ``None`` for each call in the order
            in which they begin, and no errors after its end.
        error: What failing calls raise if ``fail`` is a share. Default: an ``UnavailableError``, which is transient.
        seed: For the share. The same seed fails the same calls, counted in the order in which they begin.
        latency: Seconds that every call takes on top.

    Raises:
        ConfigError: ``fail`` is a number outside of 0 to 1.

    Example:
        >>> teacher = FlakyTeacher(ScriptedTeacher([("2 and 2 make 4.", "4")]), fail=[UnavailableError("overloaded")])
        >>> async def ask_twice():
        ...     question = [Message(role="user", content="2 + 2?")]
        ...     try:
        ...         await teacher.complete(question, Sampling())
        ...     except UnavailableError:
        ...         return await teacher.complete(question, Sampling())
        >>> anyio.run(ask_twice).content, teacher.asked, teacher.failed
        ('4', 2, 1)
    """

    def __init__(
        self,
        teacher: Teacher,
        *,
        fail: float | Sequence[Exception | None],
        error: Exception | None = None,
        seed: int = 0,
        latency: float = 0.0,
    ) -> None:
        if isinstance(fail, int | float) and not 0 <= fail <= 1:
            raise ConfigError(f"fail={fail} is no share: give a number from 0 to 1, or a list of errors")
        self._teacher = teacher
        self._fail = fail
        self._error = error or UnavailableError("failed on purpose", provider=teacher.name, status=503)
        self._random = random.Random(seed)  # noqa: S311 - repeatable is what is wanted here
        self._latency = latency
        self.asked = 0
        """Calls so far."""
        self.failed = 0
        """Calls that raised an error from here."""

    @property
    def name(self) -> str:
        """The other teacher's name."""
        return self._teacher.name

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        """Fail, or ask the other teacher.

        Args:
            messages: Passed on.
            sampling: Passed on.

        Returns:
            What the other teacher gives.

        Raises:
            Exception: The error that was asked for, or whatever the other teacher raises.
        """
        error = self._next_error()
        self.asked += 1
        self.failed += error is not None
        await anyio.sleep(self._latency)
        if error is not None:
            raise error.with_traceback(None)
        return await self._teacher.complete(messages, sampling)

    def _next_error(self) -> Exception | None:
        if isinstance(self._fail, int | float):
            return self._error if self._random.random() < self._fail else None
        return self._fail[self.asked] if self.asked < len(self._fail) else None

    async def __aenter__(self) -> Self:
        if isinstance(self._teacher, AbstractAsyncContextManager):
            await self._teacher.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(self._teacher, AbstractAsyncContextManager):
            await self._teacher.__aexit__(kind, error, traceback)
