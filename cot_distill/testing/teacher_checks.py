"""Proof that a teacher of your own keeps the promises that the engine relies on.

This file knows the protocol, and no implementation of it. A broken promise raises an AssertionError with a sentence.
Errors of another kind are the teacher's own, and surface as they are.
"""

from __future__ import annotations

import inspect
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from typing import cast

import anyio

from cot_distill.errors import TeacherError, TraceError
from cot_distill.protocols import Teacher
from cot_distill.testing.stalls import longest_stall
from cot_distill.trace import parse_trace
from cot_distill.types import Completion, Message, Sampling

__all__ = ["check_teacher"]

_AWAIT = "no other task could run; await what waits, and move what computes to anyio.to_thread.run_sync"
_PROMPTLY = 1.0  # seconds that a cancelled call may take to leave
_SECRET = re.compile(
    r"(?i:bearer\s+\S|://[^/\s@]*:[^/\s@]+@|(?:api[-_]?key|token|secret|password)=\S)"
    r"|\b(?:sk-|xai-|nvapi-|gsk_|hf_|ghp_)[\w-]{16,}|\bAIza[\w-]{30,}"
)
_SECRET_VARIABLE = re.compile(r"(?:KEY|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)


async def check_teacher(teacher: Teacher, *, prompt: str = "What is 17 + 25?", timeout: float = 600.0) -> Completion:
    """Prove that a teacher keeps its promises. It is asked five times; one of the calls is cancelled half-way.

    Its name says something, stays the same and holds no key, nor does its ``repr``. ``complete()`` takes messages and
    sampling by position, leaves the messages as they are, and returns a Completion out of which a trace can be read.
    Two calls can run at once, and let other tasks run meanwhile. A cancelled call leaves within a second. If it is an
    async context manager it can be entered a second time, as a second run does.

    Args:
        teacher: Not entered yet.
        prompt: Something that it answers with some thought.
        timeout: Seconds that one call may take.

    Returns:
        The first completion, for a look at it.

    Raises:
        AssertionError: A promise is broken; the message says which.
        TeacherError: The teacher could not be asked: a wrong key, no connection…

    Example:
        >>> from cot_distill.testing import ScriptedTeacher, echo_answer
        >>> teacher = ScriptedTeacher(lambda messages: echo_answer(messages[-1].content))
        >>> anyio.run(check_teacher, teacher).content
        'The answer to "What is 17 + 25?" is 35352b3d.'
    """
    _require(isinstance(teacher, Teacher), f"{type(teacher).__name__} is no teacher: it needs `name` and `complete`")
    _check_name(teacher)
    messages = [Message(role="user", content=prompt)]
    try:
        inspect.signature(teacher.complete).bind(messages, Sampling())
    except TypeError as error:
        raise AssertionError(f"complete() must take (messages, sampling) by position: {error}") from None
    async with _entered(teacher):
        began = time.monotonic()
        completion, alone = await longest_stall(lambda: _ask(teacher, messages, timeout))
        seconds = time.monotonic() - began
        _check_trace(completion)
        _, together = await longest_stall(lambda: _check_two_at_once(teacher, messages, timeout))
        # The first call may have something to load; what blocks is what blocks again.
        blocked = min(alone, together)
        _require(not blocked, f"complete() blocked the event loop for {blocked:.1f} s: {_AWAIT}")
        await _check_cancelled(teacher, messages, seconds / 2)
    with _blaming("after a cancelled call, entered a second time, it"):
        async with _entered(teacher):
            await _ask(teacher, messages, timeout)
    return completion


@asynccontextmanager
async def _entered(teacher: Teacher) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if isinstance(teacher, AbstractAsyncContextManager):
            await stack.enter_async_context(teacher)
        yield


async def _ask(teacher: Teacher, messages: Sequence[Message], timeout: float) -> Completion:
    given = list(messages)
    with anyio.move_on_after(timeout) as scope:
        answer: object = teacher.complete(given, Sampling())
        _require(inspect.isawaitable(answer), f"complete() must be async, but it returned {type(answer).__name__}")
        completion = await cast("Awaitable[object]", answer)
    _require(not scope.cancelled_caught, f"complete() did not answer within {timeout:g} s")
    _require(given == messages, "complete() changed the messages that it was given")
    if not isinstance(completion, Completion):
        raise AssertionError(f"complete() must return a Completion, not {type(completion).__name__}")  # noqa: TRY004
    return completion


def _check_name(teacher: Teacher) -> None:
    name: object = teacher.name
    if not isinstance(name, str) or not name.strip():
        raise AssertionError(f"`name` must be a text that says something, not {name!r}")
    _require(name == teacher.name, "`name` must stay the same")
    for what, text in (("name", name), ("repr()", repr(teacher))):
        # The text itself is not repeated: an assertion ends up in logs.
        _require(not _SECRET.search(text), f"the {what} of the teacher seems to hold a key or a password")
        for variable, value in os.environ.items():
            secret = _SECRET_VARIABLE.search(variable) and len(value) >= 8 and value in text
            _require(not secret, f"the {what} of the teacher holds the value of ${variable}")


def _check_trace(completion: Completion) -> None:
    try:
        parse_trace(completion)
    except TraceError as error:
        raise AssertionError(f"no trace can be read out of the completion ({error.kind}): {error}") from error


async def _check_two_at_once(teacher: Teacher, messages: Sequence[Message], timeout: float) -> None:
    errors: list[Exception] = []

    async def ask() -> None:
        try:
            await _ask(teacher, messages, timeout)
        except Exception as error:  # raised below, outside of the group: one plain error
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        group.start_soon(ask)
    if errors:
        with _blaming("asked twice at the same time, it"):
            raise errors[0]


async def _check_cancelled(teacher: Teacher, messages: Sequence[Message], after: float) -> None:
    caught: Exception | None = None
    began = time.monotonic()
    with anyio.move_on_after(after) as scope:
        try:
            await teacher.complete(messages, Sampling())
        except Exception as error:  # looked at below
            caught = error
    late = time.monotonic() - began - after
    _require(late < _PROMPTLY, f"complete() took {late:.1f} s to leave after it was cancelled")
    if caught is not None:
        with _blaming(f"{'cancelled' if scope.cancel_called else 'asked again'}, it"):
            raise caught


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    try:
        yield
    except (TeacherError, AssertionError):
        raise
    except Exception as error:
        raise AssertionError(f"{what} raised {type(error).__name__}: {error}") from error


def _require(kept: object, promise: str) -> None:
    if not kept:
        raise AssertionError(promise)
