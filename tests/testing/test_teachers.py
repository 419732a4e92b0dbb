"""ScriptedTeacher and FlakyTeacher: what they say, what they remember, and how they fail."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cot_distill.errors import ConfigError, RateLimitError, UnavailableError
from cot_distill.protocols import Teacher
from cot_distill.testing import FlakyTeacher, ScriptedTeacher, echo_answer
from cot_distill.testing.teachers import Item
from cot_distill.trace import join, parse_trace
from cot_distill.types import Completion, Message, Sampling, Trace, Usage

TRACE = Trace(reasoning="2 and 2 make 4.", answer="4")


async def ask(teacher: Teacher, prompt: str = "2 + 2?", **sampling: float) -> Completion:
    messages = [Message(role="system", content="be brief"), Message(role="user", content=prompt)]
    return await teacher.complete(messages, Sampling(**sampling))


# ScriptedTeacher


@pytest.mark.anyio
@pytest.mark.parametrize("item", [TRACE, ("2 and 2 make 4.", "4"), join(TRACE)])
async def test_traces_pairs_and_texts_become_completions(item: Item) -> None:
    completion = await ask(ScriptedTeacher([item], name="t"))
    assert parse_trace(completion) == TRACE
    assert (completion.trace_kind, completion.finish_reason, completion.model) == ("full", "stop", "t")


@pytest.mark.anyio
async def test_a_text_without_tags_has_no_trace_kind() -> None:
    assert await ask(ScriptedTeacher(["four"])) == Completion(
        content="four", model="scripted", usage=Usage(prompt_tokens=5, completion_tokens=1)
    )


@pytest.mark.anyio
async def test_usage_counts_words() -> None:
    completion = await ask(ScriptedTeacher([TRACE]))
    assert completion.usage == Usage(prompt_tokens=5, completion_tokens=6, reasoning_tokens=5)


@pytest.mark.anyio
async def test_a_completion_is_given_as_it_is() -> None:
    completion = Completion(content="4", finish_reason="length", request_id="r-1")
    assert await ask(ScriptedTeacher([completion])) is completion


@pytest.mark.anyio
async def test_an_exception_is_raised_and_the_next_item_follows() -> None:
    error = RateLimitError("slow down", retry_after=2)
    teacher = ScriptedTeacher([error, TRACE])
    with pytest.raises(RateLimitError) as caught:
        await ask(teacher)
    assert caught.value is error
    assert parse_trace(await ask(teacher)) == TRACE


@pytest.mark.anyio
async def test_an_exception_that_is_raised_often_keeps_no_old_frames() -> None:
    error = UnavailableError("down")
    teacher = ScriptedTeacher(lambda _: error)
    depths = []
    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            await ask(teacher)
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


@pytest.mark.anyio
async def test_calls_remember_messages_and_sampling() -> None:
    teacher = ScriptedTeacher([TRACE, UnavailableError("down")])
    await ask(teacher, "one", temperature=0.5)
    with pytest.raises(UnavailableError):
        await ask(teacher, "two")
    assert [call.prompt for call in teacher.calls] == ["one", "two"]
    assert teacher.calls[0].messages[0] == Message(role="system", content="be brief")
    assert teacher.calls[0].sampling.temperature == 0.5


@pytest.mark.anyio
async def test_a_script_that_has_run_out_says_so() -> None:
    teacher = ScriptedTeacher([TRACE], name="short")
    await ask(teacher)
    with pytest.raises(ConfigError, match="the script of 'short' has 1 items, and this is call 2: give more items"):
        await ask(teacher)


@pytest.mark.anyio
async def test_items_go_to_calls_in_the_order_in_which_they_begin() -> None:
    teacher = ScriptedTeacher([(f"thought {n}", f"answer {n}") for n in range(10)], latency=0.01)
    found: dict[int, str] = {}

    async def one(number: int) -> None:
        found[number] = (await ask(teacher, str(number))).content

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(one, number)
    assert {int(call.prompt): f"answer {n}" for n, call in enumerate(teacher.calls)} == found


@pytest.mark.anyio
async def test_a_mapping_is_looked_up_by_the_last_turn() -> None:
    teacher = ScriptedTeacher({"2 + 2?": TRACE, "3 + 3?": ("3 and 3 make 6.", "6"), "3": UnavailableError("no")})
    assert (await ask(teacher, "3 + 3?")).content == "6"  # not "3", though that occurs in it
    assert (await ask(teacher, "2 + 2?")).content == "4"
    assert (await ask(teacher, "2 + 2?")).content == "4"
    assert (await ask(teacher, "2 + 2?\n\nPut the answer in a box.")).content == "4"


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("prompt", "reason"), [("5 + 5?", "none of its keys occurs"), ("2 + 2? 3 + 3?", "2 of its keys occur")]
)
async def test_a_mapping_never_guesses(prompt: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        await ask(ScriptedTeacher({"2 + 2?": TRACE, "3 + 3?": TRACE}), prompt)


@pytest.mark.anyio
async def test_a_function_sees_the_messages() -> None:
    teacher = ScriptedTeacher(lambda messages: echo_answer(messages[-1].content))
    assert parse_trace(await ask(teacher, "what?")) == Trace(
        reasoning=echo_answer("what?")[0], answer=echo_answer("what?")[1]
    )


@pytest.mark.anyio
async def test_an_error_of_the_function_surfaces() -> None:
    teacher = ScriptedTeacher(lambda messages: ("", 1 / 0))  # type: ignore[arg-type, return-value]
    with pytest.raises(ZeroDivisionError):
        await ask(teacher)


@pytest.mark.parametrize("script", ["<think>no</think>list", 7, None])
def test_a_script_of_the_wrong_kind_is_refused(script: object) -> None:
    with pytest.raises(ConfigError, match="a script is a list, a mapping or a function"):
        ScriptedTeacher(script)  # type: ignore[arg-type]


@pytest.mark.anyio
@pytest.mark.parametrize("item", [7, ("a", "b", "c"), None, ("a", 1)])
async def test_an_item_of_the_wrong_kind_is_refused(item: object) -> None:
    with pytest.raises(ConfigError, match="which is not a Completion, a Trace, a pair"):
        await ask(ScriptedTeacher([item]))  # type: ignore[list-item]


@pytest.mark.anyio
async def test_latency_is_kept_and_cancelled_at_once() -> None:
    began = time.monotonic()
    await ask(ScriptedTeacher([TRACE], latency=0.1))
    assert time.monotonic() - began >= 0.1
    with anyio.move_on_after(0.05) as scope:
        await ask(ScriptedTeacher([TRACE], latency=60))
    assert scope.cancelled_caught
    assert time.monotonic() - began < 10


@given(st.text(), st.text())
def test_echo_answer_is_one_to_one(one: str, other: str) -> None:
    assert echo_answer(one) == echo_answer(one)
    assert (echo_answer(one) == echo_answer(other)) == (one == other)
    assert all(one in part for part in echo_answer(one))


# FlakyTeacher


def steady() -> ScriptedTeacher:
    return ScriptedTeacher(lambda messages: echo_answer(messages[-1].content), name="steady")


@pytest.mark.anyio
async def test_a_script_of_errors_fails_those_calls() -> None:
    errors = [RateLimitError("wait"), None, ValueError("not even one of ours")]
    inner = steady()
    teacher = FlakyTeacher(inner, fail=errors)
    found: list[object] = []
    for _ in range(5):
        try:
            found.append((await ask(teacher)).content)
        except (RateLimitError, ValueError) as error:
            found.append(error)
    answer = echo_answer("2 + 2?")[1]
    assert found == [errors[0], answer, errors[2], answer, answer]
    assert (teacher.asked, teacher.failed, len(inner.calls)) == (5, 2, 3)


async def outcomes(teacher: FlakyTeacher, calls: int) -> list[bool]:
    found = []
    for _ in range(calls):
        try:
            await ask(teacher)
            found.append(True)
        except UnavailableError:
            found.append(False)
    return found


@pytest.mark.anyio
async def test_a_share_is_seeded() -> None:
    first = await outcomes(FlakyTeacher(steady(), fail=0.3, seed=1), 300)
    assert first == await outcomes(FlakyTeacher(steady(), fail=0.3, seed=1), 300)
    assert first != await outcomes(FlakyTeacher(steady(), fail=0.3, seed=2), 300)
    assert 0.2 < first.count(False) / 300 < 0.4


@pytest.mark.anyio
async def test_the_ends_of_the_scale() -> None:
    assert await outcomes(FlakyTeacher(steady(), fail=0), 50) == [True] * 50
    assert await outcomes(FlakyTeacher(steady(), fail=1), 50) == [False] * 50


@pytest.mark.anyio
async def test_the_default_error_is_transient_and_another_can_be_chosen() -> None:
    with pytest.raises(UnavailableError, match="on purpose") as caught:
        await ask(FlakyTeacher(steady(), fail=1.0))
    assert caught.value.transient
    assert caught.value.provider == "steady"
    with pytest.raises(RateLimitError):
        await ask(FlakyTeacher(steady(), fail=1.0, error=RateLimitError("wait", retry_after=1)))


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_outside_of_the_scale_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="is no share"):
        FlakyTeacher(steady(), fail=share)


@pytest.mark.anyio
async def test_latency_comes_on_top() -> None:
    began = time.monotonic()
    await ask(FlakyTeacher(steady(), fail=0, latency=0.1))
    assert time.monotonic() - began >= 0.1


class Door:
    """A teacher that must be entered."""

    name = "door"

    def __init__(self) -> None:
        self.events: list[object] = []

    async def __aenter__(self) -> Self:
        self.events.append("open")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.events.append(kind)

    async def complete(self, messages: object, sampling: Sampling, /) -> Completion:
        self.events.append("ask")
        return Completion(reasoning="r", content="a")


@pytest.mark.anyio
async def test_the_other_teacher_is_entered_and_left_along() -> None:
    door = Door()
    teacher = FlakyTeacher(door, fail=[None, UnavailableError("down")])

    async def session() -> None:
        async with teacher:
            await ask(teacher)
            await ask(teacher)

    with pytest.raises(UnavailableError):
        await session()
    assert door.events == ["open", "ask", UnavailableError]
    assert teacher.name == "door"
    async with FlakyTeacher(steady(), fail=0) as plain:
        assert plain.name == "steady"


def test_both_are_teachers() -> None:
    teachers: list[Teacher] = [steady(), FlakyTeacher(steady(), fail=0)]
    assert all(isinstance(teacher, Teacher) for teacher in teachers)
