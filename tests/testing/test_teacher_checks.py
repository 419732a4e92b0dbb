"""The proof of a teacher: it passes one that keeps its promises, and names the promise that is broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest

from cot_distill.errors import AuthError
from cot_distill.testing import FlakyTeacher, ScriptedTeacher, check_teacher, echo_answer
from cot_distill.types import Completion, Message, Sampling

GOOD = Completion(reasoning="17 and 25 make 42.", content="42", trace_kind="full")


def steady(**options: Any) -> ScriptedTeacher:
    return ScriptedTeacher(lambda messages: echo_answer(messages[-1].content), **options)


# check_teacher: what it lets through


@pytest.mark.anyio
@pytest.mark.parametrize("latency", [0.0, 0.05])
async def test_a_good_teacher_passes_and_is_asked_five_times(latency: float) -> None:
    teacher = steady(latency=latency)
    completion = await check_teacher(teacher, prompt="why?")
    assert completion.content == echo_answer("why?")[1]
    assert {call.prompt for call in teacher.calls} == {"why?"}
    assert len(teacher.calls) == 5


@pytest.mark.anyio
async def test_errors_of_the_connection_surface_as_they_are() -> None:
    error = AuthError("wrong key")
    for calls_before in range(3):
        with pytest.raises(AuthError) as caught:
            await check_teacher(FlakyTeacher(steady(), fail=[None] * calls_before + [error]))
        assert caught.value is error


class Entered:
    """A teacher whose sockets are open only inside of the `with` block."""

    name = "entered"

    def __init__(self, times: int = 10) -> None:
        self.left = times
        self.open = False

    async def __aenter__(self) -> None:
        if not self.left:
            raise RuntimeError("Event loop is closed")
        self.left -= 1
        self.open = True

    async def __aexit__(self, *_: object) -> None:
        self.open = False

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Completion:
        assert self.open
        await anyio.sleep(0)
        return GOOD


@pytest.mark.anyio
async def test_an_async_context_manager_is_entered_twice() -> None:
    teacher = Entered()
    await check_teacher(teacher)
    assert (teacher.left, teacher.open) == (8, False)


@pytest.mark.anyio
async def test_a_teacher_that_can_be_entered_once_only_is_found_out() -> None:
    with pytest.raises(AssertionError, match="entered a second time, it raised RuntimeError: Event loop is closed"):
        await check_teacher(Entered(times=1))


# check_teacher: what it finds


class Base:
    name = "base"

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        await anyio.sleep(0.02)
        return GOOD


class NoName(Base):
    name = "  "


class NameOfOtherKind(Base):
    name = 7  # type: ignore[assignment]


class ChangingName(Base):
    @property
    def name(self) -> str:  # type: ignore[override]
        return str(time.perf_counter_ns())


class KeyInName(Base):
    name = "sk-abcdefghijklmnop0123"


class PasswordInName(Base):
    name = "http://me:hunter2@localhost:8000/v1"


class KeyInRepr(Base):
    def __repr__(self) -> str:
        return "KeyInRepr(headers={'authorization': 'Bearer abc'})"


class KeywordsOnly(Base):
    async def complete(self, *, messages: Sequence[Message], sampling: Sampling) -> Any:  # type: ignore[override]
        return GOOD


class NotAsync(Base):
    def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        return GOOD


class Text(Base):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        return "42"


class Changes(Base):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        messages.append(Message(role="assistant", content="42"))  # type: ignore[attr-defined]
        return GOOD


class OneAtATime(Base):
    busy = False

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        if self.busy:
            raise RuntimeError("already busy")
        self.busy = True
        await anyio.sleep(0.02)
        self.busy = False
        return GOOD


class Counts(Base):
    calls = 0

    def is_cancelled_call(self) -> bool:
        self.calls += 1
        return self.calls == 4


class Stubborn(Counts):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        with anyio.CancelScope(shield=self.is_cancelled_call()) as scope:
            await anyio.sleep(1.2 if scope.shield else 0.02)
        return GOOD


class Blocking(Counts):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        if self.is_cancelled_call():
            time.sleep(1.2)
        await anyio.sleep(0.02)
        return GOOD


class Sleeps(Base):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        time.sleep(0.3)
        return GOOD


class LoadsAtFirst(Base):
    loaded = False

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        if not self.loaded:
            time.sleep(0.3)
            self.loaded = True
        await anyio.sleep(0.02)
        return GOOD


class Threads(Base):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        await anyio.to_thread.run_sync(time.sleep, 0.3, abandon_on_cancel=True)
        return GOOD


@pytest.mark.anyio
@pytest.mark.parametrize("make", [LoadsAtFirst, Threads])
async def test_a_teacher_that_lets_others_run_passes(make: Callable[[], Any]) -> None:
    await check_teacher(make())


class Disguises(Base):
    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        try:
            await anyio.sleep(0.1)
        except anyio.get_cancelled_exc_class():
            raise ValueError("timed out") from None
        return GOOD


class BrokenByCancelling(Base):
    broken = False

    async def complete(self, messages: Sequence[Message], sampling: Sampling, /) -> Any:
        if self.broken:
            raise RuntimeError("the connection is in a bad state")
        try:
            await anyio.sleep(0.1)
        except anyio.get_cancelled_exc_class():
            self.broken = True
            raise
        return GOOD


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (object, "object is no teacher: it needs `name` and `complete`"),
        (NoName, "`name` must be a text that says something, not '  '"),
        (NameOfOtherKind, "`name` must be a text that says something, not 7"),
        (ChangingName, "`name` must stay the same"),
        (KeyInName, r"the name of the teacher seems to hold a key"),
        (PasswordInName, r"the name of the teacher seems to hold a key or a password"),
        (KeyInRepr, r"the repr\(\) of the teacher seems to hold a key"),
        (KeywordsOnly, r"complete\(\) must take \(messages, sampling\) by position: too many positional"),
        (NotAsync, r"complete\(\) must be async, but it returned Completion"),
        (Text, r"complete\(\) must return a Completion, not str"),
        (Changes, r"complete\(\) changed the messages"),
        (OneAtATime, "asked twice at the same time, it raised RuntimeError: already busy"),
        (Stubborn, r"took [1-9]\.\d s to leave after it was cancelled"),
        (Blocking, r"took [1-9]\.\d s to leave after it was cancelled"),
        (Sleeps, r"complete\(\) blocked the event loop for \d\.\d s: no other task could run; await what waits"),
        (Disguises, "cancelled, it raised ValueError: timed out"),
        (BrokenByCancelling, "after a cancelled call, .* raised RuntimeError: the connection is in a bad state"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_broken_promise_is_named(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence) as caught:
        await check_teacher(make())
    for secret in ("abcdefghijklmnop", "hunter2", "Bearer abc"):
        assert secret not in str(caught.value)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("completion", "sentence"),
    [
        (Completion(content="42"), r"\(no_reasoning\): neither a reasoning field nor <think> tags"),
        (Completion(reasoning="17 and", finish_reason="length"), r"\(truncated\): cut by the token limit"),
        (Completion(reasoning="17 and 25"), r"\(no_answer\)"),
        (Completion(content="42", trace_kind="hidden"), r"\(no_reasoning\): the provider keeps the reasoning hidden"),
        (Completion(content="<think>17 and 25"), r"\(unbalanced\)"),
    ],
)
async def test_a_completion_without_a_trace_is_explained(completion: Completion, sentence: str) -> None:
    with pytest.raises(AssertionError, match="no trace can be read out of the completion " + sentence):
        await check_teacher(ScriptedTeacher(lambda _: completion))


@pytest.mark.anyio
async def test_a_teacher_that_never_answers_is_given_up_on() -> None:
    with pytest.raises(AssertionError, match=r"did not answer within 0.1 s"):
        await check_teacher(steady(latency=60), timeout=0.1)


@pytest.mark.anyio
async def test_the_value_of_a_key_variable_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TEST_API_KEY", "correct horse battery")
    with pytest.raises(
        AssertionError, match=r"the name of the teacher holds the value of \$MY_TEST_API_KEY"
    ) as caught:
        await check_teacher(steady(name="teacher with correct horse battery"))
    assert "horse" not in str(caught.value)
